"""The types that signatures name.

==========  ============================================================================================================
`Array`     a NumPy array, of float32 or float64 unless the text says otherwise; on a GPU a CuPy array, which keeps to
            the same interface
`Ids`       an array of integers: tokens, classes, tags, positions, lengths
`Scalar`    one number of the arrays' dtype; on a GPU an array without axes, which stays there
`DType`     what NumPy takes for a dtype: ``"float32"``, ``np.float32``, ``np.dtype(np.float32)``
`Seed`      where a model's first values come from; None takes fresh entropy
`State`     what a recurrent layer carries from step to step: h, or an LSTM's (h, c)
`PathLike`  where a file or a folder lies: text, or a `pathlib.Path`
==========  ============================================================================================================
"""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["Array", "DType", "Ids", "PathLike", "Scalar", "Seed", "State"]

Array: TypeAlias = np.ndarray
Ids: TypeAlias = np.ndarray
Scalar: TypeAlias = np.floating | np.ndarray
Seed: TypeAlias = int | np.random.Generator | None
State: TypeAlias = np.ndarray | tuple[np.ndarray, ...]
DType: TypeAlias = DTypeLike
PathLike: TypeAlias = str | os.PathLike[str]


def __dir__() -> list[str]:
    return sorted(__all__)
