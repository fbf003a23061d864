"""Weights of GGUF files as they lie there: blocks of 32 that share a scale, without a detour by float32.

::

    Q4_1, Q4_0 (m = -8 d)    the groups of int4
    Q8_0                     groups of int8

Others are widened to float32, one matrix at a time, and rounded as `minilm.quantized.spec` says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minilm.quantized import packing
from minilm.quantized.spec import SMALL_GROUP
from minilm.weights.gguf import GGUFFile
from minilm.weights.gguf_blocks import parts

__all__ = ["packed"]


def packed(file: GGUFFile, name: str, kind: str, arranged: Callable[[np.ndarray], np.ndarray]) -> packing.Packed:
    """A matrix of a file in a format of `FORMATS`, with groups of 32.

    Parameters
    ----------
    arranged : callable
        Gives rows (O, n) the order that the model has.
    """
    codes, scales, least = parts(file.blocks(name), file[name].type)  # (O, K) and (O, G)
    if kind == "int8" and codes is not None and codes.dtype == np.int8:
        return packing.pack_int8(arranged(codes), arranged(scales.astype(np.float32)), SMALL_GROUP)
    if kind == "int4" and codes is not None and codes.dtype == np.uint8:
        return packing.pack_int4(*map(arranged, (codes, scales, least)))
    return packing.packed(arranged(file.read(name)), kind, SMALL_GROUP)
