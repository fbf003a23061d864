"""Abstracts and one-sentence summaries: JSON lines, several references, and a model that copies."""

import hashlib
import json

import pytest

import minilm
from minilm import cli, recipes
from minilm.metrics.rouge import rouge
from minilm.recipes import abstracts, measuring
from minilm.recipes.abstracts import Abstract
from minilm.recipes.state import RecipeState
from minilm.recipes.summarise import Summarise

SMALL = {"hidden_size": 16, "embedding_size": 8, "vocab_size": 300, "batch": 8, "steps": 4, "beams": 2, "average": None}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_json_lines(tmp_path):
    write(tmp_path / "train.jsonl", {"source": ["One.", "Two  words."], "target": ["Three."], "title": "x"})
    write(tmp_path / "dev.jsonl", {"source": "One.", "target": ["A", "B", ""]}, {"source": "Two.", "target": "C"})
    train, dev = Summarise(sentences=False).read(tmp_path)
    assert train == [Abstract("One. Two words.", "Three.")]
    assert dev == [Abstract("One.", "A", ("B",)), Abstract("Two.", "C")]
    write(tmp_path / "one.json", *({"source": str(n), "target": "x"} for n in range(20)))
    train, dev = abstracts.read(tmp_path / "one.json")
    assert len(train) == 18 and [each.source for each in dev] == ["9", "19"]


def test_sentences_are_for_json_lines(tmp_path):
    (tmp_path / "pairs.tsv").write_text("a\tb\n" * 20)
    for data in (None, tmp_path / "pairs.tsv"):
        with pytest.raises(ValueError, match="sentences is for abstracts in JSON lines"):
            Summarise(sentences=True, examples=20).run(data, progress=False)


def older(folder, setting):
    """Make of a run one that was written before there was a setting."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["options"][setting]
    path.write_text(json.dumps(config))
    state, entries = RecipeState.from_json((folder / "recipe.json").read_bytes())
    content = path.read_bytes()
    entries["config.json"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "recipe.json").write_bytes(state.to_json(entries, minilm.__version__))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "one.jsonl:1: '[1]' is no JSON object; wanted one with source and target"),
        ('{"source": "a"}', "one.jsonl:1: target is 'None'; wanted a text, or a list of texts"),
        ('{"source": ["a", 1], "target": "b"}', "one.jsonl:1: source is"),
        ('{"source": [" "], "target": "b"}', "one.jsonl:1: source is"),
        ("[" * 100_000, "is no JSON object; wanted one with source and target"),
        (r'{"source": "a \ud83d b", "target": "b"}', "one.jsonl:1: source: holds a lone surrogate, U+D83D"),
    ],
)
def test_wrong_lines_are_told(tmp_path, capsys, line, says):
    (tmp_path / "one.jsonl").write_text(line + "\n")
    argv = ["recipe", "summarise", "--data", str(tmp_path / "one.jsonl"), "--quiet", "--out", str(tmp_path / "run")]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_sentences_are_learned_beside_summaries(tmp_path):
    rows = [
        {"source": ["We begin.", f"Owls see {n} mice.", "We end."], "target": [f"owls see {n} of them", "an end"]} for n in "abc"
    ]
    rows.append({"source": "A day. A long night.", "target": "night"})
    write(tmp_path / "train.jsonl", *rows)
    write(tmp_path / "dev.jsonl", *rows[:1])
    recipe = Summarise()
    train, dev = recipe.read(tmp_path)
    plain = Summarise(sentences=False).read(tmp_path)
    assert recipe.options["sentences"] and train[:4] == plain[0] and dev == plain[1]
    assert [each.target for each in train[4:]] == ["Owls see a mice.", "Owls see b mice.", "Owls see c mice.", "A long night."]
    assert all(new.source == old.source for new, old in zip(train[4:], plain[0], strict=True))


def test_a_run_from_before_sentences_were_learned_goes_on_without(tmp_path):
    """A setting that is newer than a run has its default, whatever the data would suggest to a new one."""
    rows = [{"source": [f"A {name} sat.", "It slept."], "target": name} for name in ("cat", "dog", "owl", "ant") * 5]
    write(tmp_path / "data.jsonl", *rows)
    Summarise(**SMALL, sentences=False).run(tmp_path / "data.jsonl", out=tmp_path / "run", progress=False)
    older(tmp_path / "run", "sentences")
    assert recipes.open_run(tmp_path / "run").options["sentences"] is False
    recipe = Summarise()
    assert recipe.run(out=tmp_path / "run", resume=True, steps=5, progress=False).steps == 5
    assert recipe.options["sentences"] is False


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
    assert recipe.model.config.follow and recipe.options["no_repeat"] == 3
    assert recipe.facts["words"] == 2  # of summaries, whatever sentences are learned beside them
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("we study the owl") == recipe.answer("we study the owl")
    assert set(result.metrics) == {"rouge_1", "rouge_2", "rouge_l", "exact_match"}
    (tmp_path / "pairs.tsv").write_text("we study the owl\tthe owl\n")
    measured = measuring.measure(again, tmp_path / "run", tmp_path / "pairs.tsv")  # sentences are learned, and not measured
    assert measured.examples == 1 and set(measured.metrics) == set(result.metrics)
    plain = Summarise(**{**SMALL, "beams": 1}, copy=False)
    plain.run(tmp_path / "data.jsonl", progress=False)
    assert plain.options["no_repeat"] == 0 and not plain.model.config.follow
    assert type(plain.model).__name__ == "Seq2Seq"
