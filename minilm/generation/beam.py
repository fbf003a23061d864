"""Beam search: the most probable texts, nearly, instead of one drawn at random.

At every step each of the K beams is continued by every token, and of these K V texts the K most probable are kept::

    log P(w_1 ... w_n | prompt) = sum_t log softmax(logits_t)[w_t]
    score                       = log P / n^α

A text among the K that ends is set aside, and the next one goes on in its place. log P alone (α = 0) favours short texts; α = 1
is the mean of log P a token. Where no token ends a text all have the same length, and α changes nothing.

`search` is the algorithm, for one prompt of a language model (`beam_search`) and for many sources of an encoder-decoder
(`minilm.generation.beam_targets`) alike. Sums and the choice of the best are computed where the model is; once a step the host
reads the few that were chosen, since which texts have ended decides what is computed next.

References: B. T. Lowerre, The Harpy speech recognition system, 1976; A. Graves, Sequence transduction with recurrent neural
networks, 2012; Y. Wu et al., Google's neural machine translation system, 2016 (length penalty; theirs is ((5 + n) / 6)^α, this
one is Hugging Face's).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.generation.loop import check_context, end_ids, read_prompt, reordered, ruled_out
from minilm.generation.protocol import CausalLanguageModel
from minilm.models.encoder_decoder import Beams
from minilm.ops import checks, softmax
from minilm.typing import Array, Ids

__all__ = ["Hypothesis", "beam_search", "search"]


WORTH = 1 << 17  # continuations that are worth a thread
LOOK = 16  # steps that a model takes in one call, at most


class Hypothesis(NamedTuple):
    """A text that the search found."""

    ids: np.ndarray  # (n,), without the prompt
    log_probability: float  # of all of ids, given the prompt
    score: float  # log_probability / n ** length_penalty


def search(
    model: CausalLanguageModel,
    logits: Array,
    state: Any,
    log_probabilities: Callable,
    *,
    tokens: int,
    beams: int,
    length_penalty: float,
    ends: tuple[int, ...],
    no_repeat: int = 0,
    several: bool = False,
) -> list[tuple[list[Hypothesis], list[Hypothesis]]]:
    """Beam search from each of B states.

    Parameters
    ----------
    model
        ``model.step(ids, state)`` gives logits (N, V) after one more token of each text, and the next state.
    logits, state
        Logits (B, V) of the first token, and the model's state of B rows.
    log_probabilities : callable
        log P (N, V) of logits (N, V): log softmax, and -inf for what no text may hold.
    tokens : int
        Most tokens of a text.
    beams : int
        K, texts of each source that are followed.
    length_penalty : float
        α.
    ends : tuple of int
        The tokens that end a text.
    no_repeat : int
        No text holds any run of so many tokens twice; 0: it may. log P remains the model's own.
    several : bool
        Whether the model has ``beam_steps``, several steps in one call, and log P is log softmax alone.

    Returns
    -------
    list of B pairs
        The texts that have ended, and those that had not at `tokens`: at most K of each, best first, the token that ends among
        their ids. The second list is empty where the search stopped early, as no longer text could come among the best K.

    Raises
    ------
    ValueError
        If logits hold a NaN.
    """
    B, V = logits.shape
    ended: list[list[Hypothesis]] = [[] for _ in range(B)]
    living: list[list[Hypothesis]] = [[] for _ in range(B)]
    sources = np.arange(B)  # (M,) whose search goes on
    texts = np.empty((B, 1, 0), np.int64)  # (M, k, n) what their beams have written: one beam at first, then up to K
    totals = np.zeros((B, 1))  # (M, k) log P of each; -inf where there are fewer
    rows = np.arange(B)[:, None]  # (M, k) the row of each in the state
    ahead: list = []  # the best continuations of further tokens, which came with those of one before: (M, C) each
    for n in range(1, tokens + 1):
        M, k = totals.shape
        count = min(k * V, beams + len(ends) * k)  # C: for each text that might end one more that does not
        if n > 1 and not ahead:
            ids, state = devices.to_device_of(model, texts[:, :, -1].reshape(-1)), reordered(state, rows.reshape(-1))
            if several and k == beams:
                followed = Beams(totals, count, np.array(ends, np.int64), _least(ended, sources, beams), tokens**length_penalty)
                ahead, state = _several(model, ids, state, min(LOOK, tokens - n + 1), followed)
            if not ahead:
                with devices.ids_are_checked():
                    logits, state = model.step(ids, state)  # (M k, V)
        if ahead:
            sums, places = ahead.pop(0)
        else:
            log_p = log_probabilities(logits)  # (M k, V)
            if no_repeat:
                log_p[devices.to_device_of(log_p, _repeats(texts.reshape(M * k, n - 1), no_repeat))] = -np.inf
            sums, places = _continuations(totals, log_p, count)
        if np.isnan(sums).any():
            raise ValueError(f"logits must have a finite largest number in every row, at token {n - 1} they have not")
        parents, drawn = np.divmod(places, V)  # (M, C) each
        longer = np.concatenate([_columns(texts, parents), drawn[:, :, None]], axis=2)  # (M, C, n)

        over = np.isin(drawn, ends)  # (M, C)
        for m, c in np.argwhere(over[:, :beams] & (sums[:, :beams] > -np.inf)):
            best = ended[sources[m]]
            bisect.insort(best, _hypothesis(longer[m, c], sums[m, c], length_penalty), key=lambda text: -text.score)
            del best[beams:]

        on = np.argsort(over, axis=1, kind="stable")[:, : min(beams, k * V)]  # (M, k) the best of those that go on
        texts, totals = _columns(longer, on), _columns(np.where(over, -np.inf, sums), on)  # (M, k, n), (M, k)
        rows = np.arange(M)[:, None] * k + _columns(parents, on)  # (M, k)

        most = totals[:, 0] / tokens**length_penalty  # (M,) no score can become better: log P only falls, and n <= tokens
        going = most > _least(ended, sources, beams)  # (M,)
        if not going.all():
            sources, texts, totals, rows = (each[going] for each in (sources, texts, totals, rows))
        if not len(sources):
            break
    for b, beams_of_b, sums_of_b in zip(sources, texts, totals, strict=True):
        both = zip(beams_of_b, sums_of_b, strict=True)
        living[b] = [_hypothesis(text, total, length_penalty) for text, total in both if total > -np.inf]
    return list(zip(ended, living, strict=True))


def _least(ended, sources, beams: int) -> np.ndarray:
    """The score that a text of each source must exceed, (M,), to come among its best `beams`."""
    return np.array([ended[b][-1].score if len(ended[b]) == beams else -np.inf for b in sources])


def _several(model, ids, state, tokens: int, followed: Beams) -> tuple[list, Any]:
    """The best continuations of each of several tokens, (M, C) sums and places each, and the state; none, and the state as it
    was, where the model takes its steps one by one."""
    steps = model.beam_steps(ids, state, tokens, followed)
    if steps is None:
        return [], state
    sums, places, state = steps
    return list(zip(sums, places, strict=True)), state


def _continuations(totals, log_p, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most probable continuations of each source, best first, on the host.

    Parameters
    ----------
    totals : ndarray, shape (M, k)
        log P of each beam.
    log_p : ndarray, shape (M k, V)
        That of each next token.
    count : int
        C.

    Returns
    -------
    sums, places : ndarray, shape (M, C)
        log P, NaN where one of a source's is, and the places among its k V: i V + v of beam i and token v.
    """
    (M, k), V = totals.shape, log_p.shape[1]
    if devices.on_gpu(log_p):
        return _on_device(totals, log_p.reshape(M, k, V), count)
    kernels = devices.load("minilm.ops", "largest")
    sums, best = np.empty((M, count)), np.empty((M, count), np.int64)  # (M, C) each
    parts = np.ascontiguousarray(log_p).reshape(M, k, V)
    devices.parallel(kernels.largest_sums, M, totals, parts, sums, best, grain=max(1, WORTH // (k * V)))
    return sums, best


def _on_device(totals, log_p, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest of totals (M, k) + log_p (M, k, V) of each source, and their places among the k V, on the host: (M, C)
    each. Sums are NaN where one of a source's is."""
    M, module = len(log_p), devices.array_module(log_p)
    sums = (devices.to_device_of(log_p, totals)[:, :, None] + log_p).reshape(M, -1)  # (M, k V)
    best = module.argsort(-sums, axis=1, kind="stable")[:, :count]  # (M, C)
    broken = np.isnan(sums).any(axis=1)[:, None]  # (M, 1)
    together = np.concatenate([np.take_along_axis(sums, best, axis=1), best, broken], axis=1)  # (M, 2C + 1) of float64
    sums, best, broken = np.split(devices.to_host(together), [count, 2 * count], axis=1)  # the one wait of a step
    return np.where(broken > 0, np.nan, sums), best.astype(np.int64)


def _repeats(texts, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which texts (N, n), and the tokens that would complete in each a run of `size` tokens that it has already."""
    N, n = texts.shape
    if n < size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    runs = np.lib.stride_tricks.sliding_window_view(texts, size, axis=1)  # (N, n - size + 1, size)
    rows, places = np.nonzero((runs[:, :, :-1] == texts[:, None, n - size + 1 :]).all(axis=2))
    return rows, runs[rows, places, -1]


def _columns(array, columns):
    """array[m, columns[m, c]] of an array (M, k, ...) and columns (M, C): (M, C, ...)."""
    return array[np.arange(len(array))[:, None], columns]


def _hypothesis(text, total, length_penalty: float) -> Hypothesis:
    return Hypothesis(text.copy(), float(total), float(total) / len(text) ** length_penalty)


def beam_search(
    model: CausalLanguageModel,
    ids: Ids,
    tokens: int = 200,
    beams: int = 4,
    *,
    length_penalty: float = 0.0,
    end: int | Iterable[int] | None = None,
    suppress: Iterable[int] = (),
    vocab_size: int | None = None,
) -> list[Hypothesis]:
    """The best texts that a beam search finds after a prompt, best first.

    Parameters
    ----------
    model : RNNLanguageModel
        Or another with ``logits`` and ``step`` whose state is an array, or a tuple of arrays, (..., B, H), or has ``reorder``.
    ids : ndarray of integers, shape (T,)
        The prompt, T >= 1.
    tokens : int
        How many to add at most.
    beams : int
        Texts that are followed. 1 is greedy; V ** tokens would be an exhaustive search.
    length_penalty : float
        α, at least 0.
    end : int or iterable of int, optional
        The tokens that end a text, one of which is then the last of its ids. Without it the end of text that a pretrained
        model's folder names; () for none.
    suppress, vocab_size
        Ids that no text holds, see `stream_ids`; log P remains the model's own.

    Returns
    -------
    list of Hypothesis
        At most `beams`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or logits hold a NaN.
    """
    checks.whole("tokens", tokens, 1, 2**63)
    checks.whole("beams", beams, 1, 2**31)
    alpha = checks.number("length_penalty", length_penalty, 0, 100)
    checks.integers("ids", ids, (None,), "(T,)")
    if not len(ids):
        raise ValueError("ids must hold at least one token, got none")
    check_context(model, len(ids))
    ends = end_ids(model, end)
    logits, state = read_prompt(model, ids[None])  # (1, V)
    without = ruled_out(model, logits, suppress, vocab_size)  # (S,)

    def log_probabilities(logits):
        log_p, _ = softmax.log_forward(logits.astype(np.float64))  # (N, V)
        if without.size:
            log_p[:, without] = -np.inf
        return log_p

    options = {"tokens": tokens, "beams": beams, "length_penalty": alpha, "ends": ends}
    ((ended, living),) = search(model, logits, state, log_probabilities, **options)
    return sorted(ended + living, key=lambda each: -each.score)[:beams]
