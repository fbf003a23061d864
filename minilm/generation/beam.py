"""Beam search: the most probable continuation, nearly, instead of a random one.

At every step each of the K beams is continued by every token, and of these K V texts the K most probable are kept::

    log P(w_1 ... w_n | prompt) = sum_t log softmax(logits_t)[w_t]
    score                       = log P / n^α

Without an end token all texts have the same length n, and the length penalty α changes nothing. With one, a text among the K that
ends is set aside, and the next one goes on in its place; log P alone (α = 0) favours short texts, α = 1 is the mean of log P
a token.

On a GPU the model's work, the sums and the choice of the best continuations are done there; once a token the host reads the few
that were chosen, since which texts have ended, and whether the search is over, decides what is computed next.

References: B. T. Lowerre, The Harpy speech recognition system, 1976; Y. Wu et al., Google's neural machine translation
system, 2016 (length penalty; theirs is ((5 + n) / 6)^α, this one is Hugging Face's).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.generation.loop import check_context, end_ids, read_prompt, ruled_out, there
from minilm.ops import checks, softmax

__all__ = ["Hypothesis", "beam_search"]


class Hypothesis(NamedTuple):
    """A text that the search found."""

    ids: np.ndarray  # (n,), without the prompt
    log_probability: float  # of all of ids, given the prompt
    score: float  # log_probability / n ** length_penalty


def beam_search(
    model,
    ids,
    tokens: int = 200,
    beams: int = 4,
    *,
    length_penalty: float = 0.0,
    end: int | Iterable[int] | None = None,
    suppress: Iterable[int] = (),
    vocab_size: int | None = None,
) -> list[Hypothesis]:
    """The best texts that a beam search finds, best first.

    Parameters
    ----------
    model : RNNLanguageModel
        Or another with ``logits`` and ``step`` whose state is an array, or a tuple of arrays, (..., B, H).
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
    texts = np.empty((1, 0), np.int64)  # (K, n) what the K beams have written
    totals = np.zeros(1)  # (K,) their log P
    ended: list[Hypothesis] = []
    for n in range(1, tokens + 1):
        if n > 1:
            with devices.ids_are_checked():
                logits, state = model.step(there(model, texts[:, -1]), state)  # (K, V)
        each, _ = softmax.log_forward(logits.astype(np.float64))  # (K, V)
        if without.size:
            each[:, without] = -np.inf
        count = min(each.size, beams + len(ends) * len(totals))  # for each text that might end one more that does not
        best, sums = _best(there(model, totals)[:, None] + each, count)  # (K or more,) each
        if best is None:
            raise ValueError(f"logits must have a finite largest number in every row, at token {n - 1} they have not")
        parents, drawn = np.divmod(best, each.shape[1])
        over = np.isin(drawn, ends)  # (K or more,)
        for k in np.flatnonzero(over[:beams]):
            ended.append(Hypothesis(np.append(texts[parents[k]], drawn[k]), float(sums[k]), float(sums[k]) / n**alpha))
        ended = sorted(ended, key=lambda h: -h.score)[:beams]
        on = np.flatnonzero(~over)[:beams]  # (K,)
        texts = np.concatenate([texts[parents[on]], drawn[on, None]], axis=1)  # (K, n)
        totals, state = sums[on], _rows(state, parents[on])
        # log P only falls and n is at most `tokens`: whether any beam can still become better than what has ended
        if not len(on) or (len(ended) == beams and totals.max() / tokens**alpha <= ended[-1].score):
            return ended
    living = [Hypothesis(text, float(total), float(total) / tokens**alpha) for text, total in zip(texts, totals, strict=True)]
    return sorted(ended + living, key=lambda h: -h.score)[:beams]


def _best(totals, count: int):
    """The `count` most probable continuations among totals (K, V), best first: their numbers k V + v, and their log P.

    Both lie on the host, and are None where there is a NaN.
    """
    flat = totals.reshape(-1)  # (K V,)
    if devices.on_gpu(flat):
        module = devices.array_module(flat)
        best = module.argsort(-flat, kind="stable")[:count]  # (count,)
        told = module.concatenate([flat[best], best.astype(np.float64), (flat != flat).any().astype(np.float64)[None]])
        *told, wrong = told.get()  # the one wait of a token
        flat, best = np.array(told[:count]), np.array(told[count:], np.int64)
    else:
        wrong = np.isnan(flat).any()
        best = np.flatnonzero(flat >= np.partition(flat, -count)[-count])  # those that tie with the last among them
        best = best[np.argsort(-flat[best], kind="stable")][:count]
        flat = flat[best]
    if wrong:
        return None, None
    return best[flat > -np.inf], flat[flat > -np.inf]


def _rows(state, rows):
    """The state of some of the texts: what its ``reorder`` gives, or of arrays the axis before the last, that of the batch."""
    if hasattr(state, "reorder"):
        return state.reorder(rows)
    if isinstance(state, tuple):
        return tuple(_rows(part, rows) for part in state)
    module = devices.array_module(state)
    return module.ascontiguousarray(state[..., rows if module is np else module.asarray(rows), :])
