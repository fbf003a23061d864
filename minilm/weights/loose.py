"""Arrays that lie in no safetensors file, in the form in which `minilm.weights.load_weights` takes a folder's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minilm import devices
from minilm.typing import Array
from minilm.weights.tensor_header import Entry

__all__ = ["LooseArrays", "as_array"]

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


class LooseArrays(Mapping):
    """A mapping of names to `Entry`, as `WeightFolder` is one, over arrays of a program's own.

    Parameters
    ----------
    arrays : mapping of str to array
        NumPy's, or what has a ``shape``, a ``dtype`` and ``numpy()``, such as `minilm.weights.torch_file.StoredTensor`, which
        is then read when it is needed, and let go.
    path : str
        What to call them in errors.
    """

    def __init__(self, arrays: Mapping[str, Any], path: str):
        self.path, self._arrays = path, arrays

    def __getitem__(self, name: str) -> Entry:
        array = self._arrays[name]
        kind = np.dtype(array.dtype).name
        return Entry(DTYPES.get(kind, kind), tuple(array.shape), 0, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def file_of(self, name: str) -> LooseArrays:
        """What holds an array: this."""
        return self

    def array(self, name: str) -> Any:
        """An array as it was given."""
        return self._arrays[name]

    def blocks(self, name: str) -> Iterator[tuple[slice, Array]]:
        """All of an array at once."""
        yield slice(None), as_array(self._arrays[name])

    def copy(self, name: str, target: Array) -> None:
        """Copy an array into `target`, of its shape."""
        target[...] = devices.array_module(target).asarray(as_array(self._arrays[name]))

    def __enter__(self) -> LooseArrays:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def as_array(array: Any) -> Array:
    """The numbers of an array that may still lie in a file."""
    return array.numpy() if hasattr(array, "numpy") else np.asarray(array)
