"""Attention beyond what the registry's tests ask: edges of tiles, rows that see nothing, dropout, memory."""

import tracemalloc

import numpy as np
import pytest

import minilm
from minilm import devices, ops
from minilm.ops.attention import scratch as tiles
from minilm.random import Key
from tests.ops.properties import OPS, agreement, combinations, cross_pairing, hosts, label
from tests.ops.test_ops_peer import both, normal

attention = ops.attention
each = pytest.mark.parametrize("implementation", hosts(OPS["attention"]))


def drawn(dtype, B=2, Tq=9, Tk=9, H=3, K=8, Kv=8):
    shapes = ((B, Tq, H, K), (B, Tk, H, K), (B, Tk, H, Kv))
    return [normal(dtype, *shape, seed=seed) for seed, shape in enumerate(shapes)]


def see(Tq, Tk, causal=False, band=None, key_mask=None):
    """What query i sees, from the definition, one pair at a time."""
    seen = np.ones((1 if key_mask is None else len(key_mask), 1, Tq, Tk), bool)
    for i in range(Tq):
        for j in range(Tk):
            last = i + Tk - Tq
            if causal and (j > last or (band is not None and j <= last - band)):
                seen[..., i, j] = False
            if not causal and band is not None and abs(i - j) >= band:
                seen[..., i, j] = False
    return seen if key_mask is None else seen & key_mask[:, None, None, :]


AROUND = (-1, 0, 1)
EDGES = [(tiles.QUERIES + a, n * tiles.KEYS + b) for a in AROUND for b in AROUND for n in (1, 2)]


