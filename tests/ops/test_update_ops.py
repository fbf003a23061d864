"""What Adam, SGD and clipping promise beyond the registry's tests."""

import numpy as np
import pytest

import minilm
from minilm import ops
from tests.ops.test_op_details import DTYPES, each, normal


def adam(param, grad, m, v, v_max=None, **options):
    ops.adam.step(param, grad, m, v, v_max, step=1, lr=0.1, **options)


def sgd(param, grad, momentum_buffer, **options):
    ops.sgd.step(param, grad, momentum_buffer, step=1, lr=0.1, momentum=0.9, **options)


@each
@pytest.mark.parametrize("update, names", [(adam, "param m v v_max"), (sgd, "param momentum_buffer")])
def test_what_is_written_must_be_writable(implementation, update, names):
    with minilm.implementation(implementation):
        for name in (*names.split(), "grad"):
            for make in (lambda a: a.reshape(8, 2)[:, 0], read_only):
                arrays = {key: np.full(8, 0.5) for key in (*names.split(), "grad")}
                before = {key: a.copy() for key, a in arrays.items()}
                arrays[name] = make(np.full(16 if make is not read_only else 8, 0.5))
                with pytest.raises(ValueError, match=name):
                    update(**arrays, clear=True)
                for key, a in arrays.items():
                    assert np.array_equal(a, before[key]), "refused, yet something was written"
        arrays = {key: np.full(8, 0.5) for key in names.split()}
        update(**arrays, grad=read_only(np.full(8, 0.5)))  # what is only read may be read-only


def read_only(array):
    array.flags.writeable = False
    return array


@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_and_clear(implementation, dtype):
    """`scale` is a multiplied gradient; `clear` zeroes it; both may be had on slices of flat buffers."""
    flat = normal(4, 100).astype(dtype)
    flat[3] = np.abs(flat[3])
    with minilm.implementation(implementation):
        for update, count in ((adam, 4), (sgd, 3)):
            plain, scaled = flat.copy(), flat.copy()
            plain[1] *= dtype(0.25)
            update(*plain[:count], weight_decay=0.1)
            part = scaled[:count, 20:70]
            update(*(row for row in part), weight_decay=0.1, scale=0.25, clear=True)
            for row in (0, 2, 3)[: count - 1]:
                np.testing.assert_array_equal(scaled[row, 20:70], plain[row, 20:70])
            assert (scaled[1, 20:70] == 0).all()
            outside = np.r_[0:20, 70:100]
            np.testing.assert_array_equal(scaled[:, outside], flat[:, outside])


@each
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_of_adam_are_calls_on_slices(implementation, dtype, decoupled):
    """The bits of one call with `ends` are those of a call for each group, also where threads divide a group."""
    N, ends = 100_000, [1, 7, 40_000, 99_999, 100_000]
    flat = normal(4, N).astype(dtype)  # param, grad, m, v
    flat[3] = np.abs(flat[3])
    lr, decay = [0.1, 0.2, 0.05, 0.3, 0.1], [0.0, 0.1, 0.0, 0.2, 0.3]
    together, apart = flat.copy(), flat.copy()
    with minilm.implementation(implementation):
        ops.adam.step(*together, step=3, lr=lr, weight_decay=decay, decoupled=decoupled, scale=0.5, clear=True, ends=ends)
        for g, begin in enumerate((0, *ends[:-1])):
            options = {"lr": lr[g], "weight_decay": decay[g], "decoupled": decoupled}
            ops.adam.step(*apart[:, begin : ends[g]], step=3, scale=0.5, clear=True, **options)
    assert not np.array_equal(together[0], flat[0])
    if implementation == "oracle":  # whose numbers of a group are in the arrays' dtype, and of a call in float64
        np.testing.assert_allclose(together, apart, rtol=1e-5)
    else:
        np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize("ends", [[3], [4, 4], [0, 4], [3, 2, 4], [], [5], [1.5, 4.0], 4])
def test_groups_of_adam_end_with_the_array(ends):
    arrays, groups = [np.ones(4, np.float32) for _ in range(4)], np.size(ends)
    with pytest.raises(ValueError, match="ends must rise"):
        ops.adam.step(*arrays, step=1, lr=[1.0] * groups, weight_decay=[1.0] * groups, ends=ends)
    assert all((array == 1).all() for array in arrays)


