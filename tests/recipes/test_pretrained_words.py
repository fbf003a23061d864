"""Recipes whose words start from somebody else's vectors: what is in the model, what is learned of it, and what is refused."""

import json

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.models import WordVectors
from minilm.recipes import folder as files
from minilm.recipes.replay import replay
from minilm.weights import TensorFile

RNG = np.random.default_rng(5)
E = 12
WORDS = ["the", "Good", "good", "Berlin", "film", "splendid", "dreadful", "<unk>", "song", "rare"]  # the commonest first
VECTORS = 2 * RNG.standard_normal((len(WORDS), E)).astype(np.float32)
OF = dict(zip(WORDS, VECTORS, strict=True))
TEXTS = [("the good film", "1"), ("a bad film", "0"), ("Berlin is bad", "0"), ("is the rare Film good", "1")]
TAGGED = "the O\ngood O\nfilm B-X\n\na O\nbad O\nfilm B-X\n\nBerlin B-Y\nis O\nrare O\n\n"  # the tenth is the first again


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "vectors.txt"
    lines = (f"{word} {' '.join(map(str, row))}\n" for word, row in OF.items())
    path.write_text("".join(lines))
    return path


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "reviews.tsv"
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in TEXTS * 10))
    return path


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(files, "_plot", lambda *_: None)


def sentiment(glove, **options):
    return recipes.load("sentiment")(vectors=str(glove), hidden_size=4, batch=8, steps=6, **options)


def row(recipe, word):
    """What the model's table has for a word."""
    id = recipe.vocabularies["words"].token_to_id(word)
    table = recipe.model.embedding
    return table.forward(np.array([id]))[0][0]


def test_words_start_from_the_file(glove, data):
    recipe = sentiment(glove, lr=1e-30, vectors_most=6)
    recipe.run(data, progress=False)
    for word, stored in {"good": "good", "berlin": "Berlin", "film": "film", "rare": "rare", "splendid": "splendid"}.items():
        np.testing.assert_array_equal(row(recipe, word), OF[stored])  # its own spelling, or else the commonest other one
    words = recipe.vocabularies["words"]
    assert "dreadful" not in words.vocabulary  # beyond vectors_most, and in no text
    assert not row(recipe, "<unk>").any()
    assert recipe.options["embedding_size"] == E
    others = np.array([row(recipe, word) for word in ("a", "bad", "is")])
    assert 1.2 < others.std() < 2.8  # as the file's, whose deviation is 2
    assert words.vocabulary[-1] == "splendid" and recipe.model.embedding.fixed_words == 1


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_learned(glove, data, frozen):
    recipe = sentiment(glove, freeze_vectors=frozen, lr=0.1, weight_decay=0.1, average=0.5)
    recipe.run(data, progress=False)
    moved = not np.array_equal(row(recipe, "good"), OF["good"])
    assert moved is not frozen
    np.testing.assert_array_equal(row(recipe, "dreadful"), OF["dreadful"])  # of no text: it stays


def test_a_word_that_no_text_has_is_known(glove, data):
    recipe = sentiment(glove, lr=0.02)
    recipe.run(data, steps=40, progress=False)
    p = recipe.probabilities(["splendid", "dreadful", "zzz", "qqq"])
    np.testing.assert_array_equal(p[2], p[3])  # unknown
    assert not np.array_equal(p[0], p[2]) and not np.array_equal(p[0], p[1])
    without = sentiment(glove, vectors_most=0)
    without.run(data, progress=False)
    assert without.model.embedding.fixed is None


def test_a_run_needs_the_file_no_more(glove, data, tmp_path):
    """Stopped, gone on with and opened without the file; the bits are those of one that did not stop."""
    recipe = sentiment(glove, average=0.9, dropout=0.1)
    whole = recipe.run(data, out=tmp_path / "whole", progress=False)
    sentiment(glove, average=0.9, dropout=0.1).run(data, out=tmp_path / "run", steps=6, progress=False)
    assert replay(tmp_path / "run").fault is None
    with TensorFile(tmp_path / "run" / "optimizer.safetensors") as optimizer:
        assert len(optimizer) > 5 and not any("fixed" in name for name in optimizer)  # fixed words cost no state
    stored = glove.read_bytes()
    glove.unlink()
    again = recipes.open_run(tmp_path / "run")
    text = "a splendid song"
    assert again.answer(text) == recipe.answer(text)
    assert again.explain(text).pieces == text.split()
    more = recipes.load("sentiment")().run(out=tmp_path / "run", resume=True, steps=9, progress=False)
    glove.write_bytes(stored)
    straight = sentiment(glove, average=0.9, dropout=0.1).run(data, out=tmp_path / "straight", progress=False)
    assert straight.metrics == whole.metrics and more.steps == 9
    recipes.load("sentiment")().run(out=tmp_path / "straight", resume=True, steps=9, progress=False)
    for name in ("model.safetensors", "tokenizer.words.json"):
        assert (tmp_path / "straight" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "binary"), [("tag", False), ("pos", True), ("roles", False), ("intents", True), ("extract", True)]
)
def test_every_recipe_of_words(tmp_path, name, binary):
    vectors = tmp_path / "more.bin"
    words = ["the", "cook", "gave", "Monday", "weather", "quarterly"]
    rows = RNG.standard_normal((len(words), E)).astype(np.float32)
    WordVectors(words, rows).save_binary(vectors) if binary else WordVectors(words, rows).save_text(vectors)
    more = {"examples": 20} if name == "extract" else {}
    recipe = recipes.load(name)(vectors=str(vectors), steps=1, lr=1e-30, hidden_size=4, freeze_vectors=binary, **more)
    recipe.run(progress=False, out=tmp_path / "run")
    again = recipes.open_run(tmp_path / "run")
    for each in (recipe, again):
        np.testing.assert_array_equal(row(each, "the"), rows[0])
        np.testing.assert_array_equal(row(each, "monday"), rows[3])
        np.testing.assert_array_equal(row(each, "quarterly"), rows[5])
    assert again.answer("the cook *gave* plums" if name == "roles" else "the cook gave plums") is not None


