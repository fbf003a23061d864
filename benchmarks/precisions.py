"""Precisions below float32, for the cases that compare them: refused in one line where minilm or the processor lacks them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.case import Unavailable


def context(precision: str) -> Callable[[], AbstractContextManager]:
    """What gives the context in which minilm multiplies in a precision, on this processor.

    Raises
    ------
    Unavailable
        With the reason.
    """
    from minilm.training import device

    try:
        before = _multiplies()
        with device.active("cpu", precision):
            unchanged = _multiplies() == before
    except (ValueError, RuntimeError) as reason:
        raise Unavailable(str(reason)) from None
    if unchanged:
        raise Unavailable(f"minilm multiplies in float32 on a CPU, not in {precision}")
    return functools.partial(device.active, "cpu", precision)


def quantized(model, precision: str):
    """The model with weights of fewer bits, in place.

    Raises
    ------
    Unavailable
        Where minilm has none of that precision.
    """
    try:
        module = importlib.import_module("minilm.quantized")
        module.quantize(model, precision)
    except ModuleNotFoundError:
        raise Unavailable(f"minilm writes with float32 weights on a CPU, not with {precision} ones") from None
    except ValueError as reason:
        raise Unavailable(str(reason)) from None
    return model


def _multiplies() -> bytes:
    """A product whose bits differ where the precision does."""
    import numpy as np

    from minilm.ops import linear

    rng = np.random.default_rng(0)
    x, W = (rng.standard_normal((64, 64), np.float32) for _ in range(2))  # (N, I), (O, I)
    return linear.forward(x, W)[0].tobytes()
