"""Reading safetensors files: nothing in one is believed before it is checked, and nothing is copied before it is asked for.

::

    8 bytes      N, little-endian
    N bytes      JSON: {"__metadata__": {...}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
    the rest     the arrays' bytes, in row-major order, without gaps and without overlap

The rules are those of the format's own page (https://github.com/huggingface/safetensors#format). A header may lie about
anything: its length, a shape of 10^12 elements, offsets behind the end. So lengths are held against the file's size, and shapes
against offsets, in Python's unbounded integers, before any memory is taken.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.mistaken import mistaken_for
from minilm.typing import DType, PathLike

HEADER_LIMIT = 100_000_000  # bytes, the format's own limit
BLOCK_BYTES = 1 << 22  # copied at a time, so that pages of the file do not add up beside the copy

# Bits of an element, and how NumPy sees it: None for what NumPy has no type for.
DTYPES = {
    "BOOL": (8, "?"),
    "U8": (8, "u1"),
    "I8": (8, "i1"),
    "F8_E4M3": (8, None),
    "F8_E5M2": (8, None),
    "U16": (16, "<u2"),
    "I16": (16, "<i2"),
    "F16": (16, "<f2"),
    "BF16": (16, None),
    "U32": (32, "<u4"),
    "I32": (32, "<i4"),
    "F32": (32, "<f4"),
    "U64": (64, "<u8"),
    "I64": (64, "<i8"),
    "F64": (64, "<f8"),
    "C64": (64, "<c8"),
}
FLOATS = ("F64", "F32", "F16", "BF16")


class Entry(NamedTuple):
    """Where an array lies: dtype by the format's name, shape, and the bytes [begin, end) behind the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile(Mapping):
    """A safetensors file: a mapping of names to `Entry`. The file stays open, mapped into memory, until `close`.

    Parameters
    ----------
    path : str or os.PathLike

    Attributes
    ----------
    path : str
    metadata : dict of str to str

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file, the key and what is wrong with it.
    """

    def __init__(self, path: PathLike):
        self.path = os.fspath(path)
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                self._start, text = _read_header(file, size)
                self.metadata, self._entries = _check_header(text, size - self._start)
            except ValueError as error:
                file.seek(0)
                raise ValueError(f"{self.path}: {mistaken_for(file.read(64)) or error}") from None
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"{self.path} has no array {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, name: str, dtype: DType = np.float32) -> np.ndarray:
        """A copy of one array of floating-point numbers, rounded or widened to `dtype`."""
        array = np.empty(self[name].shape, dtype)
        self.copy(name, array)
        return array

    def copy(self, name: str, target: np.ndarray) -> None:
        """Copy an array of floating-point numbers into `target`, block by block, rounded or widened to its dtype.

        Parameters
        ----------
        name : str
        target : ndarray, of the array's shape
            Of any memory layout: the transposition of an array takes the transposed numbers.

        Raises
        ------
        ValueError
            The shape is another one, or the array holds no floating-point numbers.
        """
        if target.shape != self[name].shape:
            raise ValueError(f"{self.path}: {name} has shape {self[name].shape}, wanted {target.shape}")
        for rows, block in self.blocks(name, target.dtype):
            target[rows] = devices.array_module(target).asarray(block)

    def blocks(self, name: str, dtype: DType = np.float32) -> Iterator[tuple[slice | tuple, np.ndarray]]:
        """The rows of an array, some megabytes at a time: (rows, numbers of `dtype`); one of one number comes with ()."""
        dtype_name, shape, begin, end = self[name]
        if dtype_name not in FLOATS:
            raise ValueError(f"{self.path}: {name} holds {dtype_name}, wanted one of {', '.join(FLOATS)}")
        if begin == end:
            return
        rows = shape[0] if shape else 1
        row_bytes = (end - begin) // rows
        step = max(1, BLOCK_BYTES // row_bytes)
        for first in range(0, rows, step):
            last = min(first + step, rows)
            start = self._start + begin + first * row_bytes
            numbers = _numbers(self._map[start : start + (last - first) * row_bytes], dtype_name).astype(dtype, copy=False)
            self._forget(start, (last - first) * row_bytes)
            yield (slice(first, last), numbers.reshape(last - first, *shape[1:])) if shape else ((), numbers[0])

    def _forget(self, start: int, size: int) -> None:
        """Pages of the file that were read count as this process's memory until the system is told that they may go."""
        if hasattr(self._map, "madvise"):
            page = mmap.PAGESIZE
            aligned = start - start % page
            self._map.madvise(mmap.MADV_DONTNEED, aligned, start + size - aligned)


def _numbers(content: bytes, dtype: str) -> np.ndarray:
    if dtype != "BF16":
        return np.frombuffer(content, DTYPES[dtype][1])
    # The upper half of a float32: the same sign and exponent, 7 bits of the fraction.
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)


