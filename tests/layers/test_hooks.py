"""Activations and gradients by name, others in their place, and a model that is then as it was."""

import numpy as np
import pytest

import minilm
from minilm import layers, models, optimizers
from minilm.random import Key

IDS = np.arange(8).reshape(2, 4) % 7


def gpt(dtype=np.float32):
    config = models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=8, n_positions=4, vocab_size=7)
    return models.GPT(config, seed=0, dtype=dtype)


def untouched(model):
    return not any(
        {"forward", "backward", "attend", "attend_backward", "step", "_op_of"} & set(vars(layer))
        for _, layer in model.named_layers()
    )


def test_every_layer_is_kept_and_then_left_alone():
    model = gpt()
    before = model.forward(IDS, IDS, key=Key(1))[0]
    with minilm.hooks(model) as seen:
        loss, saved = model.forward(IDS, IDS, key=Key(1))
        model.backward(saved)
    assert loss == before and untouched(model)
    assert set(seen) == set(seen.gradients) == {name for name, _ in model.named_layers() if name}
    assert seen["h.1"].shape == seen.gradients["h.1"].shape == (2, 4, 8) and seen["lm_head"].shape == (2, 4, 7)
    assert np.array_equal(seen.inputs["h.1"], seen["h.0"]) and seen.calls["h.1"] == 1
    assert "h.1.attn.c_proj (2, 4, 8)" in repr(seen)
    with pytest.raises(ZeroDivisionError), minilm.hooks(model, outputs={"h.0": lambda _: 1 / 0}):
        model.forward(IDS, IDS)
    assert untouched(model)


def test_names_by_pattern():
    model = gpt()
    with minilm.hooks(model, ["h.?", "ln_f"]) as seen:
        model.loss(IDS, IDS)
    assert list(seen) == ["h.0", "h.1", "ln_f"]
    for pattern, message in (("h.7", "'h.7': did you mean 'h.1'"), ("encoder.layer", "no layer of the model is named")):
        with pytest.raises(ValueError, match=message), minilm.hooks(model, pattern):
            pass


def test_gradients_are_those_of_finite_differences():
    """The derivative of the loss by a number inside the model, which a replacement moves."""
    model, step = gpt(np.float64), 1e-6
    with minilm.hooks(model, ["h.0", "h.1.mlp.c_proj"]) as seen:
        _, saved = model.forward(IDS, IDS)
        model.backward(saved)
    for kind, name, place, gradient in (
        ("outputs", "h.0", (1, 2, 3), seen.gradients["h.0"]),
        ("outputs", "h.1.mlp.c_proj", (0, 1, 5), seen.gradients["h.1.mlp.c_proj"]),
        ("inputs", "h.1.mlp.c_proj", (0, 1, 15), seen.input_gradients["h.1.mlp.c_proj"]),
    ):
        losses = []
        for sign in (1, -1):
            moved = getattr(seen, kind)[name].copy()
            moved[place] += sign * step
            with minilm.hooks(model, [], **{kind: {name: moved}}):
                losses.append(model.forward(IDS, IDS)[0])
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(gradient[place], abs=1e-8), name


def test_what_is_replaced_moves_what_comes_after():
    model = gpt()
    with minilm.hooks(model) as plain:
        model.loss(IDS, IDS)
    zero = {f"h.{block}.{half}": 0 for block in range(2) for half in ("attn", "mlp")}
    with minilm.hooks(model, outputs=zero) as seen:
        model.loss(IDS, IDS)
    assert np.array_equal(seen["h.1"], plain.inputs["h.0"])  # only the embedding is left in the stream

    def without_second_head(heads):  # (B, T, H K)
        heads = heads.copy()
        heads[..., 4:] = 0
        return heads

    with minilm.hooks(model, inputs={"h.0.attn.c_proj": without_second_head}) as seen:
        model.loss(IDS, IDS)
    projection = model.h[0].attn.c_proj
    wanted = plain.inputs["h.0.attn.c_proj"][..., :4] @ projection.weight.value[:, :4].T + projection.bias.value
    assert np.abs(seen["h.0.attn"] - wanted).max() < 1e-6
    assert np.array_equal(plain.inputs["h.0.attn.c_proj"][..., :4], seen.inputs["h.0.attn.c_proj"][..., :4])


