"""The gradient check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minilm.gradcheck import differences
from minilm.gradcheck.report import Report
from minilm.gradcheck.subjects import Subject, subject_of
from minilm.gradcheck.trees import changed, cotangents, flatten, snapshot

JACOBIAN_ELEMENTS = 600  # up to so many numbers all are moved, one after another
COTANGENTS = 64  # random ones; as many as there are outputs span them all
DIRECTIONS = 3
FLOOR = 1e-4  # of the size that a gradient would have if the arguments moved the outputs by their own size


def gradcheck(
    target: Any,
    *inputs: Any,
    tolerance: float = 1e-8,
    method: str | None = None,
    seed: int = 0,
    differentiable: Sequence[str] | None = None,
    **options: Any,
) -> Report:
    """Compare the gradients of any forward/backward pair with finite differences in float64.

    Parameters
    ----------
    target : object
        What is checked: an op (``ops.lstm``), a `Pair` or a tuple of two functions, a layer, a model, or any object
        with ``y, saved = forward(...)`` and ``gradients = backward(dy, saved)``. Outputs are an array or a tuple of
        arrays, and the cotangent has the same form. A model returns a loss, and its ``backward(saved)`` takes no
        cotangent. A target with ``parameters`` (a mapping with ``gradient_flat`` and ``gradients``, as layers have) is
        checked by these as well.
    *inputs, **options
        Arguments of forward. Arrays of floats (also in tuples) are differentiated, in the order of forward's
        signature; all others (ids, lengths, keys) are passed through. float32 arrays are widened to float64, and a layer
        with float32 parameters is checked as a copy in float64.
    tolerance : float
        Largest relative error that passes.
    method : {None, "jacobian", "directions"}
        Move every number, and compare all products of random cotangents with the Jacobian; or move each argument as a
        whole along random unit vectors. None takes the first where there are at most 600 numbers.
    seed : int
        Of the random cotangents and directions.
    differentiable : sequence of str, optional
        Names of the arguments that carry gradients, where these are not all the float arrays.

    Returns
    -------
    Report
        True in a condition exactly if the check passed; printed, a table.

    Raises
    ------
    TypeError
        If `target` has no forward and backward, the inputs do not fit, or the outputs are not float64 all the same.
    ValueError
        If there is nothing to differentiate, or a name or number here makes no sense.

    Notes
    -----
    The relative error of a gradient g is

    .. math:: \\max |g - g_{fd}| \\,/\\, \\max(\\max |g_{fd}|, \\epsilon), \\qquad
              \\epsilon = 10^{-4} \\; \\max |y| / s

    over all elements and all cotangents, where s is the spread of the argument's numbers. The floor ε is there for
    gradients that are zero in truth, where the differences leave rounding errors of about 1e-12. With the
    default tolerance a gradient wrongly returned as zero passes only if it is below 1e-12 of max|y| / s.

    Cotangents are random and never zero; of a sum with cotangents of one, as in ``softmax(x).sum()``, the gradient
    may vanish and a wrong formula passes. Beyond the numbers it is checked that every output and gradient is finite, that
    neither forward nor backward writes its inputs, that both give the same bits a second time, that every gradient has
    its argument's shape and dtype, and that a layer adds to its gradient buffer.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import gradcheck, ops
    >>> rng = np.random.default_rng(0)
    >>> bool(gradcheck(ops.linear, rng.standard_normal((3, 4)), rng.standard_normal((2, 4)), rng.standard_normal(2)))
    True
    """
    if method not in (None, "jacobian", "directions"):
        raise ValueError(f"method must be None, 'jacobian' or 'directions', got {method!r}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance!r}")
    return check(subject_of(target, inputs, options, differentiable), tolerance, method, seed)


def check(subject: Subject, tolerance=1e-8, method=None, seed=0) -> Report:
    """`gradcheck` of a subject."""
    if method is None:
        count = sum(array.size for array in subject.arrays.values())
        method = "jacobian" if count <= JACOBIAN_ELEMENTS else "directions"
    rng = np.random.default_rng(seed)
    tangents = Tangents(subject, method, rng)
    analytic, problems = pullbacks(subject, tangents.cotangents)
    errors, more = tangents.compare(analytic)
    label = {"jacobian": "full Jacobian", "directions": "directions"}[method]
    return Report(subject.name, label, errors, tangents.scales, tolerance, tuple(dict.fromkeys(problems + more)))


class Tangents:
    """Finite differences of a subject's forward, contracted with random cotangents. Backward has no part in them.

    Attributes
    ----------
    cotangents : ndarray, shape (K, M)
        For M outputs.
    scales : dict of str to float
        Size of the gradient with respect to each argument.
    """

    def __init__(self, subject: Subject, method: str, rng, most: int = COTANGENTS):
        def outputs():
            return flatten(subject.forward()[0])

        y = outputs()  # (M,)
        K = 1 if subject.scalar else max(1, min(len(y), most)) if method == "jacobian" else DIRECTIONS
        noise = rng.standard_normal((K, len(y)))
        self.cotangents = np.ones((1, 1)) if subject.scalar else noise + np.copysign(0.25, noise)  # (K, M), none near zero
        self.finite = bool(np.isfinite(y).all())
        size = float(np.abs(y).max(initial=0)) if self.finite else 1.0
        self._directions, self._products, self._floors = {}, {}, {}
        for name, array in subject.arrays.items():
            self._floors[name] = max(FLOOR * size / differences.spread(array), 1e-300)
            if not self.finite:
                continue
            if method == "jacobian":
                J = differences.jacobian(outputs, array, size)  # (M, N)
            else:
                u = rng.standard_normal((DIRECTIONS, *array.shape))
                u /= np.sqrt((u**2).reshape(DIRECTIONS, -1).sum(axis=1) + 1e-300).reshape(-1, *[1] * array.ndim)
                self._directions[name] = u.reshape(DIRECTIONS, -1)  # (3, N)
                J = np.stack([differences.directional(outputs, array, v, size) for v in u], axis=1)  # (M, 3)
            self._products[name] = self.cotangents @ J  # (K, N) or (K, 3)
        self.scales = {name: np.nan for name in subject.arrays}
        self.scales.update({name: float(np.abs(p).max(initial=0)) for name, p in self._products.items()})

    def compare(self, analytic: dict[str, np.ndarray | None]) -> tuple[dict[str, float], list[str]]:
        """Relative errors of gradients, each (K, N), and what is not finite."""
        if not self.finite:
            return dict.fromkeys(self._floors, np.inf), ["an output is not finite"]
        errors, problems = {}, []
        for name, expected in self._products.items():
            gradient = analytic.get(name)
            if gradient is None:
                errors[name] = np.inf
                continue
            scale = max(self.scales[name], self._floors[name])
            if name in self._directions:
                # a product may be small by chance: it is held against the size of an average one as well
                length = np.sqrt((gradient**2).sum(axis=1).max(initial=0))
                scale = max(scale, length / np.sqrt(max(1, gradient.shape[1])))
                gradient = gradient @ self._directions[name].T  # (K, 3)
            difference = np.abs(gradient - expected)
            if not np.isfinite(difference).all():
                missing = f"the derivative by {name} is not finite"
                problems.append(f"d{name} is not finite" if np.isfinite(expected).all() else missing)
                errors[name] = np.inf
            else:
                errors[name] = float(difference.max(initial=0) / scale)
        return errors, problems


def pullbacks(subject: Subject, vectors: np.ndarray) -> tuple[dict[str, np.ndarray | None], list[str]]:
    """Gradients (K, N) by name for cotangent vectors (K, M), and every breach of the contract seen on the way."""
    problems: list[str] = []
    before = snapshot(subject.inputs)
    y, saved = subject.forward()
    for path in changed(before, snapshot(subject.inputs)):
        problems.append(f"forward wrote its input {_short(path)}")
    again, _ = subject.forward()
    if changed(snapshot(y), snapshot(again)):
        problems.append("forward a second time gave other bits")
    rows: dict[str, list] = {name: [] for name in subject.arrays}
    kept = Saved(subject, saved)
    for k, vector in enumerate(vectors):
        dy = cotangents(y, vector)
        sent = snapshot(dy)
        gradients, wrong = kept.into(subject.backward, dy)
        problems += wrong
        if k == 0:
            first = snapshot(gradients)
            gradients = {name: np.array(g) for name, g in gradients.items()}
            problems += kept.into(subject.accumulates, dy, gradients) if not wrong else []
            if changed(first, snapshot(kept.into(subject.backward, dy)[0])):
                problems.append("backward a second time gave other bits")
        if changed(sent, snapshot(dy)):
            problems.append("backward wrote its cotangent")
        for name, array in subject.arrays.items():
            g = gradients.get(name)
            if not isinstance(g, np.ndarray) or g.shape != array.shape or g.dtype != array.dtype:
                came = f"{g.dtype} {g.shape}" if isinstance(g, np.ndarray) else type(g).__name__
                problems.append(f"d{name} is {came}, wanted {array.dtype} {array.shape}")
            else:
                rows[name].append(np.array(g).reshape(-1))
    problems += kept.problems
    for path in changed(before, snapshot(subject.inputs)):
        problems.append(f"backward wrote inputs {_short(path)}")
    return {name: np.stack(r) if len(r) == len(vectors) else None for name, r in rows.items()}, problems


class Saved:
    """What forward saved, for one backward after another. Where a backward has used it up, forward saves anew.

    Attributes
    ----------
    problems : list of str
        That a backward did not leave it as it was.
    """

    def __init__(self, subject: Subject, saved):
        self.problems: list[str] = []
        self._subject = subject
        self._calls = 0
        self._hold(saved)

    def _hold(self, saved) -> None:
        self._value, self._bits = saved, snapshot(saved)

    def into(self, function, dy, *more):
        """``function(dy, saved, *more)``, which calls backward."""
        self._calls += 1
        try:
            result = function(dy, self._value, *more)
        except Exception as error:
            if self._calls == 1:  # a fault of backward itself: its traceback is what helps
                raise
            self._complain(f"a second backward from the same saved raised {type(error).__name__}: {error}")
            self._hold(self._subject.forward()[1])
            result = function(dy, self._value, *more)
        after = snapshot(self._value)
        for path in changed(self._bits, after):
            self._complain(f"backward {'wrote' if path in after else 'removed'} saved {_short(path)}")
        if self.problems:
            self._hold(self._subject.forward()[1])
        return result

    def _complain(self, what: str) -> None:
        self.problems.append(f"{what}; it must leave saved as it was, for it may be called again")


def _short(path: str) -> str:
    return path.removeprefix("arguments.").removeprefix("arrays.")
