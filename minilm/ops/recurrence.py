"""What the ops rnn, lstm and gru share: the order of the steps, padded rows, and checks of arguments.

All states of a sequence lie in one array h (T + 1, B, H), the initial one included::

    forward in time    h[0] = h0    step t reads h[t] and writes h[t + 1]     y = h[1:]     h_n = h[T]
    reverse            h[T] = h0    step t reads h[t + 1] and writes h[t]     y = h[:T]     h_n = h[0]

so y and the states before each step are views of the same numbers. A row of length L takes part in steps t < L only; in the
others its state stays as it is and its y is zero, as in PyTorch's packed sequences, and its x may be any numbers, NaN too.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minilm.ops import checks, padding

_weights_learn = contextvars.ContextVar("weights_learn", default=True)


def weights_learn() -> bool:
    """Whether a backward need compute the gradients of the weights."""
    return _weights_learn.get()


@contextlib.contextmanager
def frozen_weights(frozen: bool) -> Iterator[None]:
    """Where `frozen`, a backward inside may leave any numbers in the weights' gradients, which nobody reads."""
    token = _weights_learn.set(not frozen)
    try:
        yield
    finally:
        _weights_learn.reset(token)


class Order(NamedTuple):
    """In which order steps are taken, and which rows of h (T + 1, B, H) each reads and writes."""

    first: int  # the row of h that holds h0
    last: int  # the row of h that holds h_n
    before: int  # step t reads row t + before
    after: int  # step t writes row t + after
    steps: range


def order(T: int, reverse: bool) -> Order:
    """The order of T steps."""
    return Order(T, 0, 1, 0, range(T - 1, -1, -1)) if reverse else Order(0, T, 0, 1, range(T))


def states_before(h, reverse: bool):
    """The states that the steps read, (T, B, H): a view of h (T + 1, B, H)."""
    return h[1:] if reverse else h[:-1]


def states_after(h, reverse: bool):
    """The states that the steps write, (T, B, H): a view of h (T + 1, B, H)."""
    return h[:-1] if reverse else h[1:]


def active(T: int, B: int, lengths):
    """Which rows take part in which steps, (T, B, 1) of bool."""
    if lengths is None:
        return np.ones((T, B, 1), bool)
    return np.arange(T)[:, None, None] < lengths[:, None]


def or_zeros(gradients, likes):
    """`gradients`, with zeros of the arrays beside them in the place of None."""
    return [np.zeros_like(like) if gradient is None else gradient for gradient, like in zip(gradients, likes, strict=True)]


# --- checks ----------------------------------------------------------------------------------------------------------


def check_weights(gates: int, W_ih, W_hh, b_ih, b_hh):
    """The weights of a recurrent op with `gates` gates, as kernels take them."""
    G = f"{gates}H" if gates > 1 else "H"
    W_hh = checks.floating("W_hh", W_hh, (None, None), letters=f"({G}, H)")
    H = W_hh.shape[1]
    W_hh = checks.floating("W_hh", W_hh, (gates * H, H), letters=f"({G}, H)")
    W_ih = checks.floating("W_ih", W_ih, (gates * H, None), W_hh.dtype, f"({G}, D)")
    b_ih = checks.floating("b_ih", b_ih, (gates * H,), W_hh.dtype, f"({G},)")
    b_hh = checks.floating("b_hh", b_hh, (gates * H,), W_hh.dtype, f"({G},)")
    return W_ih, W_hh, b_ih, b_hh


def check_input(x, states: dict, W_ih, W_hh, sequence: bool = True):
    """x, (T, B, D) or (B, D), and the states by name, (B, H) each, as kernels take them."""
    letters, lead = ("(T, B, D)", (None, None)) if sequence else ("(B, D)", (None,))
    x = checks.floating("x", x, (*lead, W_ih.shape[1]), W_hh.dtype, letters)
    shape = (x.shape[-2], W_hh.shape[1])
    return x, *(checks.floating(name, state, shape, W_hh.dtype, "(B, H)") for name, state in states.items())


def check_lengths(lengths, x):
    """The lengths of the rows of x (T, B, D), as kernels take them, and x as if what stands beyond them were zeros."""
    T, B, _ = x.shape
    lengths = checks.lengths("lengths", lengths, B, T)
    if lengths is None:
        return None, x
    return lengths, padding.zeroed(x, padding.mask_from_lengths(lengths, T).T)


def check_cotangents(dy, names: tuple[str, ...], shapes: list[tuple], dtype) -> list:
    """The gradients with respect to the outputs as a list, None where there is none; an array alone is the first of them."""
    parts = [dy] + [None] * (len(names) - 1) if checks.is_array(dy) else dy
    if not isinstance(parts, (tuple, list)):
        raise TypeError(f"dy must be an array or a tuple ({', '.join(names)}), got {checks.describe(dy)}")
    if len(parts) != len(names):
        raise ValueError(f"dy must be an array or a tuple ({', '.join(names)}), got {len(parts)} parts")
    return [
        None if part is None else checks.floating(name, part, shape, dtype)
        for name, part, shape in zip(names, parts, shapes, strict=True)
    ]
