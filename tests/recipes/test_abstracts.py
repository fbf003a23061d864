"""Abstracts and one-sentence summaries: JSON lines, several references, and a model that copies."""

import json

import pytest

from minilm import cli, recipes
from minilm.metrics.rouge import rouge
from minilm.recipes import abstracts
from minilm.recipes.abstracts import Abstract
from minilm.recipes.summarise import Summarise

SMALL = {"hidden_size": 16, "embedding_size": 8, "vocab_size": 300, "batch": 8, "steps": 4, "beams": 2, "average": None}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_json_lines(tmp_path):
    write(tmp_path / "train.jsonl", {"source": ["One.", "Two  words."], "target": ["Three."], "title": "x"})
    write(tmp_path / "dev.jsonl", {"source": "One.", "target": ["A", "B", ""]}, {"source": "Two.", "target": "C"})
    train, dev = Summarise().read(tmp_path)
    assert train == [Abstract("One. Two words.", "Three.")]
    assert dev == [Abstract("One.", "A", ("B",)), Abstract("Two.", "C")]
    write(tmp_path / "one.json", *({"source": str(n), "target": "x"} for n in range(20)))
    train, dev = abstracts.read(tmp_path / "one.json")
    assert len(train) == 18 and [each.source for each in dev] == ["9", "19"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "one.jsonl:1: '[1]' is no JSON object; wanted one with source and target"),
        ('{"source": "a"}', "one.jsonl:1: target is 'None'; wanted a text, or a list of texts"),
        ('{"source": ["a", 1], "target": "b"}', "one.jsonl:1: source is"),
        ('{"source": [" "], "target": "b"}', "one.jsonl:1: source is"),
    ],
)
def test_wrong_lines_are_told(tmp_path, capsys, line, says):
    (tmp_path / "one.jsonl").write_text(line + "\n")
    argv = ["recipe", "summarise", "--data", str(tmp_path / "one.jsonl"), "--quiet", "--out", str(tmp_path / "run")]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_the_nearest_reference_counts():
    one, other = rouge(["a b"], ["c d"]), rouge(["a b"], [["c d", "a b"]])
    assert one["rouge_l"] == 0 and other == {"rouge_1": 1, "rouge_2": 1, "rouge_l": 1}
    recipe = Summarise()
    scores = recipe.score(["a b"], [Abstract("x", "c d", ("a b",))])
    assert scores["rouge_1"] == 1 and scores["exact_match"] == 0


def test_a_run_copies_and_opens_again(tmp_path):
    rows = [{"source": f"we study the {name} of {name}s", "target": f"the {name}"} for name in ("cat", "dog", "owl", "ant") * 5]
    write(tmp_path / "data.jsonl", *rows)
    recipe = Summarise(**SMALL)
    result = recipe.run(tmp_path / "data.jsonl", out=tmp_path / "run", progress=False)
    assert recipe.options["copy"] and type(recipe.model).__name__ == "PointerGenerator"
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("we study the owl") == recipe.answer("we study the owl")
    assert set(result.metrics) == {"rouge_1", "rouge_2", "rouge_l", "exact_match"}
    plain = Summarise(**SMALL, copy=False)
    plain.run(tmp_path / "data.jsonl", progress=False)
    assert type(plain.model).__name__ == "Seq2Seq"
