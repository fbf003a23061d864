"""``cupy.cuda.nccl`` for the CPU that plays a GPU: addresses of memory, and MPI in the place of NVLink. Signatures are CuPy's."""

import contextlib
import ctypes
import sys
import types

import numpy as np

from minilm.distributed.bfloat16 import narrowed, widened
from tests.cuda_on_cpu import fake_cupy

KINDS = {7: np.float32, 8: np.float64, 9: np.uint16}  # ncclFloat32, ncclFloat64, ncclBfloat16
calls = []


def _array(address, count, kind):
    dtype = np.dtype(KINDS[kind])
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)


class NcclCommunicator:
    """cupy.cuda.nccl.NcclCommunicator"""

    def __init__(self, ndev, commId, rank):
        from mpi4py import MPI

        assert isinstance(commId, tuple) and len(commId) == 128 and all(type(part) is int for part in commId)
        self._world = MPI.COMM_WORLD
        assert (ndev, rank) == (self._world.size, self._world.rank)
        assert len(set(self._world.allgather(commId))) == 1

    def _sum(self, array):
        terms = self._world.allgather(array)
        if array.dtype == np.uint16:
            return narrowed(np.sum([widened(term) for term in terms], axis=0, dtype=np.float32))
        return np.sum(terms, axis=0, dtype=array.dtype)

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):  # noqa: N802 - CuPy's name
        calls.append("allReduce")
        _array(recvbuf, count, datatype)[...] = self._sum(_array(sendbuf, count, datatype))

    def reduce(self, sendbuf, recvbuf, count, datatype, op, root, stream):
        calls.append("reduce")
        total = self._sum(_array(sendbuf, count, datatype))
        if self._world.rank == root:
            _array(recvbuf, count, datatype)[...] = total

    def broadcast(self, sendbuff, recvbuff, count, datatype, root, stream):
        calls.append("broadcast")
        _array(recvbuff, count, datatype)[...] = self._world.bcast(_array(sendbuff, count, datatype).copy(), root)


@contextlib.contextmanager
def installed():
    """``import cupy`` finds a GPU that the CPU plays, and its NCCL."""
    nccl = types.ModuleType("cupy.cuda.nccl")
    nccl.available, nccl.NcclCommunicator, nccl.NcclError = True, NcclCommunicator, RuntimeError
    nccl.NCCL_FLOAT32, nccl.NCCL_FLOAT64, nccl.NCCL_BFLOAT16, nccl.NCCL_SUM = 7, 8, 9, 0
    nccl.get_unique_id = lambda: tuple(range(-64, 64))
    nccl.groupStart, nccl.groupEnd = (lambda: calls.append("groupStart")), (lambda: calls.append("groupEnd"))
    with fake_cupy.installed() as cupy:
        cupy.cuda.nccl = sys.modules["cupy.cuda.nccl"] = nccl
        try:
            yield cupy
        finally:
            sys.modules.pop("cupy.cuda.nccl", None)
