"""Writing a state dict as `torch.save` does, without torch: ``torch.load`` reads it, and so does `minilm.weights.torch_file`.

A zip archive of stored files: data.pkl, the pickle of an OrderedDict of tensors, each of which names a storage; the storages'
bytes in data/0, data/1, ...; byteorder and version. `pickle` itself can only write functions that it can import, so the opcodes
are put together here; they are few.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping

import numpy as np

from minilm import devices
from minilm.files import written_whole
from minilm.typing import Array, PathLike

__all__ = ["write_torch_file"]

STORAGES = {"float64": "DoubleStorage", "float32": "FloatStorage", "int64": "LongStorage", "int32": "IntStorage"}
PREFIX = "archive"
# Opcodes of protocol 2.
PROTO, STOP, MARK, NEWFALSE = b"\x80\x02", b".", b"(", b"\x89"
EMPTY_TUPLE, TUPLE, REDUCE, SETITEMS, BINPERSID = b")", b"t", b"R", b"u", b"Q"


def write_torch_file(path: PathLike, arrays: Mapping[str, Array]) -> None:
    """Write arrays as a state dict, whole or not at all; the same arrays give the same bytes.

    Parameters
    ----------
    path : str or os.PathLike
    arrays : mapping of str to ndarray
        In float64, float32, int64 or int32.

    Raises
    ------
    OSError
    """
    with written_whole(os.path.expanduser(path)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, "data.pkl", _pickled(arrays))
        _write(archive, "byteorder", b"little")
        for number, array in enumerate(arrays.values()):
            host = np.asarray(devices.to_host(array), order="C")
            _write(archive, f"data/{number}", host.astype(host.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8))
        _write(archive, "version", b"3\n")


def _write(archive: zipfile.ZipFile, name: str, content) -> None:
    info = zipfile.ZipInfo(f"{PREFIX}/{name}")  # of 1980: no clock gets into the file
    with archive.open(info, "w", force_zip64=len(content) >= 2**31 - 1) as member:
        member.write(content)


def _pickled(arrays: Mapping[str, Array]) -> bytes:
    parts = [PROTO, _ordered_dict(), MARK]
    for number, (name, array) in enumerate(arrays.items()):
        parts += [_text(name), _tensor(str(number), array)]
    return b"".join([*parts, SETITEMS, STOP])


def _tensor(key: str, array: Array) -> bytes:
    """_rebuild_tensor_v2(storage, first element, size, stride, requires_grad, hooks)."""
    id = [_text("storage"), _global("torch", STORAGES[array.dtype.name]), _text(key), _text("cpu"), _whole(array.size)]
    strides = [int(np.prod(array.shape[axis + 1 :], dtype=np.int64)) for axis in range(array.ndim)]
    shape, stride = (_tuple(*map(_whole, sizes)) for sizes in (array.shape, strides))
    arguments = _tuple(_tuple(*id) + BINPERSID, _whole(0), shape, stride, NEWFALSE, _ordered_dict())
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode("ascii")


def _text(text: str) -> bytes:
    content = text.encode("utf-8")
    return b"X" + len(content).to_bytes(4, "little") + content


def _whole(number: int) -> bytes:
    if number < 2**31:
        return b"J" + int(number).to_bytes(4, "little")
    return b"\x8a\x08" + int(number).to_bytes(8, "little")


def _tuple(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + TUPLE