def test_no_gradient_below_a_constant():
    model = gpt()
    with minilm.hooks(model, "h.0.mlp.c_fc", outputs={"h.0": np.linspace(-1, 1, 8)}) as seen:
        _, saved = model.forward(IDS, IDS)
        model.backward(saved)
    assert not seen.gradients["h.0.mlp.c_fc"].any()
    assert not model.parameters.gradients["wpe.weight"].any() and model.parameters.gradients["h.1.attn.c_attn.weight"].any()
    with minilm.hooks(model, inputs={"h.1": np.zeros(8, np.float32)}):
        _, saved = model.forward(IDS, IDS)
        model.parameters.zero_gradients()
        model.backward(saved)
    assert not model.parameters.gradients["wpe.weight"].any()


def gradients(model, saved):
    """All gradients of a model, and no others added to them."""
    model.parameters.zero_gradients()
    model.backward(saved)
    return model.parameters.gradient_flat.copy()


@pytest.mark.parametrize("recompute", [False, True])
def test_backward_is_of_the_function_that_forward_was(recompute):
    """What forward saved under a replacement goes back under it alone, and what it saved without one goes back without."""
    config = models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=8, n_positions=4, vocab_size=7, recompute=recompute)
    model = models.GPT(config, seed=0)

    plain = gradients(model, model.forward(IDS, IDS)[1])
    _, saved = model.forward(IDS, IDS)
    with minilm.hooks(model, [], outputs={"h.1.mlp": 0}):
        _, under = model.forward(IDS, IDS)
        if recompute:
            with pytest.raises(ValueError, match="while minilm.hooks replaced the output of h.1.mlp: run both inside"):
                model.backward(saved)
        else:
            assert np.array_equal(gradients(model, saved), plain)
        replaced = gradients(model, under)
        with minilm.hooks(model, [], inputs={"h.0.attn": 1.0}):
            if not recompute:
                assert np.array_equal(gradients(model, under), replaced)
            _, both = model.forward(IDS, IDS)
        with pytest.raises(ValueError, match="replaced the input of h.0.attn"):
            model.backward(both)
        _, under = model.forward(IDS, IDS)
    assert not np.array_equal(plain, replaced)
    with pytest.raises(ValueError, match="while minilm.hooks replaced the output of h.1.mlp: run both inside"):
        model.backward(under)
    assert np.array_equal(gradients(model, model.forward(IDS, IDS)[1]), plain)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_backward_of_gates_is_of_the_function_that_forward_was(cell):
    config = models.RNNLanguageModelConfig(vocab_size=7, cell=cell, embedding_size=8, hidden_size=8)
    model = models.RNNLanguageModel(config, seed=0, dtype=np.float64)

    plain = gradients(model, model.forward(IDS, IDS)[1])
    _, saved = model.forward(IDS, IDS)
    with minilm.hooks(model, [], outputs={"recurrent.l0.h": 0.5}):
        assert np.array_equal(gradients(model, saved), plain)
        _, under = model.forward(IDS, IDS)
        assert not np.array_equal(gradients(model, under), plain)
    with pytest.raises(ValueError, match="replaced the gate h: run both inside of its block, or both outside"):
        model.backward(under)


def test_what_cannot_be_is_refused():
    model = gpt()
    with minilm.hooks(model, outputs={"h.0": np.ones((3, 3))}):
        with pytest.raises(ValueError, match=r"the output of h.0 has shape \(2, 4, 8\), .* got .*\(3, 3\)"):
            model.forward(IDS, IDS)
    with minilm.hooks(model, outputs={"h.0": lambda y: 2 * y}):
        _, saved = model.forward(IDS, IDS)
        with pytest.raises(ValueError, match="a function replaced the output of h.0"):
            model.backward(saved)


