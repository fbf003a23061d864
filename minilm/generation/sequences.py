"""Targets that an encoder-decoder writes for many sources at a time: greedily, or by beam search.

The model has ``encode(source, lengths, tokens=...)``, which gives a state of one row a source, ``step(ids, state)``, which gives
logits (N, V) after one more token of each row, and the next state, and ``greedy_steps``, which takes several steps at a time;
``state.reorder(rows)`` takes rows, some of them several times. Rows whose target has ended leave the batch.

On a GPU the logits and the model's state stay there. A greedy search waits for it once in `LOOK` steps, to see which rows have
ended, a beam search once a step.

References: I. Sutskever, O. Vinyals, Q. V. Le, Sequence to sequence learning with neural networks, NIPS 2014. Of beam search:
`minilm.generation.beam`.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.generation.beam import Hypothesis, search
from minilm.models.encoder_decoder import EncoderDecoder
from minilm.ops import checks, softmax
from minilm.typing import Ids

__all__ = ["beam_targets", "greedy_targets"]

LOOK = 16  # steps of a greedy search, at most, between two looks at which rows have ended


def greedy_targets(
    model: EncoderDecoder, source: Ids, lengths: Ids | None = None, *, begin: int, end: int, tokens: int = 256
) -> list[np.ndarray]:
    """The target that takes the most probable token at every step.

    Parameters
    ----------
    model : Seq2Seq, Transformer
        On any device.
    source : ndarray of integers, shape (B, S)
        On the host, or where the model is.
    lengths : ndarray of integers, shape (B,), optional
    begin, end : int
        The tokens before the first and after the last of a target.
    tokens : int
        Most of a target, `end` among them.

    Returns
    -------
    list of B ndarrays (n,)
        Without `begin` and `end`.
    """
    _check(begin, end, tokens, model)
    B, n = len(source), 0  # tokens so far
    ids, state = _begin(model, source, lengths, begin, tokens)  # (N,): N = B at first
    written = np.full((B, tokens), end, np.int64)  # (B, tokens)
    rows = np.arange(B)  # (N,) who still writes
    while n < tokens:
        some, state = model.greedy_steps(ids, state, min(LOOK, tokens - n), end)  # (n', N)
        ids, drawn = some[-1], devices.to_host(some).T  # (N,), (N, n')
        written[rows, n : n + len(some)] = drawn
        n += len(some)
        on = np.flatnonzero((drawn != end).all(axis=1))  # (N',)
        if not len(on):
            break
        if len(on) < len(drawn):
            rows, ids, state = rows[on], devices.to_device_of(model, drawn[on, -1]), state.reorder(on)
    return [row[: int(np.argmax(row == end)) if (row == end).any() else tokens].copy() for row in written]


def beam_targets(
    model: EncoderDecoder,
    source: Ids,
    lengths: Ids | None = None,
    *,
    begin: int,
    end: int,
    tokens: int = 256,
    beams: int = 4,
    length_penalty: float = 1.0,
    no_repeat: int = 0,
) -> list[list[Hypothesis]]:
    """The best targets that a beam search finds of each source, best first.

    Parameters
    ----------
    model, source, lengths, begin, end, tokens
        As for `greedy_targets`.
    beams : int
        K, targets of each source that are followed.
    length_penalty : float
        α: a score is log P / n^α, n counting `end`.
    no_repeat : int
        No target holds any run of so many tokens twice; 0: it may.

    Returns
    -------
    list of B lists of at most K Hypothesis
        ``ids`` without `begin` and `end`. A target that did not end within `tokens` comes after all that did.

    Raises
    ------
    ValueError
        If an argument is out of range, or logits hold a NaN.
    """
    _check(begin, end, tokens, model)
    checks.whole("beams", beams, 1, 2**20)
    alpha = checks.number("length_penalty", length_penalty, 0, 100)
    ids, state = _begin(model, source, lengths, begin, tokens)
    with devices.ids_are_checked():
        logits, state = model.step(ids, state)  # (B, V)
    options = {"tokens": tokens, "beams": beams, "length_penalty": alpha, "ends": (end,)}
    options["no_repeat"] = checks.whole("no_repeat", no_repeat, 0, 2**31)
    options["several"] = not options["no_repeat"]
    both = search(model, logits, state, lambda logits: softmax.log_forward(logits)[0], **options)
    return [([each._replace(ids=each.ids[:-1]) for each in ended] + living)[:beams] for ended, living in both]


def _begin(model, source, lengths, begin: int, tokens: int):
    """The first token that a model reads for each target, (B,), where the model is, and the state before it."""
    state = model.encode(source, lengths, tokens=tokens)
    return devices.to_device_of(model, np.full(len(source), begin, np.int64)), state


def _check(begin, end, tokens, model) -> None:
    for name, value in (("begin", begin), ("end", end)):
        checks.whole(name, value, 0, model.config.outputs)
    checks.whole("tokens", tokens, 1, 2**31)
