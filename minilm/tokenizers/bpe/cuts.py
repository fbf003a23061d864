"""Where a text may be cut so that both parts together have GPT-2's pieces of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minilm.tokenizers.bpe.unicode16 import LETTER, SPACE, classes
from minilm.tokenizers.cuts import safe_cut
from minilm.tokenizers.files import regroup


def between_pieces(codes: np.ndarray) -> np.ndarray:
    """Whether no piece goes on from codes[n] to codes[n + 1], whatever surrounds it: (N - 1,), bool.

    A piece ends where the class of its characters changes, with two exceptions: an apostrophe may take letters along, and what
    follows white space decides how that is cut. Behind white space there is therefore no cut, nor between apostrophe and letter.
    """
    kinds = classes()[codes]  # (N,)
    possible = (kinds[1:] != kinds[:-1]) & (kinds[:-1] != SPACE)  # (N - 1,)
    return possible & ~((codes[:-1] == ord("'")) & (kinds[1:] == LETTER))


def stretches(chunks: Iterable[str] | str) -> Iterator[tuple[int, str]]:
    """A text that comes in chunks, in stretches that no piece crosses, and where each of them begins."""
    start, held = 0, []
    for chunk in regroup(chunks):
        cut = safe_cut(chunk, between_pieces)
        if cut:
            text = "".join([*held, chunk[:cut]])
            yield start, text
            start, held, chunk = start + len(text), [], chunk[cut:]
        held.append(chunk)
    yield start, "".join(held)
