"""Attention, positions, feed-forward, blocks and the key-value cache: agreement with PyTorch, masks, recomputation."""

import numpy as np
import pytest

import minilm
from minilm import layers
from minilm.random import Key


def moved(layer, seed=0):
    rng = np.random.default_rng(seed)
    for value in layer.parameters.values():
        value[...] = rng.uniform(0.1, 0.6, value.shape) * rng.choice([-1, 1], value.shape)
    return layer


def draw(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_agrees_with_torch(fused):
    torch = pytest.importorskip("torch")
    B, T, D, H = 2, 5, 12, 3
    layer = moved(layers.MultiHeadAttention(D, H, fused=fused, dtype=np.float64))
    theirs = torch.nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64)
    p = layer.parameters
    if fused:
        parts = [p["c_attn.weight"], p["c_attn.bias"]]
    else:
        parts = [np.concatenate([p[f"{name}.{kind}"] for name in ("query", "key", "value")]) for kind in ("weight", "bias")]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(parts[0]))
        theirs.in_proj_bias.copy_(torch.tensor(parts[1]))
        theirs.out_proj.weight.copy_(torch.tensor(p["c_proj.weight"]))
        theirs.out_proj.bias.copy_(torch.tensor(p["c_proj.bias"]))
    x, mask = draw(B, T, D), np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1]], bool)
    (y, weights), saved = layer.forward(x, key_mask=mask, return_weights=True)
    tx = torch.tensor(x, requires_grad=True)
    ty, tw = theirs(tx, tx, tx, key_padding_mask=torch.tensor(~mask), average_attn_weights=False)
    assert np.abs(y - ty.detach().numpy()).max() < 1e-12
    assert np.abs(weights - tw.detach().numpy()).max() < 1e-12
    dy = draw(B, T, D, seed=2)
    ty.backward(torch.tensor(dy))
    assert np.abs(layer.backward(dy, saved) - tx.grad.numpy()).max() < 1e-11


def test_memory_may_be_of_another_width_and_length():
    layer = moved(layers.MultiHeadAttention(8, 2, fused=False, memory_dim=5, dtype=np.float64))
    y, saved = layer.forward(draw(2, 3, 8), draw(2, 7, 5))
    dx, dmemory = layer.backward(draw(2, 3, 8), saved)
    assert y.shape == (2, 3, 8) and dx.shape == (2, 3, 8) and dmemory.shape == (2, 7, 5)


def test_a_row_that_may_attend_to_nothing_gives_the_bias():
    layer = moved(layers.MultiHeadAttention(8, 2))
    x = draw(2, 3, 8).astype(np.float32)
    mask = np.array([[False] * 3, [True] * 3])
    y, saved = layer.forward(x, key_mask=mask)
    assert np.array_equal(y[0], np.broadcast_to(layer.parameters["c_proj.bias"], (3, 8)))
    dx = layer.backward(np.ones_like(x), saved)
    assert not dx[0].any() and dx[1].any() and np.isfinite(dx).all()


def test_sinusoids():
    table = layers.positions.sinusoids(50, 6)
    p, D = 7, 6
    wanted = [f(p / 10000 ** (2 * i / D)) for i in range(3) for f in (np.sin, np.cos)]
    assert np.allclose(table[p], wanted, rtol=1e-13)
    layer, x = layers.SinusoidalPositions(6), np.zeros((1, 4, 6), np.float32)
    assert np.allclose(layer(x, offset=3)[0], table[3:7], atol=1e-6)
    assert layers.positions.sinusoids(3, 5).shape == (3, 5)


def test_positions_are_added_where_they_are_said_to_be():
    layer = moved(layers.PositionalEmbedding(6, 4, dtype=np.float64))
    x, W = draw(2, 3, 4), layer.parameters["weight"]
    assert np.array_equal(layer(x, offset=2), x + W[2:5])
    positions = np.array([[0, 0, 1], [5, 4, 3]])
    assert np.array_equal(layer(x, positions), x + W[positions])
    with pytest.raises(ValueError, match="position 6, there are 6"):
        layer(x, offset=4)
    with pytest.raises(ValueError, match=r"positions\[0, 0\] is 6"):
        layer(x, positions + 6)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("cross", [True, False])