def _read_header(file, size: int) -> tuple[int, bytes]:
    """Where the arrays begin, and the header's text."""
    if size < 8:
        raise ValueError(f"no safetensors file, or a truncated one: {size} bytes, wanted at least 8")
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        raise ValueError(f"no safetensors file: a header of {length:,} bytes, wanted at most {HEADER_LIMIT:,}")
    if length > size - 8:
        raise ValueError(f"truncated: a header of {length:,} bytes, but the file has {size - 8:,} after the first 8")
    return 8 + length, file.read(length)


def _check_header(text: bytes, data_bytes: int) -> tuple[dict[str, str], dict[str, Entry]]:
    """Metadata, and the entries in the order of their bytes."""
    if text[:1] != b"{":
        raise ValueError(f"no safetensors file: the header must begin with '{{', got {text[:1]!r}")
    try:
        pairs = json.loads(text.decode("utf-8"), object_pairs_hook=_Pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header is not valid JSON ({error})") from None
    fields = pairs.unique("the header")
    metadata = fields.pop("__metadata__", _Pairs())
    metadata = metadata.unique("__metadata__") if isinstance(metadata, _Pairs) else None
    if metadata is None or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must be a JSON object of strings")
    entries = {name: _check_entry(name, value, data_bytes) for name, value in fields.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: item[1][2:]))
    reached, before = 0, "the header"
    for name, entry in ordered.items():
        if entry.begin != reached:
            fault = "overlaps" if entry.begin < reached else "leaves a gap after"
            raise ValueError(f"{name}: begins at byte {entry.begin}, which {fault} {before} (wanted {reached})")
        reached, before = entry.end, name
    if reached != data_bytes:
        raise ValueError(f"the arrays take {reached:,} bytes, but {data_bytes:,} follow the header")
    return metadata, ordered


def _no_constant(name: str):
    raise ValueError(f"{name} is no JSON")


class _Pairs(list):
    """A JSON object as it stands in the text: a dict would hide a name that is there twice."""

    def unique(self, place: str) -> dict:
        found = dict(self)
        if len(found) < len(self):
            counts = Counter(name for name, _ in self)
            raise ValueError(f"{place} has the name {next(name for name in counts if counts[name] > 1)!r} twice")
        return found


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_entry(name: str, value, data_bytes: int) -> Entry:
    if not isinstance(value, _Pairs):
        raise ValueError(f"{name}: must be a JSON object, got {type(value).__name__}")
    fields = value.unique(name)
    for wanted in ("dtype", "shape", "data_offsets"):
        if wanted not in fields:
            raise ValueError(f"{name}: {wanted} is missing")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name}: dtype must be one of {', '.join(DTYPES)}, got {reprlib.repr(dtype)}")
    if type(shape) is not list or not all(map(_is_count, shape)):
        raise ValueError(f"{name}: shape must be a list of whole numbers >= 0, got {reprlib.repr(shape)}")
    if type(offsets) is not list or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise ValueError(f"{name}: data_offsets must be two whole numbers >= 0, got {reprlib.repr(offsets)}")
    begin, end = offsets
    if not begin <= end <= data_bytes:
        raise ValueError(f"{name}: data_offsets [{begin}, {end}] are not within the {data_bytes:,} bytes after the header")
    if len(shape) > 32:
        raise ValueError(f"{name}: shape must have at most 32 axes, got {len(shape)}")
    size = math.prod(shape) * DTYPES[dtype][0] // 8
    if size != end - begin:
        raise ValueError(f"{name}: {dtype} of shape {tuple(shape)} takes {size} bytes, but data_offsets give {end - begin}")
    return Entry(dtype, tuple(shape), begin, end)
