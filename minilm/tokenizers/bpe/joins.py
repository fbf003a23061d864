"""Which neighbouring characters some token holds together.

Merges never cross a place between two characters that no token has side by side, so a piece may be cut there before it is merged:
with GPT-2's tokens such parts of Russian words have one or two letters. Parts of most scripts are so few that a table soon knows
them all, where whole words are ever new.

A token may also begin or end within a character. Such a token's other side is then said to join everything.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_trie import character_at
from minilm.tokenizers.bpe.patterns.sets import CODE_POINTS
from minilm.tokenizers.bpe.pieces import JOINS_AFTER, JOINS_BEFORE, PADDING, PAIR_BITS, Cutter, make_cutter, pair_bit


def cutter_of(expressions: tuple[str, ...], tokens: list[bytes]) -> Cutter:
    """A cutter by a pattern that knows which neighbours these tokens join; all are to be there that merges can make."""
    content = np.frombuffer(b"".join(tokens) + b"\0" * PADDING, np.uint8)  # (N + PADDING,)
    starts = np.cumsum([0, *map(len, tokens)])  # (V + 1,)
    pairs = np.zeros((1 << PAIR_BITS) // 32, np.uint32)
    joins = np.zeros(CODE_POINTS, np.uint32)  # (code points,): flags of JOINS_BEFORE and JOINS_AFTER
    _note(content, starts, pairs, joins)
    return make_cutter(expressions, joins, pairs)


@jit(part=True, counted=False)
def _code_point(content, width):
    """The code point of a character's bytes, the first one lowest."""
    code = content & 0xFF >> (width + (width > 1))
    for k in range(1, width):
        code = code << 6 | content >> 8 * k & 0x3F
    return code


@jit(part=True, counted=False)
def _mark(joins, code, flag):
    if code < joins.size:  # or what is no UTF-8 would be written behind the array
        joins[code] |= flag


@jit(counted=False)
def _note(tokens, starts, pairs, joins):
    """Write down what tokens[starts[k] : starts[k + 1]] join, for all k."""
    for token in range(starts.size - 1):
        begin, stop = starts[token], starts[token + 1]
        place = begin  # of the character before, or of the rest of one
        for i in range(begin + 1, stop):
            if tokens[i] & 0xC0 == 0x80:
                continue
            before, width_before = character_at(tokens, place)
            after, width = character_at(tokens, i)
            whole = tokens[place] & 0xC0 != 0x80 and place + width_before == i
            if i + width <= stop:
                if whole:
                    bit = pair_bit(before, after)
                    pairs[bit >> 5] |= np.uint32(1 << (bit & 31))
                else:
                    _mark(joins, _code_point(after, width), JOINS_BEFORE)
            elif whole:
                _mark(joins, _code_point(before, width_before), JOINS_AFTER)
            elif place == begin:  # neither is: whatever ends so joins all that follows
                rest, scale = 0, 1
                for k in range(i - 1, place - 1, -1):
                    rest += np.intp(tokens[k] & 0x3F) * scale
                    scale *= 64
                for code in range(rest, joins.size, scale):
                    joins[code] |= JOINS_AFTER
            place = i
