"""The recipe `vectors`: small, on its generated text and on a text by path."""

import json

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.models import WordVectors
from minilm.recipes import relations, vector_quality


def test_it_finds_the_relations_of_its_text(tmp_path):
    recipe = recipes.load("vectors")(sentences=12_000, size=32, lr=0.05, steps=5)
    result = recipe.run(out=tmp_path / "run", progress=False)
    assert result.metrics["accuracy"] > 0.8 > 10 * result.chance
    assert {"capital", "language", "currency", "female", "plural"} <= set(result.metrics)
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("Paris - france + japan").startswith("tokyo ")
    assert again.answer("cat") == recipe.answer("cat")
    kept = WordVectors.load_text(tmp_path / "run" / "vectors.txt")
    np.testing.assert_array_equal(kept.vectors, recipe.model.input.value)
    assert (tmp_path / "run" / "relations.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"] == result.metrics


def test_cbow_finds_them_too_and_twice_the_same():
    def run():
        recipe = recipes.load("vectors")(sentences=12_000, size=32, algorithm="cbow", lr=0.1, steps=5)
        return recipe.run(progress=False), recipe.model.input.value

    (first, a), (_, b) = run(), run()
    assert first.metrics["accuracy"] > 0.7
    np.testing.assert_array_equal(a, b)


def test_the_text():
    text = relations.sentences(0, 300)
    assert text == relations.sentences(0, 300) != relations.sentences(1, 300)
    words = [word for groups, kinds in relations.KINDS for group in groups for word in group[: len(kinds)]]
    assert len(set(words)) == len(words), "a word belongs to one group"
    own = [word for groups, kinds in relations.KINDS for group in groups for word in group[len(kinds) :]]
    assert not set(own) & set(words)
    asked = relations.questions()
    assert len(asked) == 2 * sum(len(g) * (len(g) - 1) for g, _, _ in relations.RELATIONS.values())
    assert all(len({q.a, q.b, q.c, q.d}) == 4 for q in asked)


def write(tmp_path, sentences=8000):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(sentence).capitalize() + "." for sentence in relations.sentences(3, sentences)))
    return path


def test_a_text_by_path(tmp_path):
    path = write(tmp_path)
    recipe = recipes.load("vectors")(size=16, steps=3, lr=0.05)
    result = recipe.run(path, progress=False)
    assert result.chance == 0.5 and result.metrics["accuracy"] > 0.7
    assert "the" in recipe.vectors and "." not in recipe.vectors.words
    assert len(result.samples) == 12
    asked = tmp_path / "questions.txt"
    capitals = ": capitals\nfrance paris Japan tokyo\ngermany berlin italy rome\n"
    asked.write_text(capitals + ": female\nking queen man woman\nking queen x y\n")
    recipe = recipes.load("vectors")(size=16, steps=3, lr=0.05, questions=str(asked))
    result = recipe.run(path, progress=False)
    assert set(result.metrics) == {"accuracy", "capitals", "female"}
    assert result.chance == pytest.approx((0.5 + 0.5 + 0.5) / 3)


def test_the_commands(tmp_path, capsys):
    options = ["--quiet", "--set", "sentences=3000", "--set", "size=16", "--steps", "2"]
    assert cli.main(["recipe", "vectors", "--out", str(tmp_path / "run"), *options]) == 0
    assert "paris - france + " in capsys.readouterr().out
    assert cli.main(["try", str(tmp_path / "run"), "king - man + woman", "cat"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["try", str(tmp_path / "run"), "kingg"]) == 2
    assert "did you mean 'king'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"one two\n\xff\xfe three\n", {}, "text:2: byte 1 of the line is not UTF-8"),
        (b"\n ... \n", {}, "no words in it"),
        (b"one two three\n", {"min_count": 5}, "min_count=5 times"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, content, options, says):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        recipes.load("vectors")(**options).run(path, progress=False)


def test_questions_that_cannot_be_read(tmp_path):
    path = tmp_path / "questions"
    for content, says in (
        (": a\none two three four\none two three\n", "questions:3: 3 words, wanted four"),
        (": a\n", "no questions"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=says):
            vector_quality.read_questions(path)


def test_questions_outside_the_vocabulary_do_not_cost_the_vectors(tmp_path, capsys):
    path = tmp_path / "questions"
    path.write_text("a b c d\n")
    recipe = recipes.load("vectors")(questions=str(path), size=8, steps=1)
    with pytest.raises(ValueError, match="no validation example"):
        recipe.run(write(tmp_path, 50), out=tmp_path / "run")
    error = capsys.readouterr().err
    assert "1 of 1 examples have a word that is not in the vocabulary" in error and "what was learned is in" in error
    again = recipes.open_run(tmp_path / "run")
    np.testing.assert_array_equal(again.model.input.value, recipe.model.input.value)
