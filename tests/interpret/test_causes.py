"""What parts of a model cause, against doing the same by hand, and against models built to behave in a known way."""

import numpy as np
import pytest

from minilm import hooks, interpret, models
from minilm.interpret.probes import probe_of
from tests.interpret.fakes import ids_of, made

KINDS = ("gpt", "post-norm", "llama", "bert")


def masked(kind):
    """(model, tokenizer, ids, place) for a prediction of any of the models."""
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    if kind == "bert":
        ids[2] = tokenizer.mask_token_id
        return model, tokenizer, ids, 2
    return model, tokenizer, ids, len(ids) - 1


def output(model, tokenizer, ids, place, answer, foil=None):
    """F by the model's own forward pass."""
    probe = probe_of(model, tokenizer)
    logits = probe.head(np.ascontiguousarray(probe.body(probe.embed(ids[None]))[0][:, place]))[0]
    if foil is not None:
        return logits[answer] - logits[foil]
    return logits[answer] - np.logaddexp.reduce(logits)


# --- ablation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["zero", "mean"])
def test_ablation_of_a_head_is_its_columns_set_to_zero_or_to_their_mean(kind, value):
    model, tokenizer, ids, place = masked(kind)
    result = interpret.ablate(model, ids, place=place, answer=5, value=value, tokenizer=tokenizer)
    assert result.effects.shape == (len(result.names), 2)
    assert result.output == pytest.approx(output(model, tokenizer, ids, place, 5))

    def without(heads):
        heads = heads.copy()
        heads[:, :, 4:] = 0 if value == "zero" else heads[:, :, 4:].mean(axis=1, keepdims=True)
        return heads

    with hooks(model, [], inputs={result.names[1]: without}):
        wanted = result.output - output(model, tokenizer, ids, place, 5)
    assert result.effects[1, 1] == pytest.approx(wanted, abs=1e-12) and wanted


@pytest.mark.parametrize("component, parts", [("stream", 1), ("attn", 1), ("mlp", 1), ("heads", 2), ("neurons", 32)])
def test_a_part_that_gives_nothing_has_no_effect(component, parts):
    model, _, ids, _ = masked("gpt")
    block = model.h[1]
    for layer in (block.attn.c_proj, block.mlp.c_proj):
        layer.weight.value[...] = 0
        layer.bias.value[...] = 0
    effects = interpret.ablate(model, ids, component=component).effects
    assert effects.shape == (3, parts) and np.abs(effects[[0, 2]]).max() > 1e-3
    assert (np.abs(effects[1]).max() < 1e-12) == (component != "stream")  # the stream goes on past a block that adds nothing


# --- patching --------------------------------------------------------------------------------------------------------


def pair(kind):
    model, tokenizer, clean, place = masked(kind)
    corrupted = clean.copy()
    changed = 4 if kind == "bert" else 3
    corrupted[changed] = clean[changed + 1]
    return model, tokenizer, clean, corrupted, place, changed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", ["stream", "attn", "mlp", "heads"])
def test_patching_is_the_run_with_one_activation_of_another(kind, component):
    model, tokenizer, clean, corrupted, place, changed = pair(kind)
    options = {"component": component, "place": place, "answer": 5, "foil": 6, "tokenizer": tokenizer}
    result = interpret.patch(model, clean, corrupted, **options)
    assert result.values.shape == (len(result.names), len(clean), 2)[: 2 + (component == "heads")]
    assert result.clean == pytest.approx(output(model, tokenizer, clean, place, 5, 6))
    probe = probe_of(model, tokenizer)
    side = "inputs" if component == "heads" else "outputs"
    with hooks(model, result.names[1]) as seen:
        probe.body(probe.embed(clean[None]))

    def put(activation):
        activation = activation.copy()
        columns = slice(0, 4) if component == "heads" else slice(None)
        activation[0, changed, columns] = getattr(seen, side)[result.names[1]][0, changed, columns]
        return activation

    with hooks(model, [], **{side: {result.names[1]: put}}):
        F = output(model, tokenizer, corrupted, place, 5, 6)
    value = result.values[1, changed, 0] if component == "heads" else result.values[1, changed]
    assert value == pytest.approx((F - result.corrupted) / (result.clean - result.corrupted), abs=1e-9)


