"""Reading safetensors files: nothing is copied before it is asked for. The header is checked by `minilm.weights.tensor_header`.

Arrays are read from the open file some megabytes at a time, straight to where they belong. A mapping of the file into memory
would count as memory of this process page by page, and end it by a signal where another one cuts the file short.
"""

from __future__ import annotations

import errno
import math
import os
import weakref
from collections.abc import Iterator, Mapping

import numpy as np

from minilm import devices
from minilm.mistaken import mistaken_for
from minilm.typing import DType, PathLike
from minilm.weights.tensor_header import DTYPES, Entry, check_header, read_header

BLOCK_BYTES = 1 << 22  # read at a time
FLOATS = ("F64", "F32", "F16", "BF16")


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
            self._start, text = read_header(self._file, size)
            self.metadata, self._entries = check_header(text, size - self._start)
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
