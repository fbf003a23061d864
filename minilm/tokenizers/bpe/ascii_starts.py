"""Where pieces of ASCII begin, 64 bytes at once: a bit a byte, and a class of characters a word of 64 bits.

``x << 1`` moves what is said of each byte to the byte behind it, so ``letter & ~(letter << 1)`` are the first letters of words. A
sum carries through a run of ones: with s the lowest bits of some runs of r, ``~(r + s) & r`` are those runs, whole.

Both functions return a word with bit k set where a piece begins at byte i + k, if one begins at i: for 0 < k < 63, as far as the
text is ASCII and no more need be known. The tests check them against the automaton, which decides where they say nothing.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import bytes_in, leading_zeros, trailing_zeros

NONE, BY_CLASS, SINGLE_DIGITS, THREE_DIGITS = range(4)  # which function, and how many digits a piece of `word_starts` has at most
_ONE = np.uint64(1)


@jit(part=True, counted=False)
def _contraction(text, i, case):
    """Bytes of 's 't 'm 'd 're 've 'll at i, where text[i] is an apostrophe, else 0; of 'S and so on too if `case` is 0x20."""
    first, second = text[i + 1] | case, text[i + 2] | case
    if first == ord("s") or first == ord("t") or first == ord("m") or first == ord("d"):
        return 2
    if second == ord("e") and (first == ord("r") or first == ord("v")):
        return 3
    return 3 if second == ord("l") and first == ord("l") else 0


@jit(part=True, counted=False)
def _with_contractions(text, i, starts, apostrophes, case):
    """The begins of pieces where those of contractions at `apostrophes` and of what follows them are put right."""
    while apostrophes:
        k = np.intp(trailing_zeros(apostrophes))
        length = _contraction(text, i + k, case)
        if length:
            starts &= ~(_ONE << np.uint64(k) << _ONE)
            starts |= _ONE << np.uint64(k) << np.uint64(length)  # a shift by less than 64 each, so what falls off is gone
        apostrophes &= apostrophes - _ONE
    return starts


@jit(part=True, counted=False)
def class_starts(text, i):
    """By GPT-2's pattern.

    A piece begins at what is not white space and differs in class from the byte before, unless that is a space, which goes with
    what follows; and at the first and at the last byte of every run of white space.
    """
    letter = bytes_in(text, i, 0x20, 0x61, 26)
    number = bytes_in(text, i, 0, 0x30, 10)
    space = bytes_in(text, i, 0, 0x20, 1)
    white = space | bytes_in(text, i, 0, 0x09, 5)
    beyond = bytes_in(text, i, 0, 0x80, 128)
    other = ~(letter | number | white | beyond)
    like_before = letter & letter << _ONE | number & number << _ONE | other & other << _ONE
    starts = ~white & ~like_before & ~(space << _ONE) | white & ~(white << _ONE) | white & ~(white >> _ONE)
    starts = _with_contractions(text, i, starts, bytes_in(text, i, 0, 0x27, 1) & (starts | _ONE), 0)
    # What begins at k may depend on byte k + 1, so the last byte that is known to be ASCII says nothing of itself.
    known = trailing_zeros(beyond | _ONE << np.uint64(63))
    return starts & ((_ONE << known) >> _ONE) - _ONE & ~_ONE if known else np.uint64(0)


@jit(part=True, counted=False)
def word_starts(text, i, triples):
    """By the patterns of cl100k (`triples`: up to three digits a piece) and of Qwen (a digit a piece).

    Letters take the one character before them along, if it is a blank (white space that ends no line) or another character that
    stands alone and has no space before it; other characters take a space before and the line ends behind them. Of a run of white
    space that is left one piece goes up to its last line end, one up to the blank before the last, and the last blank begins one.
    """
    letter = bytes_in(text, i, 0x20, 0x61, 26)
    number = bytes_in(text, i, 0, 0x30, 10)
    space = bytes_in(text, i, 0, 0x20, 1)
    line = bytes_in(text, i, 0, 0x0A, 1) | bytes_in(text, i, 0, 0x0D, 1)
    white = space | bytes_in(text, i, 0, 0x09, 5)
    beyond = bytes_in(text, i, 0, 0x80, 128)
    other = ~(letter | number | white | beyond)
    taken = ~(line + (line & other << _ONE)) & line  # line ends behind other characters
    white, line = white & ~taken, line & ~taken
    begin, blank = white & ~(white << _ONE), white & ~line
    behind_line = blank & line << _ONE
    alone = other & ~((other | space) << _ONE)  # or the first of several, none of which is then a letter
    starts = begin | behind_line | blank & ~(white >> _ONE)
    starts |= other & ~((other | space) << _ONE) | letter & ~((letter | blank | alone) << _ONE)
    if triples:
        group, later = number & ~(number << _ONE), number & number << _ONE
        later &= later << np.uint64(2)  # digits with three before them
        while group:
            starts |= group
            group = group << np.uint64(3) & later
    else:
        starts |= number
    starts = _with_contractions(text, i, starts, bytes_in(text, i, 0, 0x27, 1) & alone, 0x20)
    # A run of white space that is not seen to its end, or has blanks between line ends, is known to begin and no more.
    known = trailing_zeros(beyond | _ONE << np.uint64(63))
    seen = (_ONE << known) - _ONE
    line_behind = blank + behind_line & ~blank & line
    unclear = (line_behind | white & ~(seen >> _ONE)) & seen
    if unclear:
        up_to_first = (unclear & ~unclear + _ONE) - _ONE << _ONE | _ONE
        seen = (_ONE << np.uint64(63 - leading_zeros(begin & up_to_first)) << _ONE) - _ONE
        return starts & seen & ~_ONE
    return starts & seen >> _ONE & ~_ONE
