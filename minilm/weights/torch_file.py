"""Reading what `torch.save` wrote, without torch and without running any code of the file.

::

    since torch 1.6      a zip archive: NAME/data.pkl, a pickle of everything but the numbers; NAME/data/0, 1, ...  the storages
    before               pickles one after the other: a magic number, a version, the machine's sizes, the value, the storages'
                         keys; then of each storage its length (i64) and its numbers

A tensor is a storage, a first element, sizes and strides, all of which the file may lie about: they are held against the storage,
and the storage against the file, before memory is taken. The pickle: `minilm.weights.pickles`.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minilm.typing import Array, PathLike
from minilm.weights.pickles import Bounded, Name, paired, read_pickle

__all__ = ["StoredTensor", "arrays_of", "is_torch_file", "read_torch_file"]

ZIP = b"PK\x03\x04"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older form
MOST_PICKLE = 1 << 26  # bytes
MOST_AXES = 32
STORAGES = {  # the class of a storage in torch -> bytes of an element, and NumPy's type: None for bfloat16
    "DoubleStorage": (8, "<f8"),
    "FloatStorage": (4, "<f4"),
    "HalfStorage": (2, "<f2"),
    "BFloat16Storage": (2, None),
    "LongStorage": (8, "<i8"),
    "IntStorage": (4, "<i4"),
    "ShortStorage": (2, "<i2"),
    "CharStorage": (1, "i1"),
    "ByteStorage": (1, "u1"),
    "BoolStorage": (1, "?"),
}


class Storage(NamedTuple):
    """Numbers in the file: their kind, how many, and a function that gives their bytes."""

    kind: str
    count: int
    content: Callable[[], bytes]


class StoredTensor:
    """A tensor that still lies in the file: `numpy` reads it.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        What `numpy` gives: float32 of a bfloat16.
    """

    def __init__(self, storage: Storage, first: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self._storage, self._first, self.shape, self._strides = storage, first, shape, strides
        kind = STORAGES[storage.kind][1]
        self.dtype = np.dtype(np.float32 if kind is None else kind)

    def numpy(self) -> Array:
        """The numbers, read now."""
        size, kind = STORAGES[self._storage.kind]
        content = self._storage.content()
        if len(content) != size * self._storage.count:
            raise ValueError(f"a storage has {len(content):,} bytes, wanted {size * self._storage.count:,}")
        if kind is None:  # the upper half of a float32
            values = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(content, kind)
        strides = tuple(stride * values.itemsize for stride in self._strides)
        return np.array(np.lib.stride_tricks.as_strided(values[self._first :], self.shape, strides, writeable=False))

    def __repr__(self):
        return f"a tensor of shape {self.shape} and dtype {self.dtype}"


def is_torch_file(path: PathLike) -> bool:
    """Whether a file begins as `torch.save` lets it begin, in the new form or the older one."""
    with open(path, "rb") as file:
        head = file.read(64)
    return head.startswith(ZIP) or (head[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in head)


def read_torch_file(path: PathLike) -> Any:
    """What a file of `torch.save`'s holds: dictionaries, lists, tuples, numbers and texts, with a `StoredTensor` for a tensor.

    Parameters
    ----------
    path : str or os.PathLike
        It is opened again for each tensor that is read.

    Raises
    ------
    OSError
    ValueError
        Naming the file: it is damaged, or holds more than plain values and tensors (a whole module, a function).
    """
    path = os.path.expanduser(os.fspath(path))
    try:
        with open(path, "rb") as file:
            packed = file.read(4) == ZIP
        return _read_zip(path) if packed else _read_older(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no whole file of torch.save's: {' '.join(str(error).split())}") from None


def arrays_of(value: Any) -> dict[str, StoredTensor]:
    """The tensors of a state dict by name; what else it holds is left out.

    Parameters
    ----------
    value
        A dictionary of tensors, or one that has it under "state_dict", "model_state_dict" or "model".

    Raises
    ------
    ValueError
        There are none.
    """
    for key in (None, "state_dict", "model_state_dict", "model"):
        inner = value if key is None else value.get(key) if isinstance(value, dict) else None
        if isinstance(inner, dict):
            tensors = {name: each for name, each in inner.items() if isinstance(name, str) and isinstance(each, StoredTensor)}
            if tensors and (key is not None or len(tensors) > len(inner) // 2):
                return tensors
    raise ValueError("there is no state dict in the file: wanted a dictionary of tensors by name")


# --- tensors -----------------------------------------------------------------------------------------------------------


def _calls() -> Mapping[str, Callable[..., Any] | None]:
    """What a pickle of torch's may name."""
    calls: dict[str, Callable[..., Any] | None] = {
        "collections.OrderedDict": _ordered,
        "torch.Size": _size,
        "torch._utils._rebuild_tensor": lambda storage, first, size, stride: _tensor(storage, first, size, stride),
        "torch._utils._rebuild_tensor_v2": lambda storage, first, size, stride, *_: _tensor(storage, first, size, stride),
        "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
        "torch.device": lambda kind, index=0: kind if isinstance(kind, str) else "",
    }
    dtypes = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    return calls | dict.fromkeys(f"torch.{name}" for name in (*STORAGES, *dtypes))


