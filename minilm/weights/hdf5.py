"""Reading HDF5 files of other people by h5py: arrays that lie in the file itself, and nothing that they only point to."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from minilm.files import unpacked_limit
from minilm.typing import Array

__all__ = ["at", "library", "numbers", "text"]


def library() -> ModuleType:
    """h5py; ValueError that says how to get it."""
    try:
        import h5py
    except ImportError:
        raise ValueError(
            "Keras's files want h5py: pip install h5py; a name that ends in neither .h5, .hdf5 nor .keras does without"
        ) from None
    return h5py


def text(value: bytes | str) -> str:
    """An attribute's text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def at(group: Any, path: str) -> Any:
    """What lies at a path, or None; ValueError for a link, which may lead into another file."""
    for name in path.split("/"):
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, library().HardLink):
            raise ValueError(f"{path} is a link, which is not followed")
        group = group[name]
    return group


def numbers(dataset: Any) -> Array:
    """The numbers of a dataset that lie in the file itself; ValueError for others, and for more than a file of its size holds."""
    if not isinstance(dataset, library().Dataset):
        raise ValueError("a weight is missing, or is no array")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} lies in another file, which is not read")
    if dataset.nbytes > unpacked_limit(dataset.id.get_storage_size()):
        raise ValueError(f"{dataset.name} tells of {dataset.nbytes:,} bytes and holds {dataset.id.get_storage_size():,}")
    return np.array(dataset)