@pytest.mark.parametrize("Tq, Tk", [*EDGES, (1, 64), (1, 65), (2, 65), (128, 64)])
def test_where_the_last_key_that_is_seen_meets_the_end_of_a_tile(Tq, Tk):
    """One key too few or too many shows there alone; each query's own last key weighs most."""
    query, key, value = drawn(np.float64, 1, Tq, Tk, 1, 4, 4)
    places = np.arange(Tk)[:, None]
    key[0, :, 0, :2] = np.hstack([np.ones_like(places), places / Tk])
    query[0, :, 0, :2] = 30.0  # the later a key, the larger its weight
    y, saved = attention.forward(query, key, value, causal=True)
    with minilm.implementation("oracle"):
        wanted, kept = attention.forward(query, key, value, causal=True)
        gradients = attention.backward(np.ones_like(y) + value[:, :1], kept)
    np.testing.assert_allclose(y, wanted, rtol=1e-10, atol=1e-12)
    for found, expected in zip(attention.backward(np.ones_like(y) + value[:, :1], saved), gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_one_kernel_serves_every_layout():
    """A view, a read-only array and a broadcast one compile nothing new."""
    from minilm.ops.attention import cpu

    x = normal(np.float32, 2, 70, 3, 4, 32)
    attention.backward(*attention.forward(x[:, :, 0].copy(), x[:, :, 1].copy(), x[:, :, 2].copy()))
    count = len(cpu._forward.signatures), len(cpu._backward.signatures)
    frozen = x.copy()
    frozen.flags.writeable = False
    shared = np.broadcast_to(x[:, :, 1, :1], (2, 70, 4, 32))
    y, saved = attention.forward(frozen[:, :, 0], shared, x[:, ::-1, 2][:, ::-1])
    attention.backward(np.broadcast_to(np.float32(1), y.shape).copy(), saved)
    assert (len(cpu._forward.signatures), len(cpu._backward.signatures)) == count


@each
@both
def test_rows_that_see_nothing(implementation, dtype):
    """Zeros, never NaN, whether the mask, causality or both leave nothing; and no gradient."""
    arrays = drawn(dtype, Tq=70, Tk=40)
    mask = np.ones((2, 40), bool)
    mask[0, :20], mask[1] = False, False
    with minilm.implementation(implementation):
        y, saved = attention.forward(*arrays, causal=True, key_mask=mask)
        gradients = attention.backward(normal(dtype, *y.shape, seed=7), saved)
    assert all(np.isfinite(a).all() for a in (y, *gradients))
    assert (y[0, :50] == 0).all() and (y[1] == 0).all() and (y[0, 50:] != 0).all()
    assert (gradients[0][0, :50] == 0).all() and all((g[1] == 0).all() for g in gradients)
    assert (gradients[1][0, :20] == 0).all() and (gradients[2][0, 20:] != 0).all()
    assert (saved.logsumexp[1] == -np.inf).all() and np.isfinite(saved.logsumexp[0, :, 50:]).all()


@each
@pytest.mark.parametrize("Tq", [2, 70])
def test_no_keys_at_all(implementation, Tq):
    with minilm.implementation(implementation):
        y, saved = attention.forward(*drawn(np.float64, Tq=Tq, Tk=0))
        dquery, dkey, dvalue = attention.backward(y + 1, saved)
    assert (y == 0).all() and (dquery == 0).all() and dkey.size == dvalue.size == 0


@pytest.mark.parametrize("Tq", [1, 130])
def test_scores_that_grow_or_fall_by_thousands(Tq):
    """The running maximum moves at every tile: nothing overflows, and what is small beside it vanishes."""
    K, Tk = 4, 300
    query, value = np.ones((1, Tq, 1, K), np.float32), normal(np.float32, 1, Tk, 1, K)
    for sign in (1, -1):
        key = np.broadcast_to(sign * np.linspace(-3000, 3000, Tk, dtype=np.float32)[:, None, None], (1, Tk, 1, K)).copy()
        y, saved = attention.forward(query, key, value)
        best = Tk - 1 if sign == 1 else 0
        np.testing.assert_allclose(y, np.broadcast_to(value[:, best : best + 1], y.shape), rtol=1e-6)
        assert all(np.isfinite(g).all() for g in attention.backward(y, saved))


def test_a_first_tile_that_a_query_does_not_see():
    """Its maximum is -inf after that tile, and the first score it sees is far below 0: nothing may be scaled by exp(1000)."""
    query, value = np.ones((1, 130, 1, 1)), normal(np.float64, 1, 130, 1, 1)
    key, mask = np.full((1, 130, 1, 1), -1000.0), np.ones((1, 130), bool)
    mask[0, 100:115] = False  # queries 120 to 127 see no key of the first tile of their block, [45, 109)
    y, saved = attention.forward(query, key, value, band=20, key_mask=mask)
    P = see(130, 130, band=20, key_mask=mask)[:, 0] * 1.0
    np.testing.assert_allclose(y[..., 0], P / P.sum(axis=-1, keepdims=True) @ value[..., 0], atol=1e-12)
    assert all(np.isfinite(g).all() for g in attention.backward(y, saved))


@both
@pytest.mark.parametrize("options", [{}, {"band": 40}], ids=str)
def test_one_query_with_a_cache_is_the_last_row(dtype, options):
    """Generation: the newest query over all keys so far gives what it gives within the whole sequence."""
    query, key, value = drawn(dtype, Tq=100, Tk=100, K=32, Kv=32)
    whole, _ = attention.forward(query, key, value, causal=True, **options)
    for new in (1, 3, 7):
        cached, _ = attention.forward(query[:, -new:], key, value, causal=True, **options)
        np.testing.assert_allclose(cached, whole[:, -new:], rtol=0, atol=8 * np.finfo(dtype).eps)


@each
def test_weights_for_study(implementation):
    arrays = drawn(np.float64, Tq=70, Tk=80)
    mask = np.arange(80) < np.array([[75], [0]])
    with minilm.implementation(implementation):
        plain, _ = attention.forward(*arrays, causal=True, key_mask=mask)
        (y, weights), saved = attention.forward(*arrays, causal=True, key_mask=mask, return_weights=True)
        attention.backward(y, saved)
    assert weights.shape == (2, 3, 70, 80) and np.array_equal(y, plain)
    np.testing.assert_allclose(weights[0].sum(axis=-1), 1, rtol=1e-12)
    assert (weights[1] == 0).all() and not weights[:, :, see(70, 80, causal=True)[0, 0] == 0].any()
    np.testing.assert_allclose(np.einsum("bhij,bjhc->bihc", weights, arrays[2]), y, atol=1e-12)


@each
def test_dropout(implementation):
    """Of equal weights the kept ones are counted; another key drops others; p = 1 drops all."""
    query, key, value = np.zeros((2, 80, 3, 4)), normal(np.float64, 2, 500, 3, 4), np.ones((2, 500, 3, 1))
    with minilm.implementation(implementation):
        runs = [attention.forward(query, key, value, dropout=0.2, rng=Key(5, place=place))[0] for place in (0, 0, 1)]
        gone, saved = attention.forward(query, key, value, dropout=1.0, rng=Key(5))
        assert not gone.any() and not any(g.any() for g in attention.backward(gone + 1, saved))
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])
    kept = runs[0] * 0.8 * 500  # (B, Tq, H, 1) kept keys of each row
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-8)
    assert abs(kept.mean() - 400) < 5 * np.sqrt(500 * 0.16 / kept.size)


def test_few_queries_drop_what_many_drop():
    """The element's place in (B, H, Tq, Tk) decides, not the kernel: of 2 queries, of 70, and the oracle."""
    for Tq in (2, 70):
        query, key, value = drawn(np.float64, Tq=Tq, Tk=41)
        found = []
        for implementation in devices.HOST:
            with minilm.implementation(implementation):
                found.append(attention.forward(query, key, value, dropout=0.5, rng=Key(9, 2, 3))[0])
        np.testing.assert_allclose(*found, atol=1e-12)


