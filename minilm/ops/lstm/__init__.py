"""Long short-term memory over whole sequences, and one step of it. Formulas: `minilm.ops.lstm.spec`."""

from __future__ import annotations

from minilm.ops import checks, recurrence
from minilm.ops.contract import call
from minilm.ops.lstm.spec import GATES, CellOutput, CellSaved, Output, Saved
from minilm.typing import Array, Ids

__all__ = ["CellOutput", "CellSaved", "Output", "Saved", "backward", "cell_backward", "cell_forward", "forward"]


def forward(
    x: Array,
    h0: Array,
    c0: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    lengths: Ids | None = None,
    *,
    reverse: bool = False,
) -> tuple[Output, Saved]:
    """LSTM over whole sequences, gates in PyTorch's order i f g o.

    .. math:: c_t = f_t c_{t-1} + i_t g_t, \\quad h_t = o_t \\tanh c_t

    Parameters
    ----------
    x : ndarray, shape (T, B, D), float32 or float64
        Inputs, time first.
    h0, c0 : ndarray, shape (B, H)
        Hidden state and cell before the first step.
    W_ih : ndarray, shape (4H, D)
    W_hh : ndarray, shape (4H, H)
    b_ih, b_hh : ndarray, shape (4H,)
        Weights and biases in PyTorch's layout.
    lengths : ndarray of integers, shape (B,), optional
        How many steps of each row count, each in [1, T].
    reverse : bool
        Run from each row's last step to its first.

    Returns
    -------
    output : Output
        ``y`` (T, B, H), zero beyond a row's length; ``h_n`` and ``c_n`` (B, H) after each row's last step.
    saved : Saved
        For `backward`. ``y`` may be a view of what it holds.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If shapes do not fit, or a length lies outside [1, T].
    """
    W_ih, W_hh, b_ih, b_hh = recurrence.check_weights(GATES, W_ih, W_hh, b_ih, b_hh)
    x, h0, c0 = recurrence.check_input(x, {"h0": h0, "c0": c0}, W_ih, W_hh)
    lengths, x = recurrence.check_lengths(lengths, x)
    reverse = checks.flag("reverse", reverse)
    return call(__name__, "forward", x, h0, c0, W_ih, W_hh, b_ih, b_hh, lengths, reverse=reverse)


def backward(dy: Array | tuple[Array | None, ...], saved: Saved) -> tuple[Array, ...]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : tuple (dy, dh_n, dc_n), or ndarray
        Gradients of the loss by y (T, B, H), h_n and c_n (B, H); None means zero. An array alone is dy.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (T, B, D)
    dh0, dc0 : ndarray, shape (B, H)
    dW_ih : ndarray, shape (4H, D)
    dW_hh : ndarray, shape (4H, H)
    db_ih, db_hh : ndarray, shape (4H,)

    Raises
    ------
    TypeError, ValueError
        If a part of `dy` does not have its output's shape and dtype.
    """
    T, B, H = len(saved.x), *saved.h.shape[1:]
    shapes = [(T, B, H), (B, H), (B, H)]
    dy = recurrence.check_cotangents(dy, ("dy", "dh_n", "dc_n"), shapes, saved.x.dtype)
    return call(__name__, "backward", dy, saved, by=saved.x)


def cell_forward(
    x: Array, h0: Array, c0: Array, W_ih: Array, W_hh: Array, b_ih: Array, b_hh: Array
) -> tuple[CellOutput, CellSaved]:
    """One step of `forward`.

    Parameters
    ----------
    x : ndarray, shape (B, D)
    h0, c0 : ndarray, shape (B, H)
        States before the step.
    W_ih, W_hh, b_ih, b_hh : ndarray, shapes (4H, D), (4H, H), (4H,), (4H,)

    Returns
    -------
    output : CellOutput
        ``h`` and ``c`` (B, H) after the step.
    saved : CellSaved

    Raises
    ------
    TypeError, ValueError
        As `forward` does.
    """
    W_ih, W_hh, b_ih, b_hh = recurrence.check_weights(GATES, W_ih, W_hh, b_ih, b_hh)
    x, h0, c0 = recurrence.check_input(x, {"h0": h0, "c0": c0}, W_ih, W_hh, sequence=False)
    return call(__name__, "cell_forward", x, h0, c0, W_ih, W_hh, b_ih, b_hh)


def cell_backward(dy: Array | tuple[Array | None, ...], saved: CellSaved) -> tuple[Array, ...]:
    """Gradients of `cell_forward`.

    Parameters
    ----------
    dy : tuple (dh, dc), or ndarray
        Gradients by h and c, (B, H) each; None means zero.
    saved : CellSaved

    Returns
    -------
    dx, dh0, dc0, dW_ih, dW_hh, db_ih, db_hh : ndarray
        In the shapes of the arguments.

    Raises
    ------
    TypeError, ValueError
        If a part of `dy` does not have its output's shape and dtype.
    """
    dy = recurrence.check_cotangents(dy, ("dh", "dc"), [saved.h0.shape, saved.c0.shape], saved.x.dtype)
    return call(__name__, "cell_backward", dy, saved, by=saved.x)


def __dir__() -> list[str]:
    return sorted(__all__)
