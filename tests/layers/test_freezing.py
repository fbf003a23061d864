"""Parameters that do not learn: no gradient, no work for one, and the bits of all others unchanged."""

import numpy as np
import pytest

import minilm
from minilm import layers, models, optimizers
from minilm.layers import Linear
from minilm.models import lora
from minilm.ops import linear

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 11, (2, 8))


@pytest.mark.parametrize("implementation", ["oracle", "cpu", "cpu_1"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_op_without_x_has_the_same_dx_and_no_dW(implementation, bias):
    x, W, b, dy = (RNG.normal(size=shape) for shape in ((2, 3, 5), (4, 5), (4,), (2, 3, 4)))
    with minilm.implementation(implementation):
        _, saved = linear.forward(x, W, b if bias else None)
        dx, _, db = linear.backward(dy, saved)
        again, none, db_again = linear.backward(dy, saved._replace(x=None))
    assert none is None and (again == dx).all() and again.shape == x.shape
    assert (db is None and db_again is None) if not bias else (db == db_again).all()
    with pytest.raises(ValueError, match="dy must have"):
        linear.backward(dy[..., :3], saved._replace(x=None))


def gradients(model):
    loss, saved = model.forward(IDS, IDS)
    model.backward(saved)
    return {name: gradient.copy() for name, gradient in model.parameters.gradients.items()}


def made(kind):
    if kind in ("lstm", "gru", "rnn"):
        config = models.RNNLanguageModelConfig(vocab_size=11, cell=kind, embedding_size=6, hidden_size=8, num_layers=2)
        return models.RNNLanguageModel(config, seed=0)
    if kind == "gpt":
        return models.GPT(models.GPTConfig(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2), seed=0)
    return models.Llama(
        models.LlamaConfig(vocab_size=11, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2), seed=0
    )


@pytest.mark.parametrize("kind", ["gpt", "llama", "lstm", "gru", "rnn"])
def test_what_is_frozen_has_no_gradient_and_the_rest_its_bits(kind):
    free, frozen = gradients(made(kind)), made(kind)

    def chosen(name):
        return "0" in name or name.endswith("bias")

    part = gradients(frozen.freeze(chosen))
    assert any(map(chosen, part)) and not all(map(chosen, part))
    for name, gradient in part.items():
        assert not gradient.any() if chosen(name) else (gradient == free[name]).all() and gradient.any()
    adam = optimizers.AdamW(frozen.parameters, lr=0.1, weight_decay=0.1)
    before = frozen.parameters.state_dict()
    adam.step()
    after = frozen.parameters.state_dict()
    assert all((before[name] == after[name]).all() == chosen(name) for name in before)
    again = gradients(made(kind).freeze().freeze(lambda name: False))
    assert all((gradient == free[name]).all() for name, gradient in again.items())
    assert not any(gradient.any() for gradient in gradients(made(kind).freeze()).values())


def test_a_frozen_linear_does_not_multiply(monkeypatch):
    from minilm.ops.linear import cpu

    products = []
    monkeypatch.setattr(cpu, "transposed_product", lambda *arguments: products.append(arguments))
    layer, x = Linear(3, 4, seed=0), np.ones((2, 3), np.float32)
    for frozen, count in ((True, 0), (False, 1)):
        layer.freeze(lambda name, frozen=frozen: frozen)
        y, saved = layer.forward(x)
        layer.backward(y, saved)
        assert len(products) == count


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.RNN])
def test_a_frozen_recurrent_layer_multiplies_for_dx_alone(kind, monkeypatch):
    from minilm.ops import recurrent_cpu

    products = []
    for name in ("transposed_product", "transposed_products"):
        plain = getattr(recurrent_cpu, name)
        monkeypatch.setattr(recurrent_cpu, name, lambda *arguments, plain=plain: (products.append(1), plain(*arguments)))
    layer, x, inputs = kind(3, 4, num_layers=2, seed=0), np.ones((2, 5, 3), np.float32), []
    for chosen in (lambda name: True, lambda name: name.endswith("l0"), lambda name: False):
        products.clear()
        out, saved = layer.freeze(chosen).forward(x)
        inputs.append((layer.backward(out, saved)[0].copy(), len(products)))
    assert (inputs[0][0] == inputs[2][0]).all() and (inputs[1][0] == inputs[2][0]).all()
    counts = [count for _, count in inputs]
    assert counts[0] == 0 and 2 * counts[1] == counts[2] > 0


def test_a_frozen_table_adds_no_rows(monkeypatch):
    from minilm.layers import embedding

    layer = layers.Embedding(5, 3, seed=0).freeze()
    y, saved = layer.forward(np.array([1, 1, 4]))
    monkeypatch.setattr(embedding.embedding, "backward", None)
    assert layer.backward(y, saved) is None and not layer.weight.gradient.any()


def test_lora_multiplies_for_its_adapters_alone(monkeypatch):
    from minilm.ops.linear import cpu

    shapes, real = [], cpu.transposed_product

    def counted(a, b, c):
        shapes.append(c.shape)
        real(a, b, c)

    model = made("llama")
    lora.add(model, rank=2)
    model.freeze(lambda name: not lora.is_adapter(name))
    monkeypatch.setattr(cpu, "transposed_product", counted)
    part = gradients(model)
    assert all(gradient.any() == name.endswith("lora_B") for name, gradient in part.items())  # B is zero at first: dA is too
    assert sorted(set(shapes)) == [(2, 8), (8, 2)] and len(shapes) == 8  # A and B of q and v in two layers
