"""Rotary positions: the tables beside transformers', both layouts, what makes them relative, and what is refused."""

import numpy as np
import pytest

from minilm.ops import rotary

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize("scaling", [None, {"type": "linear", "factor": 4.0}, LLAMA3], ids=["plain", "linear", "llama3"])
def test_tables_are_those_of_transformers(scaling):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    rope = {
        "rope_type": "default",
        **({} if scaling is None else {"rope_type": scaling.get("type"), **scaling}),
        "rope_theta": 500.0,
    }
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 512}
    config = transformers.LlamaConfig(**sizes, rope_parameters=rope, rope_theta=500.0)
    cos, sin = rotary.tables(100, 16, base=500.0, scaling=scaling)
    theirs = LlamaRotaryEmbedding(config)(torch.zeros(1, dtype=torch.float32), torch.arange(100)[None])
    for ours, other in zip((cos, sin), theirs, strict=True):
        assert np.abs(np.concatenate([ours, ours], axis=1) - other[0].numpy()).max() < 2e-5  # they multiply in float32
    x = drawn(2, 100, 3, 16).astype(np.float32)
    turned, _ = apply_rotary_pos_emb(torch.from_numpy(x), torch.from_numpy(x), *theirs, unsqueeze_dim=2)
    assert np.abs(rotary.forward(x, cos, sin)[0] - turned.numpy()).max() < 1e-4


def test_the_layouts_differ_by_the_order_of_numbers():
    cos, sin = rotary.tables(9, 6, dtype=np.float64)
    x = drawn(2, 5, 3, 8)
    order = [0, 3, 1, 4, 2, 5, 6, 7]  # pairs (0, 3), (1, 4), (2, 5) become neighbours
    halves, _ = rotary.forward(x, cos, sin)
    neighbours, _ = rotary.forward(x[..., order], cos, sin, interleaved=True)
    assert np.array_equal(neighbours, halves[..., order])
    assert np.array_equal(halves[..., 6:], x[..., 6:]) and np.abs(halves[:, 1:, :, :6] - x[:, 1:, :, :6]).min() > 0


def test_products_depend_on_the_distance_alone():
    cos, sin = rotary.tables(1000, 8, dtype=np.float64)
    q, k = drawn(1, 1, 1, 8), drawn(1, 1, 1, 8, seed=1)

    def product(p, r):
        return float((rotary.forward(q, cos, sin, np.array([[p]]))[0] * rotary.forward(k, cos, sin, np.array([[r]]))[0]).sum())

    assert abs(product(5, 3) - product(905, 903)) < 1e-12
    assert abs(product(5, 3) - product(5, 4)) > 1e-3
    assert abs(product(0, 0) - float((q * k).sum())) < 1e-12


def test_given_positions_are_rows_of_the_tables():
    cos, sin = rotary.tables(50, 4)
    x = drawn(2, 3, 2, 4).astype(np.float32)
    positions = np.array([[0, 1, 2], [47, 48, 49]])
    y, saved = rotary.forward(x, cos, sin, positions)
    assert np.array_equal(y[0], rotary.forward(x[:1], cos, sin)[0][0])
    assert np.array_equal(y[1], rotary.forward(x[1:], cos[47:], sin[47:])[0][0])
    assert np.abs(rotary.backward(y, saved) - x).max() < 1e-6  # turned back


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cos": np.ones((9, 3))}, r"sin must have shape \(P, R/2\) = \(9, 3\)"),
        ({"cos": np.ones((9, 5)), "sin": np.ones((9, 5))}, r"R in \[2, K = 8\], got shape \(9, 5\)"),
        ({"cos": np.ones((9, 0)), "sin": np.ones((9, 0))}, r"R in \[2, K = 8\], got shape \(9, 0\)"),
        ({"cos": np.ones((4, 4)), "sin": np.ones((4, 4))}, "x has 5 positions, more than the 4 of the tables"),
        ({"positions": np.full((2, 5), 9)}, r"positions\[0, 0\] is 9, wanted an id in \[0, 9\)"),
        ({"positions": np.zeros((2, 4), int)}, r"positions must have shape \(B, T\) = \(2, 5\)"),
        ({"x": np.ones((2, 5, 8))}, r"x must have shape \(B, T, H, K\)"),
    ],
)
def test_wrong_arguments(change, message):
    arguments = {"x": np.ones((2, 5, 3, 8)), "cos": np.ones((9, 4)), "sin": np.ones((9, 4))}
    with pytest.raises(ValueError, match=message):
        rotary.forward(**{**arguments, **change})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"R": 5}, "R must be even, got 5"),
        ({"base": 0.0}, "base must lie in"),
        ({"scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type must be one of 'linear', 'llama3', got 'yarn'"),
        ({"scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor, high_freq_factor, original_max"),
        ({"scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_freq_factor must be less than high_freq_factor, got 4 and 4"),
    ],
)
def test_wrong_tables(options, message):
    with pytest.raises(ValueError, match=message):
        rotary.tables(**{"P": 4, "R": 4, **options})
