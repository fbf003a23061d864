"""Derivatives by central differences, extrapolated, with a step size that the function itself chooses.

The central difference of a smooth f has an error in even powers of the step::

    D(h) = (f(h) - f(-h)) / 2h = f' + a h² + b h⁴ + ...

so differences at h, h/2 and h/4 combine to an error of order h⁶ (Richardson)::

    R(h) = (4 D(h/2) - D(h)) / 3 = f' - b h⁴ / 4 + ...         (16 R(h/2) - R(h)) / 15 = f' + O(h⁶)

The step can then be large, about 1/100 of the spread of the numbers, which keeps the rounding error, about eps |f| / h,
near 1e-13. |R(h/2) - R(h)| says how far the extrapolation can be trusted. Where it is large (the step crosses a
kink, or the function bends more sharply than its arguments spread) the step is divided by eight and all begins anew.
The gradient under test has no part in this choice.

Source: L. F. Richardson, The deferred approach to the limit, Phil. Trans. R. Soc. A 226 (1927), 299-349; C. J. F.
Ridders, Accurate computation of F'(x) and F'(x)F''(x), Advances in Engineering Software 4 (1982), 75-76.
"""

from __future__ import annotations

import math

import numpy as np

ATTEMPTS = 7  # the last step is 8**-6 of the first
TRUSTED = 1e-9  # relative: the extrapolated value is then about 1e-2 of that away from the derivative


def spread(array: np.ndarray) -> float:
    """The scale on which an argument's numbers differ: their standard deviation, else their size, else 1."""
    if array.size == 0 or not np.isfinite(array).all():
        return 1.0
    largest = float(np.abs(array).max())
    deviation = float(array.std()) if array.size > 1 else 0.0
    return deviation if deviation > 1e-6 * largest else largest or 1.0


def first_step(scale: float) -> float:
    """About 1/100 of `scale`: a power of two, so that x + h is mostly exact."""
    return 2.0 ** round(math.log2(scale / 100))


def derivative(function, step: float, scale: float = 1.0) -> np.ndarray:
    """Derivative at t = 0 of ``function(t)``, a vector (M,).

    Parameters
    ----------
    function : callable
        Returns the vector f(t) as a fresh or reused float64 array.
    step : float
        The first and largest step.
    scale : float
        A derivative of this size counts as large: what is 1e-12 of it is noise.

    Returns
    -------
    ndarray, shape (M,)
        NaN where the function is not finite.
    """
    best, best_doubt = None, math.inf
    for attempt in range(ATTEMPTS):
        h = step / 8**attempt
        d0, d1, d2 = (((np.array(function(k)) - function(-k)) / (2 * k)) for k in (h, h / 2, h / 4))  # (M,) each
        r0, r1 = (4 * d1 - d0) / 3, (4 * d2 - d1) / 3  # (M,)
        value = (16 * r1 - r0) / 15  # (M,)
        if value.size == 0 or not np.isfinite(value).all():
            return value
        doubt = float(np.abs(r1 - r0).max())
        if doubt < best_doubt:
            best, best_doubt = value, doubt
        if doubt <= TRUSTED * max(float(np.abs(value).max()), 1e-3 * scale):
            break
    return best  # type: ignore[return-value]  # one attempt is better than none


def jacobian(outputs, array: np.ndarray, size: float) -> np.ndarray:
    """All derivatives of ``outputs()`` by every element of `array`, which is written and restored.

    Parameters
    ----------
    outputs : callable
        Evaluates the function at the present contents of `array`; returns (M,).
    array : ndarray, C-contiguous
        N elements in all.
    size : float
        Size of the outputs.

    Returns
    -------
    ndarray, shape (M, N)
    """
    flat = array.reshape(-1)  # (N,), a view
    scale = spread(array)
    columns = []
    for i in range(flat.size):
        original = flat[i]

        def moved(t, i=i, original=original):
            flat[i] = original + t
            return outputs()

        try:
            columns.append(derivative(moved, first_step(scale), size / scale))
        finally:
            flat[i] = original
    return np.stack(columns, axis=1) if columns else np.zeros((outputs().size, 0))


def directional(outputs, array: np.ndarray, direction: np.ndarray, size: float) -> np.ndarray:
    """Derivative of ``outputs()`` along `direction`, a unit vector of `array`'s shape; (M,)."""
    original = array.copy()
    scale = spread(array)

    def moved(t):
        np.multiply(direction, t, out=array)
        np.add(array, original, out=array)
        return outputs()

    try:
        return derivative(moved, first_step(scale), size / scale)
    finally:
        array[...] = original
