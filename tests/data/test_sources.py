"""Texts from strings, lists, tables, generators and files; and mixtures of several."""

import io
import os
import pathlib
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm import data, tokenizers

TEXTS = ["one two", "drei\nvier", "", "\u4e94 \U0001f600"]
JOINED = "\n".join(TEXTS)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


class Rows:
    """A Hugging Face dataset, as far as it is looked at."""

    column_names = ["label", "text"]

    def __iter__(self):
        return ({"label": 0, "text": text} for text in TEXTS)


def pandas(make):
    library = pytest.importorskip("pandas")
    return lambda: make(library)


SOURCES = {
    "str": lambda: JOINED,
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, object),
    "dataset": Rows,
    "rows": lambda: [{"text": text} for text in TEXTS],
    "series": lambda: pytest.importorskip("pandas").Series(TEXTS, index=[7, 5, 3, 1]),
    "table": lambda: pytest.importorskip("pandas").DataFrame({"label": range(4), "text": TEXTS}),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_wherever_a_text_comes_from(kind):
    text = data.text(SOURCES[kind]())
    assert "".join(text) == JOINED and text.length == len(JOINED)
    assert text.path == data.text(TEXTS).path and os.listdir(os.path.dirname(text.path)) == [os.path.basename(text.path)]
    tokenizer = tokenizers.Character.train_from_chunks(text)
    assert tokenizer.decode(data.tokens(text, tokenizer)) == JOINED
    train, validation = text.split(0.5)
    assert "".join(train) + "".join(validation) == JOINED


def test_columns_and_separators():
    rows = [{"a": "x", "b": "y"}, {"a": "z", "b": "w"}]
    assert "".join(data.text(rows, column="b", separator="<|end|>")) == "y<|end|>w"
    for source in (rows, pytest.importorskip("pandas").DataFrame(rows)):
        with pytest.raises(ValueError, match="there is no column 'text': give column=, one of a, b"):
            data.text(source)


def test_several_files(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\xff")
    (tmp_path / "b.txt").write_text("two")
    paths = [pathlib.Path("a.txt"), "and", pathlib.Path("b.txt")]
    assert "".join(data.text(paths, "ignore")) == "one\nand\ntwo"
    with pytest.raises(ValueError, match="invalid UTF-8|not UTF-8"):
        list(data.text(paths))
    with pytest.raises(ValueError, match=r"text 0 is the name of a file: pathlib.Path\('a.txt'\) means what is in it"):
        data.text(["a.txt", "b.txt"])


@pytest.mark.parametrize(
    "source, error, message",
    [
        ([], ValueError, "the source is empty"),
        ([""], ValueError, "the source is empty"),
        (["a", 3], TypeError, "a text must be a str, got int 3 at position 1"),
        (["a", b"b"], TypeError, "decode it first"),
        (["a", None], TypeError, "leave the missing ones out"),
        (["a", float("nan")], TypeError, "leave the missing ones out"),
        ([type("NAType", (), {"__ne__": lambda *_: 1 / 0})()], TypeError, "leave the missing ones out"),  # pandas.NA
        (np.array([["a", "b"]]), TypeError, "a text must be a str, got an array"),
        ([types.SimpleNamespace(as_py=str)], TypeError, r"to_pylist\(\) of a table"),
        ("x" * 300, ValueError, "if that is the text, put it in a list"),
        (["\ud800"], ValueError, r"text 0 holds a lone surrogate, U\+D800"),
        ({"train": ["a"], "test": ["b"]}, TypeError, "a mapping of train, test: give one of them"),
        (io.StringIO("a"), TypeError, "give its path"),
        (b"abc", TypeError, "or an iterable of them, got bytes .*: decode it first"),
        (3, TypeError, "source must be a text, a path, or an iterable of them, got int 3"),
        ("Once upon a time there was a text.", ValueError, r"if that is the text, put it in a list"),
    ],
)
def test_what_is_no_text(source, error, message, tmp_path):
    with pytest.raises(error, match=message):
        data.text(source)
    assert not list(tmp_path.rglob("*-*"))  # nothing half written
    with pytest.raises(TypeError, match="separator must be a str, got int 3"):
        data.text(["a", "b"], separator=3)


# --- mixtures --------------------------------------------------------------------------------------------------------


def streams(*sizes):
    """Arrays whose numbers say which stream they are of, and where they stand in it."""
    return [np.arange(size) + 1000 * i for i, size in enumerate(sizes)]


@given(
    sizes=st.lists(st.integers(9, 40), min_size=1, max_size=4),
    time=st.integers(1, 8),
    batch=st.integers(1, 5),
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 10**6),
)
def test_no_window_crosses_streams_and_a_step_is_a_function_of_the_seed(sizes, time, batch, seed, step):
    parts = streams(*sizes)
    batches = data.mixture(parts, batch=batch, time=time, seed=seed)
    ids, targets = batches.batch(step)
    assert ids.shape == targets.shape == (batch, time) and (targets == ids + 1).all()
    assert (ids // 1000 == batches.streams(step)[:, None]).all() and (ids // 1000 == targets // 1000).all()
    again = data.mixture([data.Shards([part[:4], part[4:]]) for part in parts], batch=batch, time=time, seed=seed).batch(step)
    assert (again[0] == ids).all() and (again[1] == targets).all()


def test_weights_are_the_proportions():
    parts = streams(50, 500, 5000)
    for weights, expected in ((None, [46, 496, 4996]), ([3, 0, 1], [3, 0, 1]), ([1e-300, 1, 1], [0, 1, 1])):
        batches = data.mixture(parts, weights, batch=100, time=4, seed=1)
        drawn = np.bincount(np.concatenate([batches.streams(step) for step in range(100)]), minlength=3) / 10_000
        assert np.abs(drawn - np.array(expected) / sum(expected)).max() < 0.02
    rows = np.concatenate([batches.batch(step)[0][:, 0] for step in range(100)])
    places = rows[rows // 1000 == 1] - 1000
    assert places.min() < 20 and places.max() > 475  # everywhere in a stream


def test_what_is_no_mixture():
    for change, error, message in (
        ({"streams": []}, ValueError, "at least one stream, got none"),
        ({"streams": streams(50, 5)}, ValueError, "stream 1 has 5 tokens; a window of time=8 needs at least 9"),
        ({"streams": ["a"]}, TypeError, "must be arrays of one axis of integers"),
        ({"weights": [1]}, ValueError, "weights must be 2, one a stream, got 1"),
        ({"weights": [1, -1]}, ValueError, r"weights must lie in \[0, inf\]"),
        ({"weights": [0, 0]}, ValueError, "weights must have a positive sum"),
    ):
        options = {"streams": streams(50, 60), "weights": None, "batch": 2, "time": 8, **change}
        with pytest.raises(error, match=message):
            data.mixture(**options)
