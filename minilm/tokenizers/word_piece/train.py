"""Where a WordPiece vocabulary comes from: byte-pair merges of a text's words, the pieces inside a word marked by a prefix.

BERT's authors have not published how theirs was made. What is here is what Hugging Face's `WordPieceTrainer` does: it begins with
single characters and repeatedly joins the most frequent pair of neighbours::

    "low" x 5, "lot" x 2:   l ##o ##w, l ##o ##t   ->   lo ##w, lo ##t   ->   low, lo ##t

with count(a, b) = sum over words of (frequency of the word) x (occurrences of the pair in it), as R. Sennrich et al. (ACL 2016).

**Ties** go to the pair with the smaller ids (first by the left one, then by the right one), as there. Ids are given to the
special tokens, to the characters in the order of their code points, to the characters inside words ("##e"), then to the joined
pieces as they come. Hugging Face gives the third group its ids in the order of a hash map, which differs from run to run, and
with it ties: two runs of its trainer on one text give two vocabularies. Ours follow code points. Given the same order of the
third group (`continuing`), both give the same vocabulary, token for token; that is how the tests compare them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from ..files import regroup

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train(
    cls,
    texts: Iterable[Iterable[str] | str],
    source: str,
    *,
    vocab_size: int = 30_000,
    min_count: int = 2,
    limit_alphabet: int | None = 1000,
    special_tokens: Iterable[str] = SPECIAL_TOKENS,
    continuing: Iterable[str] = (),
    **settings,
):
    """Build the tokenizer of some texts.

    Parameters
    ----------
    cls : type
        `WordPiece`.
    texts : iterable of texts, each a str or an iterable of its pieces
    source : str
        What to call them in an error.
    vocab_size : int
        At most this many ids, unless the special tokens and the single characters are more.
    min_count : int
        Pairs that occur less often are not joined.
    limit_alphabet : int or None
        Keep this many characters, the most frequent ones (of equals the lower code points). The others are left out of words.
    special_tokens : iterable of str
        They get the first ids. BERT's five are needed only where they are not given as None.
    continuing : iterable of str
        Characters whose ids inside words come first, in this order.
    **settings
        Of the tokenizer: `lower`, `strip_accents`, `prefix`, `unk_token` and so on.
    """
    if vocab_size < 1:
        raise ValueError(f"vocab_size must be at least 1, got {vocab_size!r}")
    if min_count < 0:
        raise ValueError(f"min_count must be at least 0, got {min_count!r}")
    special = list(dict.fromkeys(special_tokens))
    probe = cls(special, **settings)  # cuts words by the same rules; and a wrong setting shows before the work
    counts = Counter()
    for text in texts:
        held = ""
        for piece in regroup(text):
            cut = probe._safe_cut(piece)
            counts.update(probe.basic_tokens(held + piece[:cut]) if cut else ())
            held = piece[cut:] if cut else held + piece
        counts.update(probe.basic_tokens(held))
    if not counts:
        raise ValueError(f"{source}: no words to train a tokenizer on (empty text)")
    tokens = learn(counts, vocab_size, min_count, limit_alphabet, special, probe.prefix, continuing)
    return cls(tokens, **settings, special_tokens=special)


def learn(counts, vocab_size, min_count, limit_alphabet, special, prefix, continuing=()) -> list[str]:
    """The vocabulary of words and their counts; the arguments are those of `train`."""
    from ..bpe.merge_state import learned, learner, new_tokens  # not above: GPT-1's BPE cuts words by this package

    characters = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    kept = sorted(characters, key=lambda each: (-characters[each], each))[:limit_alphabet]
    tokens = list(dict.fromkeys([*special, *sorted(kept)]))
    kept = {character for character in characters if character in set(tokens)}
    inside = {character for word in counts for character in word[1:]} & kept
    tokens = list(dict.fromkeys([*tokens, *(prefix + each for each in continuing if each in inside)]))
    tokens = list(dict.fromkeys([*tokens, *(prefix + each for each in sorted(inside))]))
    ids = {token: id for id, token in enumerate(tokens)}
    first = {character: ids[character] for character in kept}
    inner = {character: ids[prefix + character] for character in inside}

    symbols, lengths, weights = [], [], []
    for word in sorted(counts):  # the order is of no account for the result, and this one makes it the same memory for memory
        cut = [(first if place == 0 else inner)[each] for place, each in enumerate(word) if each in kept]
        if cut:
            symbols += cut
            lengths.append(len(cut))
            weights.append(counts[word])

    # Joining pieces is joining their bytes, if those at a word's begin are marked instead of those inside: 0xff is in no UTF-8.
    def content(token: str) -> bytes:
        inside = token.startswith(prefix)
        return token.removeprefix(prefix).encode() if inside else b"\xff" + token.encode()

    def spelled(content: bytes) -> str:
        return content[1:].decode() if content[:1] == b"\xff" else prefix + content.decode()

    state = learner(
        np.array(symbols, np.int32),
        np.cumsum([0, *lengths]),
        np.array(weights, np.int64),
        [content(token) for token in tokens],
        max(vocab_size, len(tokens)),
    )
    state = learned(state, vocab_size, min_count)
    return tokens + [spelled(each) for each in new_tokens(state, len(tokens))]
