"""The recipe tag: a small run, its data, and files that are wrong."""

import json

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.metrics import entities
from minilm.recipes import conll, roles
from minilm.recipes.tag import Tag, bracketed

SMALL = {"steps": 120, "embedding_size": 24, "hidden_size": 24, "character_size": 8, "lr": 8e-3, "dropout": 0.1}


def test_sentences_repeat_and_need_their_shape():
    made = roles.sentences(3, 800)
    assert made == roles.sentences(3, 800) != roles.sentences(4, 800)
    assert all(len(words) == len(tags) and entities.spans(tags) for words, tags in made)
    kinds = {span.kind for _, tags in made for span in entities.spans(tags)}
    assert kinds == {"AGENT", "ACTION", "PATIENT", "RECIPIENT", "INSTRUMENT", "PLACE", "TIME"}
    roles_of_cook = {tag for words, tags in made for word, tag in zip(words, tags, strict=True) if word == "cook"}
    assert {"I-AGENT", "I-RECIPIENT", "I-PATIENT"} <= roles_of_cook


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "characters": False, "steps": 200}])
def test_roles_are_found(tmp_path, options):
    recipe = Tag(**{**SMALL, **options})
    result = recipe.run(out=tmp_path, progress=False)
    assert result.metrics["f1"] > 0.9 > 0.7 > result.chance > 0.3
    assert set(result.metrics) >= {"f1", "precision", "recall", "accuracy", "f1_AGENT"}
    again = recipes.open_run(tmp_path)
    right = [(text, given) for text, wanted, given in result.samples if given == wanted]
    assert len(right) >= 3 and all(again.answer(text) == given for text, given in right)
    assert again.answer(" ") == ""


def test_a_single_word_and_letters_never_seen():
    recipe = Tag(**{**SMALL, "steps": 2})
    recipe.run(progress=False)
    assert recipe.tags([["Ω"], ["the", "cook"], ["x" * 200]])[1:][0][0] in recipe.facts["tags"]
    for tags in recipe.tags([["I"] * 40]):  # whatever the model thinks, no entity goes on that did not begin
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert tag[0] != "I" or (before[0] in "BI" and before[2:] == tag[2:])


def test_brackets():
    assert bracketed(["a", "b", "c", "d"], ["B-X", "B-X", "I-X", "O"]) == "[X a] [X b c] d"


def test_followers():
    tags = ["O", "B-X", "I-X", "I-Y"]
    allowed = entities.followers(tags, [("O", "I-Y")])
    assert allowed[:, :2].all()
    np.testing.assert_array_equal(allowed[:, 2], [False, True, True, False, False])  # the last: the beginning
    np.testing.assert_array_equal(allowed[:, 3], [True, False, False, True, False])
    assert entities.followers(tags, [("", "I-X")])[-1, 2]


# --- files -----------------------------------------------------------------------------------------------------------

TEXT = """-DOCSTART- -X- O

Ada NNP B-PER
Lovelace NNP I-PER
wrote VBD O

# a comment
Bonn NNP B-LOC
"""


def test_conll(tmp_path):
    (tmp_path / "train.txt").write_text(TEXT)
    (tmp_path / "testa.txt").write_text("nothing")
    (tmp_path / "valid.txt").write_text("Ada\tNNP\tB-PER\r\n \t \r\nin Bonn\tNNP\tO")
    train, validation = conll.read(tmp_path)
    assert train == [(("Ada", "Lovelace", "wrote"), ("B-PER", "I-PER", "O")), (("Bonn",), ("B-LOC",))]
    assert validation == [(("Ada",), ("B-PER",)), (("in Bonn",), ("O",))]
    (tmp_path / "one.conll").write_text("a O\n\n" * 20)
    train, validation = conll.read(tmp_path / "one.conll")
    assert len(train) == 18 and len(validation) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a O\nb\n", "one.txt:2: one column, 'b'; wanted a word and, in the last column, its tag"),
        ("a NN O\nb O\n", "one.txt:2: 2 columns, wanted 3 as in line 1: 'b O'"),
        ("a O\n\nb NN\n", "one.txt:3: the tag 'NN'; wanted O, or B-"),
        ("a\tO\n\tO\n", "one.txt:2: the first column is empty; wanted a word"),
    ],
)
def test_wrong_files_are_told_with_their_line(tmp_path, capsys, text, says):
    (tmp_path / "one.txt").write_text(text)
    with pytest.raises(ValueError) as caught:
        conll.read(tmp_path / "one.txt")
    assert says in str(caught.value)
    argv = ["recipe", "tag", "--data", str(tmp_path / "one.txt"), "--quiet", "--out", str(tmp_path / "run")]
    assert cli.main(argv) == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("split", ["own", "given"])
def test_a_tag_that_only_validation_has_counts_as_an_error(tmp_path, capsys, split):
    train, rare = "a O\nc B-Y\n\n" * 9, "a O\nb B-X\n"
    if split == "own":
        (tmp_path / "all.txt").write_text(train + rare)
    else:
        (tmp_path / "train.txt").write_text(train)
        (tmp_path / "dev.txt").write_text(rare)
    data = tmp_path / "all.txt" if split == "own" else tmp_path
    sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    assert cli.main(["recipe", "tag", "--data", str(data), "--out", str(tmp_path / "run"), "--json", *sets, "--steps", "4"]) == 0
    captured = capsys.readouterr()
    metrics = json.loads(captured.out)["metrics"]
    assert metrics["f1"] == 0.0 and metrics["accuracy"] <= 0.5
    line = "1 of 2 tags for validation count as errors, since the part for training does not have them: 'B-X'\n"
    assert captured.err.count(line) == 1


def test_real_data_train(tmp_path):
    lines = []
    for words, tags in roles.sentences(5, 120):
        lines += [f"{word} x {tag}" for word, tag in zip(words, tags, strict=True)] + [""]
    (tmp_path / "all.bio").write_text("\n".join(lines))
    result = Tag(**{**SMALL, "steps": 60}).run(tmp_path / "all.bio", progress=False)
    assert result.metrics["f1"] > 0.3 and len(result.samples) == 6
