"""The byte-level BPE without peers: an oracle of a few lines, the promises of all tokenizers, special tokens, errors."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import merging, patterns, pieces, unicode16

from .helpers import ANY, MIXED, NO_SPACES, SPACES, TEXT, cut, gpt2, learnt, merged, pieces_of, small

PLACES = st.lists(st.integers(0, 300), max_size=6)


def split(text):
    content, stop = pieces.padded(text)
    ends = np.empty(stop + pieces.ROOM, np.int64)
    count = pieces.piece_ends(content, 0, stop, pieces.make_cutter((patterns.GPT2,)), 0, ends)
    edges = [0, *ends[:count].tolist()]
    return [content[start:end].tobytes().decode() for start, end in zip(edges, edges[1:], strict=False)]


@settings(max_examples=300)
@given(MIXED)
def test_pieces_and_merges_are_the_definition(text):
    assert split(text) == pieces_of(text)
    expected = [id for piece in pieces_of(text) for id in merged(small(), piece)]
    assert small().encode(text, allowed_special=()).tolist() == expected


@settings(max_examples=100)
@given(st.text("ab '\n\ts,1", min_size=60, max_size=400), st.text("é漢 ", max_size=3), st.integers(0, 400))
def test_blocks_of_64_bytes_cut_as_one_by_one(text, other, at):
    """Long texts of ASCII take the way of bit masks; a character beyond it in the middle ends that way."""
    text = text[: at % len(text)] + other + text[at % len(text) :]
    assert split(text) == pieces_of(text)


@pytest.mark.parametrize("white", ["\xa0", "\u2003", "\u3000", "\x85"])
def test_white_space_beyond_ascii_goes_on_with_that_before_it(white):
    """At the end of the ASCII bytes of a block: whether a blank is the last of its run, the character after it decides."""
    for before in ("", " ", "  ", "\n", " \t", " \n "):
        for after in ("", " ", "b"):
            text = "word " * 4 + "a" + before + white + after + "z" * 80
            assert split(text) == pieces_of(text), ascii(text)


@pytest.mark.parametrize("before", range(56, 66))
def test_contractions_across_the_end_of_a_block(before):
    for suffix in ("'s", "'ll", "'re", "'lx", "'", "''s", " 's", "'é"):
        for first in ("a", " ", "1", "."):
            text = first * before + suffix + "xyz and more than enough of it to fill another sixty-four bytes."
            assert split(text) == pieces_of(text)


def test_white_space_is_unicodes():
    assert all(ord(c) in unicode16.SPACES for c in SPACES)
    assert not any(ord(c) in unicode16.SPACES for c in NO_SPACES)
    assert len(set(unicode16.SPACES)) == 25


def test_categories_are_those_of_unicodedata():
    """Of every character that this Python's Unicode knows and 16.0 too."""
    import unicodedata

    if tuple(map(int, unicodedata.unidata_version.split("."))) > (16, 0, 0):
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}, which assigns more characters")
    names = np.array(unicode16.CATEGORIES)[unicode16.categories()]  # (0x110000,)
    wrong = [hex(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", names[c])]
    assert set(wrong) <= {"0x1171e"}  # a vowel sign of Ahom, which was Mn before Unicode 16


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 127, 128, 129, 130, 300, 5000])
def test_long_pieces_by_the_heap_and_short_ones_by_scanning_agree(n):
    tokenizer = small()
    rng = np.random.default_rng(n)
    for letters in ("a", "the", "esano", "東京😀é"):
        text = "".join(rng.choice(list(letters), n))
        expected = [id for piece in pieces_of(text) for id in merged(tokenizer, piece)] if n <= 300 else None
        for _ in range(2):  # the second time from the table of pieces
            ids = tokenizer.encode(text)
            assert expected is None or ids.tolist() == expected
            assert tokenizer.decode(ids) == text
        if n > 128:
            table = tokenizer._encoder.tables.bytes.merges
            symbols = np.array([tokenizer._encoder.byte_ids[byte] for byte in text.encode()], np.int64)
            work = np.empty(merging.work_size(symbols.size), np.int64)
            work[: symbols.size] = symbols
            count = merging.merge_long(work, symbols.size, table)
            assert len(split(text)) > 1 or work[:count].tolist() == ids.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_long_pieces_where_most_pairs_merge(seed):
    """Places whose pair has changed since it was put on the heap, to one of another rank."""
    rng = np.random.default_rng(seed)
    tokenizer = ByteLevelBPE(*learnt(" ".join("".join(rng.choice(list("abc"), 12)) for _ in range(150)), 420, 1))
    text = "".join(rng.choice(list("abc"), 400))
    assert tokenizer.encode(text).tolist() == merged(tokenizer, text)


