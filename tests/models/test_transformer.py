"""The encoder-decoder transformer: against torch.nn.Transformer, gradients, steps with caches, padding, attention's weights."""

import numpy as np
import pytest

from minilm import gradcheck, models
from minilm.gradcheck.cases import encoder_decoders
from minilm.layers.positions import sinusoids
from minilm.ops.workspace import Workspace
from minilm.random import Key

V, B, S, T, D = 11, 3, 6, 5, 8
LENGTHS = np.array([6, 2, 4])
SIZES = {
    "vocab_size": V,
    "d_model": D,
    "num_heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "hidden_dim": 12,
    "dropout": 0.0,
}


def make(dtype=np.float64, **changes):
    model = models.Transformer(models.TransformerConfig(**{**SIZES, **changes}), dtype=dtype)
    rng = np.random.default_rng(0)
    for value in model.parameters.values():
        value[...] = rng.uniform(0.1, 0.6, value.shape) * rng.choice([-1, 1], value.shape)
    return model


def batch():
    rng = np.random.default_rng(0)
    source, (inputs, targets) = rng.integers(0, V, (B, S)), rng.integers(0, V, (2, B, T))
    targets[0, 3:] = targets[2, 4:] = -100
    return source, inputs, targets


@pytest.mark.parametrize("label", encoder_decoders.MODELS["Transformer"])
def test_gradients(label):
    model, inputs, options = encoder_decoders.MODELS["Transformer"][label]()
    assert gradcheck(model, *inputs, **options)


def _pairs(model, theirs):
    """Our names of parameters, PyTorch's parameters, and which rows of them are ours."""
    for side, parts in (("encoder", ("attn",)), ("decoder", ("attn", "crossattention"))):
        for number, layer in enumerate(getattr(theirs, side).layers):
            prefix = f"{side}.{number}."
            for part in parts:
                attention = layer.self_attn if part == "attn" else layer.multihead_attn
                for kind in ("weight", "bias"):
                    packed = getattr(attention, f"in_proj_{kind}")
                    if part == "attn":
                        yield f"{prefix}attn.c_attn.{kind}", packed, slice(None)
                    else:
                        for i, name in enumerate(("query", "key", "value")):
                            yield f"{prefix}{part}.{name}.{kind}", packed, slice(i * D, (i + 1) * D)
                    yield f"{prefix}{part}.c_proj.{kind}", getattr(attention.out_proj, kind), slice(None)
            norms = ("ln_1", "ln_2") if side == "encoder" else ("ln_1", "ln_cross_attn", "ln_2")
            maps = {name: getattr(layer, f"norm{i}") for i, name in enumerate(norms, 1)}
            maps |= {"mlp.c_fc": layer.linear1, "mlp.c_proj": layer.linear2}
            for name, module in maps.items():
                for kind in ("weight", "bias"):
                    yield f"{prefix}{name}.{kind}", getattr(module, kind), slice(None)
        if model.config.norm_first:
            for kind in ("weight", "bias"):
                yield f"{side}_norm.{kind}", getattr(getattr(theirs, side).norm, kind), slice(None)


@pytest.mark.parametrize("norm_first", [False, True])
def test_agreement_with_torch(norm_first):
    torch = pytest.importorskip("torch")
    model = make(norm_first=norm_first)
    theirs = torch.nn.Transformer(D, 2, 2, 2, 12, 0.0, "relu", batch_first=True, norm_first=norm_first, dtype=torch.float64)
    if not norm_first:
        theirs.encoder.norm = theirs.decoder.norm = None
    with torch.no_grad():
        for name, parameter, rows in _pairs(model, theirs):
            parameter[rows] = torch.tensor(model.parameters[name])
    tables = [torch.tensor(model.parameters[f"{side}_embedding.weight"], requires_grad=True) for side in ("source", "target")]
    source, inputs, targets = batch()
    x, y = (
        table[torch.tensor(ids)] * D**0.5 + torch.tensor(sinusoids(ids.shape[1], D))
        for table, ids in zip(tables, (source, inputs), strict=True)
    )
    hidden = torch.tensor(np.arange(S) >= LENGTHS[:, None])
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    out = theirs(x, y, tgt_mask=later, src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    logits = out @ tables[1].T
    wanted = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(targets.reshape(-1)), label_smoothing=0.1)
    wanted.backward()
    assert np.abs(model.logits(source, inputs, LENGTHS) - logits.detach().numpy()).max() < 1e-10
    loss, saved = model.forward(source, inputs, targets, LENGTHS)
    model.backward(saved)
    assert loss == pytest.approx(wanted.item(), rel=1e-11)
    seen = set()
    for name, parameter, rows in _pairs(model, theirs):
        assert np.abs(model.parameters.gradients[name] - parameter.grad[rows].numpy()).max() < 1e-10, name
        seen.add(name)
    for side, table in zip(("source", "target"), tables, strict=True):
        assert np.abs(model.parameters.gradients[f"{side}_embedding.weight"] - table.grad.numpy()).max() < 1e-10
    assert seen | {"source_embedding.weight", "target_embedding.weight"} == set(model.parameters)