def test_a_reader_of_passages(tmp_path):
    vectors = tmp_path / "more.txt"
    words = ["the", "Anna", "garden", "zebra", "quarterly"]
    rows = RNG.standard_normal((len(words), E)).astype(np.float32)
    WordVectors(words, rows).save_text(vectors)
    recipe = recipes.load("answer")(model="reader", vectors=str(vectors), steps=1, lr=1e-30, hidden_size=4, examples=30)
    recipe.run(progress=False, out=tmp_path / "run")
    again = recipes.open_run(tmp_path / "run")
    for each in (recipe, again):
        table, known = each.model.embedding, each.vocabularies["words"]
        for word, wanted in zip(("the", "anna", "garden", "zebra", "quarterly"), rows, strict=True):
            np.testing.assert_array_equal(table.forward(np.array([1 + known.token_to_id(word)]))[0][0], wanted)
        assert not table.weight.value[0].any() and table.weight.value[1].any()  # padding; a word that is unknown learns
    text = "The zebra is quarterly. Anna went to the garden. Where is Anna?"
    assert again.answer(text) == recipe.answer(text) != ""
    with pytest.raises(ValueError, match="that model='reader' reads, got a model of the kind 'memory'"):
        recipes.load("answer")(vectors=str(vectors), steps=1, examples=30).run(progress=False)


def test_a_tagger_knows_words_of_the_file_that_are_rare_in_training(glove, tmp_path):
    (tmp_path / "tagged.txt").write_text(TAGGED * 4)
    recipe = recipes.load("pos")(vectors=str(glove), min_count=99, characters=False, steps=1)
    result = recipe.run(tmp_path / "tagged.txt", progress=False)
    assert recipe.word_sizes()[0] == 1 + len({"the", "good", "film", "berlin", "rare"})  # 'a', 'bad' and 'is' have no vectors
    assert "accuracy_unknown" not in result.metrics  # every word of the last sentence was in training


def test_how_much_is_covered_is_said(glove, data, capsys):
    assert cli.main(["recipe", "sentiment", "--data", str(data), "--set", f"vectors={glove}", "--steps", "1"]) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if "vectors.txt" in line)
    assert "vectors of 5 of the 8 different words for training" in line and "3 further words are known" in line


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["vectors=vectors.txt", "embedding_size=64"], "embedding_size must be that of the vectors in"),
        (["vectors=reviews.tsv"], "is no number; wanted a word and"),
        (["vectors=other.txt"], "none of the 8 words of the data has a vector there"),
        (["vectors=nowhere.txt"], "nowhere.txt"),
        (["vectors=3"], "vectors must be the path of a file"),
        (["vectors_most=5"], "vectors_most is of the file that vectors=FILE names, and there is none"),
        (["freeze_vectors=true"], "freeze_vectors is of the file that vectors=FILE names, and there is none"),
        (["vectors=vectors.txt", "model=words", "freeze_vectors=true"], "freeze_vectors with model='words' needs ngrams=1"),
        (["vectors=vectors.txt", "model=bert", "encoder=x"], "vectors are of words"),
    ],
)
def test_what_is_refused(glove, data, tmp_path, capsys, settings, wanted):
    (tmp_path / "other.txt").write_text("ja 1 2\nnein 3 4\n")
    sets = [word for each in settings for word in ("--set", each)]
    assert cli.main(["recipe", "sentiment", "--data", str(data), "--steps", "1", *sets]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert wanted in lines[-1] and len([line for line in lines if line.startswith("minilm:")]) == 1


def test_a_resumed_run_keeps_its_vectors(glove, data, tmp_path, capsys):
    sentiment(glove).run(data, out=tmp_path / "run", progress=False)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["vectors"] == str(glove) and config["facts"]["vectors"]["further"] == 3
    with pytest.raises(ValueError, match="vectors is"):
        recipes.load("sentiment")(vectors=str(data)).run(out=tmp_path / "run", resume=True, progress=False)


def test_large_data_are_read_by_more_states_where_words_start_from_vectors(glove):
    for options, size in (({"vectors": str(glove)}, 150), ({}, 100), ({"vectors": str(glove), "hidden_size": 7}, 7)):
        recipe = recipes.load("sentiment")(**options)
        recipe.adapt(range(20_000))
        assert recipe.options["hidden_size"] == size
