"""Where added tokens stand: against the definition, and wherever a text is cut into chunks."""

import random
import re
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minilm.tokenizers import AddedToken, ByteLevelBPE, cuts, files
from minilm.tokenizers.added import AddedTokens
from minilm.tokenizers.added.matching import Matcher, code_points, in_word

from .cases import KINDS, TEXTS, some_added, tokenizer_with

PATTERNS = st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=12, unique=True)


def table(contents, **flags):
    return AddedTokens((), [AddedToken(each, **flags) for each in contents], {each: id for id, each in enumerate(contents)})


@settings(max_examples=150)
@given(PATTERNS, st.text("abc", max_size=40))
def test_the_leftmost_and_of_those_the_longest(patterns, text):
    expression = "|".join(map(re.escape, sorted(patterns, key=len, reverse=True)))
    wanted = [(found.start(), found.end(), patterns.index(found.group())) for found in re.finditer(expression, text)]
    matcher = table(patterns).raw
    assert [each for each in matcher.segments_of(code_points(text)) if each[2] >= 0] == wanted
    assert [each for each in matcher.segments(text) if each[2] >= 0] == wanted
    edges = [each[:2] for each in matcher.segments(text)]
    assert "".join(text[start:stop] for start, stop in edges) == text


@settings(max_examples=150)
@given(PATTERNS, st.text("abc", max_size=12), st.text("abc", max_size=30), st.text("abc", max_size=12))
def test_no_pattern_reaches_over_a_place_that_is_not_touched(patterns, before, text, after):
    matcher = table(patterns).raw
    touched = matcher.touched(code_points(text))
    whole = before + text + after
    reached = np.zeros(len(whole) + 1, bool)
    for pattern in patterns:
        for start in range(len(whole)):
            if whole.startswith(pattern, start):
                reached[start + 1 : start + len(pattern)] = True
    assert not (reached[len(before) : len(before) + len(text) + 1] & ~touched).any()


@settings(max_examples=150, deadline=None)
@example(("bpe", [AddedToken("ab", single_word=True)]), " ab1!ab_" * 20, 33, 8)
@example(("bpe", [AddedToken("ab", lstrip=True)]), "1  ab  1" * 20, 33, 8)
@example(("wordpiece", [AddedToken("ab", rstrip=True)]), "ab   the   " * 20, 33, 8)
@example(("gpt1", [AddedToken("ab", lstrip=True, normalized=True)]), "the   aB" * 20, 33, 8)
@given(some_added(), TEXTS, st.sampled_from([5, 33, 40, 100]), st.sampled_from([3, 8, 4096]))
def test_chunks_do_not_show(kind_and_tokens, text, size, window):
    """Whatever the flags of the tokens are, and wherever a long text is cut."""
    tokenizer = tokenizer_with(*kind_and_tokens)
    text = text * 6
    with pytest.MonkeyPatch.context() as patch:
        whole = files.regroup
        patch.setattr(files, "regroup", lambda chunks: whole(chunks, size))
        patch.setattr(cuts, "_WINDOW", window)
        parts = list(tokenizer.encode_chunks([text]))
    assert [id for part in parts for id in part.tolist()] == tokenizer.encode(text).tolist()
    stream = tokenizer.decode_stream()
    ids = tokenizer.encode(text)
    assert "".join(map(stream.feed, ids)) + stream.flush() == tokenizer.decode(ids)


def test_long_texts_are_cut(monkeypatch):
    """Tokens of every kind do not keep a text from being worked on piece by piece."""
    whole = files.regroup
    monkeypatch.setattr(files, "regroup", lambda chunks: whole(chunks, 5_000))
    added = [AddedToken("<e>", lstrip=True, rstrip=True), AddedToken("New", single_word=True, normalized=True)]
    for kind in KINDS:
        tokenizer = tokenizer_with(kind, added)
        parts = list(tokenizer.encode_chunks("a new <e> the " * 1_000))
        assert len(parts) in (3, 4)
        np.testing.assert_array_equal(np.concatenate(parts), tokenizer.encode("a new <e> the " * 1_000))


