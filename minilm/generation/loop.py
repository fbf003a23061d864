"""The loop of generation, on ids: read the prompt, then draw a token and feed it back, again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minilm.generation.sampling import check_options, draw
from minilm.ops import checks
from minilm.random import Key

__all__ = ["read_prompt", "stream_ids"]

WINDOW = 1024  # a prompt is read in pieces of so many tokens, so that memory does not grow with its length


def stream_ids(
    model,
    ids,
    tokens: int | None = 200,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    greedy: bool = False,
    suppress: Iterable[int] = (),
) -> Iterator[np.ndarray]:
    """The tokens that follow `ids`, one of every text at a time.

    Parameters
    ----------
    model : RNNLanguageModel, or another with ``initial_state``, ``logits`` and ``step``
    ids : ndarray of integers, shape (B, T)
        The prompts, T >= 1; ``logits`` checks that every id is in the model's vocabulary.
    tokens : int or None
        How many to draw; None goes on for ever.
    temperature, top_k, top_p
        See `minilm.generation.probabilities`.
    seed : int
        The t-th token of text b is drawn with number b of ``Key(seed, t)``: it depends neither on B nor on `tokens`.
    greedy : bool
        Take the most probable token; the same as temperature 0.
    suppress : iterable of int
        Ids that are never drawn.

    Yields
    ------
    ids : ndarray, shape (B,), int64

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, at the call; if the model's logits are not finite, at that token.

    Notes
    -----
    The state after the prompt is computed once, and every further token costs one ``step``. Another B may change the last
    bits of the matrix products, and so, rarely, which token a number falls on.
    """
    check_options(temperature, top_k, top_p)
    checks.whole("seed", seed, 0, 2**64)
    if tokens is not None:
        checks.whole("tokens", tokens, 0, 2**63)
    checks.integers("ids", ids, (None, None), "(B, T)")
    if ids.shape[1] == 0:
        raise ValueError(f"ids must hold at least one token of every text, got shape {ids.shape}")
    suppressed = np.array([checks.whole("suppress", id, 0, 2**31) for id in suppress], np.int64)  # (S,)
    return _stream(model, ids, tokens, (0 if greedy else temperature, top_k, top_p), seed, suppressed)


def _stream(model, ids, tokens, options, seed, suppressed):
    logits, state = read_prompt(model, ids)  # (B, V)
    checks.ids("suppress", suppressed, logits.shape[1])
    step = 0
    while tokens is None or step < tokens:
        if suppressed.size:
            logits[:, suppressed] = -np.inf
        drawn = draw(logits, Key(seed, step), *options)  # (B,)
        yield drawn
        step += 1
        if step != tokens:
            logits, state = model.step(drawn, state)  # (B, V)


def read_prompt(model, ids):
    """Logits (B, V) after the prompts `ids` (B, T), and the state."""
    state = model.initial_state(len(ids))
    for start in range(0, ids.shape[1], WINDOW):
        logits, state = model.logits(ids[:, start : start + WINDOW], state, last=True)
    return logits, state
