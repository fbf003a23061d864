"""WordPiece on one page, in plain Python: BERT's words, cutting them into pieces, and learning the pieces.

::

    text  ->  words     "Un café!"   ->  "un", "cafe", "!"           small letters without accents, signs for themselves
    word  ->  pieces    "unaffable"  ->  "un", "##aff", "##able"     the longest piece that fits, from the left
    learn               the most frequent pair of neighbours becomes a piece; again and again until there are enough

A piece inside a word begins with ##. A word that cannot be cut into known pieces becomes [UNK] as a whole.

`minilm.tokenizers.WordPiece` gives the same ids with compiled kernels, and reads and writes BERT's files. How BERT's own
vocabulary was learnt was not published; `learn` is byte pair encoding's rule, as Hugging Face's trainer has it. References:
M. Schuster, K. Nakajima, Japanese and Korean voice search, ICASSP 2012; J. Devlin et al., BERT, NAACL 2019.
"""

from __future__ import annotations

import pathlib
import sys
import unicodedata
from collections import Counter

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IDEOGRAPHS = (  # first and last code point of each block of Chinese characters
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
ASCII_SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def words(text: str) -> list[str]:
    """The words of a text, in small letters and without accents; every sign and every Chinese character is one of its own."""
    shown = []
    for c in text:
        if c in "\t\n\r" or unicodedata.category(c)[0] == "Z":
            shown.append(" ")
        elif unicodedata.category(c)[0] != "C" and c != "\ufffd":  # control characters are left out
            shown.append(f" {c} " if any(first <= ord(c) <= last for first, last in IDEOGRAPHS) else c)
    apart = unicodedata.normalize("NFD", "".join(shown))  # é as e and an accent
    plain = "".join(c for c in apart if unicodedata.category(c) != "Mn").lower()
    signs = (f" {c} " if c in ASCII_SIGNS or unicodedata.category(c)[0] == "P" else c for c in plain)
    return "".join(signs).split()


def cut(word: str, vocabulary: set[str] | dict[str, int], longest: int = 100) -> list[str]:
    """The pieces of a word: at each place the longest of the vocabulary. [UNK] if there is none, or the word is too long."""
    pieces, start = [], 0
    while start < len(word) <= longest:
        stop = len(word)
        while stop > start and "##" * (start > 0) + word[start:stop] not in vocabulary:
            stop -= 1
        if stop == start:
            return ["[UNK]"]
        pieces.append("##" * (start > 0) + word[start:stop])
        start = stop
    return pieces if len(word) <= longest else ["[UNK]"]


def encode(text: str, vocabulary: list[str]) -> list[int]:
    """The ids of a text, without [CLS] and [SEP]."""
    ids = {piece: id for id, piece in enumerate(vocabulary)}
    return [ids[piece] for word in words(text) for piece in cut(word, ids)]


def learn(counts: Counter[str], size: int, least: int = 2, special: tuple[str, ...] = SPECIAL) -> list[str]:
    """A vocabulary of `size` pieces from the counts of words: special tokens, characters, and joined pieces as they come.

    Of pairs that are as frequent, the one with the smaller ids comes first; a pair that occurs fewer than `least` times is not
    joined.
    """
    parts = {word: [word[0], *(f"##{c}" for c in word[1:])] for word in counts}
    vocabulary = [*special, *sorted({c for word in counts for c in word})]
    vocabulary += sorted({piece for pieces in parts.values() for piece in pieces[1:]})
    ids = {piece: id for id, piece in enumerate(vocabulary)}
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in counts.items():
            for pair in zip(parts[word], parts[word][1:], strict=False):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]), default=None)
        if best is None or pairs[best] < least:
            break
        joined = best[0] + best[1].removeprefix("##")
        if joined not in ids:
            ids[joined] = len(vocabulary)
            vocabulary.append(joined)
        for pieces in parts.values():
            i = 0
            while i + 1 < len(pieces):
                if (pieces[i], pieces[i + 1]) == best:
                    pieces[i : i + 2] = [joined]
                i += 1
    return vocabulary


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.wordpiece FILE")
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    vocabulary = learn(Counter(words(text)), 400)
    print([vocabulary[id] for id in encode(text[:60], vocabulary)])
