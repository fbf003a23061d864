"""What a tokenizer.json puts around a text: as the tokenizers library does, kept when saved, and refused where not known."""

import json
import re

import numpy as np
import pytest

from minilm import tokenizers
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe.alphabet import characters
from minilm.tokenizers.post_processor import framed

MERGES = [("\u0120", "a"), ("\u0120", "\u0120"), ("a", "\u0120"), ("\u0120a", "\u0120"), ("b", "c")]
SPECIAL = ["<s>", "</s>", "<t>"]
VOCABULARY = [*SPECIAL, *characters(), *map("".join, MERGES)]
TEXTS = ["", " a", "  a", "a  a", " a  bc \n\u3000c", "b <t> b", "   b", "\u00fc \U0001f600"]


def special(token, kind=0):
    return {"SpecialToken": {"id": token, "type_id": kind}}


def text(letter, kind=0):
    return {"Sequence": {"id": letter, "type_id": kind}}


def template(single, pair, **tokens):
    named = {token: {"id": token, "ids": [SPECIAL.index(token)], "tokens": [token]} for token in SPECIAL}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {**named, **tokens}}


def level(trim, first=True):
    return {"type": "ByteLevel", "add_prefix_space": first, "trim_offsets": trim, "use_regex": True}


BOS = template([special("<s>"), text("A")], [special("<s>"), text("A"), special("<s>", 1), text("B", 1)])  # Llama 3's
TWICE = template([special("<t>"), text("A"), special("</s>")], [text("B", 1), special("<t>"), special("<t>"), text("A")])
SEVERAL = template(
    [special("ends"), text("A")], [text("A"), text("B")], ends={"id": "ends", "ids": [1, 2], "tokens": ["</s>", "<t>"]}
)
ENDS = {"sep": ["</s>", 1], "cls": ["<s>", 0]}
BERT = {"type": "BertProcessing", **ENDS}
ROBERTA = [
    {"type": "RobertaProcessing", **ENDS, "trim_offsets": trim, "add_prefix_space": first}
    for trim in (False, True)
    for first in (False, True)
]
LEVELS = [level(False), level(True), level(True, False)]
SEQUENCES = [{"type": "Sequence", "processors": each} for each in ([level(False), BOS], [level(True, False), TWICE], [BERT])]
ALL = [None, BOS, TWICE, SEVERAL, BERT, *ROBERTA, *LEVELS, *SEQUENCES]


def content_of(section):
    plain = ByteLevelBPE(VOCABULARY, MERGES, special_tokens=SPECIAL)
    return {**json.loads(plain.to_json()), "post_processor": section}


