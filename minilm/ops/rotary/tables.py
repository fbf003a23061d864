"""The angles of rotary positions: which frequency each pair has, and the tables of their cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilm.ops import checks
from minilm.typing import Array, DType

__all__ = ["frequencies", "tables"]

SCALINGS: dict[str, tuple[str, ...]] = {  # the keys that each needs
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def frequencies(R: int, *, base: float = 10_000.0, scaling: Mapping[str, Any] | None = None) -> Array:
    """Radians that each pair turns from one position to the next.

    .. math:: f_r = base^{-2r/R}

    Parameters
    ----------
    R : int
        Numbers of a head that are rotated; even.
    base : float
        ``rope_theta`` of a configuration.
    scaling : mapping, optional
        ``rope_scaling`` of a configuration, for contexts longer than those of training. ``rope_type`` (or ``type``) is
        ``"linear"``: every frequency is divided by ``factor``; or ``"llama3"``: only those are that turn fewer than
        ``low_freq_factor`` times in ``original_max_position_embeddings``; those of more than ``high_freq_factor`` turns stay,
        and between the two the share changes evenly.

    Returns
    -------
    f : ndarray of float64, shape (R/2,)

    Raises
    ------
    TypeError, ValueError
        If `R` is odd, or a number or the scaling is not what it should be.
    """
    if checks.whole("R", R, 2, 2**31) % 2:
        raise ValueError(f"R must be even, got {R}")
    base = checks.number("base", base, 0, math.inf, low_open=True, high_open=True)
    f = base ** (-np.arange(0, R, 2) / R)  # (R/2,)
    if scaling is None:
        return f
    if "rope_theta" in scaling:
        raise ValueError(f"rope_theta is no part of a scaling but a setting beside it, got {scaling['rope_theta']!r} in it")
    if scaling.get("partial_rotary_factor", 1) != 1:
        raise ValueError(f"partial_rotary_factor = {scaling['partial_rotary_factor']!r} is not supported, wanted 1")
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "default":
        return f
    checks.option("rope_type", kind, tuple(SCALINGS))
    missing = [key for key in SCALINGS[kind] if key not in scaling]
    if missing:
        raise ValueError(f"rope_scaling of type {kind!r} lacks {', '.join(missing)}")
    factor, *bounds = (checks.number(key, scaling[key], 0, math.inf, low_open=True, high_open=True) for key in SCALINGS[kind])
    if kind == "linear":
        return f / factor
    low, high, context = bounds
    if low >= high:
        raise ValueError(f"low_freq_factor must be less than high_freq_factor, got {low:g} and {high:g}")
    turns = context * f / (2 * np.pi)  # (R/2,) in the context of training
    share = np.clip((turns - low) / (high - low), 0, 1)  # (R/2,) of the frequency that stays
    return share * f + (1 - share) * f / factor


def tables(
    P: int, R: int, *, base: float = 10_000.0, scaling: Mapping[str, Any] | None = None, dtype: DType = np.float32
) -> tuple[Array, Array]:
    """Cosines and sines of all angles p f[r], computed in float64 and rounded once.

    Parameters
    ----------
    P : int
        Positions: 0 to P - 1.
    R, base, scaling
        See `frequencies`.
    dtype : {float32, float64}

    Returns
    -------
    cos, sin : ndarray, shape (P, R/2)
    """
    positions = np.arange(checks.whole("P", P, 1, 2**31))  # (P,)
    angles = np.outer(positions, frequencies(R, base=base, scaling=scaling))  # (P, R/2)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def __dir__() -> list[str]:
    return sorted(__all__)
