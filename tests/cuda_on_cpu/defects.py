"""Kernels with one defect each: the shim, or a sanitizer, must name it and its line. Run as a program under a sanitizer."""

from __future__ import annotations

import sys

import numpy as np

from minilm.ops.cuda import source
from tests.cuda_on_cpu import loader

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


def text(name: str | None = None) -> str:
    """The kernel, with a defect."""
    body = CLEAN if name is None else CLEAN.replace(*DEFECTS[name][:2])
    return HEADER + body.replace("+ t;", "+ t; if (big < 0) return;")


def run(source_text: str, sanitizer: str, order: str = "ascending"):
    """Launch the kernel on 64 threads."""
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    loader.launch(loader.compiled(source_text, (), sanitizer), "kernel", (1,), (64,), [x, y, np.int64(64)], 256, order)
    return y


if __name__ == "__main__":
    sanitizer_, name_ = sys.argv[1:]
    body_ = text(None if name_ in ("clean", "race") else name_)
    print(run(body_.replace("__syncthreads();", "" if name_ == "race" else "__syncthreads();"), sanitizer_).sum())
