"""The state of `merge_loop`: how it is made of words, how it grows, and what has been learnt. WordPiece learns by it too."""

from __future__ import annotations

import numpy as np

from minilm.tokenizers.bpe.merge_loop import (
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

STEP = 500  # merges between two looks at the progress bar


def learner(symbols, starts, weights, tokens: list[bytes], vocab_size: int) -> Learner:
    """The state before the first merge.

    Parameters
    ----------
    symbols : ndarray, shape (N,), int32
        The words, one after the other, as ids of `tokens`.
    starts : ndarray, shape (W + 1,), int64
        Where each begins; none is empty.
    weights : ndarray, shape (W,), int64
        How often each occurs.
    tokens : list of bytes
        What the ids there are stand for. Two that are joined stand for their bytes together.
    vocab_size : int
        At least as many as there are.
    """
    if symbols.size > 2**31 // 4:
        raise ValueError(
            f"distinct words of {symbols.size:,} bytes in all are too many to learn from; a part of the text will do"
        )
    word = np.repeat(np.arange(len(weights), dtype=np.int32), np.diff(starts))  # (N,)
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
        weights=weights,
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
    start(state)
    return state


def learned(state: Learner, vocab_size: int, min_frequency: int, shown=None) -> Learner:
    """The state after all merges; `shown` is a progress bar of tokens."""
    while True:
        status = learn(state, vocab_size, min_frequency, int(state.sizes[MERGES]) + STEP)
        if shown is not None:
            shown.update(int(state.sizes[TOKENS]) - shown.n)
        if status == DONE:
            return state
        if status == FULL:
            state = larger(state)


def new_tokens(state: Learner, first: int) -> list[bytes]:
    """What the ids from `first` on stand for."""
    ends = state.token_starts[first : int(state.sizes[TOKENS]) + 1].tolist()
    return [state.content[begin:end].tobytes() for begin, end in zip(ends[:-1], ends[1:], strict=True)]


def pairs(state: Learner) -> list[tuple[int, int]]:
    """The merges, in order, as ids."""
    return [(left, right) for left, right, _ in state.merges[: state.sizes[MERGES]].tolist()]


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