def test_characters_of_words_are_the_peers():
    peer = pytest.importorskip("tokenizers")
    tokenizer = peer.Tokenizer(peer.models.WordLevel({"?": 0, "w": 1}, unk_token="?"))
    tokenizer.add_tokens([peer.AddedToken("w", single_word=True, normalized=False)])
    codes = [code for code in range(0x20000) if not 0xD800 <= code < 0xE000 and code != ord("w")]
    offsets = tokenizer.encode("\n".join(f"w{chr(code)}" for code in codes)).offsets
    ids = tokenizer.encode("\n".join(f"w{chr(code)}" for code in codes)).ids
    alone = {start for id, (start, _) in zip(ids, offsets, strict=True) if id == 1}
    import unicodedata

    wrong = [
        hex(code)
        for place, code in enumerate(codes)
        if (3 * place in alone) == in_word(code) and unicodedata.category(chr(code)) != "Cn"  # newer than this Python's Unicode
    ]
    assert not wrong


def test_many_tokens_take_a_moment():
    """20,000 took 27 s to load, and each text of 320,000 characters 3 s for 5,000 of them."""
    from ..bpe.helpers import small

    contents = [f"<extra_token_{number}>" for number in range(20_000)]
    vocabulary = [*small().vocabulary, *contents]
    begin = time.process_time()
    special = ByteLevelBPE(vocabulary, small().merges, special_tokens=["<|endoftext|>", *contents])
    others = ByteLevelBPE(vocabulary, small().merges, added_tokens=[AddedToken(each, lstrip=True) for each in contents])
    assert time.process_time() - begin < 10
    text = "The quick <brown> fox, and <extra_token_x> lazy 1_2> dogs.\n" * 6_000
    plain = small().encode(text)
    last = len(vocabulary) - 1
    for tokenizer in (special, others):
        assert tokenizer.encode("a<extra_token_19999>").tolist() == [small().token_to_id("a"), last]  # makes the automaton
        begin = time.process_time()
        ids = tokenizer.encode(text)
        assert time.process_time() - begin < 2
        np.testing.assert_array_equal(ids, plain)


def test_a_text_made_to_be_slow():
    """Prefixes of tokens everywhere: the time stays linear."""
    matcher = table(["a" * 3000 + "b", *("a" * 2999 + each for each in "cdefghijk")]).raw
    matcher.segments_of(code_points("b"))
    begin = time.process_time()
    assert list(matcher.segments("a" * 1_000_000 + "d"))[1] == (1_000_000 - 2999, 1_000_001, 2)
    assert time.process_time() - begin < 5


def test_the_table_says_what_is_wrong():
    ids = {"a": 0, "<e>": 1}
    for tokens, message in [
        ([AddedToken("<x>")], "added token '<x>' is not in the vocabulary"),
        ([AddedToken("")], "added tokens must be non-empty str, got ''"),
        ([AddedToken("<e>"), AddedToken("<e>", special=True)], "added token '<e>' is given twice"),
        ([AddedToken("<e>", id=0)], "added token '<e>' has id 0, and 1 in the vocabulary"),
    ]:
        with pytest.raises(ValueError, match=message):
            AddedTokens((), tokens, ids)
    with pytest.raises(TypeError, match="added_tokens must hold AddedToken, got '<e>'"):
        AddedTokens((), ["<e>"], ids)
    both = AddedTokens(["<e>"], [AddedToken("<e>", rstrip=True)], ids)
    assert both.tokens == (AddedToken("<e>", special=True, rstrip=True, id=1),) and both.special == ("<e>",)


def test_equal_patterns():
    """Two tokens that are one when normalised: the special one counts, then the lower id; the peer takes either."""
    random.seed(0)
    for order in (["New", "new", "NEW"], ["NEW", "new", "New"]):
        added = [AddedToken(each, normalized=True, special=each == "new") for each in order]
        tokenizer = tokenizer_with("wordpiece", added)
        assert tokenizer.encode("nEw").tolist() == [tokenizer.token_to_id("new")]


@pytest.mark.parametrize("contents", [["[A]", "[B]"], [f"<|{letter}|>" for letter in "abcdefghijkl"], [*"abcdefghijkl"]])
def test_what_tokens_begin_with_tells_texts_without_them(contents):
    """Of few tokens, of many that begin alike, and of many that do not; a text with a begin alone has no token."""
    matcher = Matcher([AddedToken(content, id=id) for id, content in enumerate(contents)], contents)
    for text in ("", "PLAIN", "[ ] <| |>", *(f"XY {content}{content} Z" for content in contents)):
        expected = re.findall("|".join(map(re.escape, contents)), text)
        assert [text[begin:end] for begin, end, id in matcher.segments(text) if id >= 0] == expected
        assert matcher.may_occur(text) or not expected
    assert matcher.may_occur("PLAIN") == (len(contents[0]) == 1)  # what begins in too many ways is always looked for
