"""The recipe sentiment: small runs of every model, its data, and files that are wrong."""

import dataclasses
import json
import os

import numpy as np
import pytest

from minilm import cli, models, recipes, tokenizers
from minilm.recipes import cutting, labelled, reviews
from minilm.recipes.sentiment import Sentiment

SMALL = {"steps": 450, "embedding_size": 32, "hidden_size": 32, "lr": 4e-3, "dropout": 0.1}


def test_reviews_are_balanced_and_repeat():
    made = reviews.reviews(3, 1500)
    assert made == reviews.reviews(3, 1500) != reviews.reviews(4, 1500)
    assert len({text for text, _ in made}) == 1500
    assert 0.4 < np.mean([label == "positive" for _, label in made]) < 0.6
    assert {"not", "but", "although"} <= {word for text, _ in made for word in text.split()}


@pytest.mark.parametrize(
    "text", ["It isn't Anna's (well-made) film...", "it 's a charming and often affecting journey .", "ca n't"]
)
def test_words_are_cut_as_in_treebanks(text):
    words = cutting.words(text)
    assert cutting.words(" ".join(words)) == words
    assert (
        words
        == {
            "I": ["It", "is", "n't", "Anna", "'s", "(", "well-made", ")", "film", "..."],
            "i": text.split(),
            "c": ["ca", "n't"],
        }[text[0]]
    )


@pytest.mark.parametrize("model", ["lstm", "gru"])
def test_recurrent_models_read_the_order(tmp_path, model):
    recipe = Sentiment(model=model, **SMALL)
    result = recipe.run(out=tmp_path, progress=False)
    assert result.metrics["accuracy"] > 0.9 > 0.6 > result.chance
    again = recipes.open_run(tmp_path)
    assert again.answer("the plot isn't dull at all") == recipe.answer("the plot isn't dull at all")
    assert again.answer("the music is lovely , but I hated the plot .").startswith("negative (")
    assert " by " in again.answer("superb") and again.answer("").startswith(("negative", "positive"))
    weights = recipe.weights("the plot is dull")
    assert [word for word, _ in weights] == ["the", "plot", "is", "dull"] and sum(w for _, w in weights) == pytest.approx(
        1, abs=1e-5
    )
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert {sample.label for sample in recipe.generate(0)[1]} == {wanted for _, wanted, _ in result.samples}


def test_counting_words_beats_a_guess():
    counting = {"model": "words", "hidden_size": 0, "steps": 300, "lr": 1e-2, "dropout": 0.0}
    words, triples = (Sentiment(ngrams=n, **counting).run(progress=False) for n in (1, 3))
    assert words.chance + 0.02 < words.metrics["accuracy"] < triples.metrics["accuracy"] - 0.03 < 0.75  # the order is the rest


def encoder(folder, words=("good", "bad", "film", "very", "a", "is", "not")):
    """A small BERT that knows nothing, in Hugging Face's layout."""
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words,
        *"abcdefghijklmnopqrstuvwxyz.,!'",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocabulary = list(dict.fromkeys(vocabulary))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = models.BERTConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)
    models.BERT(config, seed=1).save_pretrained(folder)
    tokenizers.WordPiece(vocabulary).save_vocabulary(os.path.join(folder, "vocab.txt"))
    return str(folder)


def write(folder, rows, name="train.tsv"):
    (folder / name).write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")


def corpus(folder, count=200):
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        label = int(rng.integers(2))
        rows.append(
            (" ".join(rng.permutation(["a", "film", "is", ("bad", "good")[label], *["very"] * int(rng.integers(3))])), label)
        )
    write(folder, rows)
    write(folder, rows[:40], "dev.tsv")
    return str(folder)


@pytest.mark.parametrize("options", [{}, {"pooling": "cls"}, {"freeze": True, "lr": 0.05}])
def test_a_pretrained_encoder(tmp_path, options):
    folder = encoder(tmp_path / "bert")
    given = {"model": "bert", "encoder": folder, "lr": 3e-3, "steps": 60, "batch": 16, "dropout": 0.0, **options}
    recipe = Sentiment(**given)
    result = recipe.run(corpus(tmp_path / "data"), out=tmp_path / "run", progress=False)
    assert result.metrics["accuracy"] > max(0.7, result.chance)
    before, after = models.BERT.from_pretrained(folder).parameters, recipe.model.bert.parameters
    same = all(np.array_equal(before[name], value) for name, value in after.items())
    assert same == options.get("freeze", False)
    os.rename(folder, folder + "-gone")  # the run is whole without it
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("a very good film") == recipe.answer("a very good film")
    assert again.model.config == dataclasses.replace(recipe.model.config)


