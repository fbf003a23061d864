"""Attention on tensor cores, version 3: against NumPy with the same roundings, against the oracle, and where it is taken.

The numbers are those of the CPU that plays a GPU: its products are exact, and summed in float32 in the order of the columns. A
tensor core sums in another order and rounds its sums otherwise, which only the tolerances against the oracle leave room for.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilm import devices, ops
from minilm.ops.contract import Case
from minilm.ops.cuda.emulated import raw
from minilm.random import Key
from tests.ops import gpu
from tests.ops.properties import OPS, combinations, copied, draw, label, reference, run, same_bits
from tests.ops.rounding import UNIT, attention

OP = OPS["attention"]
KERNELS = ["attention_forward_3", "attention_rows_of_D", "attention_dquery_3", "attention_dkey_dvalue_3"]
SHAPES = [  # B, Tq, Tk, H, K, Kv: 1, primes, more than a block, more than a tile, all widths, odd ones among them
    (1, 1, 1, 1, 1, 1),
    (3, 5, 7, 2, 8, 8),
    (1, 64, 64, 1, 16, 16),
    (1, 64, 65, 2, 8, 8),  # causal, a tile of which one query sees one key
    (2, 67, 131, 3, 17, 5),
    (1, 131, 67, 2, 32, 32),
    (1, 65, 132, 1, 48, 64),
    (1, 70, 65, 1, 65, 80),
    (1, 67, 71, 1, 127, 128),
    (1, 3, 67, 1, 2, 97),
]


@pytest.fixture(autouse=True)
def device():
    with gpu.emulated():
        yield


def available() -> bool:
    """Whether the current device takes this version."""
    return devices.gpu_status().available and devices.load(OP.package, "gpu").has_tensor_cores()


def dims(shape):
    return dict(zip(OP.dims, shape, strict=True))


def precision_of(name):
    from minilm.ops.cuda import products

    return products.precision(name)


def ours():
    return [name for name in raw.launches if name.startswith("attention_")]


def on_tensor_cores(case, precision):
    """Forward and backward; AssertionError unless version 3 did it."""
    raw.launches.clear()
    with precision_of(precision):
        found = gpu.run(OP, case)
    assert ours() == KERNELS
    return found


def tile_of(case):
    return 64 if max(case.arguments[name].shape[3] for name in ("query", "value")) <= 64 else 32


def tight(found, case, precision, slack=1, tile=None):
    """But for float32's own error, which may turn a rounding of a weight here and there, the numbers are the reference's."""
    dy = gpu.cotangent(found.outputs["y"])
    wanted, terms, whole = attention(case.arguments, dy, precision, tile or tile_of(case))
    for kind in ("outputs", "gradients"):
        for name, exact in getattr(wanted, kind).items():
            error = np.abs(getattr(found, kind)[name] - exact)
            largest = np.abs(exact).max(initial=0)
            turned = slack * 3 * 2 * UNIT[precision] * terms[name]  # three weights in one sum, to the other neighbour
            own = slack * (4e-6 * largest + 1e-6 * whole[name])  # float32's
            assert error.max(initial=0) <= turned + own, f"{name}: {error.max():.2e}, allowed {turned + own:.2e}"
            assert np.median(error) <= own, f"{name}: {np.median(error):.2e} in half of them, allowed {own:.2e}"


def loose(found, expected, precision):
    """The error is a few roundings of what is multiplied."""
    for kind in ("outputs", "gradients"):
        for name, exact in getattr(expected, kind).items():
            largest = np.abs(exact).max(initial=0)
            error = np.abs(getattr(found, kind)[name] - exact).max(initial=0)
            assert error <= 8 * UNIT[precision] * largest, f"{name}: {error:.2e} of {largest:.2e}"


@pytest.mark.parametrize("precision", UNIT)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_roundings_give_the_same_numbers(shape, precision):
    for options in ({}, {"sees": "causal", "dropout": 0.3}):
        if shape[1] == 1 and not options:
            continue  # one query has a kernel of its own
        case = draw(OP, np.float32, dims(shape), {"sees": "all", "padded": False, "dropout": 0.0, **options})
        tight(on_tensor_cores(case, precision), case, precision)


@pytest.mark.parametrize("precision", UNIT)
@pytest.mark.parametrize("options", combinations(OP), ids=label)
def test_every_option(options, precision):
    for shape in ((2, 70, 68, 2, 9, 16), (2, 30, 131, 1, 16, 7)):
        case = draw(OP, np.float32, dims(shape), options)
        tight(on_tensor_cores(case, precision), case, precision)


@given(data=st.data())
def test_other_sizes(data):
    shape = {
        letter: data.draw(st.integers(1, most), label=letter)
        for letter, most in zip(OP.dims, (2, 140, 140, 2, 40, 40), strict=True)
    }
    options = {k: data.draw(st.sampled_from(v), label=k) for k, v in OP.options.items()}
    precision = data.draw(st.sampled_from(list(UNIT)), label="precision")
    assume(shape["Tq"] > 1 or options["dropout"])  # one query has a kernel of its own
    case = draw(OP, np.float32, shape, options, data.draw(st.integers(0, 3), label="seed"))
    tight(on_tensor_cores(case, precision), case, precision)


@pytest.mark.parametrize("precision", UNIT)
def test_near_the_oracle(precision):
    """The error is at most three times that of the oracle on rounded inputs: weights and their gradients are rounded besides."""
    from tests.ops.rounding import rounded

    for sees, shape in itertools.product(("all", "causal"), ((2, 67, 70, 2, 24, 24), (1, 130, 130, 1, 64, 64))):
        cases, expected = reference(OP, {"sees": sees, "padded": False, "dropout": 0.0}, dims(shape))
        single = cases[np.dtype(np.float32)]
        found = on_tensor_cores(single, precision)
        inputs = dict(single.arguments)
        inputs |= {name: rounded(inputs[name], precision).astype(np.float64) for name in single.differentiable}
        coarse = run(OP, "oracle", Case(inputs, single.differentiable))
        for kind in ("outputs", "gradients"):
            for name, exact in getattr(expected.exact, kind).items():
                allowed = 3 * np.abs(getattr(coarse, kind)[name] - exact).max()
                error = np.abs(getattr(found, kind)[name] - exact).max()
                assert 0 < error <= allowed, f"{name}: {error:.2e}, allowed {allowed:.2e}"


@pytest.mark.parametrize("precision", UNIT)
def test_bits_do_not_depend_on_the_order_of_threads_and_blocks(precision):
    for shape, options in (((2, 70, 132, 1, 16, 9), {"dropout": 0.3}), ((1, 130, 67, 2, 33, 33), {"sees": "causal"})):
        case = draw(OP, np.float32, dims(shape), {"sees": "all", "padded": False, "dropout": 0.0, **options})
        results = []
        for order in ("ascending", "descending", "shuffled"):
            with gpu.emulated(order):
                results.append(on_tensor_cores(case, precision))
        for other in results[1:]:
            same_bits("attention", other, results[0])


@pytest.mark.parametrize("precision", UNIT)
def test_views_are_read_where_they_lie(precision):
    """Slices of a projection to (B, T, 3, H, K), and arrays that begin anywhere, four numbers at a time or one."""
    B, T, H, K = 2, 19, 3, 8
    rng = np.random.default_rng(0)
    packed = rng.standard_normal((B, T, 3, H, K)).astype(np.float32)
    loose_ = np.zeros(packed.size + 1, np.float32)
    loose_[1:] = packed.reshape(-1)
    results = []
    for buffer in (packed, loose_):
        there = devices.to_device(buffer)
        if buffer is loose_:
            there = there[1:].reshape(packed.shape)
        for copies in (False, True):
            q, k, v = (there[:, :, part] for part in range(3))
            q, k, v = (x.copy() for x in (q, k, v)) if copies else (q, k, v)
            with precision_of(precision):
                y, saved = ops.attention.forward(q, k, v, causal=True)
                gradients = ops.attention.backward(devices.to_device(packed[:, :, 0].copy()), saved)
            results.append(devices.to_host((y, *gradients)))
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(other, results[0], strict=True))


@pytest.mark.parametrize("precision", UNIT)
def test_nan_and_large_scores(precision):
    case = draw(OP, np.float32, dims((2, 5, 6, 2, 3, 2)))
    for key in case.differentiable:
        poisoned = copied(case.arguments[key])
        poisoned.reshape(-1)[0] = np.nan
        changed = Case({**case.arguments, key: poisoned}, case.differentiable)
        with np.errstate(all="ignore"):
            found, expected = on_tensor_cores(changed, precision), run(OP, "oracle", changed)
        for kind in ("outputs", "gradients"):
            for k, wanted in getattr(expected, kind).items():
                assert np.array_equal(np.isnan(getattr(found, kind)[k]), np.isnan(wanted)), f"{key} in, {kind} {k} out"
    large = Case({**case.arguments, "query": case.arguments["query"] * 1e4}, case.differentiable)
    found = on_tensor_cores(large, precision)
    assert all(np.isfinite(x).all() for x in (*found.outputs.values(), *found.gradients.values()))
    tight(found, large, precision)


@pytest.mark.parametrize("precision", UNIT)
def test_forward_and_backward_of_other_versions_fit(precision):
    """What forward saves is what the other implementations' backward needs, and the other way round, but for rounding."""
    case = draw(OP, np.float32, dims((2, 20, 30, 2, 8, 8)), {"sees": "causal", "padded": False, "dropout": 0.3})
    expected = run(OP, "oracle", Case({k: v for k, v in case.arguments.items()}, case.differentiable))
    with precision_of(precision):
        on_host, y, saved = gpu.forward(OP, case.arguments)
    found = gpu.backward(OP, y, saved, case.differentiable)  # outside: by version 2
    loose(expected._replace(outputs=gpu.arrays(on_host), gradients=found), expected, precision)
    _, y, saved = gpu.forward(OP, case.arguments)
    with precision_of(precision):
        found = gpu.backward(OP, y, saved, case.differentiable)
    loose(expected._replace(gradients=found), expected, precision)


