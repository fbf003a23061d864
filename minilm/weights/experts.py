"""A Mixtral's experts as files hold them, three matrices each, and as transformers 5 does in memory: two arrays a layer.

::

    experts.gate_up_proj (E, 2F, D)     of expert e: rows 0 ... F-1 its gate_proj (w1), F ... 2F-1 its up_proj (w3)
    experts.down_proj    (E, D, F)      of expert e: its down_proj (w2)
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minilm import devices
from minilm.typing import Array, DType
from minilm.weights.saving import Item
from minilm.weights.tensor_header import Entry

__all__ = ["SplitExperts", "as_installed", "joined"]

JOINED = re.compile(r"(.*\.experts)\.(gate_up_proj|down_proj)")
ALONE = re.compile(r"(.*)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.weight")


class SplitExperts(Mapping):
    """Weights, such as a `WeightFolder`, with the matrices of each expert in the place of a layer's two arrays."""

    def __init__(self, weights: Any):
        self._weights, self.path = weights, getattr(weights, "path", "")
        self._parts: dict[str, tuple[str, int, slice]] = {}  # name -> the joined array, expert, rows of it
        for name in weights:
            self._parts |= _parts(name, tuple(weights[name].shape))
        self._joined = {name for name, *_ in self._parts.values()}
        self._layer, self._wholes = "", {}  # the joined arrays, by name and dtype, of the layer that was read last

    def __getitem__(self, name: str) -> Any:
        if name not in self._parts:
            return self._weights[name]
        source, _, rows = self._parts[name]
        whole = self._weights[source]
        return Entry(str(whole.dtype), (rows.stop - rows.start, whole.shape[2]), 0, 0)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._weights if name not in self._joined)
        yield from self._parts

    def __len__(self) -> int:
        return len(self._weights) - len(self._joined) + len(self._parts)

    def file_of(self, name: str) -> Any:
        """What holds an array."""
        return self if name in self._parts else self._weights.file_of(name)

    def array(self, name: str, dtype: DType = np.float32) -> Array:
        """The matrix of an expert, on the host, rounded or widened to `dtype`."""
        source, expert, rows = self._parts[name]
        if self._layer != (layer := source.rpartition(".")[0]):
            self._layer, self._wholes = layer, {}
        if (source, dtype) not in self._wholes:
            whole = self._wholes[source, dtype] = np.empty(self._weights[source].shape, dtype)  # (E, rows, columns)
            self._weights.file_of(source).copy(source, whole)
        return self._wholes[source, dtype][expert, rows]

    def blocks(self, name: str) -> Iterator[tuple[slice, Array]]:
        yield slice(None), self.array(name)

    def copy(self, name: str, target: Array) -> None:
        """Copy the matrix of an expert into `target`, of its shape."""
        target[...] = devices.array_module(target).asarray(self.array(name, target.dtype))


def _parts(name: str, shape: tuple[int, ...]) -> dict[str, tuple[str, int, slice]]:
    """The matrices that lie in an array of experts; none in another."""
    match = JOINED.fullmatch(name)
    if match is None or len(shape) != 3 or 0 in shape:
        return {}
    (E, rows, _), prefix = shape, match[1]
    if match[2] == "down_proj":
        return {f"{prefix}.{e}.down_proj.weight": (name, e, slice(0, rows)) for e in range(E)}
    places = {"gate_proj": slice(0, rows // 2), "up_proj": slice(rows // 2, rows)}
    return {f"{prefix}.{e}.{part}.weight": (name, e, place) for e in range(E) for part, place in places.items()}


def as_installed(items: list[Item]) -> list[Item]:
    """Weights by the names that files have, or by those of the modules of the transformers that is installed."""
    try:
        major = int(importlib.metadata.version("transformers").partition(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return items
    return joined(items) if major >= 5 else items


def joined(items: list[Item]) -> list[Item]:
    """Weights with two arrays in the place of a layer's experts, by transformers 5's names."""
    experts: dict[str, dict[str, list[Array]]] = {}  # layer -> w1, w2, w3 -> a matrix for each expert
    others = []
    for name, array in items:
        match = ALONE.fullmatch(name)
        if match is None:
            others.append(Item(name.replace(".block_sparse_moe.", ".mlp."), array))
        else:
            experts.setdefault(match[1], {}).setdefault(match[3], []).append(array)
    arrays = []
    for layer, matrices in experts.items():
        w1, w2, w3 = (np.stack([devices.to_host(each) for each in matrices[part]]) for part in ("w1", "w2", "w3"))  # (E, F, D)
        arrays += [Item(f"{layer}.mlp.experts.gate_up_proj", np.concatenate([w1, w3], axis=1))]
        arrays += [Item(f"{layer}.mlp.experts.down_proj", w2)]
    return others + arrays
