"""One kernel and one product, by CuPy alone: whether a GPU works, with a compiler and with cuBLAS."""

from __future__ import annotations

import cupy
import numpy as np

SOURCE = """
extern "C" __global__ void minilm_trial(int* x) {
    x[0] = 41;
}
"""


def run() -> None:
    """Raise whatever goes wrong."""
    x = cupy.zeros(1, np.int32)
    cupy.RawModule(code=SOURCE, options=("--std=c++17",)).get_function("minilm_trial")((1,), (1,), (x,))
    product = cupy.ones((2, 2), np.float32) @ cupy.ones((2, 2), np.float32)
    if int(x[0]) != 41 or float(product[0, 0]) != 2:
        raise ArithmeticError(f"the kernel gave {int(x[0])} for 41, the product {float(product[0, 0])} for 2")