def test_the_stream_carries_all_there_is():
    """Before the first block all lies at the changed token; after the last all at the place that is read."""
    model, _, clean, corrupted, place, changed = pair("gpt")
    values = interpret.patch(model, clean, corrupted, answer=5, foil=6).values  # (L, T)
    assert values[-1, place] == pytest.approx(1) and np.abs(np.delete(values[-1], place)).max() < 1e-9
    assert np.abs(values[:, :changed]).max() < 1e-9  # a causal model: nothing before the change differs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", ["stream", "attn", "mlp", "heads", "neurons"])
def test_attribution_patching_is_the_derivative(kind, component):
    """For two texts that hardly differ the first order is all there is: the embedding of one is moved to the other's by a bit."""
    model, tokenizer, clean, corrupted, place, changed = pair(kind)
    table = probe_of(model, tokenizer).table
    table[clean[changed]] = table[corrupted[changed]] + 1e-4 * table[clean[changed]]
    options = {"component": component, "place": place, "answer": 5, "foil": 6, "tokenizer": tokenizer}
    gradients = model.parameters.gradient_flat.copy()
    first = interpret.attribution_patching(model, clean, corrupted, **options)
    exact = interpret.patch(model, clean, corrupted, **options)
    assert first.values.shape == exact.values.shape and np.abs(exact.values).max() > 1e-2
    np.testing.assert_allclose(first.values, exact.values, atol=3e-3 * np.abs(exact.values).max())
    assert np.array_equal(model.parameters.gradient_flat, gradients)


def test_what_cannot_be_patched_is_refused():
    model, tokenizer, clean, corrupted, *_ = pair("gpt")
    for arguments, options, message in (
        ((model, clean, corrupted[:-1]), {}, "as many tokens"),
        ((model, clean, clean), {"answer": 1, "foil": 2}, "the same of both texts"),
        ((model, clean, corrupted), {"component": "head"}, "component must be"),
        ((model, clean, corrupted), {"answer": 3, "foil": 3}, "foil must be another token"),
        ((model, clean, corrupted), {"place": 99}, "place"),
        ((made("lstm")[0], clean, corrupted), {"component": "heads"}, "component must be"),
    ):
        with pytest.raises(ValueError, match=message):
            interpret.patch(*arguments, **options)


# --- direct logit attribution ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("foil", [None, 6])
@pytest.mark.parametrize("place", [-1, 4])
@pytest.mark.parametrize("kind, terms", [("gpt", 2 + 3 * 4 + 1), ("llama", 1 + 3 * 3 + 1)])
def test_logit_attribution_sums_to_the_logit(kind, terms, place, foil):
    model, _, ids, _ = masked(kind)
    result = interpret.logit_attribution(model, ids, place=place, answer=5, foil=foil)
    probe = probe_of(model)
    logits = probe.head(probe.body(probe.embed(ids[None]))[0][0])[place]
    wanted = logits[5] - (0 if foil is None else logits[foil])
    assert result.output == pytest.approx(wanted) and result.values.sum() == pytest.approx(wanted, abs=1e-10)
    assert result.heads.shape == (3, 2) and result.mlps.shape == (3,) and len(result.names) == terms
    with pytest.raises(ValueError, match="norm_first"):
        interpret.logit_attribution(made("post-norm")[0], ids)


# --- heads -----------------------------------------------------------------------------------------------------------


def test_a_previous_token_head_is_known_by_its_score():
    """A model whose positions are one-hot, and whose first head matches each with the one before."""
    T = D = 16
    config = models.GPTConfig.gpt2(n_layer=1, n_head=2, n_embd=2 * D, n_positions=T, vocab_size=9)
    model = models.GPT(config, seed=0, dtype=np.float64)
    model.wte.weight.value[...] *= 1e-3
    model.wpe.weight.value[...] = 0
    model.wpe.weight.value[:, :D] = np.eye(T)
    W = model.h[0].attn.c_attn.weight.value.reshape(3, 2, D, 2 * D)
    W[0, 0] = W[1, 0] = 0
    W[0, 0, :, :D] = 4 * np.eye(T)  # a query is its place
    W[1, 0, 1:, : D - 1] = 4 * np.eye(T - 1)  # a key is the place after its own
    result = interpret.head_scores(model, texts=2)
    assert result.previous[0, 0] > 0.9 > 0.5 > result.previous[0, 1]
    assert result.induction.max() < 0.3 and result.duplicate.max() < 0.3 and abs(result.copying) < 0.5
    with pytest.raises(ValueError, match="causal Transformer"):
        interpret.head_scores(made("lstm")[0])


