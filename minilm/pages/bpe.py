"""Byte-level byte pair encoding on one page, in plain Python: cutting a text, learning the merges, encoding by them, decoding.

::

    text    ->  pieces      "low lower"  ->  "low", " lower"                a merge never crosses the edge of a piece
    piece   ->  bytes       " lower"     ->  Ġ l o w e r                    256 symbols, so that nothing is ever unknown
    symbols ->  merges      the pair that was learnt first, wherever it stands; again and again until none is left
    learn                   the most frequent pair of neighbours becomes a symbol; again and again until there are enough

A byte is written as a character that can be printed: itself where it can, else one from U+0100 on (so a blank is Ġ).

`minilm.tokenizers.ByteLevelBPE` gives the same ids with compiled kernels, and reads and writes GPT-2's files. References:
P. Gage, A new algorithm for data compression, 1994; R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words
with subword units, ACL 2016; A. Radford et al., Language models are unsupervised multitask learners, 2019 (bytes, and the pattern
of pieces).
"""

from __future__ import annotations

import pathlib
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable

PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
SPELLED = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(OTHERS)}
BYTES = {character: byte for byte, character in SPELLED.items()}
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


# --- a text in pieces -------------------------------------------------------------------------------------------------


def kind(character: str) -> str:
    """Whether a character is a letter, a number, white space, or something else.

    By the tables of this Python: characters that a later version of Unicode has added are something else.
    """
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata.category(character)[0], "other")


def pieces(text: str, kind: Callable[[str], str] = kind) -> list[str]:
    """The pieces of a text: words, numbers and signs, each with the blank before it.

    What GPT-2's regular expression gives::

        's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
    """
    kinds = [kind(character) for character in text]
    cut, i = [], 0
    while i < len(text):
        ending = next((e for e in ENDINGS if text.startswith(e, i)), "")
        j = i + len(ending)
        if not ending:
            j += text[i] == " " and i + 1 < len(text) and kinds[i + 1] != "space"  # the blank before a word belongs to it
            first = kinds[j]
            while j < len(text) and kinds[j] == first:
                j += 1
            if first == "space" and j < len(text) and j - i > 1:
                j -= 1  # of several blanks the last belongs to the word that follows
        cut.append(text[i:j])
        i = j
    return cut


def symbols(piece: str) -> list[str]:
    """The bytes of a piece in UTF-8, each as a character."""
    return [SPELLED[byte] for byte in piece.encode()]


# --- learning and encoding --------------------------------------------------------------------------------------------


def join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """A list of symbols with every occurrence of a pair joined, from the left."""
    joined, i = [], 0
    while i < len(parts):
        matches = tuple(parts[i : i + 2]) == pair
        joined.append("".join(parts[i : i + 2]) if matches else parts[i])
        i += 1 + matches
    return joined


def learn(counts: Counter[str], size: int, least: int = 2, special: tuple[str, ...] = ("<|endoftext|>",)):
    """A vocabulary of `size` symbols, and the merges in the order in which they were learnt, from the counts of pieces.

    Of pairs that are as frequent, the one with the smaller ids comes first; a pair that occurs fewer than `least` times is not
    joined.
    """
    vocabulary = [*special, *sorted(SPELLED.values())]
    ids = {symbol: id for id, symbol in enumerate(vocabulary)}
    words = [(symbols(piece), count) for piece, count in counts.items()]
    merges: list[tuple[str, str]] = []
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, count in words:
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]), default=None)
        if best is None or pairs[best] < max(least, 1) or "".join(best) in ids:
            break
        merges.append(best)
        ids["".join(best)] = len(vocabulary)
        vocabulary.append("".join(best))
        words = [(join(parts, best), count) for parts, count in words]
    return vocabulary, merges


def merged(piece: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The symbols of a piece: the leftmost pair of lowest rank is joined, until no pair has a rank."""
    parts = symbols(piece)
    while True:
        pairs = list(zip(parts, parts[1:], strict=False))
        place = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)), default=None)
        if place is None or pairs[place] not in ranks:
            return parts
        parts[place : place + 2] = ["".join(pairs[place])]


def encode(text: str, vocabulary: list[str], merges: list[tuple[str, str]]) -> list[int]:
    """The ids of a text."""
    ids = {symbol: id for id, symbol in enumerate(vocabulary)}
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    return [ids[symbol] for piece in pieces(text) for symbol in merged(piece, ranks)]


def decode(ids: list[int], vocabulary: list[str]) -> str:
    """The text of ids; bytes that are no UTF-8, as where a character is cut in two, become U+FFFD."""
    return bytes(BYTES[character] for id in ids for character in vocabulary[id]).decode(errors="replace")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.bpe FILE")
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    vocabulary, merges = learn(Counter(pieces(text)), 400)
    ids = encode(text[:60], vocabulary, merges)
    print([vocabulary[id] for id in ids], decode(ids, vocabulary), sep="\n")
