"""Ranks that talk through MPI, by mpi4py. Arrays of the host only: device memory is never handed to MPI.

A sum over the tree is two steps, each of them one call of MPI::

    Ialltoallv     every rank sends each other one that one's piece of its subtrees' sums
    (add)          and adds the pieces that came, in the tree's order
    Iallgatherv    the sums of the pieces go to all

With one subtree a rank that is 2 (R - 1) / R numbers sent for each one summed, as in a ring's all-reduce, which however adds in
an order that depends on R.

The two steps have a communicator each. On one communicator all ranks must begin their calls in the same order, and which bucket's
second step comes before which one's first is a matter of speed.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minilm.distributed.bfloat16 import narrowed, widened
from minilm.distributed.communicator import Communicator, Pending
from minilm.distributed.tree import Tree
from minilm.layers.residual import added
from minilm.typing import Array

__all__ = ["MPICommunicator", "load"]


def load() -> Any:
    """``mpi4py.MPI``, initialised.

    Raises
    ------
    ValueError
        It is not installed, or finds no MPI.
    """
    try:
        import mpi4py
    except ImportError:
        raise ValueError(
            "this process was started as one of several, and mpi4py is not installed: pip install 'minilm[mpi]'"
        ) from None
    _show_library(mpi4py)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"mpi4py finds no MPI library (pip install mpich brings one): {str(error).splitlines()[0]}") from None
    return MPI


def _show_library(mpi4py) -> None:
    """Where the wheels of mpi4py and MPI lie in another prefix than Python's own: mpi4py looks in that one only."""
    folder = os.path.realpath(os.path.join(os.path.dirname(mpi4py.__file__), "..", "..", ".."))  # lib
    if glob.glob(os.path.join(folder, "libmpi.*")) and not glob.glob(os.path.join(sys.prefix, "lib", "libmpi.*")):
        os.environ.setdefault("MPI4PY_LIBMPI", folder)


class MPICommunicator(Communicator):
    """The ranks of an MPI communicator, ``MPI.COMM_WORLD`` without one."""

    name = "mpi"

    def __init__(self, world: Any = None):
        self._MPI = load()
        self._world = self._MPI.COMM_WORLD if world is None else world
        self.rank, self.size = self._world.rank, self._world.size
        self._scatter, self._gather, self._small = (self._world.Dup() for _ in range(3))
        self._on_gpu: Communicator | None = None
        self._buffers: dict[tuple, list[np.ndarray]] = {}  # that nobody uses now, by shape and dtype

    def reduce_scatter(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        nodes = [len(tree.nodes(rank)) for rank in range(self.size)]
        if len(partials) != nodes[self.rank]:
            raise ValueError(f"partials must be the sums of {nodes[self.rank]} subtrees, got {len(partials)}")
        own = out[cuts[self.rank] : cuts[self.rank + 1]]  # (c,)
        sizes = np.diff(cuts)  # (R,)
        sent = _packed(partials, cuts, wire)
        received = self._buffer((sum(nodes), own.size), sent.dtype)  # (K, c)
        request = self._scatter.Ialltoallv(
            [sent, _counts(sizes * len(partials))], [received, _counts(np.array(nodes) * own.size)]
        )

        def add() -> None:
            _add_up(received, tree.additions(tree.all_nodes()), own)
            self._buffers[received.shape, received.dtype].append(received)

        return _Request(request, sent, received, then=add)

    def all_gather(self, out: Array, cuts: Sequence[int]) -> Pending:
        return _Request(self._gather.Iallgatherv(self._MPI.IN_PLACE, [out, _counts(np.diff(cuts))]), out)

    def exchange(self, numbers: Sequence[float]) -> np.ndarray:
        own, gathered = np.array(numbers, float), np.empty((self.size, len(numbers)))
        if own.size:
            _Request(self._small.Iallgather(own, gathered), own, gathered).wait()
        else:
            _Request(self._small.Ibarrier()).wait()
        return gathered

    def broadcast(self, content: bytes | None) -> bytes:
        size = np.array([0 if content is None else len(content)])
        _Request(self._small.Ibcast(size), size).wait()
        buffer = bytearray(int(size[0])) if self.rank or content is None else bytearray(content)
        _Request(self._small.Ibcast([buffer, self._MPI.BYTE]), buffer).wait()
        return bytes(buffer)

    def on(self, device: str) -> Communicator:
        if device == "cpu":
            return self
        if self._on_gpu is None:
            from minilm.distributed.nccl import NCCLCommunicator

            self._on_gpu = NCCLCommunicator(self)
        return self._on_gpu

    def beside(self) -> tuple[int, int]:
        """This rank's number among those of its host, and how many these are."""
        host = self._world.Split_type(self._MPI.COMM_TYPE_SHARED)
        try:
            return host.rank, host.size
        finally:
            host.Free()

    def cores(self) -> int:
        if not hasattr(os, "sched_getaffinity"):
            return max(1, super().cores() // self.beside()[1])
        host, own = self._world.Split_type(self._MPI.COMM_TYPE_SHARED), os.sched_getaffinity(0)
        together = set().union(*host.allgather(own))  # a launcher may have bound each rank to cores of its own
        share = len(together) // host.size
        host.Free()
        return max(1, min(len(own), share))

    def abort(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._world.Abort(status)
        os._exit(status)  # where MPI leaves it to the launcher to end this one

    def _buffer(self, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """An array to receive in: fresh memory costs more than what is done with it."""
        free = self._buffers.setdefault((shape, dtype), [])
        return free.pop() if free else np.empty(shape, dtype)

    def host(self) -> Any:
        """The communicator of MPI's that none of these methods uses: for what else goes on beside them."""
        return self._world

    def close(self) -> None:
        for communicator in (self._scatter, self._gather, self._small):
            communicator.Free()


class _Request(Pending):
    """A request of MPI's, the buffers that must live as long, and what is to be done when it is over."""

    def __init__(self, request: Any, *buffers: Any, then: Callable[[], None] | None = None):
        self._request, self._buffers, self._then = request, buffers, then

    def done(self) -> bool:
        if self._request is not None and self._request.Test():
            self._request, self._buffers = None, ()
            if self._then is not None:
                self._then()
        return self._request is None


def _packed(partials: Sequence[Array], cuts: Sequence[int], wire: str) -> np.ndarray:
    """What is sent: for each rank its piece of all subtrees' sums, one after another."""
    if wire == "bf16":
        partials = [narrowed(partial) for partial in partials]
    if len(partials) == 1:
        return partials[0]
    return np.concatenate([partial[start:stop] for start, stop in zip(cuts[:-1], cuts[1:], strict=True) for partial in partials])


def _add_up(received: np.ndarray, additions: list[tuple[int, int]], out: Array) -> None:
    """out (c,) = the sum of the subtrees' sums (K, c), in the tree's order."""
    rows = widened(received).reshape(received.shape) if received.dtype == np.uint16 else received
    for into, number in additions:
        added(rows[into], rows[number], out=rows[into])
    out[...] = rows[0]


def _counts(sizes: np.ndarray) -> tuple[list[int], list[int]]:
    """Sizes and places of neighbouring parts of a buffer, as MPI wants them."""
    return sizes.tolist(), [0, *np.cumsum(sizes)[:-1].tolist()]
