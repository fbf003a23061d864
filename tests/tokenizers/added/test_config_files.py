"""What lies beside a vocabulary is honoured, or refused by name; transformers is the judge."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import AddedToken, ByteLevelBPE

from ..bpe.helpers import learnt, small
from ..bpe.test_gpt1 import ours as gpt1
from ..word_piece.helpers import VOCABULARY

KINDS = {"bpe": "GPT2Tokenizer", "gpt1": "OpenAIGPTTokenizer", "wordpiece": "BertTokenizer"}
ROLES = ("bos_token", "eos_token", "pad_token", "mask_token")
NEW = ["<e>", "<s>", "</s>", "<pad>", "New", "[x]", "    ", "the cat"]
TEXTS = ["the<e>cat", "<s>a</s><pad>", "new New NEW [x]    <e> b", "THE CAT the cat<|endoftext|>[MASK] <unk>", " <e>  x</s> y"]


def vocabulary(kind: str) -> list[str]:
    return list({"bpe": small().vocabulary, "gpt1": gpt1().vocabulary, "wordpiece": VOCABULARY}[kind])


def write(folder, kind: str, tokens, **beside):
    """The oldest form: a vocabulary, its merges, and files beside it by their names without ".json"."""
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    if kind == "wordpiece":
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    else:
        merges = (small() if kind == "bpe" else gpt1()).merges
        (folder / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(tokens)}))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    for name, content in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_read(tmp_path, kind):
    tokens = vocabulary(kind)
    size = len(tokens)
    flags = {"lstrip": False, "rstrip": True, "single_word": False, "normalized": False}
    inside = [*tokens, "<s>"]
    for listed, beside, special in [
        (tokens, {"added_tokens": {"<s>": size}}, False),
        (tokens, {"tokenizer_config": {"added_tokens_decoder": {str(size): {"content": "<s>", **flags}}}}, False),
        (inside, {"special_tokens_map": {"bos_token": "<s>"}}, True),
        (inside, {"special_tokens_map": {"additional_special_tokens": ["<s>"]}}, True),
        (inside, {"tokenizer_config": {"additional_special_tokens": [{"content": "<s>", **flags}]}}, True),
        (inside, {"tokenizer_config": {"extra_special_tokens": {"image": "<s>"}}}, True),
        (inside, {"tokenizer_config": {"image_token": "<s>"}}, True),
        (tokens, {"special_tokens_map": {"pad_token": "<s>"}}, True),  # gets the next id
        (tokens, {"added_tokens": {"<s>": size}, "special_tokens_map": {"pad_token": "<s>"}}, True),
    ]:
        tokenizer = tokenizers.load(write(tmp_path / "x", kind, listed, **beside))
        assert tokenizer.token_to_id("<s>") == size and tokenizer.encode("the<s>the").tolist().count(size) == 1, beside
        assert ("<s>" in tokenizer.special_tokens) == special, beside


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_flags_of_tokenizer_json_go_before_added_tokens_json(tmp_path, kind):
    tokens = vocabulary(kind)
    token = {"content": "<s>", "lstrip": False, "rstrip": True, "single_word": False, "normalized": False, "special": True}
    config = {"tokenizer_config": {"added_tokens_decoder": {str(len(tokens)): token}}}
    tokenizers.load(write(tmp_path / "x", kind, tokens, **config)).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer_config.json").unlink()
    (tmp_path / "saved" / "added_tokens.json").write_text(json.dumps({"<s>": len(tokens)}))  # which knows no flags
    (read,) = (each for each in tokenizers.load(tmp_path / "saved").added_tokens if each.content == "<s>")
    assert read.rstrip and read.special and not read.normalized


def test_the_end_of_a_text_is_the_one_that_is_named(tmp_path):
    tokens = [*vocabulary("bpe"), "</s>", "<s>"]
    config = {"eos_token": "</s>", "bos_token": {"content": "<s>", "__type": "AddedToken"}, "unk_token": None}
    tokenizer = tokenizers.load(write(tmp_path / "x", "bpe", tokens, tokenizer_config=config))
    assert tokenizer.eos_token == "</s>" and tokenizer.special_tokens == ("</s>", "<s>")  # nobody has the usual one
    tokenizer.save_pretrained(tmp_path / "again")
    assert tokenizers.load(tmp_path / "again") == tokenizer
    with pytest.raises(ValueError, match="eos_token must be a special token, got 'a'"):
        ByteLevelBPE(tokens, small().merges, eos_token="a")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["GPTNeoXTokenizer", "LlamaTokenizerFast", "BertJapaneseTokenizer", "MyTokenizer"])
def test_another_class_is_refused_by_name(tmp_path, kind, name):
    folder = write(tmp_path / "x", kind, vocabulary(kind), tokenizer_config={"tokenizer_class": name})
    with pytest.raises(ValueError, match=f"tokenizer_config.json: tokenizer_class is '{name.removesuffix('Fast')}'"):
        tokenizers.load(folder)
    tokenizer = {"bpe": small(), "gpt1": gpt1()}.get(kind) or tokenizers.WordPiece(VOCABULARY)
    tokenizer.save(folder)
    with pytest.raises(ValueError, match="^[^:]*tokenizer_config.json: tokenizer_class is"):
        tokenizers.load(folder)
    for name in (KINDS[kind], f"{KINDS[kind]}Fast", "PreTrainedTokenizerFast"):
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
        assert tokenizers.load(folder) == tokenizer


@pytest.mark.parametrize(
    "beside, message",
    [
        ({"tokenizer_config": {"add_prefix_space": True}}, "tokenizer_config.json: add_prefix_space must be false"),
        ({"tokenizer_config": {"split_special_tokens": True}}, "tokenizer_config.json: split_special_tokens must be false"),
        ({"tokenizer_config": {"tokenizer_class": 3}}, "tokenizer_config.json: field 'tokenizer_class' must be str"),
        ({"tokenizer_config": {"eos_token": 3}}, "tokenizer_config.json: field 'eos_token' must be str, got int"),
        ({"tokenizer_config": {"added_tokens_decoder": []}}, "tokenizer_config.json: field 'added_tokens_decoder' must be dict"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": {}}}}, "tokenizer_config.json: .* must have ids, got 'x'"),
        ({"tokenizer_config": {"added_tokens_decoder": {"1": "a"}}}, "tokenizer_config.json: .* hold objects, got 'a' for 1"),
        ({"tokenizer_config": {"added_tokens_decoder": {"1": {"content": 3}}}}, "tokenizer_config.json: the content .* got 3"),
        ({"special_tokens_map": {"additional_special_tokens": "<s>"}}, "special_tokens_map.json: .* must be list, got str"),
        ({"special_tokens_map": {"pad_token": {"content": ""}}}, "special_tokens_map.json: the content .* got ''"),
        ({"special_tokens_map": [1]}, "special_tokens_map.json: expected a JSON object, got list"),
        ({"added_tokens": {"<s>": "7"}}, "added_tokens.json: the id of '<s>' must be int, got '7'"),
        ({"added_tokens": {"": 7}}, "added_tokens.json: the token of id 7 is empty"),
        ({"added_tokens": {"e": 1000}}, "added token 'e' has id 1000, and .* in the vocabulary"),
        ({"added_tokens": {"<s>": 10**12}}, "got 1000000000000 for '<s>'"),
        ({"added_tokens": {"<s>": 1}}, "id 1 belongs to|the same id, 1"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_named(tmp_path, kind, beside, message):
    with pytest.raises(ValueError, match=message) as caught:
        tokenizers.load(write(tmp_path / "x", kind, vocabulary(kind), **beside))
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


def test_a_name_without_an_id_after_one_that_transformers_adds(tmp_path):
    """There transformers gives the next id to "[MASK]", which no file names."""
    tokens = [token for token in VOCABULARY if token != "[MASK]"]
    folder = write(tmp_path / "x", "wordpiece", tokens, special_tokens_map={"pad_token": "<pad>"})
    with pytest.raises(ValueError, match="special token '<pad>' is not in the vocabulary, and no file gives it an id"):
        tokenizers.load(folder)


@st.composite
def folders(draw):
    """A kind, tokens at the end of its vocabulary, further ones with ids, and files that name some of them."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    possible = NEW if kind == "gpt1" else [each for each in NEW if " " not in each]
    inside = draw(st.lists(st.sampled_from(possible), unique=True, max_size=3))
    outside = draw(st.lists(st.sampled_from([each for each in NEW if each not in inside]), unique=True, max_size=4))
    tokens = [*vocabulary(kind), *inside]
    flag = st.sampled_from([False, False, True])
    flags = st.fixed_dictionaries({name: flag for name in ("lstrip", "rstrip", "single_word", "normalized")})
    numbered = {token: len(tokens) + place for place, token in enumerate(outside)}
    beside = {}
    # Strings only: of an object in tokenizer_config.json that is also in added_tokens.json transformers takes other flags.
    names = st.dictionaries(st.sampled_from(ROLES), st.sampled_from([*inside, *outside] or ["<unk>"]), max_size=2)
    if draw(st.booleans()):
        decoder = {str(id): {"content": token, "special": draw(flag), **draw(flags)} for token, id in numbered.items()}
        beside["tokenizer_config"] = {**draw(names), "tokenizer_class": KINDS[kind], "added_tokens_decoder": decoder}
    else:
        beside["tokenizer_config"] = {**draw(names), "tokenizer_class": KINDS[kind]}
        beside["special_tokens_map"] = {
            role: {"content": token, **draw(flags)} if draw(st.booleans()) else token for role, token in draw(names).items()
        }
        beside["added_tokens"] = numbered
    return kind, tokens, beside


