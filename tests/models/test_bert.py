"""BERT: sizes, masks, workspace, learning, and what it refuses."""

import contextlib

import numpy as np
import pytest

import minilm
from minilm import models, optimizers
from minilm.random import Key

V, B, T = 17, 3, 8


def make(kind=models.BERTForPreTraining, dtype=np.float64, **changes):
    settings = {
        "vocab_size": V,
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 10,
    }
    config = models.BERTConfig(**{**settings, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **changes})
    model = kind(config, dtype=dtype)
    rng = np.random.default_rng(5)
    for value in model.parameters.values():
        value[...] = rng.uniform(0.1, 0.5, value.shape) * rng.choice([-1, 1], value.shape)
    return model


def batch(seed=0):
    rng = np.random.default_rng(seed)
    ids, types, mask = rng.integers(1, V, (B, T)), rng.integers(0, 2, (B, T)), np.ones((B, T), bool)
    targets = np.where(rng.random((B, T)) < 0.4, rng.integers(1, V, (B, T)), -100)
    targets[:, 1] = 3
    mask[1, 6:] = False
    return ids, np.where(mask, targets, -100), types, mask, rng.integers(0, 2, B)


@pytest.mark.parametrize("config, count", [(models.BERTConfig.base(), 109_482_240), (models.BERTConfig.large(), 335_141_888)])
def test_the_published_sizes(config, count):
    assert config.parameter_count == count


@pytest.mark.parametrize("changes", [{}, {"intermediate_size": 7, "type_vocab_size": 3, "num_hidden_layers": 1}])
def test_the_count_without_making_it_is_the_count(changes):
    model = make(models.BERT, **changes)
    assert model.parameters.count == model.config.parameter_count


def test_padding_changes_nothing():
    model = make()
    ids, targets, types, mask, follows = batch()
    loss, _ = model.forward(ids, targets, types, mask, follows)
    ids = np.where(mask, ids, 9)
    assert model.forward(ids, targets, types, mask, follows)[0] == loss
    assert model.forward(ids, targets, types, None, follows)[0] != loss


def test_loss_of_the_masked_places_alone_is_that_of_all_logits():
    model = make()
    ids, targets, types, mask, follows = batch()
    loss, saved = model.forward(ids, targets, types, mask, follows)
    tokens, relation = model.logits(ids, types, mask)

    def mean(logits, labels):
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return -np.mean([log_p[index][label] for index, label in np.ndenumerate(labels) if label != -100])

    assert saved.losses == pytest.approx((mean(tokens, targets), mean(relation, follows)), rel=1e-10)
    assert loss == pytest.approx(sum(saved.losses), rel=1e-12)
    score = model.score(ids, targets, types, mask, follows)
    assert score.masked == (targets != -100).sum() and score.loss == pytest.approx(saved.losses[0], rel=1e-12)
    assert score.hits == ((tokens.argmax(-1) == targets) & (targets != -100)).sum()
    assert score.next_hits == (relation.argmax(-1) == follows).sum()


def test_two_weights_weight_the_two_losses():
    gradients = []
    for dloss in ((1.0, 0.0), (0.0, 1.0), (0.25, 3.0)):
        model = make()
        model.backward(model.forward(*batch())[1], dloss=dloss)
        gradients.append(model.parameters.gradient_flat.copy())
    assert np.allclose(gradients[2], 0.25 * gradients[0] + 3 * gradients[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_workspace_changes_nothing(recompute):
    losses = []
    for workspace in (None, minilm.Workspace(poison=True)):
        model = make(dtype=np.float32, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2, recompute=recompute)
        adam = optimizers.Adam(model.parameters, lr=0.01, clip_norm=1.0)
        for number in range(4):
            with contextlib.nullcontext() if workspace is None else workspace.step():
                loss, saved = model.forward(*batch(number), key=Key(0, number))
                model.backward(saved)
            adam.step()
            losses.append(float(loss))
    assert losses[:4] == losses[4:] and len(set(losses)) == 4


@pytest.mark.parametrize(
    "kind, labels",
    [
        (models.BERTForSequenceClassification, np.array([0, 1, 1])),
        (models.BERTForTokenClassification, np.random.default_rng(1).integers(0, 2, (B, T))),
        (models.BERTForQuestionAnswering, np.array([[1, 3], [0, 0], [7, 7]])),
    ],
)
def test_heads_learn(kind, labels):
    config = models.BERTConfig(vocab_size=V, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, hidden_dropout_prob=0.0)
    model = kind(config, seed=0)
    adam = optimizers.AdamW(model.parameters, lr=3e-3)
    ids = batch()[0]
    for _ in range(80):
        loss, saved = model.forward(ids, labels)
        model.backward(saved)
        adam.step()
    assert loss < 0.05


def test_diagnose():
    model = make()
    assert model.diagnose(*batch()) is None
    model.parameters.gradients["cls.predictions.bias"][3] = np.inf
    assert model.diagnose(*batch()) == "gradient of cls.predictions.bias"
    model.bert.pooler.dense.bias.value[0] = np.nan
    assert model.diagnose(*batch()) == "parameter bert.pooler.dense.bias"


def test_wrong_arguments():
    model = make()
    ids, targets, types, mask, follows = batch()
    for call, error, message in (
        (lambda: model.forward(ids, np.full_like(ids, -100)), ValueError, "at least one token to predict"),
        (lambda: model.forward(ids, targets, types + 2, mask), ValueError, r"token_type_ids\[0, 0\] is"),
        (lambda: model.forward(ids, targets, types, mask.astype(int)), TypeError, "key_mask must be a numpy array of bool"),
        (lambda: model.forward(ids, targets, types, mask, follows + 2), ValueError, "next_sentence"),
        (lambda: model.logits(np.ones((1, 11), np.int64)), ValueError, "11 tokens a row, more than max_position_embeddings = 10"),
        (lambda: models.BERTConfig(hidden_size=10), ValueError, "multiple of num_attention_heads, got 10 and 12"),
        (lambda: models.BERTConfig(vocab_size=5, pad_token_id=5), ValueError, "pad_token_id"),
    ):
        with pytest.raises(error, match=message):
            call()
