"""Every kernel of every op against the oracle, and its gradients: on the GPU that the CPU plays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm import devices, ops
from minilm.gradcheck import check as check_module
from minilm.gradcheck.subjects import Subject
from minilm.ops.contract import Case
from tests.ops import gpu
from tests.ops.properties import (
    EPS,
    OPS,
    PAIRS,
    Reference,
    combinations,
    copied,
    draw,
    label,
    pytest_combinations,
    reference,
    run,
    same_bits,
)
from tests.ops.test_gradients import sizes

LIMIT = 20_000  # numbers of a case: a block's threads run one after the other here


@pytest.fixture(autouse=True)
def device():
    with gpu.emulated():
        yield


def agreement(op, options=None, dims=None, seed=0, number=None):
    """The GPU's results against the oracle's, in both precisions, by one version or all."""
    cases, expected = reference(op, options, dims, seed)
    for dtype, case in cases.items():
        for chosen in gpu.versions(op) if number is None else [number]:
            with gpu.version(op, chosen):
                expected.compare(f"{op.name} {dtype} version {chosen}", gpu.run(op, case), dtype)


@pytest.mark.parametrize("name, options", pytest_combinations(OPS), ids=label)
def test_agreement_on_tiny_shapes(name, options):
    agreement(OPS[name], options)


@pytest.mark.parametrize("name", OPS)
def test_every_size_once(name):
    """1, odd primes, and more than one block of a kernel, of each letter in turn."""
    op = OPS[name]
    for letter, choices in op.dims.items():
        for size in choices[1:]:
            agreement(op, dims={**op.tiny(), letter: size})
    agreement(op, dims=dict.fromkeys(op.dims, 1))


@pytest.mark.parametrize("name", OPS)
@given(data=st.data())
def test_agreement_on_other_sizes(name, data):
    op = OPS[name]
    dims = sizes(data, op, limit=LIMIT)
    options = {k: data.draw(st.sampled_from(v), label=k) for k, v in op.options.items()}
    agreement(op, options, dims, seed=data.draw(st.integers(0, 3), label="seed"))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_a_vocabulary_of_50257(name):
    agreement(OPS[name], dims={"N": 2, "V": 50_257})


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_gradients_of_the_kernels_themselves(name, options):
    """Finite differences of the GPU's forward against the GPU's backward, float64."""
    op = OPS[name]
    case = draw(op, options=options)

    def public_forward(**arguments):
        on_host, y, saved = gpu.forward(op, arguments)
        return on_host, (y, saved)

    def public_backward(dy, saved):
        with devices.implementation("gpu"):
            returned = gpu.functions(op)[1](devices.to_device(dy), saved[1])
        return devices.to_host(returned)

    subject = Subject(op.name, public_forward, public_backward, dict(case.arguments), case.differentiable)
    subject.scalar = False
    report = check_module.check(subject, 1e-6)
    assert report.passed, str(report)


@pytest.mark.parametrize("name", PAIRS)
def test_cross_pairing(name):
    """Forward by the oracle into backward by the GPU, and the other way: finds saved values that are wrong on both sides."""
    op = OPS[name]
    for options in combinations(op):
        cases, expected = reference(op, options)
        case = cases[np.dtype(np.float64)]
        with devices.implementation("oracle"):
            y, saved = gpu.functions(op)[0](**case.arguments)
        found = gpu.backward(op, devices.to_device(y), devices.to_device(copied(saved)), case.differentiable)
        expected.compare(f"{name} oracle, gpu", expected.exact._replace(gradients=found), np.float64)
        on_host, _, saved = gpu.forward(op, case.arguments)
        with devices.implementation("oracle"):
            returned = gpu.functions(op)[1](gpu.cotangent(on_host), devices.to_host(saved))
        found = dict(zip(case.differentiable, [g for _, g in gpu.leaves(returned) if g is not None], strict=True))
        expected.compare(f"{name} gpu, oracle", expected.exact._replace(gradients=found), np.float64)


@pytest.mark.parametrize("name", OPS)
def test_bits_do_not_depend_on_the_order_of_threads_and_blocks(name):
    op = OPS[name]
    middle = {letter: sorted(choices)[len(choices) // 2] for letter, choices in op.dims.items()}
    for dims in (op.tiny(), middle):
        case = draw(op, np.float32, dims)
        results = []
        for order in ("ascending", "descending", "shuffled"):
            with gpu.emulated(order):
                results.append(gpu.run(op, case))
        for other in results[1:]:
            same_bits(name, other, results[0])


@pytest.mark.parametrize("name", OPS)
def test_rounding_is_at_most_twice_that_of_numpy(name):
    """float32 against float64: the error is at most twice that of the formula in NumPy's float32, or a few roundings."""
    op = OPS[name]
    large = {letter: max(c for c in choices if c <= 131) for letter, choices in op.dims.items()}
    while np.prod(list(large.values()), dtype=float) > 2e6:  # attention's would take minutes
        letter = max(large, key=large.get)
        large[letter] //= 2
    cases, expected = reference(op, dims=large)
    single = cases[np.dtype(np.float32)]
    found = gpu.run(op, single)
    for kind in ("outputs", "gradients"):
        for key, exact in getattr(expected.exact, kind).items():
            if exact.dtype.kind == "f":
                plain = np.abs(getattr(expected.plain, kind)[key].astype(np.float64) - exact).max(initial=0)
                error = np.abs(getattr(found, kind)[key].astype(np.float64) - exact).max(initial=0)
                few = 4 * EPS[np.dtype(np.float32)] * np.abs(exact).max(initial=0)
                assert error <= 2 * plain + few, f"{kind} {key}: {error:.2e}, NumPy's {plain:.2e}"


