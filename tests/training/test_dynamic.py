"""Dynamic evaluation: the rule, what is left of it afterwards, and that no token is predicted from later ones."""

import numpy as np
import pytest

from minilm import models, training
from minilm.optimizers import clip_gradients


def lstm(**options):
    return models.RNNLanguageModel(models.RNNLanguageModelConfig(11, hidden_size=8, embedding_size=5, dropout=0.3), **options)


def gpt():
    return models.GPT(models.GPTConfig(11, n_positions=16, n_embd=8, n_layer=1, n_head=2), seed=0)


def repeated(count=400):
    return np.tile(np.random.default_rng(0).integers(11, size=20), count // 20)


@pytest.mark.parametrize("make", [lstm, gpt])
def test_without_a_rate_it_is_the_plain_loss(make):
    model, tokens = make(), repeated()
    assert training.evaluate_dynamic(model, tokens, lr=0.0).loss == pytest.approx(
        training.evaluate(model, tokens, rows=1).loss, rel=1e-6
    )


@pytest.mark.parametrize("make", [lstm, gpt])
def test_it_learns_what_the_text_repeats_and_leaves_the_weights(make):
    model, tokens = make(), repeated(4000)
    before = model.parameters.flat.copy()
    result = training.evaluate_dynamic(model, tokens, lr=1.0)
    assert result.tokens == len(tokens) - 1
    assert result.loss < training.evaluate(model, tokens).loss - 0.1
    np.testing.assert_array_equal(model.parameters.flat, before)
    assert not model.parameters.gradient_flat.any()


def test_the_rule():
    """The loss of each segment by the weights before it, which are then moved as the formula says."""
    tokens, (lr, decay, time) = repeated(100), (0.5, 0.1, 7)
    model = lstm(dtype=np.float64)
    result = training.evaluate_dynamic(model, tokens, lr=lr, decay=decay, time=time)
    trained, state, total = model.parameters.flat.copy(), None, 0.0
    for start in range(0, len(tokens) - 1, time):
        ids, targets = (
            tokens[None, start : start + time][:, : len(tokens) - 1 - start],
            tokens[None, start + 1 : start + 1 + time],
        )
        loss, saved = model.forward(ids, targets, state)
        model.backward(saved)
        state, total = saved.state, total + loss * ids.size
        clip_gradients(model.parameters, 1.0)
        weights = model.parameters.flat
        weights -= lr * model.parameters.gradient_flat
        weights += decay * (trained - weights)
        model.parameters.zero_gradients()
    assert result.loss == pytest.approx(total / (len(tokens) - 1), rel=1e-10)


def test_an_error_leaves_the_weights():
    model = lstm()
    before = model.parameters.flat.copy()
    with pytest.raises(ValueError, match="99"):
        training.evaluate_dynamic(model, np.array([1, 2, 3, 4, 99, 3]), time=2)
    np.testing.assert_array_equal(model.parameters.flat, before)


def test_what_is_refused():
    with pytest.raises(ValueError, match="two at least"):
        training.evaluate_dynamic(lstm(), [1])
    bert = models.BERTForPreTraining(models.BERTConfig(11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2), seed=0)
    with pytest.raises(ValueError, match="predict the next token, got BERTForPreTraining"):
        training.evaluate_dynamic(bert, repeated())
    for options in ({"lr": -1.0}, {"decay": 2.0}, {"time": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            training.evaluate_dynamic(lstm(), repeated(), **options)
    with pytest.raises(ValueError, match="time"):
        training.evaluate_dynamic(gpt(), repeated(), time=17)
