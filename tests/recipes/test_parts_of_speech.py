"""The recipe pos: a small run, any tags, and CoNLL-U."""

import pytest

from minilm import cli, recipes
from minilm.recipes import conll
from minilm.recipes.parts_of_speech import PartsOfSpeech, part_of

SMALL = {"embedding_size": 24, "hidden_size": 24, "character_size": 8, "lr": 8e-3, "dropout": 0.1}
CONLLU = """\
# sent_id = 1
# text = as many fields as there are columns
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tLet\tlet\tVERB\tVB\t_\t0\troot\t_\t_
2\tus\twe\tPRON\tPRP\t_\t1\tobj\t_\t_
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3\t#\t#\tSYM\tNN\t_\t1\tdep\t_\t_

1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
"""


def test_parts_of_speech_are_learned_and_names_are_known_by_their_letters(tmp_path):
    recipe = PartsOfSpeech(**SMALL)
    result = recipe.run(out=tmp_path, steps=100, progress=False)
    assert result.metrics["accuracy"] > 0.97 > 0.5 > result.chance
    assert result.metrics["accuracy_unknown"] > 0.9
    again = recipes.open_run(tmp_path)
    assert again.answer("Bramiko gave the cook a lamp .") == "Bramiko/PROPN gave/VERB the/DET cook/NOUN a/DET lamp/NOUN ./PUNCT"
    assert again.answer("") == ""


def test_words_that_the_model_does_not_know_are_counted_by_themselves():
    recipe = PartsOfSpeech(**SMALL, min_count=2)
    recipe.prepare([conll.Sentence(("a", "a", "b"), ("X", "X", "Y"))])
    examples = [conll.Sentence(("A", "b", "c"), ("X", "Y", "Y"))]
    assert recipe.score([["X", "X", "Y"]], examples) == {"accuracy": pytest.approx(2 / 3), "accuracy_unknown": 0.5}
    assert "accuracy_unknown" not in recipe.score([["X"]], [conll.Sentence(("a",), ("X",))])


def test_every_word_of_the_built_in_sentences_has_a_part():
    train, _ = PartsOfSpeech().generate(0)
    names = {word for example in train for word, tag in zip(example.words, example.tags, strict=True) if tag == "PROPN"}
    assert all(word[0].isupper() for word in names)
    assert part_of("The") == "DET" and part_of("with") == "ADP"


def test_conllu_has_universal_tags_and_the_language_s_own(tmp_path):
    (tmp_path / "train.conllu").write_text(CONLLU)
    (tmp_path / "dev.conllu").write_text(CONLLU)
    (train, other), _ = conll.read(tmp_path, spans=False)
    assert train == (("Let", "us", "#"), ("VERB", "PRON", "SYM")) and other.words == ("Go",)
    assert conll.read(tmp_path, None, 5, spans=False)[0][0].tags == ("VB", "PRP", "NN")
    with pytest.raises(ValueError, match="tag"):  # the recipe tag wants spans
        conll.read(tmp_path, None, 4)


def test_an_empty_tag_is_refused_with_its_line(tmp_path, capsys):
    path = tmp_path / "one.txt"
    path.write_text("a\tX\nb\t\n")
    assert cli.main(["recipe", "pos", "--data", str(path), "--quiet", "--out", str(tmp_path / "run")]) == 2
    assert "one.txt:2: column 2 is empty; wanted a tag" in capsys.readouterr().err
