"""Texts that are no file: strings, lists, columns of tables, generators, several files. They are read once and kept as a file."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minilm.cache_folders import cache_folder
from minilm.data.lines import opened
from minilm.files import written_whole
from minilm.ops import checks

__all__ = ["Source", "kept", "pieces"]

Source = Iterable[Any]  # of str, of paths, or of rows with a column of str
MISSING = ("NAType", "NaTType")  # what pandas has in the place of a text, beside NaN
ROW = ("columns", "column_names")  # what tables have: pandas and Hugging Face datasets


def kept(source: Source, column: str, separator: str) -> str:
    """The path of a file in minilm's cache folder that holds the texts of `source`, named by its content.

    So whatever comes can be read again and again, a run that was trained on it can be gone on with, and memory does not grow.
    """
    folder = cache_folder("texts")
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f"partial-{os.urandom(8).hex()}")
    digest, size = hashlib.sha256(), 0
    with written_whole(partial) as file:
        for piece in pieces(source, column, separator):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    if not size:
        os.remove(partial)
        raise ValueError("the source is empty: there is no character in it")
    path = os.path.join(folder, f"text-{digest.hexdigest()[:16]}.txt")
    os.replace(partial, path)
    return path


def pieces(source: Source, column: str = "text", separator: str = "\n") -> Iterator[bytes]:
    """The bytes of the texts, with `separator` between two.

    Raises
    ------
    TypeError
        `source`, or what is in it, is no text: says what came, and at which position.
    ValueError
        A table has no such column.
    """
    if not isinstance(separator, str):
        raise TypeError(f"separator must be a str, got {checks.describe(separator)}")
    for position, text in enumerate((source,) if isinstance(source, str) else _texts(source, column)):
        if position:
            yield separator.encode("utf-8")
        if isinstance(text, os.PathLike):
            with opened(text) as file:
                while chunk := file.read(1 << 20):
                    yield chunk
        elif isinstance(text, str):
            if not position and source is not text and len(text) < 256 and os.path.isfile(text):
                raise ValueError(f"text 0 is the name of a file: pathlib.Path({text!r}) means what is in it")
            yield _encoded(text, position)
        else:
            raise TypeError(f"a text must be a str, got {checks.describe(text)} at position {position}{_hint(text)}")


def _encoded(text: str, position: int) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(f"text {position} holds a lone surrogate, U+{code:04X}, which is half of a character") from None


def _hint(text: Any) -> str:
    if isinstance(text, bytes | bytearray):
        return ": decode it first, bytes.decode('utf-8')"
    if hasattr(text, "to_pylist") or hasattr(text, "as_py"):
        return ": to_pylist() of a table or an array of Arrow gives what can be read"
    missing = text is None or type(text).__name__ in MISSING or (isinstance(text, float) and math.isnan(text))
    return ": leave the missing ones out, as dropna() does" if missing else ""


def _texts(source: Any, column: str) -> Iterator[Any]:
    """What `source` holds; of a table its column, of rows their entry for it."""
    if isinstance(source, Mapping):
        raise TypeError(f"source must hold texts, got a mapping of {', '.join(map(str, source))}: give one of them")
    if hasattr(source, "read") or isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        hint = ": give its path" if hasattr(source, "read") else _hint(source)
        raise TypeError(f"source must be a text, a path, or an iterable of them, got {checks.describe(source)}{hint}")
    names = next((list(getattr(source, name)) for name in ROW if getattr(source, name, None) is not None), None)
    if names is not None and column not in names:
        raise ValueError(f"there is no column {column!r}: give column=, one of {', '.join(map(str, names))}")
    # a table of pandas gives names of columns when it is iterated, not rows
    for row in source[column] if names is not None and hasattr(source, "columns") else source:
        if isinstance(row, Mapping):
            if column not in row:
                raise ValueError(f"there is no column {column!r}: give column=, one of {', '.join(map(str, row))}")
            row = row[column]
        yield row
