"""Reading safetensors files: nothing in one is believed before it is checked, and nothing is copied before it is asked for.

::

    8 bytes      N, little-endian
    N bytes      JSON: {"__metadata__": {...}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
    the rest     the arrays' bytes, in row-major order, without gaps and without overlap

The rules are those of the format's own page (https://github.com/huggingface/safetensors#format). A header may lie about
anything: its length, a shape of 10^12 elements, offsets behind the end. So lengths are held against the file's size, and shapes
against offsets, in Python's unbounded integers, before any memory is taken.

Arrays are read from the open file some megabytes at a time, straight to where they belong. A mapping of the file into memory
would count as memory of this process page by page, and end it by a signal where another one cuts the file short.
"""

from __future__ import annotations

import errno
import json
import math
import os
import reprlib
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.mistaken import mistaken_for
from minilm.typing import DType, PathLike

HEADER_LIMIT = 4_000_000  # bytes, some 40,000 arrays; the format allows 100,000,000, over which Python's JSON takes a minute
BLOCK_BYTES = 1 << 22  # read at a time

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


class StoredArray:
    """An array that still lies in a file: shape and dtype as NumPy will have it, and the way to its numbers.

    `minilm.devices.copy_into` takes it like any array, and needs no second copy of it; so do the ``load_state_dict`` of
    parameters and optimizers.
    """

    def __init__(self, file: TensorFile, name: str):
        self._file, self._name = file, name
        self.shape, self.dtype = file[name].shape, file.dtype(name)

    def copy_to(self, target: np.ndarray) -> None:
        """Copy the numbers into `target`, see `TensorFile.copy`."""
        self._file.copy(self._name, target)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self._file.read(self._name, self.dtype if dtype is None else dtype)

    def __int__(self) -> int:
        return int(np.asarray(self))

    def __repr__(self):
        return f"an array of shape {self.shape} and dtype {self.dtype}"


class TensorFile(Mapping):
    """A safetensors file: a mapping of names to `Entry`. The file stays open until `close`, or until nobody holds this.

    Parameters
    ----------
    path : str or os.PathLike
    descriptor : int, optional
        Of the file, opened to read, which is closed with this; `path` is then its name in messages alone.

    Attributes
    ----------
    path : str
    metadata : dict of str to str
    close : callable
        Lets go of the file.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file, the key and what is wrong with it.
    """

    def __init__(self, path: PathLike, descriptor: int | None = None):
        self.path = os.fspath(path)
        if descriptor is None:
            if os.path.isdir(self.path):
                raise IsADirectoryError(errno.EISDIR, "wanted a file of safetensors, got a folder", self.path)
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.close = weakref.finalize(self, os.close, descriptor)
        self._file = open(descriptor, "rb", buffering=0, closefd=False)
        self._file.seek(0)
        size = os.fstat(descriptor).st_size
        try:
            self._start, text = _read_header(self._file, size)
            self.metadata, self._entries = _check_header(text, size - self._start)
        except ValueError as error:
            self._file.seek(0)
            message = f"{self.path}: {mistaken_for(self._file.read(64)) or error}"
            self.close()
            raise ValueError(message) from None

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"{self.path} has no array {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def arrays(self, prefix: str = "") -> dict[str, StoredArray]:
        """The arrays whose names begin with `prefix`, by what follows it; none of them is read yet."""
        return {name.removeprefix(prefix): StoredArray(self, name) for name in self if name.startswith(prefix)}

    def dtype(self, name: str) -> np.dtype:
        """What an array becomes in NumPy: float32 of a bfloat16; ValueError for what NumPy has no numbers for."""
        kind = self[name].dtype
        if kind != "BF16" and DTYPES[kind][1] is None:
            raise ValueError(f"{self.path}: {name} holds {kind}, for which NumPy has no type")
        return np.dtype(np.float32 if kind == "BF16" else DTYPES[kind][1])

    def read(self, name: str, dtype: DType = np.float32) -> np.ndarray:
        """A copy of one array, rounded or widened to `dtype`."""
        array = np.empty(self[name].shape, dtype)
        self.copy(name, array)
        return array

    def copy(self, name: str, target: np.ndarray) -> None:
        """Copy an array into `target`, block by block, rounded or widened to its dtype.

        Parameters
        ----------
        name : str
        target : ndarray, of the array's shape
            Of any memory layout: the transposition of an array takes the transposed numbers.

        Raises
        ------
        ValueError
            The shape is another one, or the array holds no floating-point numbers and `target` does.
        """
        if target.shape != self[name].shape:
            raise ValueError(f"{self.path}: {name} has shape {self[name].shape}, wanted {target.shape}")
        whole = target.flags.c_contiguous
        target = target.reshape(-1) if whole else target
        for rows, block in self.blocks(name, target.dtype, flat=whole):
            target[rows] = devices.array_module(target).asarray(block)

    def blocks(self, name: str, dtype: DType = np.float32, flat: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows of an array, some megabytes at a time: (rows, numbers of `dtype`); where it is `flat`, of one axis.

        Raises
        ------
        ValueError
            If the array holds no floating-point numbers and `dtype` is of some.
        """
        dtype_name, shape, begin, end = self[name]
        if np.dtype(dtype).kind == "f" and dtype_name not in FLOATS:
            raise ValueError(f"{self.path}: {name} holds {dtype_name}, wanted one of {', '.join(FLOATS)}")
        if begin == end:
            return
        shape = (math.prod(shape),) if flat else shape or (1,)
        row_bytes = (end - begin) // shape[0]
        step = max(1, BLOCK_BYTES // row_bytes)
        for first in range(0, shape[0], step):
            last = min(first + step, shape[0])
            content = self._content(self._start + begin + first * row_bytes, (last - first) * row_bytes)
            numbers = _numbers(content, dtype_name).astype(dtype, copy=False)
            yield slice(first, last), numbers.reshape(last - first, *shape[1:])

    def _content(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        content = self._file.read(size)
        if len(content) < size:
            raise ValueError(f"{self.path} was cut short while it was read")
        return content


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
        fields = dict(self)
        if len(fields) < len(self):
            counts = Counter(name for name, _ in self)
            raise ValueError(f"{place} has the name {next(name for name in counts if counts[name] > 1)!r} twice")
        return fields


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_entry(name: str, value, data_bytes: int) -> Entry:
    if not isinstance(value, _Pairs):
        raise ValueError(f"{name}: must be a JSON object, got {type(value).__name__}")
    fields = value.unique(name)
    for field in ("dtype", "shape", "data_offsets"):
        if field not in fields:
            raise ValueError(f"{name}: {field} is missing")
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
    if math.prod(filter(None, shape)) >= 1 << 60:  # an array of no numbers, that NumPy cannot make
        raise ValueError(f"{name}: shape {reprlib.repr(shape)} has too large axes")
    return Entry(dtype, tuple(shape), begin, end)