def test_an_induction_head_is_known_by_its_score(monkeypatch):
    """Weights on the diagonals that the definitions name, from a model that has them."""
    probe, n = probe_of(made("gpt")[0]), 10
    weights = np.full((3, 2, 2 * n, 2 * n), 0.001)
    t = np.arange(n, 2 * n)
    weights[1, 0, t, t - n + 1] = 0.9  # what came after the same token
    weights[2, 1, t, t - n] = 0.8  # the same token
    monkeypatch.setattr(probe, "attention", lambda ids: weights if np.array_equal(ids[:n], ids[n:]) else None)
    result = interpret.head_scores(probe, length=n)
    assert result.induction[1, 0] == pytest.approx(0.9) and np.delete(result.induction.ravel(), 2).max() < 0.01
    assert result.duplicate[2, 1] == pytest.approx(0.8) and np.delete(result.duplicate.ravel(), 5).max() < 0.01


# --- contrast --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_contrastive_attribution_is_the_difference_of_two(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    options = {"places": [5, len(ids)], "targets": [2, 3], "output": "logit"}
    both = interpret.gradient_x_input(model, ids, **options, foils=[7, 8])
    target = interpret.gradient_x_input(model, ids, **options)
    foil = interpret.gradient_x_input(model, ids, **{**options, "targets": [7, 8]})
    np.testing.assert_allclose(both.values, target.values - foil.values, atol=1e-12)
    whole = interpret.integrated_gradients(model, ids, **options, foils=[7, 8])
    np.testing.assert_allclose(whole.values.sum(axis=1), whole.outputs - whole.baselines, atol=2e-3)
    np.testing.assert_allclose(whole.outputs, both.outputs)
    with pytest.raises(ValueError, match="another token than the target"):
        interpret.gradient_x_input(model, ids, [5], targets=[2], foils=[2])


# --- linear probes ---------------------------------------------------------------------------------------------------


def test_a_probe_reads_what_is_there_and_no_more():
    rng = np.random.default_rng(0)
    labels, words = rng.integers(0, 3, 600), rng.integers(0, 200, 600)
    h = rng.normal(size=(600, 10)).astype(np.float32)
    h[np.arange(600), labels] += 4
    there = interpret.linear_probe(h, labels, groups=words)
    assert there.accuracy > 0.95 and there.selectivity > 0.4 and there.majority < 0.5
    assert (there.predict(h) == labels).mean() > 0.95
    nothing = interpret.linear_probe(rng.normal(size=(600, 10)), labels)
    assert nothing.accuracy < 0.5 and nothing.control is None
    for arguments, message in (((h[:, 0], labels), "h must be"), ((h, labels[:5]), "labels"), ((h, labels - 1), "labels")):
        with pytest.raises(ValueError, match=message):
            interpret.linear_probe(*arguments)


def test_a_probe_of_a_layer():
    """What the hooks show of the first layer tells the tokens apart by the sign of a number in their embedding."""
    model, tokenizer = made("gpt", np.float32)
    ids = np.random.default_rng(0).integers(0, tokenizer.vocab_size, (40, 20))
    labels = (model.wte.weight.value[ids, 0] > 0).ravel().astype(np.int64)
    with hooks(model, "wte") as seen:
        model.loss(ids, ids)
    assert interpret.linear_probe(seen["wte"].reshape(-1, 8), labels).accuracy > 0.95


def test_a_mixture_of_experts_has_no_neurons():
    sizes = {"hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = models.Llama(models.LlamaConfig(vocab_size=9, family="mixtral", num_local_experts=3, **sizes))
    assert interpret.ablate(model, np.arange(5)).effects.shape == (1, 2)
    with pytest.raises(ValueError, match="mixture of experts"):
        interpret.ablate(model, np.arange(5), component="neurons")
