"""What Keras's JSON of a `Word` tokenizer holds: counts and indices, in strings of JSON within."""

from __future__ import annotations

import json

import numpy as np

from .files import field


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
