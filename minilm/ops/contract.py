"""The contract every operation keeps, and the entry it has in the registry.

An op is a folder with a specification (``spec.py``), one module for each implementation (``oracle.py``, ``cpu.py``,
``gpu.py``), and the cases that tests and benchmarks draw (``cases.py``). All implementations take the same arguments and
return the same results within a computed tolerance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minilm import devices


class Pair(NamedTuple):
    """A forward and its backward: what a folder with several ops gives each of them."""

    forward: Callable
    backward: Callable


class Case(NamedTuple):
    """Arguments drawn for one call of an op."""

    arguments: dict[str, Any]  # keyword arguments of the public forward, in its order
    differentiable: tuple[str, ...]  # those that carry gradients, in the order backward returns them


@dataclass(frozen=True)
class Op:
    """Registry entry of one operation: all that tests, `minilm gradcheck` and the benchmarks know of it.

    Attributes
    ----------
    name : str
        The op's name, unique in the registry.
    package : str
        The folder, e.g. ``"minilm.ops.linear"``; public functions live in it, implementations in its modules.
    dims : mapping of str to tuple of int
        For every letter of the shapes, the sizes to test. The first is the tiny one, used for full Jacobians; among
        the others are 1, odd primes, and more than one block of the kernels.
    draw : callable
        ``draw(rng, dtype, dims, **options) -> Case``: random arguments of the given sizes, off kinks and ties, and no
        parameter at zero.
    flops, bytes : callable
        ``flops(dims)`` and ``bytes(dims, itemsize)`` of forward and backward together, for the roofline.
    options : mapping of str to tuple
        Options that `draw` takes, with the values to test; the first of each is the usual one.
    forward, backward : str
        Names of the two functions, in the package and in each implementation. ``backward`` is None for an op that is
        no differentiable pair: an optimizer's update, or random numbers.
    updates : tuple of str
        For an update op: the arguments that the public function writes in place. The oracle returns their new values.
    """

    name: str
    package: str
    dims: Mapping[str, tuple[int, ...]]
    draw: Callable[..., Case]
    flops: Callable[[Mapping[str, int]], int]
    bytes: Callable[[Mapping[str, int], int], int]
    options: Mapping[str, tuple] = field(default_factory=dict)
    forward: str = "forward"
    backward: str | None = "backward"
    updates: tuple[str, ...] = ()

    def tiny(self) -> dict[str, int]:
        """The sizes on which a full Jacobian is affordable."""
        return {letter: sizes[0] for letter, sizes in self.dims.items()}


def call(package: str, function: str, *arguments, by=None, **options):
    """Run `function` of the implementation that serves the array `by`, which is the first argument unless given."""
    if by is None:
        by = arguments[0] if arguments[0] is not None else next(a for a in arguments if a is not None)
    name = devices.implementation_for(by)
    if "cupy" in sys.modules:  # else no array lies on a device
        _same_device(package, (*arguments, *options.values()), name == "gpu")
    return getattr(devices.load(package, name), function)(*arguments, **options)


def update(package: str, name: str, *arrays: Any, **options: Any) -> None:
    """`call` of an op that writes its arrays: the oracle writes nothing and returns new ones, which are copied in here."""
    for array, new in zip(arrays, call(package, name, *arrays, **options), strict=True):
        if new is not array:
            array[...] = new


def _same_device(package: str, arguments, on_gpu: bool) -> None:
    for argument in arguments:
        if isinstance(argument, np.ndarray) if on_gpu else devices.on_gpu(argument):
            most, other = ("on the device", "not") if on_gpu else ("on the host", "on the device")
            op = package.rpartition(".")[2]
            raise TypeError(f"{op}: some arrays are {most}, and one of shape {argument.shape} is {other}")


def fold(x: np.ndarray) -> np.ndarray:
    """Fold all leading axes into one: (..., D) becomes (N, D). The one flattening rule of forward and backward alike."""
    return x.reshape(-1, x.shape[-1]) if x.shape[-1] else x.reshape(int(np.prod(x.shape[:-1])), 0)