@pytest.mark.parametrize("options", combinations(OPS["attention"]), ids=label)
@pytest.mark.parametrize("Tq, Tk", [(1, 9), (2, 70), (67, 131), (131, 67)])
def test_both_kernels_in_every_combination(options, Tq, Tk):
    """A few queries go row by row, more by tiles of 64 by 64: sizes on both sides of each."""
    op = OPS["attention"]
    dims = {"B": 2, "Tq": Tq, "Tk": Tk, "H": 2, "K": 33, "Kv": 31}
    agreement(op, options, dims)
    cross_pairing(op, options, dims)


def test_memory_grows_with_the_sequence_not_its_square():
    peaks, held = [], []
    for T in (1024, 4096):
        arrays = drawn(np.float32, B=1, Tq=T, Tk=T, H=2, K=32, Kv=32)
        workspace = minilm.Workspace()
        tracemalloc.start()
        y, saved = attention.forward(*arrays, causal=True)
        attention.backward(y, saved)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        with workspace:
            y, saved = attention.forward(*arrays, causal=True)
            attention.backward(y, saved)
        held.append(workspace.nbytes)
    square = 4096 * 4096 * 4
    assert peaks[1] <= 4.5 * peaks[0] and held[1] <= 4.5 * held[0]
    assert max(*peaks, *held) < square / 4, f"{max(*peaks, *held)} bytes, one head's matrix has {square}"


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "band": 50}, {"band": 77}], ids=str)
def test_one_head_on_several_threads(options):
    """Its gradients come in two passes where threads would idle, and in one where not: the same bits."""
    arrays = drawn(np.float32, B=1, Tq=700, Tk=750, H=1, K=64, Kv=64)
    found = []
    try:
        for number in (1, 2, 3):
            devices.set_threads(number)
            y, saved = attention.forward(*arrays, **options)
            found.append([a.tobytes() for a in (y, *attention.backward(np.cos(y), saved))])
    finally:
        devices.set_threads(None)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "change, named",
    [
        ({"key": np.ones((2, 9, 3, 7))}, "key must have shape"),
        ({"key": np.ones((1, 9, 3, 8))}, "key must have shape"),
        ({"key": np.ones((2, 9, 2, 8))}, "key must have heads whose number divides the 3 of query"),
        ({"key": np.ones((2, 9, 6, 8))}, "key must have heads whose number divides the 3 of query"),
        ({"softcap": 0.0}, "softcap must lie in"),
        ({"softcap": np.inf}, "softcap must lie in"),
        ({"value": np.ones((2, 8, 3, 8))}, "value must have shape"),
        ({"value": np.ones((2, 9, 2, 8))}, "value must have shape"),
        ({"query": np.ones((2, 9, 24))}, "query must have shape"),
        ({"query": np.ones((2, 9, 3, 0)), "key": np.ones((2, 9, 3, 0))}, "query must have heads"),
        ({"key_mask": np.ones((2, 9))}, "key_mask must be a numpy array of bool"),
        ({"key_mask": np.ones((2, 8), bool)}, "key_mask must have shape"),
        ({"key_mask": [[True]]}, "key_mask must be a numpy array of bool"),
        ({"band": 0}, "band must lie in"),
        ({"band": 2.0}, "band must be a whole number"),
        ({"causal": 1}, "causal must be True or False"),
        ({"scale": np.inf}, "scale must lie in"),
        ({"dropout": 1.5}, "dropout must lie in"),
        ({"dropout": 0.1}, "rng must be a minilm.random.Key where dropout is 0.1, got None"),
        ({"rng": 7}, "must be a minilm.random.Key"),
        ({"return_weights": 1}, "return_weights must be True or False"),
    ],
    ids=str,
)
def test_wrong_arguments(change, named):
    query, key, value = drawn(np.float64)
    with pytest.raises((TypeError, ValueError), match=named):
        attention.forward(**{"query": query, "key": key, "value": value, **change})


@each
@pytest.mark.parametrize("T", [3, 70])
def test_gradients_are_written_where_they_belong(implementation, T):
    with minilm.implementation(implementation):
        y, saved = attention.forward(*drawn(np.float32, Tq=T, Tk=T), causal=True)
        dy = normal(np.float32, *y.shape, seed=5)
        expected = attention.backward(dy, saved)
        together = np.full((2, T, 3, 3, 8), np.nan, np.float32)  # (B, T, 3, H, K)
        out = together[:, :, 0], together[:, :, 1], together[:, :, 2]
        assert attention.backward(dy, saved, out=out) is out
    assert all(np.array_equal(together[:, :, part], gradient) for part, gradient in enumerate(expected))
    for wrong in (out[:2], (*out[:2], together[:, :1, 2]), (*out[:2], out[2][..., ::-1])):
        with pytest.raises(ValueError):
            attention.backward(dy, saved, out=wrong)
