"""The integral of integrated gradients, along a straight path of a model's input vectors.

For a function F of vectors x (T, E), between a baseline x0 and x::

    a[j] = sum_e (x - x0)[j, e] ∫_0^1 ∂F(x0 + s (x - x0))/∂x[j, e] ds              sum_j a[j] = F(x) - F(x0)

The integral is a Gauss-Legendre sum, exact for polynomials up to degree 2n - 1: where F is smooth, n = 16 or 32 reach what a
Riemann sum does not with a thousand steps. A recurrent model may leap on the way from one of its attractors to another, within a
millionth of the path, between all nodes. Since F is known at both ends of any part of the path, the part that misses such a leap
shows it, and is halved until the leap is found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Integral", "Path", "integral"]

FIRST_STEPS, FURTHER_STEPS = 16, 8  # nodes on the whole path, and on each half of a part that is not complete
MOST_STEPS = 2048  # of a prediction, about
NARROWEST = 2.0**-26  # of a part: float32 knows no smaller step on the path


class Path(NamedTuple):
    """N functions F_n of vectors (T, E), each with the two ends of its path; `rows` are numbers of some of them, (n,)."""

    shape: tuple[int, int]  # (N, T)
    ends: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # rows -> x0 and x, (n, T, E) each
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]  # points (n, T, E), rows -> F (n,)
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]  # points (n, T, E), rows -> ∂F/∂x (n, T, E)
    chunks: Callable[[int], list[slice]]  # of so many rows, those that are computed side by side

    def values_at(self, s: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """F at the places s (n,) of the path."""
        parts = [np.zeros(0)]
        for part in self.chunks(len(rows)):
            parts.append(self.value(_point(*self.ends(rows[part]), s[part]), rows[part]))
        return np.concatenate(parts)

    def integrals(self, a: np.ndarray, b: np.ndarray, rows: np.ndarray, steps: int) -> np.ndarray:
        """The attributions (n, T) over the parts [a, b] (n,) of the path, by `steps` nodes of Gauss and Legendre."""
        nodes, weights = np.polynomial.legendre.leggauss(steps)  # (steps,) each, for [-1, 1]
        integrals = np.zeros((len(rows), self.shape[1]))  # (n, T)
        for part in self.chunks(len(rows)):
            x0, x = self.ends(rows[part])
            total, low, width = np.zeros(x.shape), a[part], (b - a)[part]
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                total += weight * self.gradient(_point(x0, x, low + node * width), rows[part])
            integrals[part] = ((x - x0) * total).sum(axis=2) * width[:, None]
        return integrals


class Integral(NamedTuple):
    """What each of T vectors did for each of N functions."""

    values: np.ndarray  # (N, T)
    outputs: np.ndarray  # (N,) F(x)
    baselines: np.ndarray  # (N,) F(x0)
    errors: np.ndarray  # (N,) what is missing for completeness
    steps: np.ndarray  # (N,) gradients computed for each


class _Panels(NamedTuple):
    """Parts [a, b] of the path for some functions, P together."""

    of: np.ndarray  # (P,) the number of the function
    a: np.ndarray  # (P,)
    b: np.ndarray  # (P,)
    F_a: np.ndarray  # (P,) F there
    F_b: np.ndarray  # (P,)
    values: np.ndarray  # (P, T) the integral over [a, b], times x - x0

    @property
    def errors(self) -> np.ndarray:
        """What is missing for completeness over each, (P,): F at both ends is known, so no part can hide its error."""
        return np.abs(self.values.sum(axis=1) - (self.F_b - self.F_a))


def integral(path: Path, *, steps: int | None = None, tolerance: float = 1e-3, most: int = MOST_STEPS) -> Integral:
    """Integrated gradients of all functions of a path.

    Parameters
    ----------
    path : Path
    steps : int, optional
        Nodes of the sum. Without it 16, and then 8 on each half of those parts of the path whose error is too large, again and
        again, until what is missing is no more than `tolerance` or some `most` gradients were computed.
    tolerance : float
        Relative to F(x) - F(x0), or absolute where that is less than 1.
    most : int
    """
    N = path.shape[0]
    rows, ends = np.arange(N), (np.zeros(N), np.ones(N))  # (N,) each
    baselines, outputs = (path.values_at(s, rows) for s in ends)  # (N,) each
    values = path.integrals(*ends, rows, FIRST_STEPS if steps is None else steps)  # (N, T)
    computed = np.full(N, FIRST_STEPS if steps is None else steps)  # (N,)
    if steps is None:
        panels = _Panels(rows, *ends, baselines, outputs, values)
        values = _refined(path, panels, computed, tolerance * np.maximum(1, np.abs(outputs - baselines)), most)
    return Integral(values, outputs, baselines, values.sum(axis=1) - (outputs - baselines), computed)


def _refined(path: Path, panels: _Panels, computed: np.ndarray, allowed: np.ndarray, most: int) -> np.ndarray:
    """The values (N, T) after halving the parts that are not complete; `computed` (N,) counts the gradients."""
    N, T = path.shape
    while True:
        errors = panels.errors  # (P,)
        missing = np.bincount(panels.of, errors, minlength=N)  # (N,)
        count = np.bincount(panels.of, minlength=N)  # (N,)
        unfinished = (missing > allowed) & (computed < most)  # (N,)
        worth = np.maximum(0.5 * allowed / np.maximum(count, 1), 0.05 * missing)  # (N,): the worst parts first
        split = unfinished[panels.of] & (errors > worth[panels.of]) & (panels.b - panels.a > NARROWEST)  # (P,)
        if not split.any():
            break
        old = _Panels(*(each[split] for each in panels))
        middle = (old.a + old.b) / 2  # (P',)
        F = path.values_at(middle, old.of)  # (P',)
        halves = []
        for a, b, F_a, F_b in ((old.a, middle, old.F_a, F), (middle, old.b, F, old.F_b)):
            halves.append(_Panels(old.of, a, b, F_a, F_b, path.integrals(a, b, old.of, FURTHER_STEPS)))
        kept = _Panels(*(each[~split] for each in panels))
        panels = _Panels(*(np.concatenate(each) for each in zip(kept, *halves, strict=True)))
        computed += 2 * FURTHER_STEPS * np.bincount(old.of, minlength=N)
    values = np.zeros((N, T))
    np.add.at(values, panels.of, panels.values)
    return values


def _point(x0, x, s):
    """x0 + s (x - x0), in x's dtype; its ends are x0 and x themselves."""
    s = s[:, None, None]  # (n, 1, 1)
    return np.where(s == 1, x, x0 + s * (x - x0)).astype(x.dtype)  # (n, T, E)