def test_wrong_settings(tmp_path):
    with pytest.raises(ValueError, match="encoder=FOLDER"):
        Sentiment(model="bert")
    with pytest.raises(ValueError, match="model='bert', got model='lstm'"):
        Sentiment(encoder="somewhere")
    with pytest.raises(ValueError, match="'words', 'lstm', 'gru', 'bert'"):
        Sentiment(model="cnn")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Sentiment(model="bert", encoder=str(tmp_path / "none")).run(progress=False)


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_and_folders(tmp_path):
    rows = [(f"text {n}", n % 3) for n in range(30)]
    write(tmp_path, rows, "all.tsv")
    train, validation = labelled.read(tmp_path / "all.tsv")
    assert len(train) == 27 and [each.text for each in validation] == ["text 9", "text 19", "text 29"]
    write(tmp_path, rows)
    write(tmp_path, [("more", 2)], "dev.tsv")
    train, validation = labelled.read(tmp_path)
    assert len(train) == 30 and validation == [("more", "2")]
    (tmp_path / "other.tsv").write_bytes(b"\xef\xbb\xbflabel\tid\tsentence\r\nx\t1\ta b\r\ny\t2\tc\r\n")
    assert labelled.read(tmp_path / "other.tsv")[0] == [("a b", "x"), ("c", "y")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"sentence\tlabel\ngood\t1\nbad 0\n", r"train.tsv:3: 1 columns, wanted 2 separated by tabs.*'bad 0'"),
        (b"sentence\tlabel\ngood\t1\n\nbad\t0\n", r"train.tsv:3: an empty line"),
        (b"sentence\tlabel\ngood\t\nbad\t0\n", r"train.tsv:2: the column 'label' is empty"),
        (b"sentence\tlabel\ngood\t1\n \t0\n", r"train.tsv:3: the column 'sentence' is empty"),
        (b"good\t1\nbad\t0\n", r"train.tsv:1: the header has the columns 'good, 1'; wanted 'sentence' and 'label'"),
        (b"sentence\tlabel\ngood\t1\nb\xffd\t0\n", r"train.tsv:3: byte 2 of the line is not UTF-8"),
        (b"sentence\tlabel\ngood\t1\nbetter\t1\n", r"every label is '1'; wanted at least two"),
        (b"", r"the file is empty"),
    ],
)
def test_wrong_files_are_told_with_their_line(tmp_path, capsys, content, says):
    (tmp_path / "train.tsv").write_bytes(content)
    write(tmp_path, [("fine", 1)], "dev.tsv")
    with pytest.raises(ValueError, match=says):
        labelled.read(tmp_path)
    assert cli.main(["recipe", "sentiment", "--data", str(tmp_path), "--quiet", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("split", ["own", "given"])
def test_a_label_that_only_validation_has_counts_as_an_error(tmp_path, capsys, split):
    train = [("good", 1), ("bad", 0)] * 4 + [("fine", 1)]
    if split == "own":
        write(tmp_path, [*train, ("so so", "2")], "all.tsv")
    else:
        write(tmp_path, train)
        write(tmp_path, [("so so", "2")], "dev.tsv")
    data = str(tmp_path / "all.tsv" if split == "own" else tmp_path)
    argv = ["recipe", "sentiment", "--data", data, "--out", str(tmp_path / "run"), "--json", "--steps", "4"]
    assert cli.main([*argv, "--set", "hidden_size=8"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["accuracy"] == 0.0
    line = "1 of 1 labels for validation count as errors, since the part for training does not have them: '2'\n"
    assert captured.err.count(line) == 1


def test_a_part_that_is_missing_is_told(tmp_path):
    write(tmp_path, [("good", 1), ("bad", 0)])
    with pytest.raises(ValueError, match="no validation part; wanted a file dev"):
        labelled.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        labelled.read(tmp_path / "missing.tsv")


def test_the_command_measures_real_data(tmp_path, capsys):
    data = corpus(tmp_path / "data")
    argv = ["recipe", "sentiment", "--data", data, "--out", str(tmp_path / "run"), "--quiet", "--json", "--steps", "60"]
    assert cli.main([*argv, "--set", "model=gru", "--set", "hidden_size=8", "--set", "lr=0.01"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["accuracy"] == 1.0 > found["chance"]
