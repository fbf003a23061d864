"""TensorFlow's checkpoints, ``NAME.index`` and ``NAME.data-00000-of-00001``, read without TensorFlow: numbers by name, no code.

The index is a sorted table, as LevelDB has it::

    block ... block  [metaindex block]  index block  footer (48 bytes)
    footer     handle of the metaindex, handle of the index, zeros, magic number          handle: offset, size (varints)
    block      entries  restarts (u32 each)  number of restarts (u32)    and behind it: kind of compression (u8)  checksum (u32)
    entry      bytes shared with the key before, own bytes of the key, bytes of the value (varints)  own part of the key  value

Of the index block a value is the handle of a block. In the blocks the key "" has a header, and a variable's name the message that
says what it is (protocol buffers: fields of a number and a kind)::

    header     1 number of data files    2 byte order (0: little)
    entry      1 dtype    2 shape: 2 dimension: 1 size    3 data file    4 offset    5 bytes    6 checksum    7 slices

Every length is held against the file before it is believed, and so is every checksum, a CRC-32C, masked. Texts (dtype 7) are left
out: they are descriptions of the graph.

Source: https://github.com/tensorflow/tensorflow (core/util/tensor_bundle, protobuf/tensor_bundle.proto, lib/io/format.h)
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minilm.typing import Array

__all__ = ["TensorFlowFile", "crc32c", "masked"]

MAGIC = 0xDB4775248B80FB57
FOOTER, TRAILER = 48, 5
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
TEXT = 7
MOST_BYTES, MOST_AXES = 1 << 28, 16  # of an index; of a variable
POLYNOMIAL = 0x82F63B78


class _Variable(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    file: int
    offset: int
    size: int
    checksum: int


class TensorFlowFile:
    """The variables of a checkpoint.

    Parameters
    ----------
    path : str
        NAME.index; the data files lie beside it.

    Raises
    ------
    ValueError
        It is no such file, damaged, compressed, or holds what is not read here; in one line, as all errors of the methods.
    """

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            self._content = file.read(MOST_BYTES)
        header, self._variables = None, {}
        for name, value in self._entries():
            if name:
                variable = self._variable(name, value)
                if variable is not None:
                    self._variables[name] = variable
            else:
                header = dict(_fields(value, path))
        if header is None or header.get(2, 0) != 0:
            raise ValueError(f"{path} " + ("has no header" if header is None else "is of a machine with the other byte order"))
        self._files = int(header.get(1, 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def read(self, name: str) -> Array:
        """A variable's numbers."""
        variable = self._variables[name]
        if not 0 <= variable.file < self._files:
            raise ValueError(f"{self.path}: {name[:80]!r} is in data file {variable.file} of {self._files}")
        path = f"{self.path.removesuffix('.index')}.data-{variable.file:05d}-of-{self._files:05d}"
        if variable.offset + variable.size > os.path.getsize(path):
            raise ValueError(f"{path} is cut short: {name[:80]!r} ends behind its end")
        with open(path, "rb") as file:
            file.seek(variable.offset)
            content = file.read(variable.size)
        if masked(crc32c(content)) != variable.checksum:
            raise ValueError(f"{path} is damaged: {name[:80]!r} has not its checksum")
        return np.frombuffer(content, variable.dtype).reshape(variable.shape)

    # --- the table ---------------------------------------------------------------------------------------------------

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        """Names and messages."""
        footer = self._content[-FOOTER:]
        if len(footer) < FOOTER or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
            raise ValueError(f"{self.path} is no index of TensorFlow's checkpoints, or is cut short")
        _, place = _handle(footer, 0, self.path)
        index, _ = _handle(footer, place, self.path)
        for _, value in self._block(*index):
            for key, message in self._block(*_handle(value, 0, self.path)[0]):
                try:
                    yield key.decode("utf-8"), message
                except UnicodeDecodeError:
                    raise ValueError(f"{self.path} is damaged: a name is not UTF-8") from None

    def _block(self, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a block."""
        end = offset + size
        if size < 4 or end + TRAILER > len(self._content):
            raise ValueError(f"{self.path} is cut short, or damaged: a block ends behind its end")
        if self._content[end] != 0:
            raise ValueError(f"{self.path} is compressed, which TensorFlow's checkpoints are not: it is not read")
        if masked(crc32c(self._content[offset : end + 1])) != struct.unpack_from("<I", self._content, end + 1)[0]:
            raise ValueError(f"{self.path} is damaged: a block has not its checksum")
        block = self._content[offset:end]
        limit = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
        place, key = 0, b""
        while place < limit:
            shared, place = _varint(block, place, self.path)
            own, place = _varint(block, place, self.path)
            length, place = _varint(block, place, self.path)
            if shared > len(key) or place + own + length > limit:
                raise ValueError(f"{self.path} is damaged: an entry is longer than its block")
            key = key[:shared] + block[place : place + own]
            yield key, block[place + own : place + own + length]
            place += own + length

    def _variable(self, name: str, message: bytes) -> _Variable | None:
        """What a message says of a variable; None for a text."""
        fields: dict[int, Any] = {}
        for number, value in _fields(message, self.path):
            if number == 7:
                raise ValueError(f"{self.path}: {name[:80]!r} is stored in slices, which are not read")
            fields[number] = value
        kind = fields.get(1, 0)
        if kind == TEXT:
            return None
        sizes = (
            []
            if 2 not in fields
            else [dict(_fields(each, self.path)).get(1, 0) for n, each in _fields(fields[2], self.path) if n == 2]
        )
        numbers = [fields.get(number, 0) for number in (3, 4, 5, 6)]
        if kind not in TYPES or not all(isinstance(each, int) for each in (*sizes, *numbers)) or len(sizes) > MOST_AXES:
            raise ValueError(f"{self.path}: {name[:80]!r} is of type {kind}, which is not read")
        if math.prod(sizes) * np.dtype(TYPES[kind]).itemsize != numbers[2]:
            raise ValueError(f"{self.path}: {name[:80]!r} of shape {tuple(sizes)} cannot have {numbers[2]:,} bytes")
        return _Variable(TYPES[kind], tuple(sizes), *numbers)


# --- numbers in bytes ----------------------------------------------------------------------------------------------------


def _varint(content: bytes, place: int, path: str) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place behind it."""
    number = shift = 0
    while place < len(content) and shift < 64:
        number |= (content[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if content[place - 1] < 128:
            return number, place
    raise ValueError(f"{path} is damaged: a number has no end")


def _handle(content: bytes, place: int, path: str) -> tuple[tuple[int, int], int]:
    """(offset, size), and the place behind them."""
    offset, place = _varint(content, place, path)
    size, place = _varint(content, place, path)
    return (offset, size), place


def _fields(message: bytes, path: str) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: number, and an int or bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place, path)
        kind, size = tag & 7, {1: 8, 5: 4}.get(tag & 7, 0)
        if kind == 0:
            value, place = _varint(message, place, path)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = _varint(message, place, path)
        elif kind not in (1, 5):
            raise ValueError(f"{path} is damaged: a message has a field of kind {kind}")
        if place + size > len(message):
            raise ValueError(f"{path} is damaged: a message is cut short")
        content = message[place : place + size]
        yield tag >> 3, content if kind == 2 else int.from_bytes(content, "little")
        place += size


def crc32c(content: bytes) -> int:
    """Castagnoli's cyclic redundancy check of 32 bits."""
    if len(content) > 4096:
        from minilm.weights.checksum_kernel import crc  # compiled: of megabytes

        return int(crc(np.frombuffer(content, np.uint8), _table()))
    table, value = _table().tolist(), 0xFFFFFFFF
    for byte in content:
        value = table[(value ^ byte) & 255] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """As it is stored, so that a checksum of data which hold checksums stays a good one."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> Array:
    """What each byte does to the remainder, (256,)."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(POLYNOMIAL), values >> 1)
    return values
