"""What was encoded before changes nothing: two pieces that differ in one byte are two pieces, in every table of pieces."""

import numpy as np
import pytest

from minilm.tokenizers.bpe import byte_merging, counting, patterns, pieces, words

from .helpers import merged, small

# By how many bytes the tables' keys are cut: one word, two, the long table's eight, and pieces that no table holds.
LENGTHS = [1, 2, 7, 8, 9, 14, words.KEY_BYTES, words.KEY_BYTES + 1, 17, 24, 25, 61, byte_merging.SHORT, 63, 64, 65, 70]


def variants(piece):
    """`piece`, and it with each letter in turn replaced, and one letter shorter or longer."""
    for i, letter in enumerate(piece):
        for other in "eo":
            if other != letter:
                yield piece[:i] + other + piece[i + 1 :]
    yield from (piece[:-1], piece + "s", piece + "\0")


@pytest.mark.parametrize("length", LENGTHS)
def test_a_piece_that_differs_in_one_byte_is_another(length):
    """Alternating with the first, so that each finds in its table what the other left, if it takes itself for the other."""
    rng = np.random.default_rng(length)
    tokenizer = small()
    for _ in range(3):
        piece = "".join(rng.choice(list("ethsan"), length))
        expected = merged(tokenizer, piece)
        for variant in filter(None, variants(piece)):
            assert tokenizer.encode(piece).tolist() == expected
            if variant.isalpha():
                assert tokenizer.encode(variant).tolist() == merged(tokenizer, variant), (piece, variant)
            assert tokenizer.decode(tokenizer.encode(variant)) == variant


@pytest.mark.parametrize("length", range(words.KEY_BYTES + 1))
def test_a_short_piece_s_key_has_all_its_bytes_and_its_length(length):
    """And none of what follows it."""
    content = np.full(words.KEY_BYTES + pieces.PADDING + 1, 65, np.uint8)
    key = words.key_of(content, 0, length)
    for i in range(words.KEY_BYTES + 1):
        changed = content.copy()
        changed[i] = 66
        assert (words.key_of(changed, 0, length) != key) == (i < length)
    assert length == 0 or key[1] != 0
    zeros = np.zeros(words.KEY_BYTES + pieces.PADDING, np.uint8)  # bytes that the key of a shorter piece has too
    for bytes_ in (content, zeros):
        keys = [words.key_of(bytes_, 0, other) for other in range(words.KEY_BYTES + 1)]
        assert keys.count(keys[length]) == 1


def state_after(words):
    """What `counting.hash_of_piece` has mixed of pieces of 16 bytes after eight, (N,) uint64, for these, (N, 8) uint8."""
    mixed = (np.uint64(16) ^ words.view(np.uint64)[:, 0]) * counting._SPREAD
    return mixed ^ mixed >> np.uint64(29)


def of_one_hash():
    """Two pieces of 16 letters whose hashes of 64 bits are equal.

    The second eight bytes make up for what the first differ in, where that lies within the five bits in which letters differ:
    of 60,000 beginnings some pair does.
    """
    firsts = np.random.default_rng(1).integers(97, 123, (60_000, 8), np.uint8)
    states = state_after(firsts)
    upper = states & np.uint64(0xE0E0E0E0E0E0E0E0)
    order = np.argsort(upper, kind="stable")
    for one, other in zip(order[:-1], order[1:], strict=True):
        difference = (states[one] ^ states[other]).tobytes()
        if upper[one] == upper[other]:
            seconds = [next(((a, a ^ d) for a in range(97, 123) if 97 <= a ^ d < 123), None) for d in difference]
            if all(seconds):
                return [
                    firsts[place].tobytes() + bytes(pair[side] for pair in seconds) for side, place in enumerate((one, other))
                ]
    raise AssertionError("no such pair")


def test_training_counts_pieces_of_one_hash_apart():
    one, other = of_one_hash()
    content = np.frombuffer(one + other + bytes(pieces.PADDING), np.uint8)
    assert one != other and counting.hash_of_piece(content, 0, 16) == counting.hash_of_piece(content, 16, 16)
    counter = counting.PieceCounter(pieces.make_cutter((patterns.GPT2,)))
    counter.add(".".join(piece.decode() for piece in (one, other, one)))
    counts = counter.counts
    contents = [counts.content[counts.starts[i] : counts.starts[i + 1]].tobytes() for i in range(counter.size)]
    assert dict(zip(contents, counts.counts[: counter.size].tolist(), strict=True)) == {one: 2, b".": 2, other: 1}


def test_counts_outlive_the_growth_of_their_table():
    """More pieces, and more of their bytes, than there is room for at first; in texts that come one after the other."""
    rng = np.random.default_rng(0)
    room = counting.empty()
    words = sorted({"".join(rng.choice(list("etaoins"), 12)) for _ in range(3 * room.counts.size)})
    counter = counting.PieceCounter(pieces.make_cutter((patterns.GPT2,)))
    for part in (words, words[:100], words):
        counter.add(".".join(part))
    counts = counter.counts
    found = {counts.content[counts.starts[i] : counts.starts[i + 1]].tobytes(): counts.counts[i] for i in range(counter.size)}
    assert counts.counts.size > room.counts.size and counts.content.size > room.content.size
    assert found == {**{word.encode(): 2 + (word in words[:100]) for word in words}, b".": 2 * len(words) + 100 - 3}
