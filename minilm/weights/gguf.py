"""Reading GGUF files, the format of llama.cpp: settings, a tokenizer's tables, and arrays in blocks of a few bits a number.

::

    "GGUF", version, number of arrays, number of settings            u32 u32 u64 u64, little-endian
    settings      key, type, value                                   a string is its length (u64) and UTF-8
    arrays        name, dimensions, type, offset                     the fastest dimension first: NumPy's shape backwards
    the arrays' bytes, each at a multiple of the alignment (32, or what the setting general.alignment says)

Nothing in a file is believed before it is checked: every length is held against what the file has left, every array's place
against its size. Types and blocks: `minilm.weights.gguf_blocks`. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minilm.typing import Array, PathLike
from minilm.weights.gguf_blocks import TYPES, dequantised

__all__ = ["GGUFFile", "StoredBlocks", "is_gguf"]

VERSIONS = (2, 3)
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # as `struct` has them
STRING, ARRAY = 8, 9
MOST_DIMENSIONS = 4
MOST_SETTINGS, MOST_ARRAYS = 1 << 16, 1 << 20
ROWS = 4096  # rows of an array that are dequantised at a time


def is_gguf(path: PathLike) -> bool:
    """Whether a file begins as GGUF, whatever its name; also one of that name, of which `GGUFFile` says what is wrong with it."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF" or os.fspath(path).endswith(".gguf")


class StoredBlocks(NamedTuple):
    """Where an array lies: its type by number, shape, and first byte in the file."""

    type: int
    shape: tuple[int, ...]
    begin: int

    @property
    def nbytes(self) -> int:
        """In the file."""
        block = TYPES[self.type]
        return math.prod(self.shape) // block.numbers * block.nbytes


class GGUFFile(Mapping):
    """A GGUF file: a mapping of names to `StoredBlocks`; ``read(name)`` gives the numbers.

    Parameters
    ----------
    path : str or os.PathLike

    Attributes
    ----------
    path : str
    settings : dict
        The file's key-value pairs.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file and what is wrong with it.
    """

    def __init__(self, path: PathLike):
        self.path = os.path.expanduser(os.fspath(path))
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size < 24:
                raise ValueError(f"{self.path} is no GGUF file: it has less than 24 bytes")
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self.settings, self._arrays = _Reader(self._bytes).header()
        except ValueError as error:
            self.close()
            raise ValueError(f"{self.path}: {' '.join(str(error).split())}") from None  # a name may hold line ends

    def read(self, name: str) -> Array:
        """An array's numbers as float32, in NumPy's shape: rows of the matrix are rows of the array."""
        stored = self._arrays[name]
        block, width = TYPES[stored.type], stored.shape[-1]
        values = np.empty(stored.shape, np.float32)  # (..., width)
        rows, row_bytes = values.reshape(-1, width), width // block.numbers * block.nbytes
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            start = stored.begin + first * row_bytes
            part[...] = dequantised(self._bytes[start : start + len(part) * row_bytes], stored.type).reshape(part.shape)
        return values

    def blocks(self, name: str) -> Array:
        """An array's bytes as they lie, (..., blocks of a row, bytes of a block) uint8."""
        stored = self._arrays[name]
        content = self._bytes[stored.begin : stored.begin + stored.nbytes]
        return np.frombuffer(content, np.uint8).reshape(*stored.shape[:-1], -1, TYPES[stored.type].nbytes)

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __getitem__(self, name: str) -> StoredBlocks:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


class _Reader:
    """Goes through the bytes of a header."""

    def __init__(self, content):
        self.content, self.at, self.size = content, 0, len(content)

    def header(self) -> tuple[dict[str, Any], dict[str, StoredBlocks]]:
        if self._take(4) != b"GGUF":
            raise ValueError("this is no GGUF file: it does not begin with GGUF")
        version = self.number("I")
        if version not in VERSIONS:
            raise ValueError(f"GGUF of version {version} is not supported, wanted {' or '.join(map(str, VERSIONS))}")
        arrays, settings = self.number("Q"), self.number("Q")
        if arrays > MOST_ARRAYS or settings > MOST_SETTINGS:
            raise ValueError(f"the header names {arrays} arrays and {settings} settings, which no model has")
        pairs = {}
        for _ in range(settings):
            key = self.string()
            pairs[key] = self.value(self.number("I"), key)
        infos = [self._info() for _ in range(arrays)]
        alignment = pairs.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise ValueError(f"general.alignment must be a whole number up to 2**20, got {alignment!r}")
        start = -(-self.at // alignment) * alignment
        return pairs, dict(self._placed(name, stored, start) for name, stored in infos)

    def _info(self):
        name, dimensions = self.string(), self.number("I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"{name} has {dimensions} dimensions, wanted 1 to {MOST_DIMENSIONS}")
        shape = tuple(self.number("Q") for _ in range(dimensions))[::-1]
        kind, offset = self.number("I"), self.number("Q")
        if kind not in TYPES:
            known = ", ".join(f"{block.name} ({number})" for number, block in TYPES.items())
            raise ValueError(f"{name} is of type {kind}, which is not supported: these are, {known}")
        if not all(shape) or shape[-1] % TYPES[kind].numbers:
            raise ValueError(f"{name} has shape {shape}, whose rows are no whole blocks of {TYPES[kind].numbers} numbers")
        return name, StoredBlocks(kind, shape, offset)

    def _placed(self, name: str, stored: StoredBlocks, start: int):
        if start + stored.begin + stored.nbytes > self.size:
            raise ValueError(f"{name} ends behind the file's end: the file is cut short, or no GGUF")
        return name, stored._replace(begin=start + stored.begin)

    def value(self, kind: int, key: str) -> Any:
        """A setting's value; an array is a list of strings, or of numbers."""
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise ValueError(f"{key} is of type {kind}, which GGUF does not have")
        inner, count = self.number("I"), self.number("Q")
        if inner == STRING:
            self._left(8 * count, key)
            return [self.string() for _ in range(count)]
        if inner not in NUMBERS:
            raise ValueError(f"{key} is an array of type {inner}, which is not supported")
        size = struct.calcsize(NUMBERS[inner])
        self._left(size * count, key)
        return list(struct.unpack(f"<{count}{NUMBERS[inner]}", self._take(size * count)))

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self._take(struct.calcsize(kind)))[0]

    def string(self) -> str:
        length = self.number("Q")
        self._left(length, "a string")
        return self._take(length).decode("utf-8")  # UnicodeDecodeError is a ValueError

    def _take(self, count: int) -> bytes:
        self._left(count, "the header")
        self.at += count
        return self.content[self.at - count : self.at]

    def _left(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise ValueError(f"{what} would go on for {count} bytes, and the file has {self.size - self.at} more")
