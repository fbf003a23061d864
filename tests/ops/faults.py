"""Faults that the suite plants in an op: functions of an implementation replaced by ones that are wrong in one way."""

from __future__ import annotations

import contextlib

import numpy as np

from minilm import devices
from minilm.random import Key


@contextlib.contextmanager
def replaced(op, implementation, **functions):
    """Within the block, ``forward=`` and ``backward=`` stand in the place of the implementation's own functions.

    Each is called as ``wrong(right, *arguments, **options)``.
    """
    module = devices.load(op.package, implementation)
    kept = {}
    for role, wrong in functions.items():
        name = getattr(op, role)
        kept[name] = right = getattr(module, name)

        def call(*arguments, wrong=wrong, right=right, **options):
            return wrong(right, *arguments, **options)

        setattr(module, name, call)
    try:
        yield
    finally:
        for name, right in kept.items():
            setattr(module, name, right)


# --- wrong numbers ---------------------------------------------------------------------------------------------------


def negated(a):
    return -a


def scaled(a):
    """One per cent too large: a factor slightly wrong."""
    return a * a.dtype.type(1.01)


def zeros(a):
    """The zeros kernel."""
    return np.zeros_like(a)


def first_row_lost(a):
    """The first row, time step or unit is missing."""
    a = a.copy()
    a[:1] = 0
    return a


def last_wrong(a):
    """The last element is off by one per cent of the largest: a tail that a vectorised loop forgot."""
    a = a.copy()
    a.reshape(-1)[-1] += a.dtype.type(0.01) * np.abs(a).max()
    return a


def one_nan(a):
    a = a.copy()
    a.reshape(-1)[a.size // 2] = np.nan
    return a


def all_nan(a):
    """The NaN kernel."""
    return np.full_like(a, np.nan)


def offset(a):
    """A constant too much."""
    return a + a.dtype.type(0.01) * np.abs(a).max()


GRADIENT_FAULTS = (negated, scaled, zeros, first_row_lost, last_wrong, one_nan, all_nan, offset)
OUTPUT_FAULTS = (negated, scaled, zeros, one_nan, all_nan)


def applied(fault, array):
    """`fault` on an array or a number; of no dimensions too."""
    array = np.asarray(array)
    return fault(array.reshape(1)).reshape(()) if array.ndim == 0 else fault(array.copy())


def wrong_gradient(index, fault):
    """A backward whose gradient number `index` is wrong."""

    def wrong(right, *arguments, **options):
        returned = right(*arguments, **options)
        if not isinstance(returned, tuple):
            return applied(fault, returned)
        indices = [i for i, g in enumerate(returned) if g is not None]
        position = indices[index]
        return (*returned[:position], applied(fault, returned[position]), *returned[position + 1 :])

    return wrong


def wrong_output(index, fault):
    """A forward whose output number `index` is wrong; what it saves is right."""

    def wrong(right, *arguments, **options):
        y, saved = right(*arguments, **options)
        if not isinstance(y, tuple):
            return type_of(y)(applied(fault, y)), saved
        parts = [applied(fault, part) if i == index else part for i, part in enumerate(y)]
        return (type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)), saved

    return wrong


def type_of(y):
    """Numbers stay numbers."""
    return (lambda a: a) if isinstance(y, np.ndarray) else (lambda a: a[()])


# --- wrong saved values ----------------------------------------------------------------------------------------------


def corrupted(value):
    """Another value of the same kind, or None where there is no other that keeps memory safe."""
    if isinstance(value, np.ndarray):
        if value.size == 0:
            return None
        if value.dtype.kind == "f":
            noise = np.random.default_rng(5).uniform(0.1, 0.2, value.shape) * max(float(value.std()), 0.1)
            return (-1.01 * value - np.copysign(noise, value)).astype(value.dtype)
        other = ~value if value.dtype == np.bool_ else np.roll(value, 1)
        return None if np.array_equal(other, value) else other
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, (float, np.floating)):
        return type(value)(value * 1.01 + 0.01)
    if isinstance(value, Key):
        return value._replace(seed=value.seed + 1)
    return None


def wrong_saved(field):
    """A forward that saves a wrong value in `field`."""

    def wrong(right, *arguments, **options):
        y, saved = right(*arguments, **options)
        return y, saved._replace(**{field: corrupted(getattr(saved, field))})

    return wrong
