"""Targets that an encoder-decoder writes for many sources at a time: greedily, or by beam search.

The model has ``encode(source, lengths, tokens=...)``, which gives a state of one row a source, and ``step(ids, state)``, which
gives logits (N, V) after one more token of each row, and the next state; ``state.reorder(rows)`` takes rows, some of them several
times. Rows whose target has ended leave the batch.

Beam search follows K targets a source, and keeps of their K V continuations the best; see `minilm.generation.beam`, which does it
for one prompt of a language model, for score and length penalty.

References: A. Graves, Sequence transduction with recurrent neural networks, 2012; I. Sutskever, O. Vinyals, Q. V. Le, Sequence to
sequence learning with neural networks, NIPS 2014.
"""

from __future__ import annotations

import numpy as np

from minilm.generation.beam import Hypothesis
from minilm.ops import checks, softmax

__all__ = ["beam_targets", "greedy_targets"]


def greedy_targets(model, source, lengths=None, *, begin: int, end: int, tokens: int = 256) -> list[np.ndarray]:
    """The target that takes the most probable token at every step.

    Parameters
    ----------
    model : Seq2Seq, Transformer
    source : ndarray of integers, shape (B, S)
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
    B = len(source)
    written = np.full((B, tokens), end, np.int64)  # (B, tokens)
    rows, ids = np.arange(B), np.full(B, begin, np.int64)  # (N,) each: who still writes, and what each wrote last
    for n in range(tokens):
        logits, state = model.step(ids, state)  # (N, V)
        ids = logits.argmax(axis=-1)  # (N,)
        written[rows, n] = ids
        on = np.flatnonzero(ids != end)  # (N',)
        if not len(on):
            break
        if len(on) < len(ids):
            rows, ids, state = rows[on], ids[on], state.reorder(on)
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
        logits, state = model.step(ids, state)  # (M K, V)
        each, _ = softmax.log_forward(logits)  # (M K, V)
        V = each.shape[1]
        if np.isnan(each).any():
            raise ValueError(f"logits must have a finite largest number in every row, at token {n - 1} they have not")
        sums = (totals[:, :, None] + each.reshape(-1, K, V)).reshape(-1, K * V)  # (M, K V)
        count = min(2 * K, K * V)
        best = np.argpartition(sums, -count, axis=1)[:, -count:]  # (M, 2K): at most K of them end
        order = np.argsort(-np.take_along_axis(sums, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)  # (M, 2K) best first
        found = np.take_along_axis(sums, best, axis=1)  # (M, 2K)
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


def _check(begin, end, tokens, model) -> None:
    for name, value in (("begin", begin), ("end", end)):
        checks.whole(name, value, 0, model.config.outputs)
    checks.whole("tokens", tokens, 1, 2**31)
