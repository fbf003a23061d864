"""Memory for tables that are read here and there, in large pages.

A processor keeps the addresses of some thousand pages at hand, and looks for any other in memory, which in a virtual machine
costs several reads. A page has 4 kB unless the system is asked for one of 2 MB, which NumPy does for arrays of 4 MB and more; a
page begins at a multiple of its size.
"""

from __future__ import annotations

import numpy as np

_PAGE, _LEAST_BYTES = 2**21, 2**22


def empty(shape: tuple[int, ...], dtype=np.uint64) -> np.ndarray:
    """As `numpy.empty`. What is taken beyond the array, so that it begins with a page, is never written to, and is no memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(max(size, _LEAST_BYTES) + _PAGE, np.uint8)
    start = -memory.ctypes.data % _PAGE
    return memory[start : start + size].view(dtype).reshape(shape)


def zeros(shape: tuple[int, ...], dtype=np.uint64) -> np.ndarray:
    """As `numpy.zeros`."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
