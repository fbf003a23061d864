"""Targets that an encoder-decoder writes for many sources at a time: greedily, or by beam search.

The model has ``encode(source, lengths, tokens=...)``, which gives a state of one row a source, and ``step(ids, state)``, which
gives logits (N, V) after one more token of each row, and the next state; ``state.reorder(rows)`` takes rows, some of them several
times. Rows whose target has ended leave the batch.

On a GPU the logits and the model's state stay there. A greedy search waits for it once in `LOOK` steps, to see which rows have
ended, and a beam search once a step, for the 2 K best continuations of each source: which texts have ended, and what goes on in
their places, is decided on the host.

Beam search follows K targets a source, and keeps of their K V continuations the best; see `minilm.generation.beam`, which does it
for one prompt of a language model, for score and length penalty.

References: A. Graves, Sequence transduction with recurrent neural networks, 2012; I. Sutskever, O. Vinyals, Q. V. Le, Sequence to
sequence learning with neural networks, NIPS 2014.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.generation.beam import Hypothesis
from minilm.ops import checks, softmax

__all__ = ["beam_targets", "greedy_targets"]

LOOK = 16  # steps of a greedy search on a GPU between two looks at which rows have ended


def greedy_targets(model, source, lengths=None, *, begin: int, end: int, tokens: int = 256) -> list[np.ndarray]:
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
    state = model.encode(source, lengths, tokens=tokens)
    B, every = len(source), 1 if model.device == "cpu" else LOOK
    written = np.full((B, tokens), end, np.int64)  # (B, tokens)
    rows, ids = np.arange(B), devices.to(model.device, np.full(B, begin, np.int64))  # (N,): who writes, and what each wrote last
    unread = []  # ids of the last few steps, (N,) each
    for n in range(tokens):
        with devices.ids_are_checked():
            logits, state = model.step(ids, state)  # (N, V)
        ids = logits.argmax(axis=-1)  # (N,)
        unread.append(ids)
        if len(unread) < every and n + 1 < tokens:
            continue
        found = np.stack(devices.to_host(unread), axis=1)  # (N, n')
        written[rows, n + 1 - len(unread) : n + 1], unread = found, []
        on = np.flatnonzero((found != end).all(axis=1))  # (N',)
        if not len(on):
            break
        if len(on) < len(found):
            rows, ids, state = rows[on], devices.to(model.device, found[on, -1]), state.reorder(on)
    return [row[: int(np.argmax(row == end)) if (row == end).any() else tokens].copy() for row in written]


def beam_targets(
    model, source, lengths=None, *, begin: int, end: int, tokens: int = 256, beams: int = 4, length_penalty: float = 1.0
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
    K = checks.whole("beams", beams, 1, 2**20)
    alpha = checks.number("length_penalty", length_penalty, 0, 100)
    state = model.encode(source, lengths, tokens=tokens)
    B = len(source)
    ended: list[list[Hypothesis]] = [[] for _ in range(B)]
    living: list[list[Hypothesis]] = [[] for _ in range(B)]
    state = state.reorder(np.repeat(np.arange(B), K))  # rows of one source stand together
    open_ = np.arange(B)  # (M,) sources that are still followed
    totals = np.full((B, K), -np.inf)  # (M, K) log P of each beam: at first there is one
    totals[:, 0] = 0
    texts = np.empty((B, K, 0), np.int64)  # (M, K, n)
    ids = np.full(B * K, begin, np.int64)  # (M K,)
    for n in range(1, tokens + 1):
        with devices.ids_are_checked():
            logits, state = model.step(devices.to(model.device, ids), state)  # (M K, V)
        each, _ = softmax.log_forward(logits)  # (M K, V)
        V = each.shape[1]
        best, found, broken = _best(devices.to(model.device, totals), each.reshape(-1, K, V))  # (M, 2K) twice
        if broken:
            raise ValueError(f"logits must have a finite largest number in every row, at token {n - 1} they have not")
        parents, drawn = np.divmod(best, V)  # (M, 2K) each
        on, follow, rows = [], [], []
        for m, b in enumerate(open_):
            ends = (drawn[m] == end) & (found[m] > -np.inf)  # (2K,)
            for k in np.flatnonzero(ends[:K]):
                total = float(found[m, k])
                ended[b].append(Hypothesis(texts[m, parents[m, k]].copy(), total, total / n**alpha))
            ended[b] = sorted(ended[b], key=lambda h: -h.score)[:K]
            mine = np.flatnonzero(drawn[m] != end)[:K]  # (K,), fewer only where V is small
            mine = np.pad(mine, (0, K - len(mine)), mode="edge") if len(mine) else np.zeros(K, np.int64)
            most = found[m, mine[0]] / tokens**alpha if drawn[m, mine[0]] != end else -np.inf
            if n == tokens:
                living[b] = [
                    Hypothesis(np.append(texts[m, parents[m, k]], drawn[m, k]), float(found[m, k]), float(found[m, k]) / n**alpha)
                    for k in mine
                    if drawn[m, k] != end and found[m, k] > -np.inf
                ]
            elif len(ended[b]) < K or most > ended[b][-1].score:  # else no beam can become better than what has ended
                on.append(m)
                follow.append(mine)
                rows.append(m * K + parents[m, mine])
        if not on:
            break
        picked, on = np.stack(follow), np.array(on)  # (M', K), (M',)
        chosen = np.take_along_axis(drawn[on], picked, axis=1)  # (M', K)
        before = texts[on[:, None], np.take_along_axis(parents[on], picked, axis=1)]  # (M', K, n - 1)
        texts = np.concatenate([before, chosen[:, :, None]], axis=2)  # (M', K, n)
        totals = np.take_along_axis(found[on], picked, axis=1)  # (M', K)
        repeated = np.concatenate([np.zeros((len(on), 1), bool), picked[:, 1:] == picked[:, :-1]], axis=1)
        totals[repeated] = -np.inf
        ids, open_ = chosen.reshape(-1), open_[on]
        state = state.reorder(np.concatenate(rows))
    return [(done + left)[:K] for done, left in zip(ended, living, strict=True)]


def _best(totals, each):
    """The 2 K best of all continuations of each source, at most K of which end: their places in (K, V), and their log P.

    Parameters
    ----------
    totals : ndarray, shape (M, K)
    each : ndarray, shape (M, K, V)

    Returns
    -------
    best, found : ndarray, shape (M, 2 K)
        On the host, best first.
    broken : bool
        Whether there is a NaN among them.
    """
    M, K, V = each.shape
    sums = (totals[:, :, None] + each).reshape(M, K * V)  # (M, K V)
    count = min(2 * K, K * V)
    if devices.on_gpu(sums):
        best = (-sums).argsort(axis=1)[:, :count]  # (M, 2K)
        broken = np.isnan(sums).any(axis=1)[:, None]  # (M, 1)
        told = np.concatenate([np.take_along_axis(sums, best, axis=1), best, broken], axis=1)  # (M, 4K + 1) of float64
        told = devices.to_host(told)  # the one wait of a step
        return told[:, count:-1].astype(np.int64), told[:, :count], told[:, -1].any()
    best = np.argpartition(sums, -count, axis=1)[:, -count:]  # (M, 2K)
    order = np.argsort(-np.take_along_axis(sums, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)  # (M, 2K) best first
    return best, np.take_along_axis(sums, best, axis=1), np.isnan(each).any()


def _check(begin, end, tokens, model) -> None:
    for name, value in (("begin", begin), ("end", end)):
        checks.whole(name, value, 0, model.config.outputs)
    checks.whole("tokens", tokens, 1, 2**31)
