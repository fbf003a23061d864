"""What encoding looks up: ranks in a perfect hash, merges in registers, characters by code point, begins of pieces by bits."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe import (
    ascii_starts,
    byte_merging,
    byte_trie,
    characters,
    encoding,
    halves,
    merging,
    pair_ranks,
    patterns,
    pieces,
    state,
    words,
)

from .helpers import merged, small

PATTERNS = {
    patterns.GPT2: ascii_starts.BY_CLASS,
    patterns.QWEN2: ascii_starts.SINGLE_DIGITS,
    patterns.CL100K: ascii_starts.THREE_DIGITS,
    patterns.O200K: ascii_starts.CASED,
}
LETTERS = ("ab1 \n'!s", "aB1 \t\n\r!'.sSlLrReEvVdDmMtT", "  \n\n\ta!", "'sé a1\n ", "123 a", "".join(map(chr, range(1, 128))))
LATIN = ("aéß' ", "aB ‘’“s1\n", "‘é’ “ả”.\n a", "ſ×÷ÿėķ'sA a", "'ſa sß’ –1", "".join(map(chr, (*range(0xC0, 0x300), 32, 39))))
CASES = ("éÉaA's ", "ÀßǅÿŸłŁ'S.", "ơƠưƯảẢạ ", "".join(map(chr, (*range(0x1E00, 0x1F00), 32, 39, 65, 97))))
CAMEL = ("aB's ", "aBé/.\n", "don'tS'sLl ", "./\n\r a", "AbC1/\n'’")


@jit(counted=False)
def _ranks(merges, left, right, out):
    for k in range(left.size):
        out[k] = pair_ranks.rank_of(merges, left[k], right[k])


@jit(counted=False)
def _merge(text, length, table, scratch, out):
    return byte_merging.merge_bytes(text, 0, length, table, scratch, out, 0)


@jit(counted=False)
def _merge_characters(text, length, table, by_code, scratch, out):
    return characters.merge_characters(text, 0, length, table, by_code, scratch, out, 0)


@jit(counted=False)
def _encode_piece(text, length, tables, state, out):
    first, second = words.key_of(text, 0, length)
    return encoding._piece(text, 0, length, first, second, words.hash_of(first, second), tables, state, out, 0)


@jit(counted=False)
def _kinds(text, size, trie, out):
    i = count = 0
    while i < size:
        content, width = byte_trie.character_at(text, i)
        out[count] = byte_trie.kind_of(trie, content)
        i, count = i + width, count + 1
    return count


def cut(cutter, text):
    """Where whole pieces of a short text end."""
    content, stop = pieces.padded(text)
    ends = np.empty(pieces.ROOM, np.int64)
    return ends[: pieces.piece_ends(content, 0, stop, cutter, 0, ends)].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3000), st.integers(2, 2**21 - 1), st.integers(0, 2**32))
def test_every_pair_has_its_rank_and_no_other_pair_has_one(count, ids, seed):
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, ids, (count + 500, 2), dtype=np.int32), axis=0)
    pairs = pairs[rng.permutation(len(pairs))]
    known = pairs[: max(len(pairs) - 500, 0)]
    merges = pair_ranks.make_merges(*known.T, np.zeros(len(known), np.int32))
    ranks = np.empty(len(pairs), np.int64)
    _ranks(merges, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), ranks)
    assert ranks[: len(known)].tolist() == list(range(len(known)))
    assert (ranks[len(known) :] == pair_ranks.NO_RANK).all()


def test_a_trie_has_of_every_character_what_is_known_of_its_code_point():
    """Also where several characters have one page."""
    rng = np.random.default_rng(0)
    pages = rng.integers(0, 2**32, (300, 64), dtype=np.uint32)
    kinds = pages[rng.integers(0, 300, byte_trie.CODES // 64)].reshape(-1)
    codes = np.r_[0:0xD800, 0xE000 : byte_trie.CODES]
    text, size = pieces.padded("".join(map(chr, codes)))
    out = np.empty(len(codes), np.uint32)
    assert _kinds(text, size, byte_trie.make_trie(kinds), out) == len(codes)
    np.testing.assert_array_equal(out, kinds[codes])


def test_every_way_to_make_a_token_of_two_others():
    rng = np.random.default_rng(0)
    tokens = sorted({bytes(rng.choice(list(b"abc"), rng.integers(1, 7))) for _ in range(400)}, key=lambda token: rng.random())
    places = {token: place for place, token in enumerate(tokens)}
    ways = [
        (places[token[:cut]], places[token[cut:]], place)
        for place, token in enumerate(tokens)
        for cut in range(1, len(token))
        if token[:cut] in places and token[cut:] in places
    ]
    ways.sort(key=lambda way: (way[2], way[0]))
    assert len(ways) > 300 and halves.halves(tokens).tolist() == [list(way) for way in ways]


@pytest.mark.parametrize("length", [*range(1, 20), 31, 32, 33, 34, 35, 47, 60, 61, 62])
def test_merges_in_registers_are_the_definition(length):
    """At every size of vectors; what stands behind the piece does not count."""
    tokenizer, rng = small(), np.random.default_rng(length)
    table, out = tokenizer._encoder.tables.bytes, np.empty(64, np.int32)
    for letters in ("a", "the ", "esano"):
        piece = "".join(rng.choice(list(letters), length))
        text = np.frombuffer((piece + "thethe").encode() + bytes(64), np.uint8)
        count = _merge(text, length, table, merging.make_scratch(), out)
        assert out[:count].tolist() == merged(tokenizer, piece)


def shuffled_merges(rng, count):
    """Tokens and merges (M, 3) of 256 bytes, over a few characters of several bytes, in an order that no training gives."""
    letters = "中丮书あいабa é😀"
    tokens, merges, pairs = [bytes([byte]) for byte in range(256)], [], set()
    while len(merges) < count:
        text = "".join(rng.choices(letters, k=3)).encode()
        begin = rng.randrange(len(text) - 1)
        parts = [token for token in range(len(tokens)) if text[begin:].startswith(tokens[token])]
        left = rng.choice(parts)
        behind = text[begin + len(tokens[left]) :]
        parts = [token for token in range(len(tokens)) if behind.startswith(tokens[token])]
        pair = (left, rng.choice(parts)) if parts else None
        if pair and pair not in pairs and len(both := tokens[pair[0]] + tokens[pair[1]]) < 13:
            pairs.add(pair)
            merges.append((*pair, len(tokens)))
            tokens.append(both)
    order = rng.sample(range(count), count)  # the merges' ranks
    return tokens, np.array([merges[k] for k in order], np.int32), letters


def test_settled_characters_merge_as_their_bytes_do():
    """Whether a character is settled or not, and whatever stands beside it."""
    rng, kinds = random.Random(0), set()
    for count in (12, 40, 90) * 8:
        tokens, merges, letters = shuffled_merges(rng, count)
        table = byte_merging.make_byte_merges(np.arange(256, dtype=np.int32), merges)
        by_code = characters.make_characters(table, words.make_words(table, tokens, False)[0], merges, tokens)
        kinds |= {(letter, by_code[ord(letter), 3] >= characters.SETTLED) for letter in letters[:7]}
        for _ in range(100):
            content = "".join(rng.choices(letters, k=rng.choice((1, 2, 3, 9)))).encode()
            text, out = np.frombuffer(content + bytes(pieces.PADDING), np.uint8), np.empty((2, 64), np.int32)
            n = _merge_characters(text, len(content), table, by_code, merging.make_scratch(), out[0])
            m = _merge(text, len(content), table, merging.make_scratch(), out[1])
            assert out[0, :n].tolist() == out[1, :m].tolist(), content
    assert len(kinds) == 14  # each of the seven was settled in some vocabulary and not in another


def test_characters_have_the_ids_that_merges_give_them():
    tokenizer = small()
    for code in [*range(128), *range(0x80, 0x10000, 997), 0x7FF, 0x800, 0xFFFF]:
        if not 0xD800 <= code < 0xE000:
            assert tokenizer.encode(chr(code)).tolist() == merged(tokenizer, chr(code)), hex(code)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_blocks_of_ascii_are_cut_as_the_automaton_cuts(pattern):
    fast = pieces.make_cutter((pattern,))
    assert fast.ascii == PATTERNS[pattern]
    slow = fast._replace(ascii=ascii_starts.NONE)
    rng = random.Random(0)
    for _ in range(4000):
        letters = rng.choice(LETTERS + LATIN + CASES + CAMEL)
        text = "".join(rng.choices(letters, k=rng.choice((17, 18, 31, 50, 63, 64, 65, 66, 90, 130, 200))))
        assert cut(fast, text) == cut(slow, text), ascii(text)


class Pieces:
    """A thread's small table of short pieces, into which pieces are brought one by one."""

    def __init__(self):
        self.tables = small()._encoder.tables
        self.state = state.make_state(self.tables, few=True).values

    def home(self, piece):
        """The row that a piece's hash names."""
        first, second = words.key_of(pieces.padded(piece)[0], 0, len(piece))
        return int(words.hash_of(np.uint64(first), np.uint64(second)) >> self.state.shift)

    def bring(self, *brought):
        for piece in brought:
            _encode_piece(*pieces.padded(piece), self.tables, self.state, np.empty(64, np.int32))

    def in_row(self, row):
        """The piece that a row holds."""
        return self.state.rows[row, :2].tobytes()[: int(self.state.rows[row, 1] >> np.uint64(56)) & 15].decode()


def test_frequent_pieces_are_at_home_in_the_table_of_pieces():
    """One that is found beside its row changes places; one that comes to its row drives out what is not at home there."""
    table = Pieces()
    drawn = ["".join(random.Random(seed).choices("etaoin", k=9)) for seed in range(20_000)]
    one, other, third = [each for each in drawn if table.home(each) == table.home(drawn[0])][:3]
    row = table.home(one)
    neighbour = next(each for each in drawn if table.home(each) == row ^ 1)
    table.bring(one, other)
    assert [table.in_row(row), table.in_row(row ^ 1)] == [other, one]
    table.bring(one)
    assert [table.in_row(row), table.in_row(row ^ 1)] == [one, other]
    table.bring(neighbour)
    assert [table.in_row(row), table.in_row(row ^ 1)] == [one, neighbour]
    table.bring(third)
    assert [table.in_row(row), table.in_row(row ^ 1)] == [third, one]
