"""What every op must satisfy, as functions that raise AssertionError: the registry's tests call them on the ops as they
are, the planted faults on ops that are wrong."""

from __future__ import annotations

import functools
import importlib
import itertools
import zlib
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.gradcheck import check as check_module
from minilm.gradcheck.subjects import Subject
from minilm.gradcheck.trees import copied, cotangents, flatten, leaves
from minilm.ops import registry
from minilm.ops.contract import Case

OPS = registry()
PAIRS = [name for name, op in OPS.items() if op.backward]
UPDATES = [name for name, op in OPS.items() if op.updates]
EPS = {np.dtype(t): float(np.finfo(t).eps) for t in (np.float32, np.float64)}


def combinations(op) -> list[dict]:
    """All combinations of the op's options, the usual one first."""
    return [dict(zip(op.options, values, strict=True)) for values in itertools.product(*op.options.values())]


def pytest_combinations(names):
    """(name, options) of every combination of these ops."""
    return [(name, options) for name in names for options in combinations(OPS[name])]


def label(value) -> str | None:
    """Names a test's parameter."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "plain"
    return None


def draw(op, dtype=np.float64, dims=None, options=None, seed=0) -> Case:
    """The op's own random arguments, the same on every run."""
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), seed])
    return op.draw(rng, np.dtype(dtype), dims or op.tiny(), **(combinations(op)[0] if options is None else options))


def cast(tree, dtype):
    """`tree` with its float arrays in another precision."""
    if isinstance(tree, dict):
        return {k: cast(v, dtype) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)) and not hasattr(tree, "_fields"):
        return type(tree)(cast(v, dtype) for v in tree)
    return tree.astype(dtype) if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else tree


def hosts(op) -> tuple[str, ...]:
    """The implementations of an op that take NumPy's arrays: the oracle, and every version of the CPU's kernels."""
    return "oracle", *devices.versions(op.package)


def on_hosts(names):
    """(name, implementation) of every implementation of these ops that takes NumPy's arrays."""
    return [(name, implementation) for name in names for implementation in hosts(OPS[name])]


def functions(op):
    """The public forward and backward."""
    package = importlib.import_module(op.package)
    return getattr(package, op.forward), getattr(package, op.backward) if op.backward else None


class Result(NamedTuple):
    """One run of an op."""

    outputs: dict  # path -> array, of forward, and of what an update wrote
    gradients: dict  # name -> array


def forward(op, implementation, arguments):
    """(y, saved) of a pair, (everything returned and written, None) of an update."""
    with devices.implementation(implementation):
        if op.backward:
            return functions(op)[0](**arguments)
        arguments = {k: copied(v) if k in op.updates else v for k, v in arguments.items()}
        returned = functions(op)[0](**arguments)
        return {"returned": returned, **{k: arguments[k] for k in op.updates}}, None


def backward(op, implementation, y, saved, differentiable, seed=1) -> dict:
    """Gradients by name for a random cotangent, the same for every implementation."""
    with devices.implementation(implementation):
        returned = functions(op)[1](cotangent(y, seed), saved)
    gradients = [g for _, g in leaves(returned) if g is not None]
    assert len(gradients) == len(differentiable), f"{op.name}: {len(gradients)} gradients for {differentiable}"
    return dict(zip(differentiable, gradients, strict=True))


def cotangent(y, seed=1):
    """Random numbers, none near zero, in the form of y."""
    noise = np.random.default_rng(seed).standard_normal(flatten(y).size)
    return cotangents(y, noise + np.copysign(0.25, noise))


def run(op, implementation, case, backward_by=None) -> Result:
    """Forward by one implementation, backward by it or by another."""
    y, saved = forward(op, implementation, case.arguments)
    outputs = {path or "y": np.asarray(leaf) for path, leaf in leaves(y) if leaf is not None}
    if not op.backward:
        return Result(outputs, {})
    if backward_by not in (None, implementation):
        saved = copied(saved)  # in C order, as every kernel expects its own arrays
    return Result(outputs, backward(op, backward_by or implementation, y, saved, case.differentiable))


# --- gradients -------------------------------------------------------------------------------------------------------


def subject(op, implementation, case) -> Subject:
    """The op as the gradient check sees it."""

    def within(function):
        def call(*arguments, **options):
            with devices.implementation(implementation):
                return function(*arguments, **options)

        return call

    public_forward, public_backward = functions(op)
    result = Subject(op.name, within(public_forward), within(public_backward), dict(case.arguments), case.differentiable)
    result.scalar = False
    return result


@functools.cache
def _tangents(name: str, options: tuple, most: int) -> tuple[Subject, check_module.Tangents]:
    op = OPS[name]
    whole = subject(op, "oracle", draw(op, options=dict(options)))
    return whole, check_module.Tangents(whole, "jacobian", np.random.default_rng(0), most)


def gradients(op, options=None, implementation="oracle", dims=None, seed=0, tolerance=1e-8) -> check_module.Report:
    """Forward against backward of one implementation by finite differences in float64."""
    case = draw(op, options=options, dims=dims, seed=seed)
    report = check_module.check(subject(op, implementation, case), tolerance)
    assert report.passed, str(report)
    return report