def _ordered(pairs: Any = ()) -> dict[str, Any]:
    """An OrderedDict; its pairs leave the list, so that a pickle cannot have a long one copied again and again."""
    values = [each for pair in pairs for each in pair] if isinstance(pairs, list) else []
    if isinstance(pairs, list):
        pairs.clear()
    return paired(values)


def _size(sizes: Any = ()) -> tuple[int, ...]:
    if not isinstance(sizes, tuple):
        raise ValueError("a size must be a tuple")
    return sizes


def _tensor(storage: Any, first: Any, shape: Any, strides: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    if not all(isinstance(each, tuple) and len(each) <= MOST_AXES for each in (shape, strides)) or len(shape) != len(strides):
        raise ValueError("a tensor's size and stride must be as many whole numbers")
    if not all(type(each) is int and 0 <= each < 2**62 for each in (first, *shape, *strides)):
        raise ValueError("a tensor's size must be whole numbers of at least 0")
    last = first + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if all(shape) else first - 1
    if last >= storage.count or math.prod(shape) > storage.count or math.prod(filter(None, shape)) >= 2**60:
        raise ValueError(f"a tensor of shape {shape} does not fit its storage of {storage.count:,} numbers")
    return StoredTensor(storage, first, shape, strides)


def _storage_id(id: Any) -> tuple[str, str, int]:
    """Kind, key and length of a storage, from a persistent id."""
    if not (isinstance(id, tuple) and len(id) in (5, 6) and id[0] == "storage" and isinstance(id[1], Name)):
        raise ValueError("the pickle names no storage of torch's")
    kind, key, count = id[1].rpartition(".")[2], id[2], id[4]
    if kind not in STORAGES or not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**60:
        raise ValueError("a storage must have a kind, a key and a length")
    if len(id) == 6 and id[5] is not None:
        raise ValueError("a storage that is a part of another is not read")
    return kind, key, count


# --- the two forms -----------------------------------------------------------------------------------------------------


def _read_zip(path: str) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError("a name is in the archive twice")
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but no file of torch.save's: it has no data.pkl")
        prefix = pickles[0].removesuffix("data.pkl")
        if f"{prefix}constants.pkl" in members:
            raise ValueError("it is a program (TorchScript), which is not read: save its state_dict()")
        order = members.get(f"{prefix}byteorder")
        if order is not None and _member(archive, order, 16) != b"little":
            raise ValueError("its numbers are big-endian, which is not read")

        def storage(id):
            kind, key, count = _storage_id(id)
            info = members.get(f"{prefix}data/{key}")
            if info is None or info.file_size != count * STORAGES[kind][0]:
                raise ValueError(f"the storage {key[:40]!r} of {count:,} numbers is not in the archive")
            return Storage(kind, count, lambda: _read_member(path, info))

        content = _member(archive, members[pickles[0]], MOST_PICKLE)
        return read_pickle(Bounded(io.BytesIO(content), len(content)), _calls(), storage)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
    """A file of the archive, which must be stored as it is: torch packs nothing."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename[:60]!r} is compressed, as torch.save never does")
    if most is not None and info.file_size > most:
        raise ValueError(f"{info.filename[:60]!r} has {info.file_size:,} bytes, wanted at most {most:,}")
    if info.header_offset + info.file_size > os.path.getsize(archive.filename or ""):
        raise ValueError("the file is cut short")
    return archive.read(info)


def _read_member(path: str, info: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _read_older(path: str) -> Any:
    size, places = os.path.getsize(path), {}
    kinds: dict[str, tuple[str, int]] = {}

    def storage(id):
        kind, key, count = _storage_id(id)
        if kinds.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"the storage {key[:40]!r} is of two kinds")
        return Storage(kind, count, lambda: _read_at(path, places[key], count * STORAGES[kind][0]))

    with open(path, "rb") as file:
        bounded = Bounded(file, size)
        magic, protocol, _ = (read_pickle(bounded, {}, _no_storage) for _ in range(3))
        if magic != MAGIC or protocol != PROTOCOL:
            raise ValueError("it is a Python pickle, but no file of torch.save's")
        value = read_pickle(bounded, _calls(), storage)
        keys = read_pickle(bounded, {}, _no_storage)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(kinds):
            raise ValueError("the storages at its end are not those of its tensors")
        for key in keys:
            kind, count = kinds[key]
            length = int.from_bytes(file.read(8), "little")
            places[key] = file.tell()
            if length != count or file.tell() + count * STORAGES[kind][0] > size:
                raise ValueError(f"the storage {key[:40]!r} does not have its {count:,} numbers")
            file.seek(count * STORAGES[kind][0], os.SEEK_CUR)
    return value


def _no_storage(_):
    raise ValueError("a storage stands where none may")


def _read_at(path: str, place: int, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(place)
        return file.read(count)
