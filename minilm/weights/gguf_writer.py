"""Writing GGUF files of float32 arrays; `minilm.weights.gguf` has the format, and reads them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilm import devices
from minilm.files import written_whole
from minilm.typing import Array, PathLike
from minilm.weights.gguf import ARRAY, STRING

__all__ = ["write_gguf_file"]

VERSION, ALIGNMENT = 3, 32
U32, I32, F32, BOOL = 4, 5, 6, 7  # types of settings
FLOAT = 0  # type of arrays


def write_gguf_file(path: PathLike, settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write settings and arrays, whole or not at all; the same give the same bytes.

    Parameters
    ----------
    path : str or os.PathLike
    settings : mapping of str to int, float, bool, str, or list of str or int
    arrays : mapping of str to ndarray
        Written as float32, one after the other.

    Raises
    ------
    OSError
    """
    head = [b"GGUF", struct.pack("<IQQ", VERSION, len(arrays), len(settings))]
    head += [_string(key) + _setting(value) for key, value in settings.items()]
    place = 0
    for name, array in arrays.items():
        sizes = struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape[::-1])
        head.append(_string(name) + sizes + struct.pack("<IQ", FLOAT, place))
        place = _aligned(place + 4 * array.size)
    content = b"".join(head)
    with written_whole(os.path.expanduser(path)) as file:
        file.write(content + bytes(_aligned(len(content)) - len(content)))
        for array in arrays.values():
            values = np.ascontiguousarray(devices.to_host(array), "<f4")
            file.write(values.reshape(-1).view(np.uint8).data)
            file.write(bytes(_aligned(values.nbytes) - values.nbytes))


def _aligned(place: int) -> int:
    return -(-place // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    content = text.encode("utf-8")
    return struct.pack("<Q", len(content)) + content


def _setting(value: Any) -> bytes:
    """Type and value."""
    if isinstance(value, list):
        texts = bool(value) and isinstance(value[0], str)
        items = [_string(each) if texts else struct.pack("<i", each) for each in value]
        return struct.pack("<IIQ", ARRAY, STRING if texts else I32, len(value)) + b"".join(items)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    return struct.pack("<If", F32, value) if isinstance(value, float) else struct.pack("<II", U32, value)