@pytest.mark.parametrize("change", [{"lr": [1.0] * 3}, {"weight_decay": [0.1, np.nan]}, {"lr": [-1.0, 1.0]}, {"lr": 1.0}])
def test_each_group_of_adam_has_its_numbers(change):
    arrays = [np.ones(4, np.float32) for _ in range(4)]
    options = {"lr": [1.0, 1.0], "weight_decay": [0.0, 0.1], "ends": [2, 4]} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        ops.adam.step(*arrays, step=1, **options)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"step": 0}, "step"),
        ({"step": 1.0}, "step"),
        ({"lr": -1.0}, "lr"),
        ({"lr": np.inf}, "lr"),
        ({"beta1": 1.0}, "beta1"),
        ({"beta2": -0.1}, "beta2"),
        ({"eps": -1e-8}, "eps"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"scale": np.nan}, "scale"),
        ({"decoupled": 1}, "decoupled"),
        ({"clear": 0}, "clear"),
        ({"grad": np.ones(3, np.float32)}, "grad"),
        ({"m": np.ones(4)}, "m"),
        ({"v": np.ones((3, 1))}, "v"),
    ],
)
def test_adam_wrong_arguments(change, named):
    arguments = {"param": np.ones(3), "grad": np.ones(3), "m": np.zeros(3), "v": np.zeros(3), "step": 1, "lr": 0.1}
    with pytest.raises((TypeError, ValueError), match=rf"\b{named}\b"):
        ops.adam.step(**{**arguments, **change})


@pytest.mark.parametrize(
    "change, named",
    [
        ({"momentum": 0.9}, "momentum_buffer"),
        ({"momentum_buffer": np.zeros(3)}, "momentum_buffer"),
        ({"nesterov": True}, "nesterov"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1, "momentum_buffer": np.zeros(3)}, "nesterov"),
        ({"momentum": 1.5}, "momentum"),
    ],
)
def test_sgd_wrong_arguments(change, named):
    with pytest.raises((TypeError, ValueError), match=rf"\b{named}\b"):
        ops.sgd.step(**{"param": np.ones(3), "grad": np.ones(3), "step": 1, "lr": 0.1, **change})


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_decay_of_adamw_is_not_rounded_away(dtype):
    """1 - lr λ in float32 would be off by a per cent here; the decay itself is not."""
    param = np.linspace(1, 2, 1001).astype(dtype)
    start = param.astype(np.float64)
    zero = [np.zeros(1001, dtype) for _ in range(3)]
    for step in range(1, 201):
        ops.adam.step(param, *zero, step=step, lr=1e-4, weight_decay=0.05, decoupled=True)
    shrunk = (start - param).sum() / start.sum()
    assert abs(shrunk / (1 - (1 - 5e-6) ** 200) - 1) < 0.01


@each
def test_clip(implementation):
    with minilm.implementation(implementation):
        assert ops.clip.norm(np.array([3.0, 4.0])) == 5
        assert ops.clip.norm(np.zeros((0,), np.float32)) == 0
        assert ops.clip.norm(np.full(10, 1e25, np.float32)) == pytest.approx(np.sqrt(10) * 1e25)  # squares overflow float32
        many = np.full(3_000_000, 0.1, np.float32)
        assert ops.clip.norm(many) == pytest.approx(float(np.float32(0.1)) * np.sqrt(3e6), rel=1e-7)
        assert np.isnan(ops.clip.norm(np.array([1.0, np.nan]))) and np.isinf(ops.clip.norm(np.array([1.0, -np.inf])))
    assert ops.clip.scale(5.0, 1.0) == 1 / (5 + 1e-6)
    assert ops.clip.scale(0.5, 1.0) == 1 and ops.clip.scale(0.0, 0.0) == 0
    for norm in (np.nan, np.inf, np.float32(np.inf)):
        with pytest.raises(FloatingPointError, match="norm"):
            ops.clip.scale(norm, 1.0)
    for wrong in (-1.0, np.nan, "1"):
        with pytest.raises((TypeError, ValueError), match="max_norm"):
            ops.clip.scale(1.0, wrong)
