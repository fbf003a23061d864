"""Where pieces of ASCII and Latin letters begin, 64 bytes at once: a bit a byte, and a class of characters a word of 64 bits.

``x << 1`` moves what is said of each byte to the byte behind it, so ``letter & ~(letter << 1)`` are the first letters of words. A
sum carries through a run of ones: with s the lowest bits of some runs of r, ``~(r + s) & r`` are those runs, whole.

Both functions return a word with bit k set where a piece begins at byte i + k, if one begins at i: for 0 < k < 63, as far as the
text is known and no more need be. `size` bytes of it are left from byte i on, and zeros follow them. Known are ASCII, most
letters of Latin with marks on them (U+00C0 to U+02BF, U+1E00 to U+1EFF) and the dashes and quotation marks of U+2010 to U+203F,
if all their bytes are among the 64; all bytes of a character have the bit of its class. The tests check them against the
automaton, which decides where they say nothing.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_trie import character_at, kind_of
from minilm.tokenizers.bpe.intrinsics import bytes_in, leading_zeros, trailing_zeros

# Which function, and for `word_starts` how many digits a piece has; CASED: three, and a word ends before a capital.
NONE, BY_CLASS, SINGLE_DIGITS, THREE_DIGITS, CASED = range(5)
CLASS = 0xFF  # of what a cutter's table says of a character: its class in the automaton
_ONE = np.uint64(1)


@jit(part=True, counted=False)
def may_begin(byte):
    """Whether text that begins with this byte may be known."""
    return byte < 0xCB or byte == 0xE1 or byte == 0xE2


@jit(part=True, counted=False)
def _beyond_ascii(text, i):
    """All bytes of letters of two and three bytes, and the first bytes of signs of three, as far as they are known.

    Letters of two bytes begin with C3 ... CA, but for those that end with 97, B7 or BF, among which are two signs and an old form
    of s; letters of three are U+1E00 ... U+1EFF. Signs, U+2010 ... U+2027 and U+2030 ... U+203F, are neither letters nor numbers
    nor white space. Most blocks have no character of three bytes: the masks of those are then not computed.
    """
    not_these = bytes_in(text, i, 0x20, 0xB7, 1) | bytes_in(text, i, 0, 0xBF, 1)
    two = bytes_in(text, i, 0, 0xC3, 8) & ~(not_these >> _ONE) & ~np.uint64(0) >> _ONE
    letters, signs = two | two << _ONE, np.uint64(0)
    if bytes_in(text, i, 0, 0xE1, 2):
        three = bytes_in(text, i, 0, 0xE1, 1) & bytes_in(text, i, 0, 0xB8, 4) >> _ONE & ~np.uint64(0) >> np.uint64(2)
        letters |= three | three << _ONE | three << np.uint64(2)
        third = bytes_in(text, i, 0, 0x90, 24) | bytes_in(text, i, 0, 0xB0, 16)
        signs = bytes_in(text, i, 0, 0xE2, 1) & bytes_in(text, i, 0, 0x80, 1) >> _ONE & third >> np.uint64(2)
    return letters, signs


@jit(part=True, counted=False)
def _cases(text, i, letters, cutter):
    """Of the bytes of letters beyond ASCII those of capitals and those of small letters; of letters without a case neither."""
    capital, small = np.uint64(0), np.uint64(0)
    firsts = letters & bytes_in(text, i, 0, 0xC0, 64)
    while firsts:
        k = trailing_zeros(firsts)
        content, width = character_at(text, i + np.intp(k))
        whole = (_ONE << np.uint64(width)) - _ONE << k
        kind = kind_of(cutter.table, content) & CLASS
        capital |= whole * np.uint64(kind == cutter.capital)
        small |= whole * np.uint64(kind == cutter.small)
        firsts &= firsts - _ONE
    return capital, small


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
def _with_suffixes(text, i, starts, apostrophes):
    """The begins of pieces where contractions at `apostrophes`, behind letters, end the words before them."""
    while apostrophes:
        k = np.intp(trailing_zeros(apostrophes))
        length = _contraction(text, i + k, 0x20)
        apostrophes &= apostrophes - _ONE
        if length:
            at = _ONE << np.uint64(k)
            behind = at << np.uint64(length)
            starts = starts & ~(behind - at) | behind
            apostrophes &= ~behind  # a word has one
    return starts


@jit(part=True, counted=False)
def class_starts(text, i, size):
    """By GPT-2's pattern.

    A piece begins at what is not white space and differs in class from the byte before, unless that is a space, which goes with
    what follows; and at the first and at the last byte of every run of white space.
    """
    letter = bytes_in(text, i, 0x20, 0x61, 26)
    number = bytes_in(text, i, 0, 0x30, 10)
    space = bytes_in(text, i, 0, 0x20, 1)
    white = space | bytes_in(text, i, 0, 0x09, 5)
    beyond = bytes_in(text, i, 0, 0x80, 128)
    if beyond:
        more, signs = _beyond_ascii(text, i)
        letter |= more
        beyond &= ~(more | signs | signs << _ONE | signs << np.uint64(2))
    other = ~(letter | number | white | beyond)
    like_before = letter & letter << _ONE | number & number << _ONE | other & other << _ONE
    starts = ~white & ~like_before & ~(space << _ONE) | white & ~(white << _ONE) | white & ~(white >> _ONE)
    starts = _with_contractions(text, i, starts, bytes_in(text, i, 0, 0x27, 1) & (starts | _ONE), 0)
    # What begins at k may depend on byte k + 1, so the last byte that is known to be ASCII says nothing of itself.
    known = trailing_zeros(beyond | _ONE << np.uint64(min(size, 63)))
    return starts & ((_ONE << known) >> _ONE) - _ONE & ~_ONE if known else np.uint64(0)


@jit(part=True, counted=False)
def word_starts(text, i, size, cutter):
    """By the patterns of Qwen (SINGLE_DIGITS), cl100k (THREE_DIGITS) and o200k (CASED), whichever `cutter.ascii` is.

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
    kind, small, signs = cutter.ascii, np.uint64(0), np.uint64(0)
    if beyond:
        more, signs = _beyond_ascii(text, i)
        if kind == CASED:
            capital, small = _cases(text, i, more, cutter)
            more = capital | small
        letter |= more
        beyond &= ~(more | signs | signs << _ONE | signs << np.uint64(2))
    other = ~(letter | number | white | beyond)
    ends = ~(line + (line & other << _ONE)) & line  # line ends behind other characters
    white, line = white & ~ends, line & ~ends
    begin, blank = white & ~(white << _ONE), white & ~line
    behind_line = blank & line << _ONE
    alone = other & ~((other | space) << _ONE)  # or the first of several, none of which is then a letter
    prefixes = blank | alone | (alone & signs) << np.uint64(2)  # of words; of a sign its last byte
    starts = begin | behind_line | blank & ~(white >> _ONE)
    starts |= other & ~((other | space) << _ONE) | letter & ~((letter | prefixes) << _ONE)
    if kind == SINGLE_DIGITS:
        starts |= number
    else:
        group, later = number & ~(number << _ONE), number & number << _ONE
        later &= later << np.uint64(2)  # digits with three before them
        while group:
            starts |= group
            group = group << np.uint64(3) & later
    apostrophes = bytes_in(text, i, 0, 0x27, 1) & alone
    if kind == CASED:
        lower = bytes_in(text, i, 0, 0x61, 26) | small
        starts |= letter & ~lower & lower << _ONE
        starts = _with_suffixes(text, i, starts, apostrophes & letter << _ONE)
        beyond |= bytes_in(text, i, 0, 0x2F, 1) & ends << _ONE  # goes on with what is before the line's end
    else:
        starts = _with_contractions(text, i, starts, apostrophes, 0x20)
    # A run of white space that is not seen to its end, or has blanks between line ends, is known to begin and no more.
    known = trailing_zeros(beyond | _ONE << np.uint64(min(size, 63)))
    seen = (_ONE << known) - _ONE
    line_behind = blank + behind_line & ~blank & line
    unclear = (line_behind | white & ~(seen >> _ONE)) & seen
    if unclear:
        up_to_first = (unclear & ~unclear + _ONE) - _ONE << _ONE | _ONE
        seen = (_ONE << np.uint64(63 - leading_zeros(begin & up_to_first)) << _ONE) - _ONE
        return starts & seen & ~_ONE
    return starts & seen >> _ONE & ~_ONE
