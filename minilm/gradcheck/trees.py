"""Outputs, cotangents and saved values as nested structures: walk them, copy them, compare them bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


def leaves(tree, path: str = ""):
    """All arrays and numbers in `tree`, with their paths: a generator of (path, leaf)."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        parts = zip(tree._fields, tree, strict=True)
    elif isinstance(tree, Mapping):
        parts = tree.items()
    elif isinstance(tree, (tuple, list)):
        parts = enumerate(tree)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        parts = ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
    else:
        yield path, tree
        return
    for name, part in parts:
        yield from leaves(part, f"{path}.{name}" if path else str(name))


def is_float(leaf) -> bool:
    """Whether `leaf` is an array or a number that can carry a gradient."""
    return isinstance(leaf, (float, np.floating)) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f")


def floats(tree) -> list:
    """The floating-point leaves of `tree` in order."""
    return [leaf for _, leaf in leaves(tree) if is_float(leaf)]


def copied(tree, widen: bool = False):
    """`tree` with every array in its tuples and lists replaced by a C-contiguous copy, float ones in float64 if `widen`."""
    if isinstance(tree, np.ndarray):
        return np.array(tree, order="C", dtype=np.float64 if widen and tree.dtype.kind == "f" else None)
    if isinstance(tree, (tuple, list)):
        parts = [copied(part, widen) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def flatten(tree) -> np.ndarray:
    """All floating-point leaves of `tree` in one float64 vector."""
    parts = [np.asarray(leaf, np.float64).reshape(-1) for leaf in floats(tree)]
    return np.concatenate(parts) if parts else np.zeros(0)


def cotangents(tree, vector: np.ndarray):
    """`vector`, of the length of ``flatten(tree)``, in the structure that backward wants for the outputs `tree`.

    Tuples of outputs become plain tuples, and what carries no gradient becomes None.
    """
    rest = vector

    def build(part):
        nonlocal rest
        if isinstance(part, (tuple, list)):
            return tuple(build(p) for p in part)
        if not is_float(part):
            return None
        size = np.size(part)
        first, rest = rest[:size], rest[size:]
        if isinstance(part, np.ndarray):
            return first.reshape(part.shape).astype(part.dtype)
        return type(part)(first[0])

    return build(tree)


def bits(leaf) -> bytes:
    """What a leaf holds, exactly."""
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes()
    if isinstance(leaf, (float, np.floating)):
        return np.float64(leaf).tobytes()
    if isinstance(leaf, (int, str, bool, bytes, type(None), np.integer, np.bool_)):
        return repr(leaf).encode()
    return str(id(leaf)).encode()  # an object we cannot look into: that it is still the same one


def snapshot(tree) -> dict[str, bytes]:
    """Bits of every leaf by path, to be compared with another snapshot."""
    return {path: bits(leaf) for path, leaf in leaves(tree)}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Paths whose bits differ between two snapshots."""
    return [path for path in {**before, **after} if before.get(path) != after.get(path)]
