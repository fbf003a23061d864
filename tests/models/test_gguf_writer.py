"""GGUF files of a model and its tokenizer: what is read again is what was written, and what GGUF has no words for is refused."""

import numpy as np
import pytest

from minilm import cli, models, training
from minilm.cli import conversions
from minilm.models.gguf_writer import write_gguf
from minilm.tokenizers import AddedToken, ByteLevelBPE
from minilm.tokenizers.post_processor import framed
from minilm.weights import Published

SIZES = {"vocab_size": 270, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"max_position_embeddings": 32}
END, TEXT = ("<|endoftext|>", 0), "the cat <tool> sat<tool>on  the<|endoftext|>mat, 1234567"
WAYS = {
    "plain": {},
    "added": {"added_tokens": [AddedToken("<tool>")]},
    "special": {"special_tokens": ["<|endoftext|>", "<tool>"], "eos_token": "<|endoftext|>"},
    "begin": {"post_processor": framed(END, None)},
    "end": {"post_processor": framed(None, END)},
    "both": {"post_processor": framed(END, END)},
    "llama without a beginning": {"pattern": "llama-bpe", "ignore_merges": True},
    "qwen": {"pattern": "qwen2", "normalizer": "NFC"},
}
REFUSED = {
    "normalizer is 'NFC'": {"normalizer": "NFC"},
    "normalizer is None": {"pattern": "qwen2"},
    "ignore_merges is False": {"pattern": "llama-bpe"},
    "added_tokens is": {"added_tokens": [AddedToken("<tool>", lstrip=True)]},
}


def tokenizer(**options):
    base = ByteLevelBPE.train_from_chunks(["the cat sat on the mat. " * 20], vocab_size=267)
    return ByteLevelBPE([*base.vocabulary, "<tool>"], base.merges, **options)


def llama(**changes):
    return models.Llama(models.LlamaConfig(**{**SIZES, **changes}))


@pytest.mark.parametrize("way", WAYS)
def test_the_tokenizer_that_is_read_is_the_one_that_was_written(way, tmp_path):
    own = tokenizer(**WAYS[way])
    write_gguf(llama(), tmp_path / "m.gguf", own)
    again = conversions.read(str(tmp_path / "m.gguf"), None, None).tokenizers["tokenizer.json"]
    for add_special_tokens in (True, False):
        options = {"add_special_tokens": add_special_tokens}
        assert again.encode(TEXT, **options).tolist() == own.encode(TEXT, **options).tolist()


@pytest.mark.parametrize("says", REFUSED)
def test_a_tokenizer_that_would_be_read_as_another_is_refused(says, tmp_path):
    with pytest.raises(ValueError, match=f"GGUF cannot say of the tokenizer that {says}"):
        write_gguf(llama(), tmp_path / "m.gguf", tokenizer(**REFUSED[says]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ids", [None, 0, [0, 5], [0, 5, 7]])
def test_what_ends_a_text(ids, tmp_path):
    model = llama()
    model.published = Published({"bos_token_id": 3, "eos_token_id": ids}, None)
    write_gguf(model, tmp_path / "m.gguf", tokenizer())
    again = models.Llama.from_gguf(tmp_path / "m.gguf")
    assert again.end_ids == model.end_ids and again.published.config["bos_token_id"] == 3


def test_models_that_gguf_has_no_words_for(tmp_path):
    four = llama()
    four.published = Published({"eos_token_id": [0, 1, 2, 3]}, None)
    for model, says in [
        (llama(hidden_act="gelu_pytorch_tanh"), "a model with hidden_act = 'gelu_pytorch_tanh' is not written as GGUF"),
        (llama(vocab_size=267), "the tokenizer has 268 tokens, and the model vectors for 267"),
        (llama(family="qwen3", attention_bias=True), "a qwen3 with attention_bias = True is not written as GGUF"),
        (four, "at most 3 tokens that end a text, and the model has 4"),
    ]:
        with pytest.raises(ValueError, match=says):
            write_gguf(model, tmp_path / "m.gguf", tokenizer())
    assert not list(tmp_path.iterdir())


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path, capsys):
    model = llama()
    write_gguf(model, tmp_path / "sha256-1234", tokenizer())
    for name in ("a.gguf", "b"):
        assert cli.main(["export", str(tmp_path / "sha256-1234"), str(tmp_path / name), "--int8"]) == 0
    loaded = training.load_run(tmp_path / "sha256-1234")
    assert np.array_equal(loaded.model.parameters.flat, model.parameters.flat)
    (tmp_path / "text.gguf").write_text("no such file, but long enough to be one")
    assert cli.main(["generate", str(tmp_path / "text.gguf")]) == 2
    assert "text.gguf: this is no GGUF file: it does not begin with GGUF" in capsys.readouterr().err