@pytest.mark.parametrize("precision", UNIT)
def test_shared_memory_is_there_on_every_device(precision):
    """99 KiB a block is what devices of compute capability 8.6 and 12.0 have, the least of all with these instructions."""
    module = devices.load(OP.package, "gpu")
    for width in module.WIDTHS:
        assert max(entry.shared for entry in module.tensor(precision, width).entries.values()) <= 99 * 1024


def launched(case, precision):
    raw.launches.clear()
    with precision_of(precision):
        gpu.run(OP, case)
    return {name.rpartition("_")[2] for name in ours() if name != "attention_rows_of_D"}


def test_where_tensor_cores_are_taken(monkeypatch):
    import cupy

    small = draw(OP, np.float32, dims((1, 2, 3, 1, 4, 4)))
    assert launched(small, "float32") == {"2"}
    assert launched(small, "tf32") == launched(small, "bf16") == {"3"}
    assert launched(draw(OP, np.float64, dims((1, 2, 3, 1, 4, 4))), "bf16") == {"2"}
    assert launched(draw(OP, np.float32, dims((1, 2, 3, 1, 129, 4))), "bf16") == {"2"}
    assert launched(draw(OP, np.float32, dims((1, 2, 3, 1, 4, 129))), "tf32") == {"2"}
    with gpu.version(OP, 2):
        assert launched(small, "bf16") == {"2"}
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
    assert launched(small, "bf16") == {"2"}


@pytest.mark.parametrize("precision", UNIT)
def test_empty(precision):
    for letter in ("B", "Tq", "Tk", "H", "Kv"):
        case = draw(OP, np.float32, {**OP.tiny(), letter: 0})
        with precision_of(precision):
            found = gpu.run(OP, case)
        wanted = run(OP, "oracle", case)
        for kind in ("outputs", "gradients"):
            for name, exact in getattr(wanted, kind).items():
                np.testing.assert_allclose(getattr(found, kind)[name], exact, atol=4 * UNIT[precision])


def test_weights_for_study():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 9, 2, 8)).astype(np.float32) for _ in range(3))
    with precision_of("bf16"):
        output, _ = ops.attention.forward(*devices.to_device((q, k, v)), dropout=0.5, rng=Key(1, 2, 3), return_weights=True)
    with devices.implementation("oracle"):
        wanted, _ = ops.attention.forward(q, k, v, return_weights=True)
    np.testing.assert_allclose(output.weights.get(), wanted.weights, atol=4 * UNIT["bf16"])