def test_recomputed_gradients_are_the_same_bits(norm_first, cross):
    x, dy = draw(2, 5, 8).astype(np.float32), draw(2, 5, 8, seed=3).astype(np.float32)
    memory = [draw(2, 4, 8, seed=4).astype(np.float32)] if cross else []
    mask, found = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool), []
    for recompute in (False, True):
        options = {"norm_first": norm_first, "cross_attention": cross, "causal": True, "recompute": recompute}
        block = moved(layers.TransformerBlock(8, 2, dropout=0.3, attention_dropout=0.2, **options))
        with minilm.Workspace(poison=True):
            y, saved = block.forward(x, *memory, key_mask=mask, key=Key(1, 2))
            returned = block.backward(dy, saved)
        found.append([y, *(returned if cross else [returned]), block.parameters.gradient_flat])
    assert all(np.array_equal(a, b) and np.abs(a).max() > 0 for a, b in zip(*found, strict=True))


def test_recomputation_keeps_one_layer_only():
    held = []
    for recompute in (False, True):
        block = layers.TransformerBlock(32, 2, causal=True, recompute=recompute, seed=0)
        workspace = minilm.Workspace()
        x, saved = draw(4, 64, 32).astype(np.float32), []
        with workspace:
            for _ in range(12):
                x, kept = block.forward(x)
                saved.append(kept)
            for kept in saved[::-1]:
                with workspace.scratch():
                    block.backward(x, kept)
        held.append(workspace.nbytes)
    assert held[1] < 0.5 * held[0]


def test_what_a_block_refuses():
    block = layers.TransformerBlock(8, 2)
    x = draw(1, 3, 8).astype(np.float32)
    with pytest.raises(ValueError, match="memory is for a block with cross_attention=True"):
        block.forward(x, x)
    with pytest.raises(ValueError, match="memory must be an array"):
        layers.TransformerBlock(8, 2, cross_attention=True).forward(x)
    with pytest.raises(ValueError, match="embed_dim must be a multiple of num_heads, got 8 and 3"):
        layers.MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match="memory needs fused=False"):
        layers.MultiHeadAttention(8, 2).forward(x, x)
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, D\)"):
        layers.MultiHeadAttention(4, 2).forward(x)
    cache = layers.KeyValueCache(1, 1, 5, 2, 4).extended(3)
    _, saved = layers.MultiHeadAttention(8, 2).forward(x, cache=cache[0])
    with pytest.raises(ValueError, match="no gradient flows through a key-value cache"):
        layers.MultiHeadAttention(8, 2).backward(x, saved)


# --- cache -----------------------------------------------------------------------------------------------------------


def test_a_cache_appends_and_reorders():
    k, v = draw(2, 6, 3, 4), draw(2, 6, 3, 4, seed=2)
    cache = layers.KeyValueCache(2, 2, 6, 3, 4, np.float64)
    for start, stop in ((0, 3), (3, 4), (4, 6)):
        cache = cache.extended(stop - start)
        for layer in range(2):
            keys, values = cache[layer].append(k[:, start:stop] + layer, v[:, start:stop])
            assert np.array_equal(keys, k[:, :stop] + layer) and np.array_equal(values, v[:, :stop])
    other = cache.reorder([1, 1, 0])
    assert np.array_equal(other[1].keys[:, :6], k[[1, 1, 0]] + 1) and other.length == 6
    with pytest.raises(ValueError, match="6 tokens and 1 more are too many for a context of 6"):
        cache.extended(1)


def test_a_cache_may_be_continued_twice():
    k = draw(1, 3, 1, 2)
    cache = layers.KeyValueCache(1, 1, 4, 1, 2, np.float64).extended(1)
    cache[0].append(k[:, :1], k[:, :1])
    first, second = cache.extended(1), cache.extended(1)
    one, _ = first[0].append(k[:, 1:2], k[:, 1:2])
    two, _ = second[0].append(k[:, 2:3], k[:, 2:3])
    assert np.array_equal(one, k[:, :2]) and np.array_equal(two, k[:, [0, 2]])


def test_padding_in_a_cache():
    cache = layers.KeyValueCache(1, 2, 6, 1, 2).extended(3, np.array([0, 2]))
    assert np.array_equal(cache.key_mask, [[1, 1, 1], [0, 0, 1]]) and np.array_equal(cache.positions(), [[0, 1, 2], [0, 0, 0]])
    cache = cache.extended(1)
    assert np.array_equal(cache.key_mask, [[1, 1, 1, 1], [0, 0, 1, 1]]) and np.array_equal(cache.positions(), [[3], [1]])
    assert np.array_equal(cache.reorder([1]).key_mask, [[0, 0, 1, 1]])
