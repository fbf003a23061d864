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

from minilm.tokenizers.bpe import alphabet, cuts
from minilm.tokenizers.bpe.counting import PieceCounter
from minilm.tokenizers.bpe.learning import (
    DONE,
    ENTRIES,
    FULL,
    MERGES,
    NEED,
    PAIRS,
    PLACES,
    TOKENS,
    Learner,
    enter_pairs,
    enter_tokens,
    learn,
    start,
)
from minilm.tokenizers.bpe.unicode16 import classes
from minilm.tokenizers.character import place

STEP = 500  # merges between two looks at the progress bar


def train(texts, source: str, vocab_size: int, min_frequency: int, special_tokens: tuple[str, ...], progress: bool | None):
    """Learn merges.

    Parameters
    ----------
    texts : iterable of texts, each a str or an iterable of its chunks
    source : str
        What to call them in an error.
    vocab_size, min_frequency, special_tokens, progress
        As of `ByteLevelBPE.train_from_chunks`, checked.

    Returns
    -------
    vocabulary : list of str
        In the order of their ids.
    merges : list of (str, str)
    """
    byte_tokens = sorted(alphabet.characters())
    vocabulary = [*special_tokens, *byte_tokens]
    byte_ids = np.array([vocabulary.index(character) for character in alphabet.characters()], np.int32)  # (256,)
    counter = count(texts, source)
    if not counter.size:
        raise ValueError(f"{source}: nothing to train a tokenizer on (empty text)")
    # A special token that is not written in the alphabet of bytes is one that no merge gives: 0xff is in no UTF-8.
    contents = [alphabet.unspelled(token) or b"\xff" * (id + 2) for id, token in enumerate(vocabulary)]
    state = learner(counter, byte_ids, contents, vocab_size)
    start(state)
    from tqdm import tqdm

    shown = tqdm(total=vocab_size, initial=len(vocabulary), unit=" tokens", disable=None if progress is None else not progress)
    with shown:
        while (status := learn(state, vocab_size, min_frequency, int(state.sizes[MERGES]) + STEP)) != DONE:
            if status == FULL:
                state = larger(state)
            shown.update(int(state.sizes[TOKENS]) - shown.n)
    for id in range(len(vocabulary), int(state.sizes[TOKENS])):
        vocabulary.append(alphabet.spelled(state.content[state.token_starts[id] : state.token_starts[id + 1]].tobytes()))
    pairs = [(vocabulary[left], vocabulary[right]) for left, right, _ in state.merges[: state.sizes[MERGES]].tolist()]
    # A pair that was merged again has its later rank.
    return vocabulary, list(dict.fromkeys(reversed(pairs)))[::-1]


def count(texts, source: str) -> PieceCounter:
    """Count the pieces of texts."""
    counter = PieceCounter()
    for chunks in texts:
        for begin, text in cuts.stretches(chunks):
            try:
                counter.add(text, classes())
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{place(source, begin + error.start)}: lone surrogate U+{ord(text[error.start]):04X}, which is half of a "
                    'character; read the file as UTF-8 with errors="replace"'
                ) from None
    return counter


def learner(counter: PieceCounter, byte_ids: np.ndarray, tokens: list[bytes], vocab_size: int) -> Learner:
    """The state before the first merge: the counted pieces of two bytes and more, and the tokens there are."""
    found, size = counter.counts, counter.size
    starts = found.starts[: size + 1]  # (W + 1,)
    symbols = byte_ids[found.content[: starts[-1]]]  # (N,)
    if symbols.size > 2**31 // 4:
        raise ValueError(
            f"distinct words of {symbols.size:,} bytes in all are too many to learn from; a part of the text will do"
        )
    word = np.repeat(np.arange(size, dtype=np.int32), np.diff(starts))  # (N,)
    following = np.arange(1, symbols.size + 1, dtype=np.int32)  # (N,)
    before = following - 2  # (N,)
    following[starts[1:] - 1] = before[starts[:-1]] = -1
    places = int(np.count_nonzero(following >= 0)) + 1
    room = 1 << min(max(places, 1 << 12), 1 << 18).bit_length()
    token_starts = np.zeros(vocab_size + 2, np.int64)  # (V + 2,)
    token_starts[1 : len(tokens) + 1] = np.cumsum([len(token) for token in tokens])
    content = np.zeros(int(token_starts[len(tokens)]) + 16 * vocab_size, np.uint8)
    content[: token_starts[len(tokens)]] = np.frombuffer(b"".join(tokens), np.uint8)
    state = Learner(
        symbols=symbols,
        following=following,
        before=before,
        word=word,
        starts=starts,
        weights=found.counts[:size],
        slots=np.full(2 * room, -1, np.int32),
        keys=np.empty(room, np.uint64),
        counts=np.empty(room, np.int64),
        lists=np.empty((room, 4), np.int32),
        nodes=np.empty((2 * places, 2), np.int32),
        heap=np.empty((room, 2), np.int64),
        touched=np.empty(room, np.int32),
        token_slots=np.full(1 << (2 * vocab_size + 2).bit_length(), -1, np.int32),
        token_starts=token_starts,
        content=content,
        merges=np.empty((vocab_size, 3), np.int32),
        sizes=np.zeros(6, np.int64),
    )
    enter_tokens(state, len(tokens))
    return state


def larger(state: Learner) -> Learner:
    """The same state with more room."""
    need = int(state.sizes[NEED])

    def grown(array, least):
        longer = np.empty((max(2 * len(array), least), *array.shape[1:]), array.dtype)
        longer[: len(array)] = array
        return longer

    used = {"nodes": PLACES, "heap": ENTRIES, "touched": ENTRIES, "merges": MERGES}
    least = {name: int(state.sizes[size]) + need for name, size in used.items()}
    least["content"] = int(state.token_starts[state.sizes[TOKENS]]) + need
    arrays = {name: grown(getattr(state, name), size) for name, size in least.items() if size > len(getattr(state, name))}
    room = 1 << (int(state.sizes[PAIRS]) + need).bit_length()
    if room <= len(state.counts):
        return state._replace(**arrays)
    arrays |= {name: grown(getattr(state, name), room)[:room] for name in ("keys", "counts", "lists")}
    state = state._replace(**arrays, slots=np.full(2 * room, -1, np.int32))
    enter_pairs(state)
    return state
