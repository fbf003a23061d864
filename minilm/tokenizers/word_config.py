r"""Keras's JSON of a `Word` tokenizer: its settings, and its counts and indices, each of these a string of JSON within.

::

    {"num_words": 100, "filters": ..., "document_count": 2, "word_counts": "{\"the\": 3, ...}", "word_index": ..., ...}

It is what ``Tokenizer.get_config`` of Keras 2 gives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from .files import field

if TYPE_CHECKING:
    from .word import Word

SETTINGS = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
COUNTERS = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")


def written(word: Word) -> dict:
    """The settings and counts of a tokenizer, as Keras writes them."""
    settings = {name: plain(getattr(word, name)) for name in SETTINGS}
    return {**settings, **{name: json.dumps(plain(getattr(word, name))) for name in COUNTERS}}


def checked(word: Word, kind: type[Word]) -> dict:
    """`written`; ValueError if the class `kind` would not read it again, or not as it is."""
    if word.analyzer is not None:
        raise ValueError("a tokenizer with an analyzer cannot be saved: a function does not fit into a JSON file")
    try:
        config = word.get_config()
        again = read(kind, json.loads(json.dumps(config)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"this tokenizer cannot be saved: {error}") from None
    for name in COUNTERS:
        if dict(getattr(again, name)) != dict(getattr(word, name)):
            raise ValueError(f"this tokenizer cannot be saved: {name} must map between words (str) and whole numbers")
    return config


def read(kind: type[Word], config: dict) -> Word:
    """The tokenizer that `written` gave; ValueError says which field is wrong."""
    word = kind(
        num_words=field(config, "num_words", int, optional=True),
        filters=field(config, "filters", str),
        lower=field(config, "lower", bool),
        split=field(config, "split", str),
        char_level=field(config, "char_level", bool),
        oov_token=field(config, "oov_token", str, optional=True),
        document_count=field(config, "document_count", int),
    )
    counters = {name: counter(config, name) for name in COUNTERS}
    word.word_counts.update(counters["word_counts"])
    word.word_docs.update(counters["word_docs"])
    word.index_docs.update(integer_keys("index_docs", counters["index_docs"]))
    word.index_word.update(integer_keys("index_word", counters["index_word"]))
    word.word_index.update(counters["word_index"])
    return word


def plain(value):
    """Numbers of NumPy, which JSON has not, as Python's."""
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def counter(config: dict, name: str) -> dict:
    """The counts, or words, that entry `name` holds as JSON; ValueError says what is wrong in it."""
    text = field(config, name, str)
    try:
        counts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"field {name!r} is not valid JSON: {error}") from None
    if not isinstance(counts, dict):
        raise ValueError(f"field {name!r} must hold a JSON object, got {type(counts).__name__}")
    value_type = str if name == "index_word" else int
    for key, value in counts.items():
        if not isinstance(value, value_type) or isinstance(value, bool):
            raise ValueError(f"field {name!r} must map to {value_type.__name__}, got {value!r} at {key!r}")
    return counts


def integer_keys(name: str, counter: dict) -> dict:
    """The same with its keys, which JSON has as strings, as int."""
    result = {}
    for key, value in counter.items():
        try:
            result[int(key)] = value
        except ValueError:
            raise ValueError(f"field {name!r} must have integers as keys, got {key[:40]!r}") from None
    return result