@pytest.mark.parametrize("name", OPS)
def test_empty(name):
    """An empty batch, or any other size of zero, is computed or refused as by the oracle."""
    op = OPS[name]
    for letter in op.dims:
        dims = {**op.tiny(), letter: 0}
        try:
            case = draw(op, np.float64, dims)
        except ValueError:
            continue
        results = []
        for runner in (lambda case: run(op, "oracle", case), lambda case: gpu.run(op, case)):
            try:
                with np.errstate(all="ignore"):
                    results.append(runner(case))
            except ValueError as error:
                results.append(str(error))
        if any(isinstance(r, str) for r in results):
            assert results[0] == results[1], f"{letter} = 0"
        else:
            Reference(results[0], results[0]).compare(f"{name} {letter} = 0", results[1], np.float64)


@pytest.mark.parametrize("name", OPS)
def test_nan_is_not_swallowed(name):
    op = OPS[name]
    case = draw(op, np.float32)
    for key, value in case.arguments.items():
        if not (isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size):
            continue
        poisoned = copied(value)
        poisoned.reshape(-1)[0] = np.nan
        changed = Case({**case.arguments, key: poisoned}, case.differentiable)
        with np.errstate(all="ignore"):
            found, expected = gpu.run(op, changed), run(op, "oracle", changed)
        for kind in ("outputs", "gradients"):
            for k, wanted in getattr(expected, kind).items():
                if wanted.dtype.kind == "f":
                    assert np.array_equal(np.isnan(getattr(found, kind)[k]), np.isnan(wanted)), f"{key} in, {kind} {k} out"


@pytest.mark.parametrize("name", OPS)
def test_inputs_and_saved_are_not_written(name):
    op = OPS[name]
    for options in combinations(op):
        case = draw(op, np.float32, options=options)
        arguments = devices.to_device(case.arguments)
        before = devices.to_host(arguments)
        with devices.implementation("gpu"):
            if op.updates:
                continue
            y, *saved = gpu.functions(op)[0](**arguments) if op.backward else (None,)
            held = devices.to_host((y, saved))
            if op.backward:
                gpu.backward(op, y, saved[0], case.differentiable)
        for found, kept in ((devices.to_host(arguments), before), (devices.to_host((y, saved)), held)):
            for (path, a), (_, b) in zip(gpu.leaves(found), gpu.leaves(kept), strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), path


@pytest.mark.parametrize("name", OPS)
def test_nothing_waits_for_the_device(name):
    """Between the arguments and the results no number is read back, where the ids were checked on the host."""
    op = OPS[name]
    case = draw(op, np.float32)
    arguments = devices.to_device(case.arguments)
    dy = None
    if op.backward:
        y, _, _ = gpu.forward(op, case.arguments)
        dy = devices.to_device(gpu.cotangent(y))
    gpu.fake_cupy.waits.clear()
    with devices.ids_are_checked(), devices.implementation("gpu"):
        returned = gpu.functions(op)[0](**arguments)
        if op.backward:
            gpu.functions(op)[1](dy, returned[1])
    # a loss that is a number on the device must come back, to be a factor of its gradient
    assert gpu.fake_cupy.waits == ["get"] * (name == "negative_sampling")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("sees", ["all", "causal", "band", "causal band"])
def test_attention_of_one_query(sees, padded):
    """The kernels of decoding: one chunk of 128 keys, several, and a last one that is not full."""
    for Tk in (1, 5, 128, 129, 300):
        dims = {"B": 2, "Tq": 1, "Tk": Tk, "H": 2, "K": 5, "Kv": 70}
        agreement(OPS["attention"], {"sees": sees, "padded": padded, "dropout": 0.0}, dims, number=2)
    launched = gpu.fake_cupy.raw.launches
    assert {"attention_one_query", "attention_one_query_merge"} <= set(launched)


@pytest.mark.parametrize("padded", [False, True])
def test_crf_decodes_as_the_oracle(padded):
    for dims in (None, {"B": 3, "T": 17, "K": 40}):
        arguments = dict(draw(OPS["crf"], np.float64, dims, {"padded": padded, "scores": "plain"}).arguments)
        del arguments["tags"]
        with devices.implementation("oracle"):
            tags, scores = ops.crf.decode(**arguments)
        found, found_scores = devices.to_host(ops.crf.decode(**devices.to_device(arguments)))
        assert np.array_equal(found, tags)
        np.testing.assert_allclose(found_scores, scores, rtol=1e-12)


@pytest.mark.parametrize("cbow", [False, True])
def test_word2vec_trains_as_the_oracle(cbow):
    rng = np.random.default_rng(0)
    V, D = 13, 40
    ids, starts = rng.integers(0, V, 30), np.array([0, 11, 11, 30])
    tables = rng.uniform(0.5, 1, V), rng.uniform(0.3, 1, V), rng.integers(0, V, V)
    options = {"cbow": cbow, "window": 3, "negatives": 4, "lr": 0.1, "lr_end": 0.01, "seed": 2**63 + 5, "total": 30}
    W = [rng.standard_normal((V, D)) for _ in range(2)]
    expected = [w.copy() for w in W]
    with devices.implementation("oracle"):
        wanted = ops.negative_sampling.train(*expected, ids, starts, *tables, **options)
    there = devices.to_device(W)
    told = devices.to_host(ops.negative_sampling.train(*there, *devices.to_device((ids, starts, *tables)), **options))
    assert told.predictions == wanted.predictions and told.loss == pytest.approx(wanted.loss, rel=1e-10)
    for a, b in zip(devices.to_host(there), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
