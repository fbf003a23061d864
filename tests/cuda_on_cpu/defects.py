"""Kernels with one defect each: the shim, or a sanitizer, must name it and its line. Run as a program under a sanitizer.

python -m tests.cuda_on_cpu.defects SANITIZER NAME     one kernel: "clean", "race" or one of DEFECTS
python -m tests.cuda_on_cpu.defects thread exchange    JSON: what is reported, by what was deleted from EXCHANGE
"""

from __future__ import annotations

import json
import sys

import numpy as np

from minilm.ops.cuda import source
from tests.cuda_on_cpu import loader, sanitized

HEADER = source.flatten(source.SHARED / "minilm_cuda.h") + '#line 1 "kernel.cu"\n'
CLEAN = """\
extern "C" __global__ void kernel(
    const REAL* x,  // (N)
    REAL* y,        // (N)
    i64 N) {
    __shared__ REAL row[64];
    DYN_SHARED(REAL, more);
    REAL local[4] = {1, 2, 3, 4};
    int t = threadIdx.x;
    row[t] = x[t];
    more[t] = x[t];
    __syncthreads();
    y[t] = row[(t + 33) % 64] + more[(t + 34) % 64] + local[t % 4];
}
"""
DEFECTS = {  # name: (text, what stands there instead, the line that is named, what is said)
    "static shared": ("row[t] = x[t]", "row[t + 1] = x[t]", 9, "overflow|out of bounds"),
    "dynamic shared": ("more[t] = x[t]", "more[t + 1] = x[t]", 10, "overflow"),
    "global": ("y[t] =", "y[t + 1] =", 12, "overflow"),
    "local": ("local[t % 4]", "local[t % 4 + 1]", 12, "overflow|out of bounds"),
    "integer": ("int t = threadIdx.x;", "int t = threadIdx.x; int big = 2147483647 - 60 + t;", 8, "signed integer overflow"),
}

# Blocks of a cooperative launch that read, twice, what their neighbours wrote.
EXCHANGE = """\
extern "C" __global__ void kernel(
    const REAL* x,  // (N)
    REAL* y,        // (2, N)
    u32* arrived,   // (1)
    i64 N) {
    DYN_SHARED(REAL, own);
    i64 n = thread_of_grid();
    own[threadIdx.x] = x[n];
    __syncthreads();
    y[n] = own[(threadIdx.x + 33) % 64];
    grid_barrier(arrived, gridDim.x);
    y[N + n] = y[(n + 64) % N];
    grid_barrier(arrived, 2 * gridDim.x);
    y[n] = y[N + (n + 65) % N];
}
"""
ORDERING = {  # what is deleted: (where it stands, the line that reads or writes too early)
    "nothing": (None, None),
    "the block's barrier": ("__syncthreads();\n    y[n]", 10),
    "the barrier of the grid": ("grid_barrier(arrived, 2 * gridDim.x);", 14),
    "the barrier before thread 0 tells": ("__syncthreads();                          \\\n        if (", 12),
    "the fence before thread 0 tells": ("__threadfence();                      \\\n            atomicAdd", 12),
    "the fence after thread 0 heard": ("__threadfence();                      \\\n        }", 12),
    "the barrier after thread 0 heard": ("__syncthreads();                          \\\n    } while", 12),
}


def exchange(deleted: str = "nothing") -> str:
    """EXCHANGE with something deleted, of itself or of grid.h."""
    whole = HEADER.replace('#line 1 "kernel.cu"', source.flatten(source.SHARED / "grid.h") + '#line 1 "kernel.cu"') + EXCHANGE
    place, _ = ORDERING[deleted]
    if place is None:
        return whole
    if whole.count(place) != 1:
        raise ValueError(f"{place!r} stands {whole.count(place)} times in the text")
    call, more = place.split(";", 1)
    return whole.replace(place, " " * len(call) + ";" + more)


def run_exchange(source_text: str, sanitizer: str = "none", order: str = "ascending", counter: int = 0, cooperative: bool = True):
    """Launch it on 3 blocks of 64 threads; y[0] and what it should be."""
    N = 192
    x, y, arrived = np.arange(N, dtype=np.float32), np.full((2, N), np.nan, np.float32), np.full(1, counter, np.uint32)
    library = loader.compiled(source_text, (), sanitizer)
    loader.launch(library, "kernel", (3,), (64,), [x, y, arrived, np.int64(N)], 256, order, cooperative)
    first = np.roll(x.reshape(3, 64), -33, axis=1).reshape(-1)
    return y[0], np.roll(np.roll(first, -64), -65)


def text(name: str | None = None) -> str:
    """The kernel, with a defect."""
    body = CLEAN if name is None else CLEAN.replace(*DEFECTS[name][:2])
    return HEADER + body.replace("+ t;", "+ t; if (big < 0) return;")


def run(source_text: str, sanitizer: str, order: str = "ascending"):
    """Launch the kernel on 64 threads."""
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    loader.launch(loader.compiled(source_text, (), sanitizer), "kernel", (1,), (64,), [x, y, np.int64(64)], 256, order)
    return y


def reported() -> dict[str, str]:
    """What ThreadSanitizer reports of EXCHANGE, by what is deleted."""
    reports = {}
    for deleted in ORDERING:  # all, before the first report: what is loaded later has no lines in it
        loader.compiled(exchange(deleted), (), "thread")
    for deleted in ORDERING:
        before = len(sanitized.reports())
        run_exchange(exchange(deleted), "thread")
        reports[deleted] = sanitized.reports()[before:]
    return reports


if __name__ == "__main__":
    sanitizer_, name_ = sys.argv[1:]
    sanitized.spare_children()
    if name_ == "exchange":
        print("RESULT", json.dumps(reported()))
    else:
        body_ = text(None if name_ in ("clean", "race") else name_)
        print(run(body_.replace("__syncthreads();", "" if name_ == "race" else "__syncthreads();"), sanitizer_).sum())
