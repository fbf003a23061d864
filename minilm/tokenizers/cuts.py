"""Where a long text may be cut so that both parts together have the ids of the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_WINDOW = 1 << 12  # characters looked at first


def safe_cut(
    text: str,
    possible: Callable[[np.ndarray], np.ndarray],
    touched: Callable[[str], np.ndarray] | None = None,
    margin: int = 0,
) -> int:
    """The largest n > 0 such that the text may be cut before text[n]; 0 if there is none.

    Parameters
    ----------
    text : str
    possible : callable
        Of code points (W,): whether no word or piece goes on from one to the next, (W - 1,) bool.
    touched : callable, optional
        Of a str of W characters: where added tokens forbid a cut, (W + 1,) bool, see `touched` of
        `minilm.tokenizers.added.matching.Matcher`.
    margin : int
        How many characters on both sides of a place `touched` needs to see.
    """
    stop, window = len(text), _WINDOW
    while stop > 1:
        start = max(stop - window, 0)
        codes = np.frombuffer(text[start:stop].encode("utf-32-le", "surrogatepass"), "<u4")  # (W,)
        good = possible(codes)  # (W - 1,)
        if touched is not None and good.any():
            begin = max(start - margin, 0)
            forbidden = touched(text[begin : stop + margin])
            good = good & ~forbidden[start - begin + 1 : stop - begin]
        places = np.flatnonzero(good)
        if places.size:
            return start + int(places[-1]) + 1
        stop, window = start + 1, 2 * window  # the next window shares one character with this one
        if start == 0:
            break
    return 0
