"""Added tokens and texts that meet in every way, for the three tokenizers that have them."""

from hypothesis import strategies as st

from minilm.tokenizers import GPT1BPE, AddedToken, ByteLevelBPE, WordPiece

from ..bpe.helpers import small
from ..bpe.test_gpt1 import ours as gpt1
from ..word_piece.helpers import VOCABULARY

CONTENTS = ["<e>", "<e", "e>", "<s>", "s>", "[x]", "ab", "a", "New", "new", "The", "the", "Ne w", "a b", " a", "a ", "1", "x1"]
CONTENTS += ["_", " ", "  ", "    ", "\n", "\t", "é", "É", "e\u0301", "漢", "漢字", "ǅ", "İ", "Ⓐ", "ﬁ", "<|endoftext|>x"]
FRAGMENTS = [*CONTENTS, "<e>>", "   ", "x", "y", "!", "\u0301", "\0", "\u3000", "\x85", "\x1c", ".", "½"]
FRAGMENTS += ["the cat", "THE", "ⓐ", "文", "\u200b", "\u200d", "‿", "a\0b", "new york", "[MASK]"]
FRAGMENTS += ["<unk>", "<|endoftext|>", "\n\n", "don't", "if x:    y"]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
KINDS = ("bpe", "gpt1", "wordpiece")


def some_added(kinds=KINDS):
    """A kind of tokenizer and up to eight added tokens."""
    flags = st.tuples(*[st.sampled_from([False, False, True])] * 5)
    token = st.builds(lambda content, flags: AddedToken(content, *flags), st.sampled_from(CONTENTS), flags)
    return st.tuples(st.sampled_from(kinds), st.lists(token, max_size=8, unique_by=lambda each: each.content))


def tokenizer_with(kind: str, added, **settings):
    """A tokenizer whose vocabulary has these tokens too."""
    known = {"bpe": small().vocabulary, "gpt1": gpt1().vocabulary, "wordpiece": VOCABULARY}[kind]
    vocabulary = list(dict.fromkeys([*known, *(token.content for token in added)]))
    if kind == "wordpiece":
        return WordPiece(vocabulary, added_tokens=added, **settings)
    if kind == "gpt1":
        return GPT1BPE(vocabulary, gpt1().merges, added_tokens=added)
    return ByteLevelBPE(vocabulary, small().merges, added_tokens=added)
