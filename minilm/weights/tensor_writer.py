"""The safetensors format, written straight from the arrays, without a second copy of them. `minilm.weights.TensorFile` reads it.

::

    8 bytes      N, little-endian
    N bytes      JSON: {"__metadata__": {...}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
    the rest     the arrays' bytes, one after the other, without gaps
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from minilm import devices

__all__ = ["write"]

# NumPy has no bfloat16: arrays of uint16 hold its bits.
_DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint16": "BF16", "float16": "F16"}
_DTYPES |= {"uint8": "U8", "int8": "I8"}


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays into an open file; the same arrays give the same bytes."""
    # Wider types first, as the format's own writer does, so that every array is aligned to its element's size.
    ordered = dict(sorted(sorted(arrays.items()), key=lambda item: -item[1].dtype.itemsize))
    header: dict = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in ordered.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in ordered.values():
        array = np.asarray(devices.to_host(array), order="C")  # from a GPU one after the other
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        file.write(little.reshape(-1).view(np.uint8).data)
