import json

import pytest

from minilm import tokenizers
from minilm.tokenizers import WordPiece

from .helpers import SPECIAL, VOCABULARY

TOKENIZER = WordPiece(VOCABULARY)
VARIANTS = [
    {},
    {"lower": False},
    {"strip_accents": False, "split_cjk": False, "clean_text": False, "max_word_chars": 7, "clean_up": False},
    {"lower": False, "strip_accents": True, "special_tokens": ["the"], "mask_token": None, "prefix": "##a"},
    {"cls_token": None, "sep_token": None},
]


@pytest.mark.parametrize("settings", VARIANTS)
def test_save_and_load(tmp_path, settings):
    tokenizer = WordPiece(VOCABULARY, **settings)
    tokenizer.save(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["tokenizer.json"]
    for loaded in (tokenizers.load(tmp_path), tokenizers.load(tmp_path / "tokenizer.json"), WordPiece.load(tmp_path)):
        # A tokenizer.json does not say which token is for what, beyond [CLS], [SEP] and [UNK]: it has names and their usual use.
        wanted = WordPiece(VOCABULARY, **{**settings, "mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})
        assert loaded == wanted and hash(loaded) == hash(wanted)
    assert tokenizer.to_json().encode() == (tmp_path / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("settings", VARIANTS)
def test_pretrained_folder(tmp_path, settings):
    tokenizer = WordPiece(VOCABULARY, **settings)
    tokenizer.save_pretrained(tmp_path / "new")
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    loaded = tokenizers.load(tmp_path / "new")
    assert loaded.vocabulary == tokenizer.vocabulary
    assert (loaded.lower, loaded.strip_accents, loaded.split_cjk) == (
        tokenizer.lower,
        tokenizer.strip_accents,
        tokenizer.split_cjk,
    )
    (tmp_path / "new" / "tokenizer.json").unlink()  # vocab.txt and tokenizer_config.json alone
    loaded = tokenizers.load(tmp_path / "new")
    assert (loaded.lower, loaded.strip_accents, loaded.split_cjk) == (
        tokenizer.lower,
        tokenizer.strip_accents,
        tokenizer.split_cjk,
    )


def test_vocabulary_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[PAD]\r\n[UNK]\na\u2028b\n##c\n".encode())
    tokenizer = tokenizers.load(path)
    assert tokenizer.vocabulary == ("[PAD]", "[UNK]", "a\u2028b", "##c")
    assert tokenizer.mask_token is None and tokenizer.pad_token_id == 0
    TOKENIZER.save_vocabulary(path)
    assert tokenizers.load(path) == WordPiece.load(path) == TOKENIZER
    TOKENIZER.save_vocabulary(tmp_path)
    assert path.read_text(encoding="utf-8").splitlines() == VOCABULARY
    with pytest.raises(ValueError, match="vocab.txt has a token a line"):
        WordPiece([*VOCABULARY, "a\nb"]).save_vocabulary(path)
    path.write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: special token '\[UNK\]' is not in the vocabulary of 2"):
        tokenizers.load(path)
    with pytest.raises(FileNotFoundError, match="neither tokenizer.json nor vocab.txt"):
        WordPiece.load(tmp_path / "..")
    with pytest.raises(FileNotFoundError):
        tokenizers.load(tmp_path / "no.txt")


def test_configuration_goes_first(tmp_path):
    TOKENIZER.save(tmp_path)
    config = {"do_lower_case": False, "strip_accents": None, "mask_token": {"content": "the"}, "model_max_length": 512}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = tokenizers.load(tmp_path)
    assert not loaded.lower and loaded.strip_accents is None and loaded.mask_token == "the" and loaded.split_cjk
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<pad>"}')
    assert tokenizers.load(tmp_path).pad_token_id == len(VOCABULARY)  # the next id, as transformers gives it
    for content, message in [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"do_lower_case": 1}', "field 'do_lower_case' must be bool, got int"),
        ('{"pad_token": ""}', "the content of an added token must be a non-empty str"),
        ('{"pad_token": ["<pad>"]}', "field 'pad_token' must be str, got list"),
    ]:
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(ValueError, match=f"tokenizer_config.json: {message}"):
            tokenizers.load(tmp_path)


def change(*path, value):
    def apply(content):
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    "fault, message",
    [
        (change("model", "type", value="Unigram"), "type 'Unigram', expected .*'WordPiece'"),
        (change("model", "vocab", value=[]), "field 'vocab' must be dict, got list"),
        (change("model", "vocab", "a", value=0), r"'\[PAD\]' and 'a' have the same id, 0"),
        (change("model", "vocab", "a", value=10**12), "ids must be 0 ... .*, got 1000000000000 for 'a'"),
        (change("model", "vocab", "a", value="1"), "got '1' for 'a'"),
        (change("model", "unk_token", value="<unk>"), "'<unk>' is not in the vocabulary"),
        (change("model", "max_input_chars_per_word", value=0), "max_word_chars must be at least 1"),
        (change("normalizer", value={"type": "Lowercase"}), "'normalizer' must be of type 'BertNormalizer', got 'Lowercase'"),
        (change("normalizer", "lowercase", value=None), "'lowercase' must be bool, got NoneType"),
        (change("pre_tokenizer", value=None), "'pre_tokenizer' must be of type 'BertPreTokenizer', got None"),
        (change("decoder", value={"type": "ByteLevel"}), "'decoder' must be of type 'WordPiece', got 'ByteLevel'"),
        (change("post_processor", "single", value=[]), "'post_processor' must make"),
        (change("post_processor", "special_tokens", "[CLS]", "ids", value=[0]), r"'\[CLS\]' has id 0, and is"),
        (change("decoder", "prefix", value="@@"), "prefix of decoder must be the model's, '##', got '@@'"),
        (change("post_processor", "pair", 3, "Sequence", "type_id", value=0), "'post_processor' must make"),
        (change("added_tokens", 0, "lstrip", value=1), r"flags of added token '\[PAD\]' must be bool, got 1"),
        (change("added_tokens", 0, "id", value=3), r"added token '\[PAD\]' has id 3, and 0 in the vocabulary"),
        (change("added_tokens", value=[3]), "'added_tokens' must be a list of objects, got int"),
        (change("model", value=3), "field 'type' is missing"),
    ],
)
def test_what_is_not_berts(tmp_path, fault, message):
    content = json.loads(TOKENIZER.to_json())
    fault(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"tokenizer\.json: .*{message}"):
        tokenizers.load(tmp_path)


def test_other_forms_of_the_file(tmp_path):
    content = json.loads(TOKENIZER.to_json())
    path = tmp_path / "tokenizer.json"
    content["post_processor"] = {
        "type": "BertProcessing",
        "sep": ["a", VOCABULARY.index("a")],
        "cls": ["b", VOCABULARY.index("b")],
    }
    content["added_tokens"].append({"id": len(VOCABULARY), "content": "<new>", "special": True})
    content["decoder"] = content["normalizer"] = None
    path.write_text(json.dumps(content))
    loaded = tokenizers.load(path)
    assert (loaded.cls_token, loaded.sep_token) == ("b", "a")
    assert loaded.vocabulary == (*VOCABULARY, "<new>") and loaded.encode("<new>").tolist() == [len(VOCABULARY)]
    assert not (loaded.lower or loaded.strip_accents or loaded.split_cjk or loaded.clean_text)
    for name in ("added_tokens", "post_processor"):
        del content[name]
    path.write_text(json.dumps(content))
    assert tokenizers.load(path).special_tokens == tuple(SPECIAL)


def test_the_file_of_a_run():
    """A checkpoint hands over the file's content, which was not read by `files.read_tokenizer`."""
    assert tokenizers.files.tokenizer_of("x", json.loads(TOKENIZER.to_json()), tokenizers.CLASSES) == TOKENIZER


LINES = [*SPECIAL, "the", "dog ", "", "the", "a\t", "\u3000", "do", "##gs\u2003", "", "do", " b"]


def test_published_vocabularies_with_faults(tmp_path):
    """Duplicates, blank lines, blanks at the end of lines: ids are the lines' numbers, as in transformers."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*LINES, ""]), encoding="utf-8")
    theirs = transformers.BertTokenizer(vocab=str(path))
    for tokenizer in (tokenizers.load(path), tokenizers.load(tmp_path)):
        assert tokenizer.vocab_size == len(LINES)
        assert [tokenizer.token_to_id(each) for each in ("the", "dog", "do", "a", "")] == [8, 6, 14, 9, None]
        for text in ("the dog dogs a [MASK] b", "do dog", "The  DOGS"):
            ids = tokenizer.encode_pair(text).input_ids.tolist()
            assert ids == theirs(text)["input_ids"]
            assert tokenizer.decode(ids) == theirs.decode(ids)
        assert tokenizer.decode([5, 8, 7, 6]) == "the dog" and tokenizer.id_to_token(5) == ""
        tokenizer.save_pretrained(tmp_path / "again")
        assert tokenizers.load(tmp_path / "again") == tokenizer
        (tmp_path / "again" / "tokenizer.json").unlink()
        assert tokenizers.load(tmp_path / "again").vocabulary == tokenizer.vocabulary
    theirs.save_pretrained(tmp_path / "theirs")
    assert tokenizers.load(tmp_path / "theirs").vocabulary == tokenizer.vocabulary


def test_a_vocabulary_that_is_not_utf8(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\nthe\nna\xefve\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"vocab.txt, line 3: not UTF-8 \(byte 0xef\): save the file as UTF-8$"):
        tokenizers.load(path)
    with pytest.raises(ValueError, match="without white space at its end, so it cannot hold 'a '"):
        WordPiece([*VOCABULARY, "a "]).save_vocabulary(path)
