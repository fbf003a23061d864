"""The CPU's kernels agree with the oracle, in both precisions, within computed tolerances; and what they promise of bits."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm import Workspace, devices
from minilm.gradcheck.trees import copied, leaves, snapshot
from minilm.ops.contract import Case
from tests.ops.properties import (
    OPS,
    PAIRS,
    agreement,
    backward,
    cast,
    combinations,
    cross_pairing,
    draw,
    forward,
    frozen,
    functions,
    label,
    on_hosts,
    pytest_combinations,
    reference,
    run,
    same_bits,
)
from tests.ops.test_gradients import sizes

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("name, options", pytest_combinations(OPS), ids=label)
def test_agreement_on_tiny_shapes(name, options):
    agreement(OPS[name], options)


@pytest.mark.parametrize("name", OPS)
@given(data=st.data())
def test_agreement_on_other_sizes(name, data):
    op = OPS[name]
    dims = sizes(data, op, limit=300_000)
    options = {k: data.draw(st.sampled_from(v), label=k) for k, v in op.options.items()}
    agreement(op, options, dims, seed=data.draw(st.integers(0, 3), label="seed"))


@pytest.mark.parametrize("name", OPS)
def test_every_size_once(name):
    """Each listed size of each letter, the others tiny: 1, odd primes, more than one block of a kernel."""
    op = OPS[name]
    for letter, choices in op.dims.items():
        for size in choices[1:]:
            agreement(op, dims={**op.tiny(), letter: size})
    agreement(op, dims=dict.fromkeys(op.dims, 1))


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_cross_pairing(name, options):
    cross_pairing(OPS[name], options)


@pytest.mark.parametrize("name", PAIRS)
def test_cross_pairing_on_a_larger_shape(name):
    op = OPS[name]
    cross_pairing(op, dims={letter: sorted(choices)[len(choices) // 2] for letter, choices in op.dims.items()}, dtypes=DTYPES)


@pytest.mark.parametrize("name, implementation", on_hosts(OPS))
def test_inputs_and_saved_are_not_written(name, implementation):
    op = OPS[name]
    for options in combinations(op):
        for dtype in DTYPES:
            case = draw(op, dtype, options=options)
            before = snapshot(case.arguments)
            y, saved = forward(op, implementation, case.arguments)
            held = snapshot(saved), snapshot(y)
            if op.backward:
                backward(op, implementation, y, saved, case.differentiable)
                assert (snapshot(saved), snapshot(y)) == held
            assert snapshot(case.arguments) == before


@pytest.mark.parametrize("name", OPS)
def test_read_only_and_strided_inputs(name):
    op = OPS[name]
    for options in combinations(op):
        case = draw(op, np.float32, options=options)
        plain = run(op, "cpu", case)
        for change in (read_only, strided):
            if change is read_only and op.updates:
                continue  # what is written in place cannot be read-only
            changed = {k: v if k in op.updates else mapped(v, change) for k, v in case.arguments.items()}
            same_bits(f"{name} {change.__name__}", run(op, "cpu", Case(changed, case.differentiable)), plain)


def mapped(value, change):
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(mapped(v, change) for v in value)
    return change(value) if isinstance(value, np.ndarray) else value


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    wide = np.zeros(tuple(2 * s for s in array.shape), array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


@pytest.mark.parametrize("name", OPS)
def test_empty(name):
    """An empty batch, or any other size of zero, is computed or refused, by both alike; nothing crashes."""
    op = OPS[name]
    for letter in op.dims:
        dims = {**op.tiny(), letter: 0}
        try:
            single = draw(op, np.float32, dims)
        except ValueError:
            continue  # no arguments of this size can be drawn
        case = Case(cast(single.arguments, np.float64), single.differentiable)
        results = []
        for implementation in devices.HOST:
            try:
                results.append(run(op, implementation, case))
            except ValueError as error:
                results.append(str(error))
        if isinstance(results[0], str) or isinstance(results[1], str):
            assert results[0] == results[1], f"{letter} = 0"
        else:
            _, expected = reference(op, dims=dims)
            expected.compare(f"{name} {letter} = 0", results[1], np.float64)


@pytest.mark.parametrize("name", OPS)
def test_workspace(name):
    """Poisoned arrays change nothing, a second step asks for nothing new, and allocates nothing large."""
    op = OPS[name]
    for options in combinations(op):
        case = draw(op, np.float32, options=options)
        plain = run(op, "cpu", case)
        workspace = Workspace(poison=True)
        for _ in range(2):
            with workspace.step():
                same_bits(f"{name} {options}", frozen(run(op, "cpu", case)), plain)
    large = {letter: max(c for c in choices if c <= 131) for letter, choices in op.dims.items()}
    case = draw(op, np.float32, large)
    workspace = Workspace()
    for step in range(3):
        if step == 2:
            held = workspace.nbytes
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
        with workspace.step():
            quiet_run(op, case)
        if step == 2:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert workspace.nbytes == held
            largest = max((v.nbytes for v in case.arguments.values() if isinstance(v, np.ndarray)), default=0)
            assert peak - before <= max(65_536, largest // 8), f"{peak - before} bytes allocated, the largest input has {largest}"


def quiet_run(op, case):
    """A step as a layer runs it, without the copies that the tests make."""
    public_forward, public_backward = functions(op)
    returned = public_forward(**case.arguments)
    if op.backward:
        y, saved = returned
        leading = [leaf for _, leaf in leaves(y)]
        public_backward(y if not isinstance(y, tuple) else tuple(leading), saved)


@pytest.mark.parametrize("name", OPS)
def test_bits_repeat_over_runs_and_threads(name):
    op = OPS[name]
    shapes = [op.tiny(), {letter: max(c for c in choices if c <= 300) for letter, choices in op.dims.items()}]
    for dims in shapes:
        for dtype in DTYPES:
            case = draw(op, dtype, dims)
            first = run(op, "cpu", case)
            for number in (1, 2, 3, 4):
                devices.set_threads(number)
                same_bits(f"{name}, {number} threads", run(op, "cpu", case), first)
            devices.set_threads(None)


@pytest.mark.parametrize("name, implementation", on_hosts(OPS))
def test_nan_is_not_swallowed(name, implementation):
    """A NaN in any input comes out of forward or of backward, at the same places as from the oracle."""
    op = OPS[name]
    for dtype in DTYPES:
        case = draw(op, dtype)
        for key, value in case.arguments.items():
            if not (isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size):
                continue
            poisoned = copied(value)
            poisoned.reshape(-1)[0] = np.nan
            with np.errstate(all="ignore"):
                found, expected = (
                    run(op, i, Case({**case.arguments, key: poisoned}, case.differentiable)) for i in (implementation, "oracle")
                )
            arrays = [*found.outputs.values(), *found.gradients.values()]
            assert any(np.isnan(a).any() for a in arrays if a.dtype.kind == "f"), f"{key}"
            for kind in ("outputs", "gradients"):
                for k, wanted in getattr(expected, kind).items():
                    if wanted.dtype.kind == "f":
                        assert np.array_equal(np.isnan(getattr(found, kind)[k]), np.isnan(wanted)), f"{key} in, {kind} {k} out"


@pytest.mark.parametrize("name", PAIRS)
def test_infinity_and_large_numbers(name):
    """Numbers of ±1e4 and infinities: what is finite and what is not agrees with the oracle, in float32."""
    op = OPS[name]
    case = draw(op, np.float32)
    first = case.differentiable[0]
    for factor in (1e4, -1e4, np.inf):
        arguments = {**case.arguments, first: (case.arguments[first] * np.float32(factor)).astype(np.float32)}
        with np.errstate(all="ignore"):
            results = [run(op, i, Case(arguments, case.differentiable)) for i in devices.HOST]
            exact = run(op, "oracle", Case(cast(arguments, np.float64), case.differentiable))
        for kind in ("outputs", "gradients"):
            for key, wanted in getattr(results[0], kind).items():
                found = getattr(results[1], kind)[key]
                same = np.isfinite(found) == np.isfinite(wanted)
                assert same.all() or np.isfinite(getattr(exact, kind)[key]).all(), f"{factor} {kind} {key}"
