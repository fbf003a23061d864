"""Linear-chain conditional random field: the loss of tag sequences, and the best one. Formulas: `minilm.ops.crf.spec`."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.crf.spec import Saved
from minilm.ops.padding import mask_from_lengths
from minilm.typing import Array, Ids

__all__ = ["Saved", "backward", "decode", "forward"]


def forward(
    emissions: Array, tags: Ids, transitions: Array, start: Array, end: Array, lengths: Ids | None = None
) -> tuple[Array, Saved]:
    """Negative log-likelihood of each sequence of tags, in nats.

    .. math:: nll = \\log \\sum_{y'} e^{s(y')} - s(y), \\qquad s(y) = start_{y_0} + \\sum_t emissions_{t,y_t}
              + \\sum_t transitions_{y_{t-1},y_t} + end_{y_{L-1}}

    Parameters
    ----------
    emissions : ndarray, shape (B, T, K), float32 or float64
        A score for each tag at each step.
    tags : ndarray of integers, shape (B, T)
        Each in [0, K); beyond a row's length also -100.
    transitions : ndarray, shape (K, K)
        ``transitions[i, j]`` is the score of tag j after tag i.
    start, end : ndarray, shape (K,)
        Scores of the first tag and of the last.

        Any score may be -inf, which forbids what bears it.
    lengths : ndarray of integers, shape (B,), optional
        How many steps of each row count: at least 1.

    Returns
    -------
    nll : ndarray, shape (B,)
        Summed over steps in float64; inf where a score of the tags is -inf.
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If dtypes do not fit.
    ValueError
        If shapes do not fit, or a tag or a length is out of range; its position is named.
    """
    emissions, lengths, weights = _checked(emissions, transitions, start, end, lengths)
    B, T, K = emissions.shape
    tags = checks.ids("tags", tags, K, (B, T), "(B, T)", ignore=-100)
    if devices.on_gpu(tags):
        if not devices.ids_checked():
            _within_lengths(devices.to_host(tags), devices.to_host(lengths), K)
        tags = devices.array_module(tags).maximum(tags, 0)  # (B, T) what is negative lies beyond its row's length
    else:
        tags = _within_lengths(tags, lengths, K)
    return call(__name__, "forward", emissions, tags, *weights, lengths)


def backward(dnll: Array, saved: Saved) -> tuple[Array, Array, Array, Array]:
    """Gradients of `forward`, by the forward-backward algorithm.

    Parameters
    ----------
    dnll : ndarray, shape (B,)
        Gradient of the loss by nll.
    saved : Saved
        From `forward`.

    Returns
    -------
    demissions : ndarray, shape (B, T, K)
        Zero beyond a row's length.
    dtransitions : ndarray, shape (K, K)
    dstart, dend : ndarray, shape (K,)

    Raises
    ------
    TypeError, ValueError
        If `dnll` does not have nll's shape and dtype.
    """
    dnll = checks.floating("dnll", dnll, saved.alpha.shape[:1], saved.alpha.dtype, "(B,)")
    return call(__name__, "backward", dnll, saved)


def decode(emissions: Array, transitions: Array, start: Array, end: Array, lengths: Ids | None = None) -> tuple[Ids, Array]:
    """The best sequence of tags of each row, by Viterbi's algorithm.

    .. math:: \\hat y = \\arg\\max_y s(y)

    Parameters
    ----------
    emissions, transitions, start, end, lengths
        As `forward` takes them.

    Returns
    -------
    tags : ndarray of int64, shape (B, T)
        -100 beyond a row's length. Of equally good ones, that whose last tag is the smallest, then the one before, and so on.
    scores : ndarray, shape (B,)
        s of these; -inf where every sequence is forbidden, whose tags then mean nothing.

    Raises
    ------
    TypeError, ValueError
        As `forward`'s.
    """
    emissions, lengths, weights = _checked(emissions, transitions, start, end, lengths)
    return call(__name__, "decode", emissions, *weights, lengths)


def _checked(emissions, transitions, start, end, lengths):
    emissions = checks.floating("emissions", emissions, (None, None, None), letters="(B, T, K)")
    B, T, K = emissions.shape
    if T == 0 or K == 0:
        raise ValueError(f"emissions must have at least one step and one tag, got {checks.describe(emissions)}")
    transitions = checks.floating("transitions", transitions, (K, K), emissions.dtype, "(K, K)")
    start = checks.floating("start", start, (K,), emissions.dtype, "(K,)")
    end = checks.floating("end", end, (K,), emissions.dtype, "(K,)")
    return emissions, checks.lengths("lengths", lengths, B, T), (transitions, start, end)


def _within_lengths(tags, lengths, K):
    """`tags` (B, T) with 0 for the -100 beyond a row's length; ValueError for one that is not beyond it."""
    if not (tags < 0).any():
        return tags
    mask = mask_from_lengths(lengths, tags.shape[1])  # (B, T)
    missing = (tags < 0) & (True if mask is None else mask)  # (B, T)
    if missing.any():
        b, t = np.unravel_index(int(missing.argmax()), missing.shape)
        raise ValueError(f"tags[{b}, {t}] is -100 within its row's length, wanted a tag in [0, {K})")
    return np.where(tags < 0, 0, tags)  # (B, T)


def __dir__() -> list[str]:
    return sorted(__all__)
