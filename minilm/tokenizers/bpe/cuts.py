"""Where a text may be cut so that both parts together have the pieces of the whole."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from minilm.tokenizers.bpe import patterns
from minilm.tokenizers.cuts import safe_cut
from minilm.tokenizers.files import regroup


def between_pieces(expressions: tuple[str, ...], codes: np.ndarray) -> np.ndarray:
    """Whether no piece goes on from codes[n] to codes[n + 1], whatever surrounds it: (N - 1,), bool."""
    automaton = patterns.automaton_of(expressions)
    kinds = automaton.classes[codes]  # (N,)
    return automaton.cuts[kinds[:-1], kinds[1:]]


def stretches(chunks: Iterable[str] | str, expressions: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """A text that comes in chunks, in stretches that no piece crosses, and where each of them begins."""
    start, held = 0, []
    for chunk in regroup(chunks):
        cut = safe_cut(chunk, functools.partial(between_pieces, expressions))
        if cut:
            text = "".join([*held, chunk[:cut]])
            yield start, text
            start, held, chunk = start + len(text), [], chunk[cut:]
        held.append(chunk)
    yield start, "".join(held)
