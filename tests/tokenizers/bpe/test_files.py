"""Files of GPT-2 and Hugging Face: read, written, damaged."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import GPT1BPE, ByteLevelBPE
from minilm.tokenizers.bpe import alphabet

from .helpers import TEXT, gpt2, gpt2_folder, hugging_face_of, small
from .test_gpt1 import ours as gpt1

NAMES = ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"]
HF = json.loads(small().to_json())


def test_what_is_written_is_read(tmp_path):
    tokenizer = small()
    tokenizer.save(tmp_path / "one.json")
    tokenizer.save_pretrained(tmp_path / "folder")
    assert sorted(each.name for each in (tmp_path / "folder").iterdir()) == NAMES
    for path in (tmp_path / "one.json", tmp_path / "folder", tmp_path / "folder" / "tokenizer.json"):
        for load in (tokenizers.load, ByteLevelBPE.load):
            loaded = load(path)
            assert type(loaded) is ByteLevelBPE and loaded == tokenizer and loaded.special_tokens == tokenizer.special_tokens
    (tmp_path / "folder" / "tokenizer.json").unlink()
    for loaded in (ByteLevelBPE.from_pretrained(tmp_path / "folder"), tokenizers.load(tmp_path / "folder")):
        assert loaded == tokenizer and loaded.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()
    (tmp_path / "folder" / "vocab.json").rename(tmp_path / "folder" / "encoder.json")
    (tmp_path / "folder" / "merges.txt").rename(tmp_path / "folder" / "vocab.bpe")
    assert tokenizers.load(tmp_path / "folder") == tokenizer
    files = tmp_path / "folder" / "encoder.json", tmp_path / "folder" / "vocab.bpe"
    assert ByteLevelBPE.from_files(*files) == tokenizer
    assert ByteLevelBPE.from_files(*files, special_tokens=()).special_tokens == ()


def test_the_peer_reads_the_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    small().save_pretrained(tmp_path)
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    assert theirs(TEXT + "<|endoftext|>")["input_ids"] == small().encode(TEXT + "<|endoftext|>").tolist()
    hugging_face_of(small()).save(str(tmp_path / "theirs.json"))
    assert tokenizers.load(tmp_path / "theirs.json") == small()


def test_gpt2s_vocabulary():
    tokenizer = gpt2()
    assert type(tokenizers.load(gpt2_folder())) is ByteLevelBPE
    assert tokenizer.vocab_size == 50_257 and len(tokenizer.merges) == 50_000 and tokenizer.eos_token_id == 50_256
    assert tokenizer.encode("Hello world<|endoftext|>").tolist() == [15496, 995, 50256]


def test_older_forms_are_read(tmp_path):
    """Merges as one string, no type of the model, parts in sequences."""
    old = copy.deepcopy(HF)
    old["model"]["merges"] = [" ".join(pair) for pair in old["model"]["merges"]]
    del old["model"]["type"], old["model"]["byte_fallback"], old["model"]["ignore_merges"]
    old["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [old["pre_tokenizer"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(old))
    assert tokenizers.load(tmp_path) == small()


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ByteLevelBPE.from_pretrained(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="wanted vocab.json and merges.txt or .*vocab.bpe or tokenizer.json"):
        ByteLevelBPE.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError):
        ByteLevelBPE.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_bytes_that_no_text_has(tmp_path):
    """A vocabulary learnt without C0, C1, F5 ... FF loads; without another byte it does not."""
    never = [alphabet.characters()[byte] for byte in (0xC0, 0xC1, *range(0xF5, 0x100))]
    tokens = [token for token in small().vocabulary if token not in never]
    tokenizer = ByteLevelBPE(tokens, small().merges)
    assert tokenizer.vocab_size == small().vocab_size - 13
    for text in (TEXT, "".join(map(chr, range(0x800))), "\U0010ffff\uffff\ud7ff" * 9):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert [tokenizer.id_to_token(id) for id in ids] == [small().id_to_token(id) for id in small().encode(text)]
    tokenizer.save_pretrained(tmp_path)
    assert tokenizers.load(tmp_path) == tokenizer
    assert hugging_face_of(tokenizer).encode(TEXT).ids == tokenizer.encode(TEXT).tolist()
    for byte in (0x00, 0x61, 0xC2, 0xF4):
        character = alphabet.characters()[byte]
        with pytest.raises(ValueError, match=f"lacks byte 0x{byte:02x}"):
            ByteLevelBPE([token for token in tokens if token != character], [])


def test_a_folder_with_half_of_it(tmp_path):
    for name, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json"), ("encoder.json", "vocab.bpe")):
        (tmp_path / name).write_text("{}")
        for load in (tokenizers.load, ByteLevelBPE.from_pretrained):
            with pytest.raises(FileNotFoundError, match=f"holds {name} but no {other}, and without that no tokenizer.json"):
                load(tmp_path)
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match="holds no tokenizer: wanted vocab.txt, vocab.json and merges.txt"):
        tokenizers.load(tmp_path)


def test_special_tokens_that_the_vocabulary_lacks_are_named(tmp_path):
    small().save_pretrained(tmp_path)
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    assert ByteLevelBPE.from_files(*files).special_tokens == ("<|endoftext|>",)
    with pytest.raises(ValueError, match="vocab.json, .*merges.txt: special token '<pad>' is not in the vocabulary"):
        ByteLevelBPE.from_files(*files, special_tokens=["<|endoftext|>", "<pad>"])


def test_a_word_level_file_of_hugging_faces_is_named(tmp_path):
    peer = pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    peer.Tokenizer(peer.models.WordLevel({"?": 0, "a": 1}, unk_token="?")).save(str(path))
    for load in (tokenizers.load, tokenizers.WordLevel.load):
        with pytest.raises(ValueError, match="tokenizer.json: tokenizer of type \"Hugging Face's WordLevel\", expected '"):
            load(path)


def changed(*path, **to):
    fields = copy.deepcopy(HF)
    part = fields
    for name in path[:-1]:
        part = part[name]
    if "to" in to:
        part[path[-1]] = to["to"]
    else:
        del part[path[-1]]
    return fields


VOCAB = HF["model"]["vocab"]
ADDED = HF["added_tokens"][0]
CUT = HF["pre_tokenizer"]
BROKEN = [
    (changed("model"), "field 'type' is missing"),
    (changed("model", to=3), "field 'type' is missing"),
    (changed("model", "type", to="Unigram"), "tokenizer of type 'Unigram'"),
    (changed("model", "vocab"), "field 'vocab' is missing"),
    (changed("model", "vocab", to=[]), "field 'vocab' must be dict, got list"),
    (changed("model", "vocab", to={**VOCAB, "a": 10**12}), "without a gap, got 1000000000000 for 'a'"),
    (changed("model", "vocab", to={**VOCAB, "a": -1}), "without a gap, got -1"),
    (changed("model", "vocab", to={**VOCAB, "a": VOCAB["b"]}), "belongs to 'a' and to 'b'"),
    (changed("model", "vocab", to={**VOCAB, "a": "1"}), "the id of 'a' must be int, got str"),
    (changed("model", "vocab", to={**VOCAB, "a": True}), "the id of 'a' must be int, got bool"),
    (changed("model", "vocab", "a"), "without a gap"),
    (changed("model", "vocab", to={**VOCAB, "a b": len(VOCAB)}), "neither added nor written in GPT-2's byte alphabet"),
    (changed("model", "merges", to="x"), "field 'merges' must be list, got str"),
    (changed("model", "merges", to=[["a", 3]]), "field 'merges' must hold pairs of str"),
    (changed("model", "merges", to=[["a", "b", "c"]]), "field 'merges' must hold pairs of str"),
    (changed("model", "merges", to=["ab"]), "merge 0 must be two tokens with a space between, got 'ab'"),
    (changed("model", "merges", to=["a b c"]), "merge 0 must be two tokens"),
    (changed("model", "merges", to=["a \u0121\u0121"]), "is not in the vocabulary"),
    (changed("model", "merges", to=[HF["model"]["merges"][0]] * 2), "is there twice"),
    (changed("model", "dropout", to=0.1), "dropout of model must be"),
    (changed("model", "ignore_merges", to=3), "ignore_merges of model must be False or True, got 3"),
    (changed("model", "byte_fallback", to=True), "byte_fallback of model"),
    (changed("model", "end_of_word_suffix", to="</s>"), "end_of_word_suffix of model"),
    (changed("normalizer", to={"type": "NFKC"}), "normalizer must be null or 'NFC', got 'NFKC'"),
    (changed("pre_tokenizer"), "pre_tokenizer must be or end with ByteLevel in a tokenizer like GPT-2's, got none"),
    (
        changed("pre_tokenizer", to={"type": "Metaspace"}),
        "pre_tokenizer must be made of Split, Digits and ByteLevel, got Metaspace",
    ),
    (changed("pre_tokenizer", to=[]), "field 'pre_tokenizer' must be dict or null"),
    (changed("pre_tokenizer", "add_prefix_space", to=True), "add_prefix_space of pre_tokenizer must be False"),
    (changed("pre_tokenizer", "use_regex", to=False), "use_regex of pre_tokenizer must be True where no Split comes before it"),
    (
        changed("pre_tokenizer", to={"type": "Sequence", "pretokenizers": [{"type": "Split"}, CUT]}),
        "Split must have a Regex or a String, got None",
    ),
    (changed("decoder", to=None), "decoder must be ByteLevel"),
    (changed("added_tokens"), "field 'added_tokens' is missing"),
    (changed("added_tokens", to=[3]), "list of objects, got int"),
    (changed("added_tokens", to=[{"id": 0}]), "field 'content' is missing"),
    (changed("added_tokens", to=[{**ADDED, "id": "0"}]), "id of added token '<.endoftext.>' must be int, got '0'"),
    (changed("added_tokens", to=[{**ADDED, "id": 5}]), "has id 5, and 0 in the vocabulary"),
    (changed("added_tokens", to=[{**ADDED, "lstrip": 1}]), "flags of added token '<.endoftext.>' must be bool, got 1"),
    (changed("added_tokens", to=[{**ADDED, "id": 10**12, "content": "<e>"}]), "without a gap, got 1000000000000 for '<e>'"),
    (changed("added_tokens", to=[{**ADDED, "content": ""}]), "without a gap|non-empty|belongs to"),
]


@pytest.mark.parametrize("fields, message", BROKEN, ids=range(len(BROKEN)))
def test_a_wrong_field_is_named(tmp_path, fields, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(fields))
    for load in (tokenizers.load, ByteLevelBPE.from_pretrained):
        with pytest.raises(ValueError, match=rf"tokenizer\.json: .*({message})"):
            load(tmp_path)


@pytest.mark.parametrize(
    "vocabulary, merges, message",
    [
        (b"", b"#version: 0.2\n", "vocab.json: not valid JSON"),
        (b"\xff", b"", "vocab.json: not valid JSON"),
        (b"[1]", b"", "vocab.json: expected a JSON object, got list"),
        (b'{"a": 1}', b"", r"vocab.json: ids must be 0 \.\.\. 0 without a gap, got 1 for 'a'"),
        (b'{"a": 0}', b"", "vocab.json, .*merges.txt: the vocabulary lacks byte 0x00"),
        (None, b"#version: 0.2\na b\n\xe9\n", "merges.txt: invalid UTF-8 at byte 18"),
        (None, b"#version: 0.2\nab\n", "merges.txt: merge 0 must be two tokens with a space between, got 'ab'"),
        (None, b"#version: 0.2\n\na b\n", "merges.txt: merge 0 must be two tokens"),
        (None, b"#version: 0.2\na zzz\n", "merge 0, 'a' and 'zzz': 'zzz' is not in the vocabulary"),
    ],
)
def test_wrong_vocabularies_and_merges_are_named(tmp_path, vocabulary, merges, message):
    small().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    if vocabulary is not None:
        (tmp_path / "vocab.json").write_bytes(vocabulary)
    (tmp_path / "merges.txt").write_bytes(merges)
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE.from_pretrained(tmp_path)


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_changed_byte_never_crashes(tmp_path_factory, place, byte, first):
    """Every damaged file either is refused with its name or loads as some tokenizer that works."""
    path = tmp_path_factory.getbasetemp() / "damaged_bpe.json"
    content = bytearray((gpt1() if first else small()).to_json().encode())
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        tokenizer = tokenizers.load(path)
    except ValueError as error:
        assert "damaged_bpe.json: " in str(error)
    else:
        assert isinstance(tokenizer, ByteLevelBPE | GPT1BPE)
        tokenizer.decode(tokenizer.encode(TEXT))


def test_classes_refuse_each_others_files(tmp_path):
    small().save(tmp_path / "two.json")
    gpt1().save(tmp_path / "one.json")
    with pytest.raises(ValueError, match="two.json: normalizer must be BertNormalizer in a tokenizer like GPT-1's, got None"):
        GPT1BPE.load(tmp_path / "two.json")
    with pytest.raises(ValueError, match="one.json: normalizer must be null or 'NFC', got 'BertNormalizer'"):
        ByteLevelBPE.load(tmp_path / "one.json")


def test_a_byte_order_mark_before_the_merges(tmp_path):
    small().save_pretrained(tmp_path)
    content = (tmp_path / "merges.txt").read_bytes()
    (tmp_path / "merges.txt").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "tokenizer.json").unlink(missing_ok=True)
    assert ByteLevelBPE.from_pretrained(tmp_path).merges == small().merges
