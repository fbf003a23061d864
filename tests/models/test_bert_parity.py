"""BERT against transformers on random weights: logits and every gradient, of pretraining and of the heads for tasks."""

import re

import numpy as np
import pytest

from minilm import models

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

RENAMED = (
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.c_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".ln_1."),
    (r"\.intermediate\.dense\.", ".mlp.c_fc."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.mlp.c_proj."),
    (r"(layer\.\d+)\.output\.LayerNorm\.", r"\1.ln_2."),
)
V, B, T = 97, 3, 19


def our_name(name):
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def pair(kind, **more):
    """A transformers model with random parameters, and ours with the same."""
    sizes = {"vocab_size": V, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 32}
    sizes |= {
        "intermediate_size": 40,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "num_labels": 2 if kind == "QuestionAnswering" else 5,
    }
    theirs = getattr(transformers, f"BertFor{kind}")(transformers.BertConfig(**sizes, attn_implementation="eager")).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator) + name.endswith("LayerNorm.weight"))
    ours = getattr(models, f"BERTFor{kind}")(models.BERTConfig(**sizes))
    ours.parameters.load_state_dict({our_name(name): value.detach().numpy() for name, value in theirs.named_parameters()})
    return ours, theirs


def batch():
    rng = np.random.default_rng(2)
    ids, types, mask = rng.integers(1, V, (B, T)), np.zeros((B, T), np.int64), np.ones((B, T), bool)
    types[:, 8:], mask[1, 15:], mask[2, 9:] = 1, False, False
    inputs = {
        "input_ids": torch.tensor(ids),
        "token_type_ids": torch.tensor(types),
        "attention_mask": torch.tensor(mask.astype(int)),
    }
    return rng, (ids, types, mask), inputs


def same_gradients(ours, theirs):
    assert {our_name(name) for name, _ in theirs.named_parameters()} == set(ours.parameters)
    # a shift of all scores of a softmax changes nothing: of the biases that shift them the gradient is zero but for rounding
    floor = 1e-6 * max(np.abs(parameter.grad.numpy()).max() for parameter in theirs.parameters())
    for name, parameter in theirs.named_parameters():
        gradient, wanted = ours.parameters.gradients[our_name(name)], parameter.grad.numpy()
        assert np.abs(gradient - wanted).max() <= 1e-3 * np.abs(wanted).max() + floor, name


def test_pretraining():
    ours, theirs = pair("PreTraining")
    rng, (ids, types, mask), inputs = batch()
    targets = np.where((rng.random((B, T)) < 0.3) & mask, rng.integers(0, V, (B, T)), -100)
    follows = np.array([0, 1, 1])
    tokens, relation = ours.logits(ids, types, mask)
    wanted = theirs(**inputs, labels=torch.tensor(targets), next_sentence_label=torch.tensor(follows))
    assert np.abs(tokens - wanted.prediction_logits.detach().numpy())[mask].max() <= 1e-4
    assert np.abs(relation - wanted.seq_relationship_logits.detach().numpy()).max() <= 1e-4
    loss, saved = ours.forward(ids, targets, types, mask, follows)
    ours.backward(saved)
    wanted.loss.backward()
    assert loss == pytest.approx(wanted.loss.item(), rel=1e-5)
    same_gradients(ours, theirs)


@pytest.mark.parametrize("kind", ["SequenceClassification", "TokenClassification", "QuestionAnswering"])
def test_tasks(kind):
    ours, theirs = pair(kind)
    rng, (ids, types, mask), inputs = batch()
    if kind == "QuestionAnswering":
        labels = np.array([[3, 4], [0, 9], [8, 8]])
        more = {"start_positions": torch.tensor(labels[:, 0]), "end_positions": torch.tensor(labels[:, 1])}
    else:
        labels = rng.integers(0, 5, B) if kind == "SequenceClassification" else np.where(mask, rng.integers(0, 5, (B, T)), -100)
        more = {"labels": torch.tensor(labels)}
    wanted = theirs(**inputs, **more)
    logits = ours.logits(ids, types, mask)
    if kind == "QuestionAnswering":
        expected = torch.stack([wanted.start_logits, wanted.end_logits], dim=-1)
    else:
        expected = wanted.logits
    assert np.abs(logits - expected.detach().numpy()).max() <= 1e-4
    loss, saved = ours.forward(ids, labels, types, mask)
    ours.backward(saved)
    wanted.loss.backward()
    assert loss == pytest.approx(wanted.loss.item(), rel=1e-5)
    same_gradients(ours, theirs)