@settings(max_examples=60, deadline=None)
@given(folders())
def test_drawn_folders_are_read_as_transformers_reads_them(tmp_path_factory, folder):
    transformers = pytest.importorskip("transformers")
    kind, tokens, beside = folder
    path = write(tmp_path_factory.getbasetemp() / "drawn", kind, tokens, **beside)
    try:
        theirs = getattr(transformers, KINDS[kind]).from_pretrained(path)
    except (TypeError, ValueError):  # "Missing SpecialToken(s)": a token of the frame with white space
        return
    ours = tokenizers.load(path)
    patterns = ours._added.normalized.patterns
    if len(set(patterns)) < len(patterns):
        return
    for text in TEXTS:
        try:
            wanted = theirs(text, add_special_tokens=False)["input_ids"]
        except BaseException as error:
            assert "bad split" in str(error)
            continue
        assert ours.encode(text).tolist() == wanted, (beside, text)
        if not any(token.special and token.normalized for token in ours.added_tokens):
            assert ours.decode(wanted, skip_special_tokens=True) == theirs.decode(wanted, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["bpe", "gpt1"])
def test_merges_that_are_missing(tmp_path, kind):
    merges = (small() if kind == "bpe" else gpt1()).merges
    folder = write(tmp_path / "x", kind, vocabulary(kind))
    lines = [f"{left} {right}" for left, right in merges]
    made = "".join(merges[-1])
    cls = ByteLevelBPE if kind == "bpe" else tokenizers.GPT1BPE
    for kept in ([], ["#version: 0.2"], ["#version: 0.2", *lines[:-1]], ["#version: 0.2", *lines[: len(lines) // 2]]):
        (folder / "merges.txt").write_text("\n".join([*kept, ""]), encoding="utf-8")
        for load in (cls.from_pretrained, lambda folder: cls.from_files(folder / "vocab.json", folder / "merges.txt")):
            with pytest.raises(ValueError, match=r"merges.txt: merges are missing: none makes token '.*' (nor [\d,]+ more )?of"):
                load(folder)
    fields = json.loads((small() if kind == "bpe" else gpt1()).to_json())
    del fields["model"]["merges"][-1]
    (folder / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=f"tokenizer.json: field 'merges': merges are missing: none makes token '{made}' of"):
        tokenizers.load(folder)


def test_vocabularies_without_merges_are_whole(tmp_path):
    """Bytes alone; and tokens that nobody names and no merge makes, as in published vocabularies."""
    byte_tokens, _ = learnt("ab", 257, 2)
    extra = ["<pad>", "<mask>"]
    folder = write(tmp_path / "x", "bpe", [*byte_tokens[:257], *extra])
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = tokenizers.load(folder)
    assert tokenizer.merges == () and tokenizer.decode(tokenizer.encode("<pad>é")) == "<pad>é"
    assert AddedToken("<|endoftext|>", special=True, id=tokenizer.eos_token_id) in tokenizer.added_tokens
