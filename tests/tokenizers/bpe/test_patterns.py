"""The patterns by which texts are cut: pieces and ids are those that peers and a backtracking engine give."""

import base64
import functools
import json
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import cuts, nfc, nfc_scan, patterns, pieces, tiktoken_files

from .helpers import MIXED, TEXT, learnt, small

NAMES = ["gpt2", "cl100k", "o200k", "qwen2", "smollm"]
# As tiktoken writes it: possessive repetitions, and the end of the text.
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
# Cases, marks, title case, contractions in either case and with a long s, digits in a row, all kinds of line ends.
CASED = st.lists(
    st.sampled_from(
        [*"aZbISTsdDmMéÉǅʰ漢あñ\u0301\u0308٣Ⅷ½ \xa0\u3000\t\n\r'’.!?/-_0123789😀\u200d\u0345ßſK", "'LL", "'Re", "\r\n", "  "]
    ),
    max_size=20,
).map("".join)


@functools.cache
def cutter_of(pattern):
    return pieces.make_cutter(patterns.of(pattern))


def cut(pattern, text, parts=0):
    content, stop = pieces.padded(text)
    ends = np.empty(stop + pieces.ROOM, np.int64)
    cutter = pattern if isinstance(pattern, pieces.Cutter) else cutter_of(pattern)
    count = pieces.piece_ends(content, 0, stop, cutter, parts, ends)
    edges = [0, *ends[:count].tolist()]
    return [content[start:end].tobytes().decode() for start, end in zip(edges, edges[1:], strict=False)]


def splits(expressions):
    """The pre-tokenizer of Hugging Face's that cuts by the expressions in turn."""
    peer = pytest.importorskip("tokenizers")
    return peer.pre_tokenizers.Sequence([peer.pre_tokenizers.Split(peer.Regex(each), "isolated") for each in expressions])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(CASED | MIXED)
@example("a'ſ b'S c'Ll d'x")
@example(" \n\n  \r\n x\n  ")
@example("ABCdef AB CdE's ÉCOLEǅz ʰa e\u0301\u0301X\u0301")
def test_pieces_are_those_of_the_expressions(name, text):
    theirs = [piece for piece, _ in splits(patterns.NAMED[name]).pre_tokenize_str(text)]
    assert cut(name, text) == theirs


