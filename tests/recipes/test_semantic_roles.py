"""The recipe roles: a small run whose answers follow the predicate, PropBank's columns, and files that are wrong."""

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.recipes import propositions
from minilm.recipes.semantic_roles import SemanticRoles

SMALL = {"embedding_size": 24, "hidden_size": 24, "character_size": 8, "lr": 8e-3, "dropout": 0.1}
TEXT = """\
doc 0 0 Ada NNP (TOP* - - (ARG0*) *
doc 0 1 cut VBD * cut cut.01 (V* *
doc 0 2 off RP * - - *) *
doc 0 3 talks NNS * talk talk.01 (ARG1*) (V*)
doc 0 4 today RB *) - - * (ARGM-TMP*)

doc 1 0 Yes UH * - -
"""


def test_roles_are_those_of_the_predicate(tmp_path):
    recipe = SemanticRoles(**SMALL)
    result = recipe.run(out=tmp_path, steps=250, progress=False)
    assert result.metrics["f1"] > 0.85 > 0.4 > result.chance
    assert "f1_V" not in result.metrics and result.metrics["f1_PATIENT"] > 0.8
    again = recipes.open_run(tmp_path)
    first = again.answer("The cook *hid* a lamp and the pilot washed a ring.")
    other = again.answer("The cook hid a lamp and the pilot *washed* a ring.")
    assert first == "[AGENT The cook] [V hid] [PATIENT a lamp] and the pilot washed a ring ."
    assert other == "The cook hid a lamp and [AGENT the pilot] [V washed] [PATIENT a ring] ."
    assert again.answer("The cook hid a lamp and the pilot washed a ring.").split("\n") == [first, other]
    assert again.answer("a lamp") == ""
    with pytest.raises(ValueError, match="asterisks come in pairs"):
        again.answer("The cook *hid a lamp")


def test_the_mark_is_the_predicate_s():
    recipe = SemanticRoles(**SMALL)
    examples = [propositions.Proposition(tuple("abc"), ("O", "B-V", "O"), (1,)), propositions.Proposition(("a",), ("B-V",), (0,))]
    recipe.prepare(examples)
    np.testing.assert_array_equal(recipe._inputs(examples)[3], [[0, 1, 0], [1, 0, 0]])
    assert recipe.facts["predicates"] == ["b"]  # a is one in one of two sentences


def test_propbank_s_columns(tmp_path):
    (tmp_path / "train.conll").write_text(TEXT)
    (tmp_path / "dev.conll").write_text(TEXT)
    train, dev = SemanticRoles().read(tmp_path)
    words = ("Ada", "cut", "off", "talks", "today")
    wanted = [
        (words, ("B-ARG0", "B-V", "I-V", "B-ARG1", "O"), (1, 2)),
        (words, ("O", "O", "O", "B-V", "B-ARGM-TMP"), (3,)),
    ]
    assert train == dev == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("d 0 0 a NN * - -\nd 0 1 b\n", "one.conll:2: 4 columns, wanted 8 as in the sentence's first line"),
        ("d 0 0 a NN * - - (V*)\nd 0 1 b NN * - - *)\n", "one.conll:2: '*)' in column 9; wanted *"),
        ("d 0 0 a NN * - - (V*\nd 0 1 b NN * - - (A*)\n", "one.conll:2: '(A*)' in column 9"),
        ("d 0 0 a NN * - - (V*)\nd 0 1 b NN * - - (A*\n", "one.conll:2: the bracket of A is not closed in column 9"),
        ("d 0 0 a NN * - - (A*)\n", "one.conll:1: there is no predicate, (V*) in column 9"),
        ("d 0 0 a NN * - -\n", "there are no predicates in it"),
    ],
)
def test_wrong_files_are_told_with_their_line(tmp_path, capsys, text, says):
    (tmp_path / "one.conll").write_text(text)
    argv = ["recipe", "roles", "--data", str(tmp_path / "one.conll"), "--quiet", "--out", str(tmp_path / "run")]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
