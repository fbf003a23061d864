"""The loop that learns merges, see `training` for what it computes.

Everything lies in arrays: words as linked lists of symbols, for every pair its count, and lists of places. A list belongs to one
entry of the heap and holds the places where its pair came to be during one merge, from left to right. It may hold places where
the pair is gone again; the symbols tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit

DONE, MORE, FULL = range(3)
# Places in `Learner.sizes`: how much of the arrays is in use, and how much room the next merge may need.
PAIRS, PLACES, ENTRIES, TOKENS, MERGES, NEED = range(6)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
_LOW = np.uint64(0xFFFFFFFF)


class Learner(NamedTuple):
    """The state: N symbols in W words, and room for P pairs, O places, E entries of the heap."""

    symbols: np.ndarray  # (N,) int32, -1 where a merge took the place away
    following: np.ndarray  # (N,) int32, -1 at a word's end
    before: np.ndarray  # (N,) int32, -1 at a word's begin
    word: np.ndarray  # (N,) int32
    starts: np.ndarray  # (W + 1,) int64
    weights: np.ndarray  # (W,) int64: how often the word occurs
    slots: np.ndarray  # (2P,) int32: a pair's number, or -1; a power of two
    keys: np.ndarray  # (P,) uint64: left id and right id
    counts: np.ndarray  # (P,) int64
    lists: np.ndarray  # (P, 4) int32: the merge during which the newest list began, its first and last node, number of lists
    nodes: np.ndarray  # (O, 2) int32: place, next node or -1
    heap: np.ndarray  # (E, 2) int64: count, pair and first node of an entry; the largest one on top
    touched: np.ndarray  # (E,) int32: pairs that came to be during this merge
    token_slots: np.ndarray  # (.,) int32: a token's number by its bytes, or -1; a power of two
    token_starts: np.ndarray  # (V + 1,) int64
    content: np.ndarray  # (.,) uint8: the tokens' bytes
    merges: np.ndarray  # (M, 3) int32: left, right, both
    sizes: np.ndarray  # (6,) int64


@jit(part=True, counted=False)
def _pair(s, left, right):
    """The number of a pair, a new one if it was never seen."""
    key = np.uint64(left) << np.uint64(32) | np.uint64(right)
    mask = np.uint64(s.slots.size - 1)
    slot = key * _SPREAD >> np.uint64(24) & mask
    while s.slots[slot] >= 0:
        if s.keys[s.slots[slot]] == key:
            return np.intp(s.slots[slot])
        slot = slot + np.uint64(1) & mask
    pair = s.sizes[PAIRS]
    s.sizes[PAIRS] += 1
    s.slots[slot], s.keys[pair], s.counts[pair] = pair, key, 0
    s.lists[pair, 0] = -1
    s.lists[pair, 3] = 0
    return pair


@jit(counted=False)
def enter_pairs(s):
    """Fill `slots` anew."""
    mask = np.uint64(s.slots.size - 1)
    for pair in range(s.sizes[PAIRS]):
        slot = s.keys[pair] * _SPREAD >> np.uint64(24) & mask
        while s.slots[slot] >= 0:
            slot = slot + np.uint64(1) & mask
        s.slots[slot] = pair


@jit(part=True, counted=False)
def _arises(s, left, right, place, weight, now, touched):
    """A pair comes to be at a place during merge `now`."""
    pair = _pair(s, left, right)
    s.counts[pair] += weight
    node = s.sizes[PLACES]
    s.sizes[PLACES] += 1
    s.nodes[node, 0], s.nodes[node, 1] = place, -1
    if s.lists[pair, 0] != now:
        s.lists[pair, 0], s.lists[pair, 1] = now, node
        s.lists[pair, 3] += 1
        s.touched[touched] = pair
        touched += 1
    else:
        s.nodes[s.lists[pair, 2], 1] = node
    s.lists[pair, 2] = node
    return touched


@jit(part=True, counted=False)
def _above(s, count, pair, other):
    """Whether an entry belongs above heap entry `other`: by count, then by the lower ids."""
    if count != s.heap[other, 0]:
        return count > s.heap[other, 0]
    return s.keys[pair] < s.keys[s.heap[other, 1] >> 32]


@jit(part=True, counted=False)
def _push(s, pair):
    """Put the newest list of a pair on the heap."""
    count, entry = s.counts[pair], np.int64(pair) << 32 | np.int64(s.lists[pair, 1])
    place = s.sizes[ENTRIES]
    s.sizes[ENTRIES] += 1
    while place > 0 and _above(s, count, pair, (place - 1) // 4):
        s.heap[place, 0], s.heap[place, 1] = s.heap[(place - 1) // 4, 0], s.heap[(place - 1) // 4, 1]
        place = (place - 1) // 4
    s.heap[place, 0], s.heap[place, 1] = count, entry


@jit(part=True, counted=False)
def _sink(s, count, entry):
    """Put an entry in place of the top one, and then where it belongs."""
    place, size = 0, s.sizes[ENTRIES]
    while 4 * place + 1 < size:
        best = 4 * place + 1
        for child in range(best + 1, min(best + 4, size)):
            if _above(s, s.heap[child, 0], s.heap[child, 1] >> 32, best):
                best = child
        if _above(s, count, entry >> 32, best):
            break
        s.heap[place, 0], s.heap[place, 1] = s.heap[best, 0], s.heap[best, 1]
        place = best
    s.heap[place, 0], s.heap[place, 1] = count, entry


@jit(part=True, counted=False)
def _token(s, left, right):
    """The id of two tokens' bytes together: a token's that there is, or a new one."""
    begin = end = s.token_starts[s.sizes[TOKENS]]
    for token in (left, right):
        for k in range(s.token_starts[token], s.token_starts[token + 1]):
            s.content[end] = s.content[k]
            end += 1
    return enter_token(s, begin, end)


@jit(part=True, counted=False)
def enter_token(s, begin, end):
    """The number of the token content[begin:end], entered as the next one unless it is there."""
    mixed = np.uint64(end - begin)
    for k in range(begin, end):
        mixed = (mixed ^ np.uint64(s.content[k])) * _SPREAD
        mixed ^= mixed >> np.uint64(31)
    mask = np.uint64(s.token_slots.size - 1)
    slot = mixed & mask
    while s.token_slots[slot] >= 0:
        token = s.token_slots[slot]
        start = s.token_starts[token]
        if s.token_starts[token + 1] - start == end - begin:
            k = 0
            while k < end - begin and s.content[start + k] == s.content[begin + k]:
                k += 1
            if k == end - begin:
                return np.intp(token)
        slot = slot + np.uint64(1) & mask
    token = s.sizes[TOKENS]
    s.sizes[TOKENS] += 1
    s.token_slots[slot], s.token_starts[token + 1] = token, end
    return token


@jit(counted=False)
def enter_tokens(s, count):
    """Enter the first `count` tokens, whose bytes and starts are in place."""
    for token in range(count):
        enter_token(s, s.token_starts[token], s.token_starts[token + 1])


@jit(counted=False)
def start(s):
    """Count the pairs of all words, and put them on the heap."""
    touched = 0
    for place in range(s.symbols.size):
        if s.following[place] >= 0:
            weight = s.weights[s.word[place]]
            touched = _arises(s, s.symbols[place], s.symbols[place + 1], place, weight, 0, touched)
    for k in range(touched):
        _push(s, s.touched[k])


@jit(part=True, counted=False)
def _merge_at(s, place, new, now, touched):
    """Make one symbol of the two at a place, and tell the pairs around it."""
    second = s.following[place]
    left, right, weight = s.symbols[place], s.symbols[second], s.weights[s.word[place]]
    previous, third = s.before[place], s.following[second]
    if previous >= 0:
        s.counts[_pair(s, s.symbols[previous], left)] -= weight
        touched = _arises(s, s.symbols[previous], new, previous, weight, now, touched)
    s.symbols[place], s.symbols[second], s.following[place] = new, -1, third
    if third >= 0:
        s.before[third] = place
        s.counts[_pair(s, right, s.symbols[third])] -= weight
        touched = _arises(s, new, s.symbols[third], place, weight, now, touched)
    return touched


@jit(part=True, counted=False)
def _is_at(s, place, left, right):
    second = s.following[place]
    return s.symbols[place] == left and second >= 0 and s.symbols[second] == right


@jit(counted=False)
def learn(s, vocab_size, min_frequency, most):
    """Merge until there are `vocab_size` tokens or nothing occurs often enough (DONE), `most` merges (MORE), or no room (FULL).

    With the last, sizes[NEED] says how many places and pairs the next merge may need; nothing is lost, and `learn` goes on.
    """
    while True:
        if s.sizes[TOKENS] >= vocab_size or s.sizes[ENTRIES] == 0:
            return DONE
        if s.sizes[MERGES] >= most:
            return MORE
        count, entry = s.heap[0, 0], s.heap[0, 1]
        pair, first = entry >> 32, entry & 0xFFFFFFFF
        if count != s.counts[pair]:
            _sink(s, s.counts[pair], entry)
            continue
        if count < 1 or count < min_frequency:
            return DONE
        # With several lists the places of one do not tell all: the whole of its words is gone through.
        whole = s.lists[pair, 3] > 1
        need, node = 2, first
        while node >= 0:
            word = s.word[s.nodes[node, 0]]
            need += 2 * (s.starts[word + 1] - s.starts[word]) if whole else 2
            node = s.nodes[node, 1]
        left, right = np.intp(s.keys[pair] >> np.uint64(32)), np.intp(s.keys[pair] & _LOW)
        size = s.token_starts[left + 1] - s.token_starts[left] + s.token_starts[right + 1] - s.token_starts[right]
        full = s.sizes[PAIRS] + need > s.counts.size or s.sizes[PLACES] + need > s.nodes.shape[0]
        full = full or s.sizes[ENTRIES] + need > s.touched.size or s.sizes[MERGES] == s.merges.shape[0]
        if full or s.token_starts[s.sizes[TOKENS]] + size > s.content.size:
            s.sizes[NEED] = need + size
            return FULL
        s.sizes[ENTRIES] -= 1
        last = s.sizes[ENTRIES]
        if last:
            _sink(s, s.heap[last, 0], s.heap[last, 1])
        new = _token(s, left, right)
        now = s.sizes[MERGES]
        s.merges[now, 0], s.merges[now, 1], s.merges[now, 2] = left, right, new
        now += 1
        s.sizes[MERGES] = now
        touched, node = 0, first
        while node >= 0:
            place = s.nodes[node, 0]
            node = s.nodes[node, 1]
            if whole:
                place = np.int32(s.starts[s.word[place]])
                while place >= 0:
                    if _is_at(s, place, left, right):
                        touched = _merge_at(s, place, new, now, touched)
                    place = s.following[place]
            elif _is_at(s, place, left, right):
                touched = _merge_at(s, place, new, now, touched)
        for k in range(touched):
            if s.counts[s.touched[k]] > 0:
                _push(s, s.touched[k])