@settings(max_examples=150)
@given(CASED | MIXED)
def test_possessive_repetitions_and_the_end_of_the_text(text):
    """tiktoken's writing of cl100k cuts as the older one, but for white space at the very end."""
    regex = pytest.importorskip("regex")
    assert cut(CL100K, text) == [each.group() for each in regex.finditer(CL100K, text)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(CASED | MIXED, st.integers(0, 40))
def test_a_text_may_be_cut_between_pieces(name, text, place):
    """Wherever it is said, whatever stands around: both parts have the pieces of the whole."""
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    allowed = np.flatnonzero(cuts.between_pieces(patterns.of(name), codes)) + 1 if len(text) > 1 else []
    for n in allowed:
        assert cut(name, text[:n]) + cut(name, text[n:]) == cut(name, text)
    del place


def test_words_of_ordinary_text_may_be_cut_apart():
    """So that a long text is encoded in parts: before a blank behind a letter, by every pattern."""
    codes = np.frombuffer("one two".encode("utf-32-le"), "<u4")
    for name in NAMES:
        assert cuts.between_pieces(patterns.of(name), codes).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(CASED | MIXED)
def test_merges_do_not_see_the_cuts_within_pieces(name, text):
    """Ids with the tables that know what tokens join are those of whole pieces."""
    tokenizer = _with(name)
    whole = [id for piece in cut(name, text) for id in _merged(tokenizer, piece)]
    assert tokenizer.encode(text, allowed_special=()).tolist() == whole
    parts = cut(tokenizer._encoder.tables.cutter, text, 1)
    assert "".join(parts) == text and len(parts) >= len(cut(name, text))


def _with(name):
    if name not in _with.made:
        vocabulary, merges = learnt(TEXT + "ав ва вав 東京都 の首都 ба\u0301б " * 9, 480, 2)
        _with.made[name] = ByteLevelBPE(vocabulary, merges, pattern=name)
    return _with.made[name]


_with.made = {}


def _merged(tokenizer, piece):
    from .helpers import merged

    return merged(tokenizer, piece)


def test_tokens_that_begin_or_end_within_a_character():
    """Such a token joins whatever its bytes may stand beside: a blank and half a letter, half a sign and a letter."""
    halves = [("\u0120", "\u00d0"), ("\u00b6", "\u00e6"), ("\u00d0", "\u00b0"), ("\u00a3", "\u00d0\u00b0")]
    tokenizer = ByteLevelBPE([*small().vocabulary[:257], *map("".join, halves)], halves)
    for text in ("а б в", "аба", "ба а", "無永", "龶永無", "aаas", "ѣа", "ба ѣаб", "\u00a3а"):
        assert tokenizer.encode(text).tolist() == [id for piece in cut("gpt2", text) for id in _merged(tokenizer, piece)], text


@pytest.mark.parametrize(
    "pattern, message",
    [
        (r"(?<=a)b|[\s\S]", "lookbehind or a named group at character 0"),
        (r"\p{Han}+|[\s\S]", r"a property other than a general category at character 0 of the pattern, '\\\\p\{Han\}"),
        (r"a|[a-z&&[^b]]", "a set within a set at character 6"),
        (r"[\s\S]*?", "repetition as rarely as possible"),
        (r"(?>a)", "an atomic group"),
        (r"^a", "an anchor"),
        (r"\bfoo", "an escape of this kind"),
        (r"(?!ab)a", "a look at more than one character"),
        (r"a(b", "a group without an end"),
        (r"a)b", "a closing parenthesis that nothing opens"),
        (r"[a", "a set without an end"),
        (r"(?i:é)|[\s\S]", "both cases of what is not ASCII"),
        (r"a++[ab]|[\s\S]", r"possessive repetition \(\+\+\) whose characters may also begin"),
        (r"(?:ab)++|[\s\S]", r"possessive repetition \(\+\+\) of more than one character"),
        (r"(?:a*)*|[\s\S]", "repetition without end of what may be empty"),
        (r"a*", "matches nothing at all"),
        (r"\s?\p{L}+", "leaves characters unmatched"),
        ((r"\p{N}{1,3}", patterns.GPT2), "only as the last of several"),
        ("gpt3", "pattern must be a regular expression or one of gpt2, gpt-2"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(pattern, message):
    with pytest.raises(ValueError, match=message) as caught:
        ByteLevelBPE(small().vocabulary, small().merges, pattern=pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_files_keep_the_pattern(tmp_path, name):
    tokenizer = ByteLevelBPE(small().vocabulary, small().merges, pattern=name, normalizer="NFC", ignore_merges=True)
    tokenizer.save_pretrained(tmp_path)
    for again in (tokenizers.load(tmp_path), ByteLevelBPE.load(tmp_path / "tokenizer.json")):
        assert again == tokenizer and again.pattern == patterns.NAMED[name]
        assert (again.normalizer, again.ignore_merges) == ("NFC", True)
    peer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = TEXT + "A'LL e\u0301 1234567 \u212b"
    assert peer.encode(text).ids == tokenizer.encode(text).tolist()
    other = ByteLevelBPE(small().vocabulary, small().merges, pattern=name)
    assert tokenizer.encode("e\u0301").tolist() == other.encode("é").tolist() != other.encode("e\u0301").tolist()
    with pytest.raises(ValueError, match="offsets are of a text in NFC"):
        tokenizer.encode_with_offsets("e\u0301")


@settings(max_examples=300)
@given(
    st.text(
        st.sampled_from(
            "aAeo한각가\u1100\u1161\u11a8\u0301\u0323\u0327\u0308é\u212b\u0958क\u093c\u094d\u09c7\u09be漢\uf900\U0002f800 ż"
        )
    )
    | MIXED
)
def test_normalisation_form_c(text):
    """And what the scan lets pass needs none: a text as it is, and behind ASCII that is looked at eight bytes at a time."""
    assert nfc.normalized(text) == unicodedata.normalize("NFC", text)
    for whole in (text, "abcdefg" + text + "hij" + text):
        if nfc_scan.is_normal(*pieces.padded(whole)):
            assert unicodedata.is_normalized("NFC", whole)


def test_texts_of_letters_alone_are_let_pass():
    for text in (
        "Übermäßig schöne Straßen",
        "наука и жизнь",
        "東京は日本の首都です。",
        "서울에서",
        "😀 façade ‘naïve’ – 𝒳",
        "ไทย",
    ):
        assert nfc_scan.is_normal(*pieces.padded(text)), text
    in_order = "\u05d0\u05b0\u0591"  # two marks that join no letter
    assert nfc_scan.is_normal(*pieces.padded(in_order)) and not nfc_scan.is_normal(*pieces.padded(in_order[::2] + in_order[1]))


def test_every_character_is_normalised_behind_a_letter():
    for before in "aеが\u1100\uac00\u0d46":
        text = "".join(before + chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000)
        assert nfc.normalized(text) == unicodedata.normalize("NFC", text)


def test_digits_and_removing_splits_of_tokenizer_json():
    content = json.loads(small().to_json())
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, level],
    }
    assert ByteLevelBPE._from_fields(content).pattern == (patterns.DIGITS, patterns.GPT2)
    split = {"type": "Split", "pattern": {"Regex": patterns.CL100K}, "behavior": "Removed", "invert": True}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, {**level, "use_regex": False}]}
    assert ByteLevelBPE._from_fields(content).pattern == (patterns.CL100K,)
    split["pattern"] = {"Regex": r"\p{L}+"}
    with pytest.raises(ValueError, match="a Split that removes what its pattern does not match is not supported"):
        ByteLevelBPE._from_fields(content)
    split.update(behavior="MergedWithNext")
    with pytest.raises(ValueError, match="behavior of pre_tokenizer's Split must be 'Isolated', got 'MergedWithNext'"):
        ByteLevelBPE._from_fields(content)


def test_a_file_of_tiktokens(tmp_path):
    tiktoken = pytest.importorskip("tiktoken")
    source = small()
    ranks = {bytes([byte]): byte for byte in range(256)}
    for left, right in source.merges:
        ranks.setdefault(source.decode_bytes([source.token_to_id(left + right)]), len(ranks))
    path = tmp_path / "own.tiktoken"
    path.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    special = {"<|end|>": len(ranks) + 3}  # some ids before it are no token's
    tokenizer = ByteLevelBPE.from_tiktoken(path, pattern="cl100k", special_tokens=special)
    assert tokenizer.vocab_size == len(ranks) + 4 and tokenizer.token_to_id("<|end|>") == len(ranks) + 3
    theirs = tiktoken.Encoding("own", pat_str=patterns.CL100K, mergeable_ranks=ranks, special_tokens=special)
    for text in (TEXT, "naïve 12345 <|end|>'LL", "x" * 200):
        assert tokenizer.encode(text).tolist() == theirs.encode(text, allowed_special="all")
    for load in (ByteLevelBPE.from_tiktoken, tokenizers.load):
        with pytest.raises(ValueError, match="own.tiktoken: pattern is needed, since the file's name is none of r50k_base"):
            load(path)
    published = tokenizers.load(path.rename(tmp_path / "p50k_base.tiktoken"))
    assert published.pattern == patterns.NAMED["p50k_base"] and published.token_to_id("<|endoftext|>") == 50256
    path.touch()
    path.write_text("IQ== 0\nIg== x\n")
    with pytest.raises(ValueError, match="own.tiktoken: line 2 must be base64 and a rank, got"):
        ByteLevelBPE.from_tiktoken(path, pattern="cl100k")
    assert tiktoken_files.name_of("a/cl100k_base.tiktoken.gz") == "cl100k_base"


def test_the_metadata_of_a_gguf_file():
    source = small()
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": [*source.vocabulary, "<a>"],
        "tokenizer.ggml.token_type": [3] + [1] * (source.vocab_size - 1) + [4],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in source.merges],
        "tokenizer.ggml.eos_token_id": 0,
    }
    tokenizer = ByteLevelBPE.from_gguf(metadata)
    assert tokenizer.special_tokens == ("<|endoftext|>",) and tokenizer.eos_token_id == 0
    assert tokenizer.encode("<a>1234").tolist() == [source.vocab_size, *map(tokenizer.token_to_id, "1234")]
    for key, value, message in (
        ("model", "llama", "tokenizer.ggml.model must be 'gpt2', a byte-level BPE, got 'llama'"),
        ("pre", "viking", "tokenizer.ggml.pre must be one of gpt2, .*, got 'viking'"),
        ("token_type", [1], "tokenizer.ggml.token_type must have 401 entries|must have .* entries, one a token, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ByteLevelBPE.from_gguf({**metadata, f"tokenizer.ggml.{key}": value})
    del metadata["tokenizer.ggml.merges"]
    with pytest.raises(ValueError, match="the metadata lack tokenizer.ggml.merges"):
        ByteLevelBPE.from_gguf(metadata)


def test_tokens_that_no_merges_give():
    """With ignore_merges a piece that is a token is that token, and only a whole piece."""
    vocabulary = [*small().vocabulary, "zzqz", "\u0120zzqz"]
    tokenizer = ByteLevelBPE(vocabulary, small().merges, ignore_merges=True)
    plain = ByteLevelBPE(vocabulary, small().merges)
    token, spaced = tokenizer.token_to_id("zzqz"), tokenizer.token_to_id("\u0120zzqz")
    assert tokenizer.encode("zzqz zzqz").tolist() == [token, spaced]
    assert token not in plain.encode("zzqz") and token not in tokenizer.encode("xzzqz") and token not in tokenizer.encode("zzqzz")
    peer = pytest.importorskip("tokenizers").Tokenizer.from_str(tokenizer.to_json())
    for text in ("zzqz zzqz", "xzzqz zzqzz", TEXT):
        assert peer.encode(text).ids == tokenizer.encode(text).tolist()
    long = ByteLevelBPE([*vocabulary, "zq" * 10], small().merges, ignore_merges=True)
    with pytest.raises(ValueError, match="ignore_merges with a token of over 12 bytes that no merges give, b'zq"):
        long.encode("a")


def test_training_by_another_pattern():
    trained = ByteLevelBPE.train_from_chunks(["12345 12345 ", "it'S it'S it'S\n\n" * 3], vocab_size=270, pattern="cl100k")
    assert trained.pattern == patterns.NAMED["cl100k"]
    peer = pytest.importorskip("tokenizers")
    theirs = peer.Tokenizer(peer.models.BPE())
    level = peer.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    theirs.pre_tokenizer = peer.pre_tokenizers.Sequence(
        [peer.pre_tokenizers.Split(peer.Regex(patterns.CL100K), "isolated"), level]
    )
    trainer = peer.trainers.BpeTrainer(
        vocab_size=270, min_frequency=2, special_tokens=["<|endoftext|>"],
        initial_alphabet=peer.pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    theirs.train_from_iterator(["12345 12345 it'S it'S it'S\n\n" + "it'S it'S it'S\n\n" * 2], trainer)
    assert list(map(list, trained.merges)) == json.loads(theirs.to_str())["model"]["merges"]
