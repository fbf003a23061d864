"""Where a text may be cut so that GPT-2's pieces of the two parts are those of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minilm.tokenizers.bpe import special
from minilm.tokenizers.bpe.unicode16 import LETTER, SPACE, classes
from minilm.tokenizers.files import regroup

_WINDOW = 1 << 12  # characters looked at first


def safe_cut(text: str, special_tokens) -> int:
    """The largest n such that no piece and no special token can cross from text[:n] into text[n:]; 0 if there is none.

    A piece ends where the class of its characters changes, with two exceptions: an apostrophe may take letters along, and what
    follows white space decides how that is cut. Behind white space there is therefore no cut, nor between apostrophe and letter.
    """
    stop, window = len(text), _WINDOW
    while stop > 1:
        start = max(stop - window, 0)
        codes = np.frombuffer(text[start:stop].encode("utf-32-le", "surrogatepass"), "<u4")  # (W,)
        kinds = classes()[codes]  # (W,)
        possible = (kinds[1:] != kinds[:-1]) & (kinds[:-1] != SPACE)  # (W - 1,)
        possible &= ~((codes[:-1] == ord("'")) & (kinds[1:] == LETTER))
        for index in np.flatnonzero(possible)[::-1].tolist():
            place = start + index + 1
            if not special.may_cross(text, place, special_tokens):
                return place
        stop, window = start + 1, 2 * window  # the next window shares one character with this one
        if start == 0:
            break
    return 0


def stretches(chunks: Iterable[str] | str) -> Iterator[tuple[int, str]]:
    """A text that comes in chunks, in stretches that no piece crosses, and where each of them begins."""
    start, held = 0, []
    for chunk in regroup(chunks):
        cut = safe_cut(chunk, ())
        if cut:
            text = "".join([*held, chunk[:cut]])
            yield start, text
            start, held, chunk = start + len(text), [], chunk[cut:]
        held.append(chunk)
    yield start, "".join(held)
