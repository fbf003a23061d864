"""Models from folders in Hugging Face's layout and back, beside transformers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from minilm import models, tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

GPT = {"vocab_size": 61, "n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 4}
BERT = {
    "vocab_size": 53,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


def disturbed(model):
    """All parameters random and different: no zero bias hides a wrong name."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("kind", ["gpt2", "openai-gpt"])
def test_gpt(tmp_path, kind):
    if kind == "gpt2":
        peer = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT))
    else:
        peer = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**GPT))
    disturbed(peer).save_pretrained(tmp_path / "peer")
    model = models.GPT.from_pretrained(tmp_path / "peer")
    ids = np.random.default_rng(0).integers(0, 61, (3, 20))  # (B, T)
    with torch.no_grad():
        expected = peer(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(model.logits(ids)[0] - expected).max() <= 1e-4
    model.save_pretrained(tmp_path / "ours")
    back, info = type(peer).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        assert torch.equal(back.eval()(torch.from_numpy(ids)).logits, peer(torch.from_numpy(ids)).logits)
    again = models.GPT.from_pretrained(tmp_path / "ours", dtype=np.float64, resid_pdrop=0.0)
    assert again.config.resid_pdrop == 0 and again.dtype == np.float64


def make_bert(name, **more):
    return disturbed(getattr(transformers, name)(transformers.BertConfig(**BERT, **more)))


@pytest.mark.parametrize(
    ("peer_name", "name", "more"),
    [
        ("BertModel", "BERT", {}),
        ("BertForPreTraining", "BERTForPreTraining", {}),
        ("BertForSequenceClassification", "BERTForSequenceClassification", {"num_labels": 3}),
        ("BertForTokenClassification", "BERTForTokenClassification", {"num_labels": 5}),
        ("BertForQuestionAnswering", "BERTForQuestionAnswering", {}),
    ],
)
def test_bert(tmp_path, peer_name, name, more):
    peer = make_bert(peer_name, **more)
    peer.save_pretrained(tmp_path / "peer")
    model = getattr(models, name).from_pretrained(tmp_path / "peer")
    for key, value in model.parameters.items():
        assert np.any(value != 0), key
    ids = np.random.default_rng(0).integers(1, 53, (3, 17))  # (B, T)
    with torch.no_grad():
        expected = (peer.bert if name != "BERT" else peer)(torch.from_numpy(ids)).last_hidden_state.numpy()  # (B, T, D)
    body = model if name == "BERT" else model.bert
    assert np.abs(body.forward(ids)[0].hidden - expected).max() <= 1e-4
    model.save_pretrained(tmp_path / "ours")
    back, info = type(peer).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    for (key, a), (_, b) in zip(peer.named_parameters(), back.named_parameters(), strict=True):
        assert torch.equal(a, b), key


def test_a_new_head_starts_anew(tmp_path):
    make_bert("BertForPreTraining").save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="classifier.weight"):
        model = models.BERTForSequenceClassification.from_pretrained(tmp_path, num_labels=4)
    assert model.classifier.weight.shape == (4, 16)
    assert 0.005 < model.parameters["classifier.weight"].std() < 0.05
    assert not model.parameters["classifier.bias"].any()


def test_errors(tmp_path):
    make_bert("BertModel").save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="GPT reads model_type 'gpt2' or 'openai-gpt', got 'bert'"):
        models.GPT.from_pretrained(tmp_path / "bert")
    with pytest.raises(FileNotFoundError):
        models.GPT.from_pretrained(tmp_path / "nowhere")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    (tmp_path / "bert" / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(ValueError, match="shape") as caught:
        models.BERT.from_pretrained(tmp_path / "bert")
    assert str(caught.value).count("wanted") > 10  # every key
    with pytest.raises(ValueError, match="banded"):
        models.GPT(models.GPTConfig(**GPT, band=4)).save_pretrained(tmp_path / "gpt3")
    assert not (tmp_path / "gpt3").exists()


def test_generate_from_weights(tmp_path):
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(["the cat sat on the mat. " * 40], vocab_size=280)
    config = models.GPTConfig.gpt2(n_embd=16, n_layer=2, n_head=2, vocab_size=tokenizer.vocab_size, n_positions=32)
    models.GPT(config, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    command = [sys.executable, "-m", "minilm", "generate"]
    found = subprocess.run([*command, "--weights", tmp_path, "--prompt", "the", "--tokens", "5"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("the")
    neither = subprocess.run(command, capture_output=True, text=True)
    assert neither.returncode == 2 and "--weights" in neither.stderr and len(neither.stderr.splitlines()) == 1


@pytest.mark.skipif(not os.environ.get("MINILM_TEST_MINILM_L6"), reason="MINILM_TEST_MINILM_L6 names no folder")
def test_sentence_embeddings():
    folder = os.environ["MINILM_TEST_MINILM_L6"]
    sentences = [f"The {a} {b} {c} number {n}." for n, (a, b, c) in enumerate(
        (a, b, c) for a in ("old", "red", "tired", "quick", "naïve") for b in ("fox", "queen", "robot", "idea", "river")
        for c in ("sleeps", "jumps over", "forgets", "sings", "owes", "paints", "sees", "leaves")
    )]  # fmt: skip
    tokenizer, model = tokenizers.load(folder), models.BERT.from_pretrained(folder)
    batch = tokenizer.encode_pairs(sentences)
    mask = np.asarray(batch.attention_mask, bool)  # (B, T)
    hidden = model.forward(batch.input_ids, batch.token_type_ids, mask)[0].hidden  # (B, T, D)
    ours = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    peer = transformers.BertModel.from_pretrained(folder).eval()
    theirs_ids = transformers.BertTokenizerFast.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")
    assert np.array_equal(theirs_ids["input_ids"].numpy(), batch.input_ids)
    with torch.no_grad():
        output = peer(**theirs_ids).last_hidden_state.numpy()
    theirs = (output * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert len(sentences) == 200 and np.abs(ours - theirs).max() <= 1e-5


def test_loading_needs_little_memory(tmp_path):
    """Peak of the process over what it held before: at most 1.2 times the weights, of 40 MB."""
    config = models.GPTConfig.gpt2(n_embd=256, n_layer=8, n_head=4, vocab_size=16000, n_positions=64)
    models.GPT(config, seed=0).save_pretrained(tmp_path)
    code = """
import resource, sys
import numpy as np
from minilm import models
models.GPT(models.GPTConfig.gpt2(n_embd=16, n_layer=1, n_head=2, vocab_size=50, n_positions=8))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
model = models.GPT.from_pretrained(sys.argv[1])
flat = sum(value.nbytes for value in model.parameters.values())
print((peak() - before) / flat)
"""
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) <= 1.2, found.stdout
