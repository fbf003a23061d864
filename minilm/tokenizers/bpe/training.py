"""Learning merges: the pair of neighbours that occurs most often becomes a token, again and again.

With words w (pieces of the text, as sequences of symbols) that occur c_w times ::

    n(a, b) = sum over w of c_w * (how often a, b stand side by side in w)
    repeat:  (a, b) = the pair with the largest n, of those the one with the lowest ids;  every a b becomes ab

A merge changes the counts of the pairs around its places only, so those are updated and nothing is counted again: a pair keeps
the list of places where it came to be, and a heap keeps the pairs by count, looked at again when they come up (counts of pairs
that wait only fall). N symbols of distinct words cost O(N log N) steps in all, if no word is extremely long and repetitive.

The merges are those of Hugging Face's BpeTrainer, whose rules beyond the formula are: special tokens have the first ids, then the
256 bytes in the order of their characters; a merge whose result is a token already gives that token and no new id, and what then
comes to be once more keeps the count it once had and can be merged again, in words where it came to be and everywhere in them.
Texts must be given whole: `tokenizers` reads files line by line, which cuts runs of line ends.

References
----------
R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016, section 3.2.
"""

from __future__ import annotations

import numpy as np

from minilm import bars
from minilm.tokenizers.bpe import alphabet, cuts
from minilm.tokenizers.bpe.counting import PieceCounter
from minilm.tokenizers.bpe.merge_state import learned, learner, new_tokens, pairs
from minilm.tokenizers.bpe.pieces import make_cutter
from minilm.tokenizers.character import place


def train(
    texts,
    source: str,
    vocab_size: int,
    min_frequency: int,
    special_tokens: tuple[str, ...],
    progress: bool | None,
    expressions: tuple[str, ...],
):
    """Learn merges.

    Parameters
    ----------
    texts : iterable of texts, each a str or an iterable of its chunks
    source : str
        What to call them in an error.
    vocab_size, min_frequency, special_tokens, progress
        As of `ByteLevelBPE.train_from_chunks`, checked.
    expressions : tuple of str
        The pattern, see `patterns.of`.

    Returns
    -------
    vocabulary : list of str
        In the order of their ids.
    merges : list of (str, str)
    """
    byte_tokens = sorted(alphabet.characters())
    vocabulary = [*special_tokens, *byte_tokens]
    byte_ids = np.array([vocabulary.index(character) for character in alphabet.characters()], np.int32)  # (256,)
    counter = count(texts, source, expressions)
    if not counter.size:
        raise ValueError(f"{source}: nothing to train a tokenizer on (empty text)")
    # A special token that is not written in the alphabet of bytes is one that no merge gives: 0xff is in no UTF-8.
    contents = [content or b"\xff" * (id + 2) for id, content in enumerate(alphabet.all_unspelled(vocabulary))]
    words, size = counter.counts, counter.size
    starts = words.starts[: size + 1]  # (W + 1,)
    symbols = byte_ids[words.content[: starts[-1]]]  # (N,)
    state = learner(symbols, starts, words.counts[:size], contents, vocab_size)
    hidden = not (bars.can_draw() if progress is None else progress)
    shown = bars.bar(total=vocab_size, initial=len(vocabulary), unit=" tokens", disable=hidden)
    with shown:
        state = learned(state, vocab_size, min_frequency, shown)
    vocabulary += map(alphabet.spelled, new_tokens(state, len(vocabulary)))
    merges = [(vocabulary[left], vocabulary[right]) for left, right in pairs(state)]
    # A pair that was merged again has its later rank.
    return vocabulary, list(dict.fromkeys(reversed(merges)))[::-1]


def count(texts, source: str, expressions: tuple[str, ...]) -> PieceCounter:
    """Count the pieces of texts."""
    counter = PieceCounter(make_cutter(expressions))
    for chunks in texts:
        for begin, text in cuts.stretches(chunks, expressions):
            try:
                counter.add(text)
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{place(source, begin + error.start)}: lone surrogate U+{ord(text[error.start]):04X}, which is half of a "
                    'character; read the file as UTF-8 with errors="replace"'
                ) from None
    return counter