def backward_gradients(op, options, most=3, tolerance=1e-8) -> None:
    """The same for a fault in the oracle's backward or saved values: the differences of forward are computed once, and
    held against the gradients of a few random cotangents."""
    whole, tangents = _tangents(op.name, tuple(options.items()), most)
    analytic, problems = check_module.pullbacks(whole, tangents.cotangents)
    errors, more = tangents.compare(analytic)
    assert not problems + more, problems + more
    assert max(errors.values(), default=0.0) <= tolerance, errors


# --- agreement -------------------------------------------------------------------------------------------------------


def largest(array) -> float:
    """Of the finite floating-point numbers' sizes."""
    array = np.asarray(array)
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) if array.dtype.kind == "f" else 0.0


def allowed(plain: np.ndarray, exact: np.ndarray, dtype) -> float:
    """The computed tolerance: 8 times the error that the plain NumPy formula makes in float32 against float64, and at least
    16 roundings of the largest number, more where there are so few numbers that plain's error may be small by luck; in
    float64 the same, scaled by the roundings' size."""
    finite = np.isfinite(plain) & np.isfinite(exact)
    error = float(np.abs(plain.astype(np.float64) - exact)[finite].max(initial=0))
    scale = float(np.abs(exact[finite]).max(initial=0))
    floor = 16 * (1 + 8 / max(1, exact.size)) * EPS[np.dtype(np.float32)] * scale
    return (8 * error + floor) * EPS[np.dtype(dtype)] / EPS[np.dtype(np.float32)]


def close(what: str, actual, expected, tolerance: float, dtype) -> None:
    """Same shape, the given dtype, the same non-finite numbers in the same places, and then a difference within tolerance."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, wanted {expected.shape}"
    if expected.dtype.kind != "f":
        assert np.array_equal(actual, expected), f"{what}: differs"
        return
    assert actual.dtype == dtype, f"{what}: dtype {actual.dtype}, wanted {dtype}"
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(actual), finite), f"{what}: finite in other places"
    assert np.array_equal(actual[~finite], expected[~finite].astype(dtype), equal_nan=True), f"{what}: other non-finite numbers"
    difference = float(np.abs(actual[finite].astype(np.float64) - expected[finite]).max(initial=0))
    assert difference <= tolerance, f"{what}: differs by {difference:.2e}, allowed {tolerance:.2e}"


class Reference(NamedTuple):
    """The oracle's results for one case: exact (float64 on the same numbers) and plain (float32)."""

    exact: Result
    plain: Result

    def compare(self, name: str, result: Result, dtype) -> None:
        """Raise unless `result` agrees."""
        for kind in ("outputs", "gradients"):
            exact, plain, values = (getattr(r, kind) for r in (self.exact, self.plain, result))
            assert values.keys() == exact.keys(), f"{name}: {kind} {sorted(values)}, wanted {sorted(exact)}"
            # terms that cancel leave a rounding of themselves, and one gradient's terms are about as large as the others
            residue = 4 * EPS[np.dtype(dtype)] * max((largest(a) for a in exact.values()), default=0.0)
            for key in exact:
                close(f"{name}: {kind} {key}", values[key], exact[key], allowed(plain[key], exact[key], dtype) + residue, dtype)


def reference(op, options=None, dims=None, seed=0) -> tuple[dict, Reference]:
    """The same case in both precisions (the numbers are float32's), and the oracle's results."""
    single = draw(op, np.float32, dims, options, seed)
    cases = {np.dtype(t): Case(cast(single.arguments, t), single.differentiable) for t in (np.float32, np.float64)}
    results = {dtype: run(op, "oracle", case) for dtype, case in cases.items()}
    return cases, Reference(results[np.dtype(np.float64)], results[np.dtype(np.float32)])


def agreement(op, options=None, dims=None, seed=0, dtypes=(np.float64, np.float32), known=None) -> None:
    """Every version of the CPU's against the oracle's results, in both precisions; `known` is an earlier `reference`."""
    cases, expected = known or reference(op, options, dims, seed)
    for dtype in map(np.dtype, dtypes):
        for version in devices.versions(op.package):
            expected.compare(f"{op.name} {dtype} {version}", run(op, version, cases[dtype]), dtype)


def cross_pairing(op, options=None, dims=None, seed=0, dtypes=(np.float64,), known=None, pairings=None) -> None:
    """Forward of one implementation into backward of another: finds saved values that are wrong on both sides."""
    cases, expected = known or reference(op, options, dims, seed)
    every = [pair for version in devices.versions(op.package) for pair in (("oracle", version), (version, "oracle"))]
    for dtype in map(np.dtype, dtypes):
        for first, second in pairings or every:
            result = run(op, first, cases[dtype], backward_by=second)
            expected.compare(f"{op.name} {dtype} forward {first} backward {second}", result, dtype)


# --- bits ------------------------------------------------------------------------------------------------------------


def same_bits(what: str, first: Result, second: Result) -> None:
    """Raise unless two runs gave equal bits."""
    for kind in ("outputs", "gradients"):
        a, b = getattr(first, kind), getattr(second, kind)
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype and a[key].shape == b[key].shape, f"{what}: {kind} {key}"
            assert a[key].tobytes() == b[key].tobytes(), f"{what}: {kind} {key} has other bits"


def frozen(result: Result) -> Result:
    """A copy that a workspace cannot overwrite."""
    return Result(*({k: np.array(v) for k, v in part.items()} for part in result))
