"""Ranks with a GPU each, whose gradients NCCL sums over NVLink or the network, through CuPy.

MPI carries what lies on the host: the id by which NCCL's ranks find each other, losses, clocks and signals. Arrays of the device
never reach it.

NCCL chooses ring or tree, and so the order of a sum, by size, topology and number of ranks. So on GPUs the bits depend on the
number of ranks, within the rounding of float32 sums: of the R terms of a sum each may be rounded R - 1 times, a relative error of
about (R - 1) 2**-24 of the sum of absolute values. With ``wire="bf16"`` the terms and NCCL's sums are rounded to 8 bits.

A sum runs on a stream of its own. It begins when the gradients it needs are there, and the kernels of backward go on beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from minilm.distributed.bfloat16 import narrowed, widened
from minilm.distributed.communicator import Communicator, Pending
from minilm.distributed.tree import Tree
from minilm.typing import Array

__all__ = ["NCCLCommunicator"]


class NCCLCommunicator(Communicator):
    """The ranks of another communicator, for arrays on their GPUs. This process computes on a GPU of its own from now on.

    Parameters
    ----------
    host : MPICommunicator

    Raises
    ------
    ValueError
        A host has more ranks than GPUs, or NCCL is not there.
    """

    name, exact = "nccl", False

    def __init__(self, host: Any):
        self._host, self.rank, self.size = host, host.rank, host.size
        self._cupy, self._nccl = _modules()
        self._choose_device()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        identity = json.dumps(list(self._nccl.get_unique_id())).encode() if self.rank == 0 else None
        identity = tuple(json.loads(host.broadcast(identity)))
        try:
            self._ranks = self._nccl.NcclCommunicator(self.size, identity, self.rank)
        except self._nccl.NcclError as error:
            raise ValueError(f"NCCL does not connect the {self.size} ranks: {error}") from None
        kinds = {"float32": "NCCL_FLOAT32", "float64": "NCCL_FLOAT64"}
        self._kinds = {np.dtype(name): getattr(self._nccl, kind) for name, kind in kinds.items()}
        bfloat16 = getattr(self._nccl, "NCCL_BFLOAT16", 9)  # an older CuPy lacks the name of NCCL's number 9, ncclBfloat16
        self._kinds[np.dtype(np.uint16)] = bfloat16

    def all_reduce(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        sent = _together(partials, out, wire)
        kind = self._kinds[np.dtype(sent.dtype)]
        return self._launched(
            lambda stream: self._ranks.allReduce(_at(sent), _at(sent), sent.size, kind, self._nccl.NCCL_SUM, stream), sent, out
        )

    def reduce_scatter(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        sent = _together(partials, out, wire)
        kind = self._kinds[np.dtype(sent.dtype)]

        def launch(stream: int) -> None:
            for rank, piece in _pieces(sent, cuts):
                self._ranks.reduce(_at(piece), _at(piece), piece.size, kind, self._nccl.NCCL_SUM, rank, stream)

        return self._launched(launch, sent, out)

    def all_gather(self, out: Array, cuts: Sequence[int]) -> Pending:
        kind = self._kinds[np.dtype(out.dtype)]

        def launch(stream: int) -> None:
            for rank, piece in _pieces(out, cuts):
                self._ranks.broadcast(_at(piece), _at(piece), piece.size, kind, rank, stream)

        return self._launched(launch, out, out)

    def exchange(self, numbers: Sequence[float]) -> np.ndarray:
        return self._host.exchange(numbers)

    def broadcast(self, content: bytes | None) -> bytes:
        return self._host.broadcast(content)

    def abort(self, status: int) -> None:
        self._host.abort(status)

    def _choose_device(self) -> None:
        """The GPU with this rank's number among those of its host; where a launcher shows each rank one of its own, that one."""
        number, beside = self._host.beside()
        count = self._cupy.cuda.runtime.getDeviceCount()
        if 1 < count < beside:
            raise ValueError(f"this host has {beside} ranks and {count} GPUs, and NCCL wants one for each rank")
        self._cupy.cuda.Device(number % count).use()

    def _launched(self, launch: Any, sent: Array, out: Array) -> Pending:
        """Let NCCL begin when all that was launched before is done."""
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        self._nccl.groupStart()  # the pieces' calls travel as one
        launch(self._stream.ptr)
        self._nccl.groupEnd()
        return _Event(self._stream.record(), sent, out)


class _Event(Pending):
    """Something on NCCL's stream, which is over when the event behind it is."""

    def __init__(self, event: Any, sent: Array, out: Array):
        self._event, self._sent, self._out = event, sent, out

    def done(self) -> bool:
        if self._event is not None and self._event.done:
            if self._sent is not self._out:
                self._out[...] = widened(self._sent)
            self._event = self._sent = None
        return self._event is None


def _modules() -> tuple[Any, Any]:
    import cupy

    try:
        from cupy.cuda import nccl
    except ImportError:
        nccl = None
    if nccl is None or not getattr(nccl, "available", True):
        raise ValueError("CuPy finds no NCCL, which sums gradients between GPUs: pip install nvidia-nccl-cu13 (or -cu12)")
    return cupy, nccl


def _together(partials: Sequence[Array], out: Array, wire: str) -> Array:
    """The sum of this rank's subtrees: in `out`, or rounded beside it."""
    *others, last = partials
    if last is not out:
        out[...] = last
    for partial in others:
        out += partial
    return narrowed(out) if wire == "bf16" else out


def _pieces(array: Array, cuts: Sequence[int]) -> list[tuple[int, Array]]:
    pieces = [array[start:stop] for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]
    return [(rank, piece) for rank, piece in enumerate(pieces) if piece.size]


def _at(array: Array) -> int:
    return array.data.ptr