def test_long_pieces_that_begin_alike_in_one_row():
    """Of 60,000 pairs of pieces, one the beginning of the other, some share a row of the table."""
    rng = np.random.default_rng(0)
    letters = rng.integers(ord("a"), ord("z") + 1, (60_000, 24), dtype=np.uint8)
    words = [row.tobytes().decode() for row in letters]
    text = ".".join(f"{word}.{word[:16]}" for word in words)
    assert small().decode(small().encode(text)) == text


@settings(max_examples=300)
@given(MIXED, PLACES)
def test_the_promises(text, places):
    tokenizer = small()
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert tokenizer.decode(ids) == text
    chunks = [np.empty(0, np.int32), *tokenizer.encode_chunks(cut(text, places))]
    np.testing.assert_array_equal(np.concatenate(chunks), ids)
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)
    stream = tokenizer.decode_stream()
    pieces_seen = [stream.feed(id) for id in ids]
    assert "".join(pieces_seen) + stream.flush() == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces_seen)  # never half a character


@settings(max_examples=200)
@given(st.lists(st.integers(0, 399), max_size=40), PLACES)
def test_any_ids_decode_in_any_pieces(ids, places):
    """Also those that are no text: every invalid part becomes U+FFFD."""
    tokenizer = small()
    ids = [id % tokenizer.vocab_size for id in ids]
    content = tokenizer.decode_bytes(ids)
    assert tokenizer.decode(ids) == content.decode("utf-8", "replace")
    stream = tokenizer.decode_stream()
    parts = [stream.feed(part) for part in cut(ids, places)]
    assert "".join(parts) + stream.flush() == tokenizer.decode(ids)
    assert stream.flush() == ""


def test_chunks_are_cut_where_no_piece_crosses():
    special = ["<|endoftext|>", "<a b>", " x"]
    tokenizer = ByteLevelBPE(small().vocabulary + ("<a b>", " x"), small().merges, special_tokens=special)
    text = ("word <a b> x<|endoftext|>'s" * 60_000)[: 3 << 19]
    parts = list(tokenizer.encode_chunks(text))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), tokenizer.encode(text))
    for stop in range(1, 60):  # every place of a cut, whatever stands there
        both = [*tokenizer.encode_chunks([text[:stop], text[stop:300]])]
        np.testing.assert_array_equal(np.concatenate(both), tokenizer.encode(text[:300]))
        place = tokenizer._safe_cut(text[:stop])
        whole = [*tokenizer.encode(text[:place]), *tokenizer.encode(text[place:300])]
        assert whole == tokenizer.encode(text[:300]).tolist()