def test_a_recurrent_model_step_by_step():
    config = models.RNNLanguageModelConfig(vocab_size=7, cell="lstm", embedding_size=8, hidden_size=8)
    model = models.RNNLanguageModel(config, seed=0)
    with minilm.hooks(model) as seen:
        _, saved = model.forward(IDS, IDS)
        model.backward(saved)
    (name,) = (name for name in seen if isinstance(seen[name], tuple))
    assert seen[name].y.shape == (4, 2, 8) and len(seen[name]._fields) >= 2
    with minilm.hooks(model, [], outputs={name: 0}) as nothing:
        loss = model.loss(IDS, IDS)
    assert not nothing and loss != model.loss(IDS, IDS)


def test_of_a_tuple_a_number_replaces_all_and_an_array_the_first():
    """A decoder without attention reads the encoder's last states alone, not its y: what was replaced gets no gradient."""
    model = models.Seq2Seq(models.Seq2SeqConfig(9, hidden_size=4, embedding_size=3, attention=None), seed=0)
    texts = np.array([[1, 2, 3]]), np.array([[1, 5, 6]]), np.array([[5, 6, 2]])
    before, saved = model.forward(*texts)
    plain = gradients(model, saved)
    for value, is_seen in ((0.5, True), (np.full(4, 0.5, np.float32), False)):
        with minilm.hooks(model, "encoder", outputs={"encoder": value}) as seen:
            loss, saved = model.forward(*texts)
            replaced = gradients(model, saved)
        assert [(part == 0.5).all() for part in seen["encoder"]] == [True, is_seen, is_seen]
        assert (loss != before) == is_seen and np.array_equal(replaced, plain) != is_seen
        assert model.parameters.gradients["encoder.weight_ih_l0"].any() != is_seen


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_token_of_generation(cell):
    """A recurrent layer's ``step``: its gates are read and replaced, of each token one."""
    config = models.RNNLanguageModelConfig(vocab_size=7, cell=cell, embedding_size=8, hidden_size=8, num_layers=2)
    model = models.RNNLanguageModel(config, seed=0)
    ids = np.array([[1, 4, 2]])
    with minilm.hooks(model, "recurrent.l1.h") as whole:
        model.logits(ids, model.initial_state(1))
    state = model.initial_state(1)
    with minilm.hooks(model, ["recurrent.l1.h", "recurrent"], every=True) as seen:
        for t in range(3):
            _, state = model.step(ids[:, t], state)
    states = np.concatenate(seen["recurrent.l1.h"])  # (T, B, H)
    assert np.abs(states - whole["recurrent.l1.h"]).max() < 1e-6 and seen.calls == {"recurrent.l1.h": 3, "recurrent": 3}
    assert np.array_equal(seen["recurrent"][2][0], states[2])
    with minilm.hooks(model, [], outputs={"recurrent.l1.h": 0}):
        logits, _ = model.step(ids[:, 0], model.initial_state(1))
    assert np.array_equal(logits[0], model.output.bias.value)
    with minilm.hooks(model, [], outputs={"recurrent": 0}):
        assert np.array_equal(model.step(ids[:, 0], model.initial_state(1))[0], logits)
    assert untouched(model) and model.step(ids[:, 0], model.initial_state(1))[0].any()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_step_gives_what_stands_in_the_place_of_its_output_and_its_state(cell):
    config = models.RNNLanguageModelConfig(vocab_size=7, cell=cell, embedding_size=8, hidden_size=8, num_layers=2)
    model, ids = models.RNNLanguageModel(config, seed=0), np.array([3])

    def state_under(replacement):
        with minilm.hooks(model, "recurrent", outputs={"recurrent": replacement}) as seen:
            _, state = model.step(ids, model.initial_state(1))
        parts = state if isinstance(state, tuple) else (state,)
        assert all(np.array_equal(one, other) for one, other in zip(seen["recurrent"][1:], parts, strict=True))
        return parts

    plain = state_under(lambda output: output)
    for replacement, factor in (
        (0.0, 0),  # as of forward: a number for all of (y, h_n, ...), an array for y, a function of the whole tuple
        (np.zeros(8, np.float32), 1),
        (lambda output: type(output)(*(2 * part for part in output)), 2),
    ):
        for before, after in zip(plain, state_under(replacement), strict=True):
            assert before.all() and np.array_equal(after, factor * before)


