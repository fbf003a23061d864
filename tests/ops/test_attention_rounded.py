"""Attention on the CPU with products in bfloat16: against NumPy with the same roundings, and against the oracle.

Stated tolerance: results and gradients are within 8 roundings, 8 * 2**-8 of the largest number, of the oracle's in float32, and
within float32's own error of what the oracle's formulas make of the same rounded operands. Where the processor lacks the
instruction all but the refusal is left out.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilm
from minilm import devices, ops
from minilm.ops import target
from minilm.ops.attention import rounded
from minilm.ops.attention.scratch import KEYS
from minilm.ops.contract import Case
from tests.ops.properties import OPS, combinations, copied, cotangent, draw, run, same_bits
from tests.ops.rounding import rounded as nearest
from tests.ops.test_tensor_cores import dims, loose, tight

OP = OPS["attention"]
pairs = pytest.mark.skipif(not target.bfloat16_units(), reason=f"{target.chosen()} has no AVX512-BF16")
SHAPES = [  # B, Tq, Tk, H, K, Kv: odd ones, more than a block, more than a tile and a panel
    (3, 5, 7, 2, 8, 8),
    (1, 64, 65, 2, 8, 8),  # causal, a tile of which one query sees one key
    (2, 67, 131, 3, 17, 5),
    (1, 131, 67, 2, 32, 32),
    (1, 65, 132, 1, 48, 64),
    (1, 70, 65, 1, 65, 80),
]
PLAIN = {"sees": "all", "padded": False, "dropout": 0.0}


def in_bfloat16(case):
    with minilm.precision("bf16"):
        return run(OP, "cpu", case)


def same_roundings(result, case) -> None:
    """But in a band, where tiles begin elsewhere than in `tests.ops.rounding.attention`, weights have the same roundings too."""
    if "band" not in case.arguments:
        tight(result, case, "bf16", tile=KEYS)


@pairs
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_near_the_oracle_and_its_roundings(shape):
    for options in combinations(OP):
        case = draw(OP, np.float32, dims(shape), options)
        with minilm.Workspace(poison=True):
            result = in_bfloat16(case)
        loose(result, run(OP, "oracle", case), "bf16")
        same_roundings(result, case)


@pairs
@given(data=st.data())
def test_other_sizes(data):
    letters = zip(OP.dims, (2, 140, 140, 2, 70, 70), strict=True)
    shape = {letter: data.draw(st.integers(3 if letter == "Tq" else 1, most), label=letter) for letter, most in letters}
    options = {k: data.draw(st.sampled_from(v), label=k) for k, v in OP.options.items()}
    case = draw(OP, np.float32, shape, options, data.draw(st.integers(0, 3), label="seed"))
    same_roundings(in_bfloat16(case), case)


@pairs
@pytest.mark.parametrize("sees", ["all", "causal", "causal grouped"])
def test_gradients_are_those_of_the_loss(sees):
    """Along a random direction, by central differences of the oracle in float64, to the stated tolerance."""
    case = draw(OP, np.float32, dims((2, 70, 75, 2, 16, 24)), {**PLAIN, "sees": sees})
    result, rng = in_bfloat16(case), np.random.default_rng(5)
    double = {k: v.astype(np.float64) if k in case.differentiable else v for k, v in case.arguments.items()}
    for name in case.differentiable:
        direction = rng.standard_normal(double[name].shape)

        def loss(step, name=name, direction=direction):
            moved = Case({**double, name: double[name] + step * direction}, case.differentiable)
            y = run(OP, "oracle", moved).outputs["y"]
            return (y * cotangent(y)).sum()

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        gradient = result.gradients[name]
        assert abs((gradient * direction).sum() - slope) <= 8 * 2.0**-8 * np.linalg.norm(gradient)


@pairs
def test_bits_do_not_depend_on_threads():
    case = draw(OP, np.float32, dims((2, 150, 132, 2, 33, 40)), {**PLAIN, "sees": "causal", "dropout": 0.3})
    results = []
    for threads in (1, 2, 3):
        devices.set_threads(threads)
        results.append(in_bfloat16(case))
    for other in results[1:]:
        same_bits("attention", other, results[0])


@pairs
def test_products_are_rounded_and_little_else():
    """The error is there, and at most three times that of the oracle on rounded inputs."""
    case = draw(OP, np.float32, dims((2, 67, 70, 2, 24, 24)), PLAIN)
    result, exact = in_bfloat16(case), run(OP, "oracle", case)
    inputs = {k: nearest(v, "bf16") if k in case.differentiable else v for k, v in case.arguments.items()}
    coarse = run(OP, "oracle", Case(inputs, case.differentiable))
    for kind in ("outputs", "gradients"):
        for name, wanted in getattr(exact, kind).items():
            error, allowed = (np.abs(getattr(x, kind)[name] - wanted).max() for x in (result, coarse))
            assert 0 < error <= 3 * allowed, name


@pairs
def test_nan_stays():
    case = draw(OP, np.float32, dims((2, 5, 6, 2, 3, 2)), PLAIN)
    for name in case.differentiable:
        poisoned = copied(case.arguments[name])
        poisoned.reshape(-1)[0] = np.nan
        changed = Case({**case.arguments, name: poisoned}, case.differentiable)
        with np.errstate(all="ignore"):
            result, wanted = in_bfloat16(changed), run(OP, "oracle", changed)
        for kind in ("outputs", "gradients"):
            for k, array in getattr(wanted, kind).items():
                assert np.array_equal(np.isnan(getattr(result, kind)[k]), np.isnan(array)), f"{name} in, {kind} {k} out"


@pairs
def test_a_hidden_key_may_hold_anything():
    case = draw(OP, np.float32, dims((1, 70, 75, 1, 16, 16)), PLAIN)
    mask = np.ones((1, 75), bool)
    mask[0, [0, 3, 8, 74]] = False
    results = []
    for held in (0.0, np.nan, np.inf):
        arrays = {name: copied(case.arguments[name]) for name in ("key", "value")}
        for array in arrays.values():
            array[~mask] = held
        results.append(in_bfloat16(Case({**case.arguments, **arrays, "key_mask": mask}, case.differentiable)))
    for other in results[1:]:
        same_bits("attention", other, results[0])


@pairs
def test_weights_for_study_are_those_of_the_rounded_scores():
    case = draw(OP, np.float32, dims((1, 9, 11, 2, 8, 8)), PLAIN)
    with minilm.precision("bf16"):
        output, _ = ops.attention.forward(**case.arguments, return_weights=True)
    np.testing.assert_allclose(output.weights.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rounded.nearest(case.arguments["key"]), nearest(case.arguments["key"], "bf16"))


@pairs
def test_float64_is_not_rounded():
    case = draw(OP, np.float64, dims((1, 9, 11, 2, 8, 8)), PLAIN)
    same_bits("attention", in_bfloat16(case), run(OP, "cpu", case))


@pytest.mark.parametrize("Tq", [1, 9])
def test_what_the_processor_lacks_is_refused(monkeypatch, Tq):
    monkeypatch.setattr(target, "bfloat16_units", lambda: ())
    case = draw(OP, np.float32, dims((1, Tq, 11, 2, 8, 8)), PLAIN)
    with minilm.precision("bf16"), pytest.raises(ValueError, match="'bf16' on a CPU wants AVX512-BF16 or AMX"):
        ops.attention.forward(**case.arguments)
