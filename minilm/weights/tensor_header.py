"""The header of a safetensors file: where each array lies. Nothing in it is believed before it is checked.

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
import reprlib
from collections import Counter
from typing import NamedTuple

__all__ = ["DTYPES", "Entry", "check_header", "read_header"]

HEADER_LIMIT = 4_000_000  # bytes, some 40,000 arrays; the format allows 100,000,000, over which Python's JSON takes a minute

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


class Entry(NamedTuple):
    """Where an array lies: dtype by the format's name, shape, and the bytes [begin, end) behind the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file, size: int) -> tuple[int, bytes]:
    """Where the arrays of a file of `size` bytes begin, and the header's text; ValueError where it has no such header."""
    if size < 8:
        raise ValueError(f"no safetensors file, or a truncated one: {size} bytes, wanted at least 8")
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        raise ValueError(f"no safetensors file: a header of {length:,} bytes, wanted at most {HEADER_LIMIT:,}")
    if length > size - 8:
        raise ValueError(f"truncated: a header of {length:,} bytes, but the file has {size - 8:,} after the first 8")
    return 8 + length, file.read(length)


def check_header(text: bytes, data_bytes: int) -> tuple[dict[str, str], dict[str, Entry]]:
    """Metadata, and the entries in the order of their bytes, which are `data_bytes` in all; ValueError for what is false."""
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