OPTIONS = {"post-norm": {}, "pre-norm": {"norm_first": True, "shared": True}, "learned": {"positions": "learned", "tied": False}}


@pytest.mark.parametrize("label", OPTIONS)
def test_steps_with_caches_are_the_sequence(label):
    model = make(**OPTIONS[label])
    source, inputs, _ = batch()
    full, state = model.logits(source, inputs, LENGTHS), model.encode(source, LENGTHS, tokens=T)
    for t in range(T - 1):
        logits, state = model.step(inputs[:, t], state)
        assert np.abs(logits - full[:, t]).max() < 1e-12
    rows = np.array([2, 0, 0])
    logits, _ = model.step(inputs[rows, T - 1], state.reorder(rows))
    assert np.abs(logits - full[rows, T - 1]).max() < 1e-12
    logits, state = model.step(inputs[:, T - 1], state)  # the state that was given still holds
    assert np.abs(logits - full[:, T - 1]).max() < 1e-12
    with pytest.raises(ValueError, match="too many for a context of 5"):
        model.step(inputs[:, 0], state)


@pytest.mark.parametrize("label", OPTIONS)
def test_padding_changes_nothing_and_no_position_sees_a_later_one(label):
    model = make(**OPTIONS[label])
    source, inputs, targets = batch()
    before = model.logits(source, inputs, LENGTHS)
    other = np.where(np.arange(S) < LENGTHS[:, None], source, (source + 1) % V)
    assert np.array_equal(before, model.logits(other, inputs, LENGTHS))
    assert np.allclose(before[1:2], model.logits(source[1:2, :2], inputs[1:2]), rtol=1e-11, atol=1e-11)
    changed = inputs.copy()
    changed[:, 3] = (changed[:, 3] + 1) % V
    after = model.logits(source, changed, LENGTHS)
    assert np.array_equal(before[:, :3], after[:, :3]) and (before[:, 3:] != after[:, 3:]).any()


@pytest.mark.parametrize("norm_first", [False, True])
def test_weights_of_attention_are_those_used(norm_first):
    model = make(norm_first=norm_first, encoder_layers=1)
    source, inputs, _ = batch()
    for layer in (0, 1, -1):
        weights = model.attention(source, inputs, LENGTHS, layer=layer)
        assert weights.shape == (B, 2, T, S) and np.allclose(weights.sum(axis=-1), 1) and not weights[1, :, :, 2:].any()
    _, saved = model.forward(source, inputs, inputs, LENGTHS)
    _, blocks, _ = saved.decoded
    used = blocks[1].halves.cross[1].attention
    scores = np.einsum("bthk,bshk->bhts", used.query, used.key) * used.scale
    scores = np.where(np.arange(S) < LENGTHS[:, None, None, None], scores, -np.inf)
    assert np.allclose(model.attention(source, inputs, LENGTHS), np.exp(scores - used.logsumexp[..., None]), rtol=1e-10)


def test_a_workspace_changes_nothing():
    model = make(dropout=0.3, attention_dropout=0.2, norm_first=True, shared=True, dtype=np.float32)
    arguments = (*batch(), LENGTHS)
    loss, saved = model.forward(*arguments, key=Key(1, 2))
    model.backward(saved)
    wanted = model.parameters.gradient_flat.copy()
    workspace = Workspace(poison=True)
    for _ in range(2):
        with workspace.step():
            model.parameters.zero_gradients()
            again, saved = model.forward(*arguments, key=Key(1, 2))
            model.backward(saved)
        assert again == loss and np.array_equal(model.parameters.gradient_flat, wanted)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="multiple of num_heads, got 8 and 3"):
        models.TransformerConfig(**{**SIZES, "num_heads": 3})
    with pytest.raises(ValueError, match="unknown key 'd_modell'.*did you mean 'd_model'"):
        models.TransformerConfig.from_dict({**SIZES, "d_modell": 3})
    model = make()
    source, inputs, targets = batch()
    with pytest.raises(ValueError, match=r"lengths\[1\] is 9"):
        model.forward(source, inputs, targets, np.array([6, 9, 4]))
    with pytest.raises(ValueError, match="no gradient flows through a key-value cache or a Memory"):
        attention = model.decoder[0].crossattention
        x = np.ones((B, T, D))
        attention.backward(x, attention.forward(x, attention.remember(x))[1])