def written(folder, content):
    folder.joinpath("tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("section", ALL, ids=[f"{number}, {(each or {}).get('type')}" for number, each in enumerate(ALL)])
def test_the_tokenizers_library_adds_the_same(section, tmp_path):
    peer = pytest.importorskip("tokenizers")
    ours = tokenizers.load(written(tmp_path, content_of(section)))
    theirs = peer.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours.save(tmp_path / "saved.json")
    again = tokenizers.load(tmp_path / "saved.json")
    assert again == ours
    for wanted, tokenizer in ((theirs, ours), (peer.Tokenizer.from_file(str(tmp_path / "saved.json")), again)):
        for add in (True, False):
            for first, second in zip(TEXTS, reversed(TEXTS), strict=True):
                one, two = (wanted.encode(*texts, add_special_tokens=add) for texts in ((first,), (first, second)))
                assert tokenizer.encode(first, add_special_tokens=add).tolist() == one.ids
                assert tokenizer.encode(first, second, add_special_tokens=add).tolist() == two.ids
                ids, offsets = tokenizer.encode_with_offsets(first, add_special_tokens=add)
                assert ids.tolist() == one.ids and list(map(tuple, offsets.tolist())) == one.offsets


def test_streams_of_a_text_have_nothing_around_them(tmp_path):
    tokenizer = tokenizers.load(written(tmp_path, content_of(BOS)))
    assert tokenizer.encode("a b").tolist() == [0, *tokenizer.encode("a b", add_special_tokens=False)]
    assert np.concatenate(list(tokenizer.encode_chunks(["a ", "b"]))).tolist() == tokenizer.encode("a b").tolist()[1:]
    assert [ids.tolist()[0] for ids in tokenizer.encode_batch(["a", "b"])] == [0, 0]
    assert all(ids.tolist()[0] for ids in tokenizer.encode_batch(["a", "b"], add_special_tokens=False, threads=2))
    plain = ByteLevelBPE(VOCABULARY, MERGES, special_tokens=SPECIAL)
    assert plain.encode("a", "b").tolist() == [*plain.encode("a"), *plain.encode("b")] and plain != tokenizer


@pytest.mark.parametrize(
    "section, message",
    [
        ({"type": "Unknown"}, "post_processor must be made of .*TemplateProcessing.*, got 'Unknown'"),
        ({"type": "Sequence", "processors": [BOS, BERT]}, "must add tokens in one of its steps at most"),
        ({"type": "Sequence", "processors": [level(True), level(True)]}, "must trim offsets in one of its steps at most"),
        ({"type": "Sequence", "processors": [3]}, "got 3"),
        ({"type": "Sequence"}, "field 'processors' is missing"),
        ({**BERT, "sep": ["</s>"]}, "sep of post_processor must be a token and its id"),
        ({**BERT, "sep": ["</s>", 7]}, "'</s>' has id 7, and is 1 in the vocabulary"),
        ({**BERT, "sep": ["<none>", 1]}, "'<none>' has id 1, and is not in the vocabulary"),
        (template([special("<s>")], BOS["pair"]), "single of post_processor must have Sequence A"),
        (template([text("B")], BOS["pair"]), "single of post_processor must be made of Sequence A and SpecialToken"),
        (template([special("<u>"), text("A")], BOS["pair"]), "must give ids and tokens for '<u>'"),
        (template([], [text("A")]), "single of post_processor must have Sequence A"),
        (template([text("A")], [text("A")]), "pair of post_processor must have Sequence A and B"),
        ([], "field 'post_processor' must be dict"),
    ],
)
def test_what_is_not_known_is_refused(section, message, tmp_path):
    with pytest.raises(ValueError, match=f"tokenizer.json: .*{message}"):
        tokenizers.load(written(tmp_path, content_of(section)))


def test_what_no_tokenizer_json_says(tmp_path):
    """A folder with vocab.json and merges.txt: RoBERTa's class has its frame, and GPT-2's as tokenizer_config.json says."""
    (tmp_path / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(VOCABULARY)}))
    (tmp_path / "merges.txt").write_text("\n".join(map(" ".join, MERGES)))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<t>", "pad_token": "<t>", "mask_token": "<t>"}

    def ids(**config):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**roles, **config}))
        tokenizer = tokenizers.load(tmp_path)
        bare = tokenizer.encode("bc", add_special_tokens=False).tolist()
        return ["bc" if id == bare[0] else id for id in tokenizer.encode("bc", "bc").tolist()]

    assert ids(tokenizer_class="RobertaTokenizer") == [0, "bc", 1, 1, "bc", 1]
    assert ids(tokenizer_class="GPT2Tokenizer") == ["bc", "bc"]
    assert ids(tokenizer_class="GPT2Tokenizer", add_bos_token=True) == [0, "bc", 0, "bc"]
    assert ids(tokenizer_class="GPT2Tokenizer", add_eos_token=True) == ["bc", 1, "bc", 1]


def test_gguf(tmp_path):
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": VOCABULARY,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(VOCABULARY) - 3),
        "tokenizer.ggml.merges": list(map(" ".join, MERGES)),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }

    def ids(**more):
        return (
            ByteLevelBPE.from_gguf(metadata | {f"tokenizer.ggml.{key}": each for key, each in more.items()}).encode("").tolist()
        )

    assert ids() == [0]  # Llama 3's, as llama.cpp takes for granted
    assert ids(pre="gpt-2") == [] and ids(add_bos_token=False) == []
    assert ids(pre="gpt-2", add_bos_token=True, add_eos_token=True) == [0, 1]
    with pytest.raises(ValueError, match="bos_token_id must be in 0 ... .*, got -1"):
        ids(bos_token_id=-1)


@pytest.mark.parametrize("name, value, named", [
    ("truncation", {"max_length": 128, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}, "128"),
    ("padding", {"strategy": "BatchLongest", "direction": "Right", "pad_id": 0, "pad_token": "<t>"}, "BatchLongest"),
])  # fmt: skip
def test_cutting_and_padding_are_the_callers(name, value, named, tmp_path):
    content = {**content_of(None), name: value}
    with pytest.warns(UserWarning, match=rf"the {name} that the tokenizer.json asks for \({named}\) is not applied"):
        tokenizers.load(written(tmp_path, content))


def test_sections_that_no_file_has(tmp_path):
    with pytest.raises(ValueError, match="section 'post_procesor' of tokenizer.json is not known: did you mean 'post_processor'"):
        tokenizers.load(written(tmp_path, {**content_of(None), "post_procesor": BOS}))
    with pytest.raises(ValueError, match="version must be '1.0', got '2.0'"):
        tokenizers.load(written(tmp_path, {**content_of(None), "version": "2.0"}))


def test_a_prompt_begins_as_the_model_was_trained():
    from minilm.generation.text import prompt_ids

    tokenizer = ByteLevelBPE(VOCABULARY, MERGES, special_tokens=SPECIAL, post_processor=framed(("<s>", 0), None))
    assert prompt_ids(tokenizer, "a").tolist()[0] == 0 and re.match("<s>a", tokenizer.decode(prompt_ids(tokenizer, "a")))
