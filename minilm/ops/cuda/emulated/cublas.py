"""cuBLAS as a shared library has it: C functions, which Python plays. They check what the real ones would refuse."""

from __future__ import annotations

import ctypes

import numpy as np

from minilm.ops.cuda.emulated import arrays, cuda

R_32F, R_64F, R_16BF = 0, 1, 14
C_32F, C_64F, C_TF32 = 68, 70, 77
OK, NOT_INITIALISED, INVALID, NOT_SUPPORTED = 0, 1, 7, 15
STORED = {R_32F: np.float32, R_64F: np.float64, R_16BF: np.uint16}
ALLOWED = {(R_32F, R_32F, C_32F), (R_32F, R_32F, C_TF32), (R_16BF, R_32F, C_32F), (R_64F, R_64F, C_64F)}  # operands, c, sums

_P, _I = ctypes.c_void_p, ctypes.c_int
_handles: dict[int, dict] = {}


def _at(address: int, count: int, dtype):
    raw = (ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.frombuffer(raw, dtype, count)


def _matrix(address, kind, rows, columns, lead, compute):
    """A matrix whose first index runs fastest; rounded as the tensor cores do."""
    raw = _at(address, lead * columns, STORED[kind]).reshape(columns, lead)[:, :rows].T
    if kind == R_16BF:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    if compute == C_TF32:
        return (np.ascontiguousarray(raw).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return raw


@ctypes.CFUNCTYPE(_I, ctypes.POINTER(_P))
def create(handle):
    if arrays.tapes:
        return NOT_INITIALISED
    number = len(_handles) + 1
    _handles[number] = {"stream": None, "workspace": 0}
    handle[0] = number
    return OK


@ctypes.CFUNCTYPE(_I, _P, _P)
def set_stream(handle, stream):
    _handles[handle].update(stream=stream or 0, workspace=0)
    return OK


@ctypes.CFUNCTYPE(_I, _P, _P, ctypes.c_size_t)
def set_workspace(handle, address, size):
    if not address or not size:
        return INVALID
    _handles[handle]["workspace"] = size
    return OK


@ctypes.CFUNCTYPE(_I, _P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _I, _I, _P, _P, _I, _I, _I, _I)
def gemm_ex(
    handle, transpose_a, transpose_b, m, n, k, alpha, a, kind_a, lead_a, b, kind_b, lead_b, beta, c, kind_c, lead_c, compute, algo
):
    state = _handles.get(handle)
    if state is None or state["stream"] != cuda.current().ptr or not state["workspace"]:
        return NOT_INITIALISED  # cuBLAS would work on another stream, or allocate, which a capture does not allow
    if (kind_a, kind_c, compute) not in ALLOWED or kind_a != kind_b or algo != -1:
        return NOT_SUPPORTED
    if min(m, n, k) < 1 or lead_a < (k if transpose_a else m) or lead_b < (n if transpose_b else k) or lead_c < m:
        return INVALID
    scalar = np.float64 if compute == C_64F else np.float32
    factor, kept = _at(alpha, 1, scalar)[0], _at(beta, 1, scalar)[0]  # read at the call

    def product():
        left = _matrix(a, kind_a, *((k, m) if transpose_a else (m, k)), lead_a, compute)
        right = _matrix(b, kind_b, *((n, k) if transpose_b else (k, n)), lead_b, compute)
        out = _at(c, lead_c * n, STORED[kind_c]).reshape(n, lead_c)[:, :m]
        result = factor * ((left.T if transpose_a else left) @ (right.T if transpose_b else right)).T
        out[...] = result + kept * out if kept else result

    arrays.perform(product)
    return OK


class Library:
    """What `ctypes.CDLL` would give."""

    cublasCreate_v2, cublasSetStream_v2, cublasSetWorkspace_v2, cublasGemmEx = create, set_stream, set_workspace, gemm_ex