def test_special_tokens_are_the_callers_choice():
    special = ["<s>>", "<|endoftext|>", "<s>"]
    tokenizer = ByteLevelBPE(small().vocabulary + ("<s>", "<s>>"), small().merges, special_tokens=special)
    end, s, longer = (tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<s>", "<s>>"))
    assert tokenizer.special_tokens == ("<|endoftext|>", "<s>", "<s>>") and tokenizer.eos_token_id == end
    text = "a<s>><|endoftext|><s><"
    a, less = tokenizer.token_to_id("a"), tokenizer.token_to_id("<")
    assert tokenizer.encode(text).tolist() == [a, longer, end, s, less]
    plain = tokenizer.encode(text, allowed_special=())
    assert not {end, s, longer} & set(plain.tolist()) and tokenizer.decode(plain) == text
    some = tokenizer.encode(text, allowed_special={"<s>"}).tolist()
    assert some.count(s) == 2 and end not in some and longer not in some
    with pytest.raises(ValueError, match=r"^character 5: the text holds the special token '<\|endoftext\|>'"):
        tokenizer.encode(text, allowed_special={"<s>", "<s>>"}, disallowed_special="all")
    with pytest.raises(ValueError, match="character 1: .*'<s>'"):
        tokenizer.encode(text, allowed_special=(), disallowed_special=["<s>"])
    with pytest.raises(ValueError, match="allowed_special: '<x>' is no special token of this tokenizer; it has '<|endoftext|>'"):
        tokenizer.encode(text, allowed_special=["<x>"])
    for wrong in ("<s>", 3):
        with pytest.raises(TypeError, match="allowed_special must be 'all' or a collection"):
            tokenizer.encode(text, allowed_special=wrong)
    assert tokenizer.decode([a, end, s, a], skip_special_tokens=True) == "aa"
    assert tokenizer.decode([a, end, s, a]) == "a<|endoftext|><s>a"


def test_batches_in_threads():
    tokenizer = ByteLevelBPE(small().vocabulary, small().merges)
    rng = np.random.default_rng(0)
    words = [*TEXT.split(" "), "<|endoftext|>"]
    texts = [" ".join(rng.choice(words, 200)) for _ in range(100)] + [""]
    expected = [small().encode(text).tolist() for text in texts]
    for threads in (1, 2, 5):
        assert [ids.tolist() for ids in tokenizer.encode_batch(texts, threads=threads)] == expected
    wrong = []

    def work():
        wrong.extend(i for i, text in enumerate(texts * 3) if tokenizer.encode(text).tolist() != expected[i % len(texts)])

    running = [threading.Thread(target=work) for _ in range(4)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert not wrong and len(tokenizer._encoder.states) <= 9
    assert tokenizer.decode_batch(expected) == texts
    with pytest.raises(TypeError, match="use encode"):
        tokenizer.encode_batch("ab")
    for threads in (0, True, 1.5):
        with pytest.raises(ValueError, match="threads must be a whole number of at least 1"):
            tokenizer.encode_batch(["a"], threads=threads)


def test_rows_of_the_tables_that_are_taken_again():
    """More distinct pieces than the tables have rows, twice: what was there before must not be mistaken for what is asked."""
    tokenizer = small()
    numbers = [str(number) for number in range(100_000)]
    text = "".join("{" * (int(n) % 3) + n for n in numbers)
    expected = [id for piece in split(text) for id in merged(tokenizer, piece)]
    for _ in range(2):
        assert tokenizer.encode(text).tolist() == expected
    zeros = ["\0" * n for n in range(1, 20)]
    for text in [*zeros, *reversed(zeros), "a", "a\0", "\0a"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text and tokenizer.encode(text).size == len(text)


@pytest.mark.parametrize("surrogate", ["\ud800", "\udfff"])
def test_lone_surrogates_are_refused(surrogate):
    name = f"lone surrogate U\\+{ord(surrogate):04X}"
    with pytest.raises(ValueError, match=f"^character 1: {name}"):
        small().encode("a" + surrogate)
    with pytest.raises(ValueError, match=f"^character 14: {name}"):
        small().encode("<|endoftext|>b" + surrogate)
    tokenizer = small()
    tokenizer.encode("a")
    kept = list(tokenizer._encoder.states)  # pieces that it has met
    for text in ("a", "a" * 5000):
        with pytest.raises(ValueError, match=name):
            tokenizer.encode(text + surrogate)
    assert len(kept) == 1 and tokenizer._encoder.states[0] is kept[0]
    with pytest.raises(ValueError, match=f"^corpus, character 1048577: {name}"):
        list(small().encode_chunks(["a " * (1 << 19), "b" + surrogate], source="corpus"))
    with pytest.raises(ValueError, match=f"^text, character 2: {name}"):
        ByteLevelBPE.train_from_chunks("ab" + surrogate, vocab_size=300)


def test_other_arguments():
    tokenizer = small()
    assert tokenizer.encode("").dtype == np.int32 and tokenizer.encode("").size == 0 and tokenizer.decode([]) == ""
    with pytest.raises(TypeError, match="text must be a str, got bytes"):
        tokenizer.encode(b"a")
    with pytest.raises(ValueError, match=rf"0 \.\.\. {tokenizer.vocab_size - 1}, got {tokenizer.vocab_size}"):
        tokenizer.decode([tokenizer.vocab_size])
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again == tokenizer and again.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(vocabulary=small().vocabulary[:256]), "lacks byte 0x"),
        (dict(vocabulary=(*small().vocabulary, "a b")), "token 'a b' is neither added nor written in GPT-2's byte alphabet"),
        (dict(vocabulary=(*small().vocabulary, "")), "token '' is neither"),
        (dict(vocabulary=(*small().vocabulary, "a")), "token 'a' is twice"),
        (dict(merges=[("a", "q")]), "merge 0, 'a' and 'q': 'aq' is not in the vocabulary"),
        (dict(merges=[("漢", "a")]), "merge 0, .* '漢' is not in the vocabulary"),
        (dict(merges=[*small().merges, small().merges[3]]), "merge 3 of .* is there twice"),
        (dict(special_tokens=["<x>"]), "special token '<x>' is not in the vocabulary"),
        (dict(special_tokens=["<|endoftext|>"] * 2), "given twice"),
        (dict(special_tokens=[""]), "non-empty"),
    ],
)
def test_wrong_vocabularies(change, message):
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE(**{"vocabulary": small().vocabulary, "merges": small().merges, **change})


@pytest.mark.slow
@settings(max_examples=2000)
@given(ANY | MIXED)
def test_every_string_comes_back_from_gpt2s_ids(text):
    tokenizer = gpt2()
    assert tokenizer.decode(tokenizer.encode(text)) == text
