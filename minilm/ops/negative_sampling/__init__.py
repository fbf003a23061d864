"""Negative sampling, the loss of word2vec. Formulas: `minilm.ops.negative_sampling.spec`."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.negative_sampling.spec import REDUCTIONS, Saved, Task, Trained
from minilm.typing import Array, Ids, Scalar

__all__ = ["Saved", "Trained", "backward", "forward", "train"]


def forward(h: Array, W: Array, targets: Ids, negatives: Ids, *, reduction: str = "mean") -> tuple[Scalar, Saved]:
    """Loss of telling the words that were there from words drawn at random, in nats.

    .. math:: loss_n = -\\log \\sigma(h_n \\cdot W_{t_n}) - \\sum_k \\log \\sigma(-h_n \\cdot W_{m_{n,k}})

    Parameters
    ----------
    h : ndarray, shape (N, D), float32 or float64
        What predicts.
    W : ndarray, shape (V, D)
        Output vectors.
    targets : ndarray of integers, shape (N,)
        The words that were there, each in [0, V).
    negatives : ndarray of integers, shape (N, K)
        Words drawn at random. One that is its row's target counts for nothing.
    reduction : {"mean", "sum"}
        Over the rows.

    Returns
    -------
    loss : scalar
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If dtypes do not fit.
    ValueError
        If shapes do not fit, or an id lies outside [0, V); its position is named.
    """
    W = checks.floating("W", W, (None, None), letters="(V, D)")
    h = checks.floating("h", h, (None, W.shape[1]), W.dtype, "(N, D)")
    targets = checks.ids("targets", targets, len(W), (len(h),), "(N,)")
    negatives = checks.ids("negatives", negatives, len(W), (len(h), None), "(N, K)")
    reduction = checks.option("reduction", reduction, REDUCTIONS)
    return call(__name__, "forward", h, W, targets, negatives, reduction=reduction)


def backward(dloss: float | Array, saved: Saved) -> tuple[Array, Array]:
    """Gradients of `forward`.

    Parameters
    ----------
    dloss : float
        Gradient by the loss: 1, where the loss is all there is.
    saved : Saved
        From `forward`.

    Returns
    -------
    dh : ndarray, shape (N, D)
    dW : ndarray, shape (V, D)

    Raises
    ------
    TypeError
        If `dloss` is no number.
    """
    if checks.is_array(dloss) and dloss.ndim == 0 and dloss.dtype in checks.FLOATS:
        dloss = devices.to_host(dloss)[()]
    if isinstance(dloss, (bool, np.bool_)) or not isinstance(dloss, (int, float, np.integer, np.floating)):
        raise TypeError(f"dloss must be a number, got {checks.describe(dloss)}")
    return call(__name__, "backward", saved.h.dtype.type(dloss), saved, by=saved.h)


def train(
    W_in: Array,
    W_out: Array,
    ids: Ids,
    starts: Ids,
    keep: Array,
    accept: Array,
    alias: Array,
    *,
    cbow: bool,
    window: int,
    negatives: int,
    lr: float,
    lr_end: float,
    seed: int,
    first: int = 0,
    done: int = 0,
    total: int = 0,
    streams: int = 1,
) -> Trained:
    """Gradient descent over sentences, one word after the other, in place.

    Parameters
    ----------
    W_in, W_out : ndarray, shape (V, D), float32 or float64
        Input and output vectors; written.
    ids : ndarray of integers, shape (n,)
        The words of all sentences, one after the other, each in [0, V).
    starts : ndarray of integers, shape (S + 1,)
        Where each sentence begins in `ids`, and the end of the last.
    keep : ndarray of float64, shape (V,)
        The probability of not leaving a word out.
    accept, alias : ndarray of float64 and of integers, shape (V,)
        Tables of the distribution of the negatives.
    cbow : bool
        Whether neighbours predict a word; else a word predicts its neighbours.
    window, negatives : int
        Most neighbours on each side; negatives for each prediction.
    lr, lr_end : float
        Learning rate at the first of `total` words, and at the last; between them it falls from word to word.
    seed : int
        In [0, 2**64).
    first : int
        The number of the first sentence, which with `seed` names its random numbers.
    done, total : int
        Words that earlier calls have read, and that all calls together will read.
    streams : int
        How many sentences a GPU may train at a time. Where they meet in a word, whichever comes first moves it first, so that
        only 1 gives the same vectors every time; on a CPU one comes after the other always.

    Returns
    -------
    trained : Trained
        Sum of the losses, number of predictions, number of words. On a GPU the first two stay there, arrays without axes.

    Raises
    ------
    TypeError, ValueError
        If an array has not its shape or dtype, an id lies outside its range, or a number is out of range.
    """
    W_in = checks.in_place("W_in", W_in, (None, None), letters="(V, D)")
    W_out = checks.in_place("W_out", W_out, W_in.shape, W_in.dtype, "(V, D)")
    V = len(W_in)
    ids = checks.ids("ids", ids, V, (None,), "(n,)")
    starts = checks.ids("starts", starts, len(ids) + 1, (None,), "(S + 1,)")
    if not len(starts) or (not checks.trusted(starts) and (np.diff(devices.to_host(starts)) < 0).any()):
        raise ValueError("starts must not fall, and must hold at least one number")
    task = Task(
        keep=checks.floating("keep", keep, (V,), np.float64, "(V,)"),
        accept=checks.floating("accept", accept, (V,), np.float64, "(V,)"),
        alias=checks.ids("alias", alias, V, (V,), "(V,)").astype(np.int64, copy=False),
        cbow=checks.flag("cbow", cbow),
        window=checks.whole("window", window, 1, 2**20),
        negatives=checks.whole("negatives", negatives, 0, 2**20),
        lr=checks.number("lr", lr, 0, math.inf, high_open=True),
        lr_end=checks.number("lr_end", lr_end, 0, math.inf, high_open=True),
        seed=checks.whole("seed", seed, 0, 2**64),
        first=checks.whole("first", first, 0, 2**62),
        done=checks.whole("done", done, 0, 2**62),
        total=checks.whole("total", total, 0, 2**62),
        streams=checks.whole("streams", streams, 1, 2**20),
    )
    ids, starts = ids.astype(np.int64, copy=False), starts.astype(np.int64, copy=False)
    *updated, trained = call(__name__, "train", W_in, W_out, ids, starts, task)
    for array, new in zip((W_in, W_out), updated, strict=True):
        if new is not array:  # the oracle writes nothing and returns new arrays
            array[...] = new
    return trained


def __dir__() -> list[str]:
    return sorted(__all__)
