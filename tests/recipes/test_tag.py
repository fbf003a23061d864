"""The recipe tag: a small run, its data, and files that are wrong."""

import json
import os

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.metrics import entities
from minilm.recipes import conll, roles
from minilm.recipes.tag import Tag, bracketed

WORDS = {"steps": 120, "embedding_size": 24, "hidden_size": 24, "lr": 8e-3, "dropout": 0.1}
SMALL = {**WORDS, "character_size": 8}


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
    recipe = Tag(**{**(SMALL if options.get("characters", True) else WORDS), **options})
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


# --- the kinds of files that call themselves CoNLL -------------------------------------------------------------------


def whole(path, **options):
    """All sentences, with the words as one text."""
    train, validation = conll.read(path, **options)
    return [(" ".join(sentence.words), " ".join(sentence.tags)) for sentence in train + validation]


GERMEVAL = "#\thttp://example.org\t[2009-10-17]\n1\tSchartau\tB-PER\tO\n2\tsagte\tO\tO\n3\tdem\tO\tO\n\n1\tTU\tB-ORG\tO\n2\tBerlin\tI-ORG\tB-LOC\n"


def test_a_first_column_of_numbers_and_two_levels(tmp_path):
    """GermEval 2014: the words were read as 1, 2, 3 and the inner tags as all there are."""
    path = tmp_path / "NER-de-train.tsv"
    path.write_text(GERMEVAL.replace("B-LOC", "B-ORG"))
    with pytest.raises(ValueError, match=r"train\.tsv:2: columns 3 and 4 both hold tags of ORG; the setting tag_column"):
        conll.read(path)
    assert whole(path, tag_column=3) == [("Schartau sagte dem", "B-PER O O"), ("TU Berlin", "B-ORG I-ORG")]
    assert whole(path, tag_column=4)[1] == ("TU Berlin", "O B-ORG")
    assert whole(path, word_column=1, tag_column=3)[1][0] == "1 2"
    path.write_text(GERMEVAL.replace("B-LOC", "O"))  # a level that is not used at all
    with pytest.raises(ValueError, match="columns 3 and 4 both hold tags of ORG, PER"):
        conll.read(path)
    path.write_text("1\ta\tB-X\nb\tc\tO\n3\td\tO\n")
    with pytest.raises(ValueError, match=r":2: 'b' in the first column; wanted the word's number"):
        conll.read(path)
    path.write_text("1-1\ta\tB-X\n1-2\tb\tO\n")
    with pytest.raises(ValueError, match=r":1: the first column holds numbers; the setting word_column"):
        conll.read(path)


def test_chunks_beside_entities_are_no_levels(tmp_path):
    """CoNLL 2003 has chunks before the entities: the last column is meant."""
    path = tmp_path / "eng.train"
    path.write_text("U.N. NNP I-NP I-ORG\nofficial NN I-NP O\n\n1996-08-22 CD I-NP O\n")
    assert whole(path) == [("U.N. official", "I-ORG O"), ("1996-08-22", "O")]


def test_conll_u(tmp_path):
    row = "{}\t{}\t_\tNOUN\t_\t_\t0\troot\t_\t{}\n"
    path = tmp_path / "a.conllu"
    path.write_text("# text = au lit I\n" + row.format("1-2", "au", "_") + row.format(1, "à", "B-X") + row.format(2, "le", "O")
                    + row.format("2.1", "x", "_") + row.format(3, "lit", "O"))  # fmt: skip
    assert whole(path) == whole(path, word_column=2) == [("à le lit", "B-X O O")]
    with pytest.raises(ValueError, match=r":3: the tag 'NOUN'; wanted O, .*word_column and tag_column"):
        conll.read(path, tag_column=4)
    for wrong, says in (({"tag_column": 11}, r":2: 10 columns, so tag_column must lie in \[1, 10\], got 11"),
                        ({"word_column": 4, "tag_column": 4}, "must differ"), ({"tag_column": "x"}, "whole number")):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=says):
            conll.read(path, **wrong)


