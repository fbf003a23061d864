"""The simple recurrent layer over whole sequences, and one step of it. Formulas: `minilm.ops.rnn.spec`."""

from __future__ import annotations

from minilm.ops import checks, recurrence
from minilm.ops.contract import call
from minilm.ops.rnn.spec import GATES, KINDS, CellSaved, Output, Saved
from minilm.typing import Array, Ids

__all__ = ["CellSaved", "Output", "Saved", "backward", "cell_backward", "cell_forward", "forward"]


def forward(
    x: Array,
    h0: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    lengths: Ids | None = None,
    *,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> tuple[Output, Saved]:
    """Simple recurrent network over whole sequences.

    .. math:: h_t = \\tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})

    Parameters
    ----------
    x : ndarray, shape (T, B, D), float32 or float64
        Inputs, time first.
    h0 : ndarray, shape (B, H)
        Hidden state before the first step.
    W_ih : ndarray, shape (H, D)
    W_hh : ndarray, shape (H, H)
    b_ih, b_hh : ndarray, shape (H,)
        Weights and biases in PyTorch's layout.
    lengths : ndarray of integers, shape (B,), optional
        How many steps of each row count, each in [1, T].
    reverse : bool
        Run from each row's last step to its first.
    nonlinearity : {"tanh", "relu"}

    Returns
    -------
    output : Output
        ``y`` (T, B, H), zero beyond a row's length; ``h_n`` (B, H) after each row's last step.
    saved : Saved
        For `backward`. ``y`` may be a view of what it holds.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If shapes do not fit, `nonlinearity` is neither of the two, or a length lies outside [1, T].
    """
    W_ih, W_hh, b_ih, b_hh = recurrence.check_weights(GATES, W_ih, W_hh, b_ih, b_hh)
    x, h0 = recurrence.check_input(x, {"h0": h0}, W_ih, W_hh)
    lengths, x = recurrence.check_lengths(lengths, x)
    options = {"reverse": checks.flag("reverse", reverse), "nonlinearity": checks.option("nonlinearity", nonlinearity, KINDS)}
    return call(__name__, "forward", x, h0, W_ih, W_hh, b_ih, b_hh, lengths, **options)


def backward(dy: Array | tuple[Array | None, ...], saved: Saved) -> tuple[Array, ...]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : tuple (dy, dh_n), or ndarray
        Gradients of the loss by y (T, B, H) and h_n (B, H); None means zero. An array alone is dy.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (T, B, D)
    dh0 : ndarray, shape (B, H)
    dW_ih : ndarray, shape (H, D)
    dW_hh : ndarray, shape (H, H)
    db_ih, db_hh : ndarray, shape (H,)

    Raises
    ------
    TypeError, ValueError
        If a part of `dy` does not have its output's shape and dtype.
    """
    T, B, H = len(saved.x), *saved.h.shape[1:]
    shapes = [(T, B, H), (B, H)]
    dy = recurrence.check_cotangents(dy, ("dy", "dh_n"), shapes, saved.x.dtype)
    return call(__name__, "backward", dy, saved, by=saved.x)


def cell_forward(
    x: Array, h0: Array, W_ih: Array, W_hh: Array, b_ih: Array, b_hh: Array, *, nonlinearity: str = "tanh"
) -> tuple[Array, CellSaved]:
    """One step of `forward`.

    Parameters
    ----------
    x : ndarray, shape (B, D)
    h0 : ndarray, shape (B, H)
        State before the step.
    W_ih, W_hh, b_ih, b_hh : ndarray, shapes (H, D), (H, H), (H,), (H,)
    nonlinearity : {"tanh", "relu"}

    Returns
    -------
    h : ndarray, shape (B, H)
        State after the step.
    saved : CellSaved

    Raises
    ------
    TypeError, ValueError
        As `forward` does.
    """
    W_ih, W_hh, b_ih, b_hh = recurrence.check_weights(GATES, W_ih, W_hh, b_ih, b_hh)
    x, h0 = recurrence.check_input(x, {"h0": h0}, W_ih, W_hh, sequence=False)
    checks.option("nonlinearity", nonlinearity, KINDS)
    return call(__name__, "cell_forward", x, h0, W_ih, W_hh, b_ih, b_hh, nonlinearity=nonlinearity)


def cell_backward(dy: Array, saved: CellSaved) -> tuple[Array, ...]:
    """Gradients of `cell_forward`.

    Parameters
    ----------
    dy : ndarray, shape (B, H)
        Gradient of the loss by h.
    saved : CellSaved

    Returns
    -------
    dx, dh0, dW_ih, dW_hh, db_ih, db_hh : ndarray
        In the shapes of the arguments.

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have h's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.h0.shape, saved.x.dtype, "(B, H)")
    return call(__name__, "cell_backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
