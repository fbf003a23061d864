"""cuBLAS by a handle of our own, called through ctypes.

CuPy has a handle too, but refuses every call of cuBLAS while a stream is being captured into a CUDA graph. cuBLAS itself allows
it, if it need not ask for memory then: so every handle of ours has one stream, and a workspace that it keeps.

References
----------
NVIDIA, cuBLAS Library, "CUDA Graphs Support" and "cublasSetWorkspace()".
"""

from __future__ import annotations

import ctypes
import functools
from typing import NamedTuple

import cupy
import numpy as np

__all__ = ["COMPUTE_32F", "COMPUTE_32F_FAST_TF32", "COMPUTE_64F", "R_16BF", "R_32F", "R_64F", "Matrix", "gemm_ex"]

R_32F, R_64F, R_16BF = 0, 1, 14  # cudaDataType
COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77  # cublasComputeType_t
DEFAULT_ALGORITHM = -1
WORKSPACE = 32 << 20  # bytes: what cuBLAS wants on Hopper

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_ARGUMENTS = {
    "cublasCreate_v2": [ctypes.POINTER(_POINTER)],
    "cublasSetStream_v2": [_POINTER, _POINTER],
    "cublasSetWorkspace_v2": [_POINTER, _POINTER, ctypes.c_size_t],
    "cublasGemmEx": [
        *[_POINTER, _INT, _INT, _INT, _INT, _INT, _POINTER],  # handle, transpose a and b, m, n, k, alpha
        *[_POINTER, _INT, _INT, _POINTER, _INT, _INT, _POINTER],  # a and b with type and leading size, beta
        *[_POINTER, _INT, _INT, _INT, _INT],  # c with type and leading size, compute type, algorithm
    ],
}
_STATUS = {1: "not initialised", 3: "no memory", 7: "invalid value", 8: "not on this architecture", 13: "execution failed"}


def library():
    """The shared library, where CuPy finds it too."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)


@functools.cache
def _functions() -> dict:
    """The functions we call, with their signatures."""
    loaded = library()
    functions = {name: getattr(loaded, name) for name in _ARGUMENTS}
    for name, function in functions.items():
        function.argtypes, function.restype = _ARGUMENTS[name], _INT
    return functions


def _call(name: str, *arguments) -> None:
    status = _functions()[name](*arguments)
    if status:
        raise RuntimeError(f"{name} failed: status {status}, {_STATUS.get(status, 'see cublasStatus_t')}")


@functools.cache
def _handle(device: int, stream: int) -> tuple:
    """A handle that works on one stream of one device, and its workspace: streams must not share one."""
    handle, workspace = _POINTER(), cupy.cuda.alloc(WORKSPACE)
    _call("cublasCreate_v2", ctypes.byref(handle))
    _call("cublasSetStream_v2", handle, stream)  # takes the workspace away, so it comes first
    _call("cublasSetWorkspace_v2", handle, workspace.ptr, WORKSPACE)
    return handle, workspace


_FACTORS = {kind: (np.ones(1, kind), np.zeros(1, kind)) for kind in ("float32", "float64")}  # read from the host, at the call


class Matrix(NamedTuple):
    """A matrix whose first index runs fastest."""

    address: int
    kind: int  # cudaDataType
    lead: int  # distance of two columns


def gemm_ex(transpose_a: bool, transpose_b: bool, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, compute: int) -> None:
    """c = op(a) op(b): cublasGemmEx on the current stream.

    Parameters
    ----------
    transpose_a, transpose_b : bool
        Whether op is the transpose.
    m, n, k : int
        c is (m, n), and k is summed over.
    a, b, c : Matrix
    compute : int
        cublasComputeType_t.

    Raises
    ------
    RuntimeError
        With the status of cuBLAS.
    """
    one, zero = (factor.ctypes.data for factor in _FACTORS["float64" if compute == COMPUTE_64F else "float32"])
    handle, _ = _handle(cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr)
    sizes = transpose_a, transpose_b, m, n, k
    _call("cublasGemmEx", handle, *sizes, one, *a, *b, zero, *c, compute, DEFAULT_ALGORITHM)