def test_docstart_line_ends_blanks_and_comments(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a O\n-DOCSTART- -X- O\nb B-X\n")  # without an empty line before it
    assert whole(path) == [("a", "O"), ("b", "B-X")]
    path.write_bytes(b"a O\rb B-X\r\rc O\r")
    assert whole(path) == [("a b", "O B-X"), ("c", "O")]
    path.write_bytes(b"a O\nb\rO\n")
    with pytest.raises(ValueError, match=":2: a carriage return inside the line"):
        conll.read(path)
    path.write_text("10\u00a0000 O\nkm B-X\n\n\u3000 O\n")  # blanks that are parts of words
    assert whole(path) == [("10\u00a0000 km", "O B-X"), ("\u3000", "O")]
    path.write_text("# text = Say I\n# O\na O\n\n#tag O\n")
    assert whole(path) == [("# a", "O O"), ("#tag", "O")]
    path.write_text("a O\n\n#tag\n")  # was left out in silence
    with pytest.raises(ValueError, match=":3: one column, '#tag'"):
        conll.read(path)


def test_tags_without_types_and_bmes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{letter} {tag}\n" for letter, tag in zip("abcdef", "BMESBE", strict=True)))
    assert whole(path) == [("a b c d e f", "B M E S B E")]
    assert entities.spans(list("BMESBE")) == [("_", 0, 3), ("_", 3, 4), ("_", 4, 6)]
    typed = ["B-NAME", "M-NAME", "E-NAME", "O", "S-RACE"]
    assert entities.spans(typed) == [("NAME", 0, 3), ("RACE", 4, 5)]
    assert entities.spans(["B", "I", "O", "I", "B-X"]) == [("_", 0, 2), ("_", 3, 4), ("X", 4, 5)]
    scores = entities.entity_scores([["B", "I", "O", "B-X"]], [["B", "I", "O", "O"]])
    assert scores[""].recall == 0.5 and scores["_"].recall == 1
    allowed = entities.followers(["B", "M", "E", "S"])
    np.testing.assert_array_equal(allowed[:, 1], [True, True, False, False, False])
    assert not entities.is_tag("B-") and not entities.is_tag("") and not entities.is_tag("X")
    assert bracketed(["a", "b"], ["B", "E"]) == "[_ a b]"


def test_real_files():
    """CoNLL-2000, WNUT 2017 and English-EWT as they are published."""
    folder = os.environ.get("MINILM_TEST_CORPORA")
    if not folder:
        pytest.skip("MINILM_TEST_CORPORA names no folder with the public texts")
    found = whole(os.path.join(folder, "conll2000", "test.txt.gz"), bad_rows=conll.REFUSE)
    assert len(found) == 2012 and sum(len(words.split()) for words, _ in found) == 47377
    found = whole(os.path.join(folder, "wnut17", "emerging.dev.conll"))
    assert len(found) == 1009 and all(len(words.split(" ")) == len(tags.split()) for words, tags in found)
    with pytest.raises(ValueError, match=r"dev\.conllu\.gz:5: the tag '_'; .*word_column and tag_column"):
        conll.read(os.path.join(folder, "ewt", "dev.conllu.gz"))
    with pytest.raises(ValueError, match=r"dev\.conll\.gz:1: 9 columns, wanted 11"):
        conll.read(os.path.join(folder, "srl", "dev.conll.gz"))


@pytest.mark.parametrize(("count", "steps", "word_dropout"), [(40, 500, 0.1), (1200, 2000, 0.3), (9000, 3000, 0.1)])
def test_more_sentences_are_learned_from_for_longer(tmp_path, count, steps, word_dropout):
    (tmp_path / "one.txt").write_text("a B-X\n\n" * count)
    recipe = Tag()
    train, _ = recipe.read(tmp_path / "one.txt")
    recipe.adapt(train)
    assert (recipe.options["steps"], recipe.options["word_dropout"]) == (steps, word_dropout)


# --- features of words -----------------------------------------------------------------------------------------------


def featured(folder, count=60):
    """Sentences of words that say nothing, whose second column alone tells the tag."""
    rng, lines = np.random.default_rng(0), []
    for _ in range(count):
        pairs = zip("abc", rng.choice(["N", "V"], 3), strict=True)
        lines += [*(f"{word} {feature} {'B-X' if feature == 'N' else 'O'}" for word, feature in pairs), ""]
    (folder / "data.txt").write_text("\n".join(lines))
    return folder / "data.txt"


def test_a_column_of_features_is_read(tmp_path):
    data = featured(tmp_path)
    recipe = Tag(**{**WORDS, "steps": 60}, feature_column=2, feature_size=6, characters=False)
    result = recipe.run(data, out=tmp_path / "run", progress=False)
    assert result.metrics["f1"] == 1 and recipe.facts["features"] == ["N", "V"]
    assert Tag(**{**SMALL, "steps": 60}).run(data, progress=False).metrics["f1"] < 0.9  # the words alone do not tell
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("a/V b/N c/?") == recipe.answer("a/V b/N c/?") and again.answer(" ") == ""
    assert again.answer("x/V and/or/N").endswith("[X and/or]")
    assert again.explain("a/V b/N").answer
    for text in ("a b", "a/V /N", "a/"):
        with pytest.raises(ValueError, match="wanted each word with its feature, as in 'Ada/NNP wrote/VBD', got"):
            again.answer(text)
    with pytest.raises(ValueError, match="feature_column"):
        again.tags([["a"]])


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (1, "another than that of the words, got 1"),
        (3, "another than that of the tags, got 3"),
        (4, "must lie in \\[1, 3\\], got 4"),
    ],
)
def test_a_wrong_column_of_features(tmp_path, column, says):
    with pytest.raises(ValueError, match=f"data.txt:1: .*feature_column.*{says}"):
        Tag(feature_column=column).read(featured(tmp_path))
    (tmp_path / "data.txt").write_text("a\tN\tO\nb\t\tO\n")
    with pytest.raises(ValueError, match="data.txt:2: column 2 is empty; wanted a feature, as feature_column says"):
        Tag(feature_column=2).read(tmp_path / "data.txt")