@pytest.mark.parametrize("options", [{"input_feeding": True}, {"attend_first": True, "attention": "bahdanau"}], ids=str)
def test_every_step_of_a_decoder_that_feeds_back(options):
    """Its cells run a step at a time; the gradient by h_t is that of the target's loss."""
    sizes = {"vocab_size": 9, "hidden_size": 4, "embedding_size": 3}
    model = models.Seq2Seq(models.Seq2SeqConfig(**sizes, **options), seed=0, dtype=np.float64)
    source, inputs, targets = np.array([[1, 2, 3]]), np.array([[1, 5, 6]]), np.array([[5, 6, 2]])
    name = "decoder.recurrent.l0.o"
    with minilm.hooks(model, [name], every=True) as seen:
        _, saved = model.forward(source, inputs, targets)
        model.backward(saved)
    assert [value.shape for value in seen[name]] == [(1, 1, 4)] * 3 and len(seen.gradients[name]) == 3
    losses = []
    for sign in (1, -1):
        calls = []

        def moved(o, t, sign=sign, calls=calls):
            calls.append(t)
            return o + sign * 1e-6 * (np.arange(4) == 2) * (len(calls) == 2)  # of the second step

        with minilm.hooks(model, [], outputs={name: moved}):
            losses.append(float(model.loss(source, inputs, targets)))
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(seen.gradients[name][1][0, 0, 2], abs=1e-8)
    with pytest.raises(ValueError, match="one of the two"):
        with minilm.hooks(model, into=type(seen)(), every=True):
            pass


@pytest.mark.parametrize("options", [{}, {"input_feeding": True}, {"attend_first": True}], ids=str)
@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_the_attention_of_a_decoder(attention, options):
    model = models.Seq2Seq(models.Seq2SeqConfig(9, hidden_size=4, embedding_size=3, attention=attention, **options), seed=0)
    texts = np.array([[1, 2, 3]]), np.array([[1, 5, 6]]), np.array([[5, 6, 2]])
    with minilm.hooks(model, "decoder.attention", every=True) as seen:
        _, saved = model.forward(*texts)
        model.backward(saved)
    contexts = np.concatenate(seen["decoder.attention"], axis=1)  # (B, T, H)
    assert contexts.shape == np.concatenate(seen.gradients["decoder.attention"], axis=1).shape == (1, 3, 4)
    with minilm.hooks(model, [], outputs={"decoder.attention": 0}):
        without = model.loss(*texts)
    assert without != model.loss(*texts)


def test_a_replacement_in_vain_is_warned_of():
    config = models.BERTConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = models.BERTClassifier(config, 2, pooling="cls", seed=0)
    with pytest.warns(UserWarning, match="replaced the output of pooling in vain: nothing ran through it"):
        with minilm.hooks(model, [], outputs={"pooling": 0}):
            model.forward(IDS, np.array([0, 1]))


def test_one_inside_another():
    model = gpt()
    with minilm.hooks(model) as outer:
        with minilm.hooks(model, outputs={"h.0": 0}) as inner:
            model.loss(IDS, IDS)
        model.loss(IDS, IDS)
    assert not inner["h.0"].any() and outer["h.0"].any() and outer.calls["h.0"] == 2 and untouched(model)


def test_a_training_step_inside_is_the_same():
    losses = []
    for hooked in (False, True):
        model = gpt()
        adam = optimizers.AdamW(model.parameters, lr=1e-2)
        for _ in range(3):
            with minilm.hooks(model, "*" if hooked else []):
                loss, saved = model.forward(IDS, IDS)
                model.backward(saved)
            adam.step()
            losses.append(loss)
    assert losses[:3] == losses[3:]


def test_a_layer_alone_has_none():
    with minilm.hooks(layers.Linear(2, 2, seed=0)) as seen:
        pass
    assert not seen
