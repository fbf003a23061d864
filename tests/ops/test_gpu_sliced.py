"""LSTM and GRU with their weights over several multiprocessors: what test_gpu.py asks of the version that small sizes get."""

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck import check as check_module
from minilm.gradcheck.subjects import Subject
from minilm.ops.cuda import slices
from minilm.ops.cuda.emulated import raw
from tests.ops import gpu
from tests.ops.properties import OPS, Reference, combinations, draw, label, pytest_combinations, reference, run, same_bits
from tests.ops.test_gpu import agreement

NAMES = ("lstm", "gru")
SHAPES = [  # units of a slice (those of the last), rows of a part, chunks backward, with six multiprocessors
    {"T": 2, "B": 1, "D": 1, "H": 1},
    {"T": 3, "B": 5, "D": 2, "H": 17},  # 3 (2)
    {"T": 2, "B": 19, "D": 2, "H": 13},  # 5 (3), two parts of 10 rows
    {"T": 3, "B": 37, "D": 2, "H": 11},  # 6 (5), three parts of 13 rows
    {"T": 2, "B": 41, "D": 2, "H": 67},  # 12 (7), one part in tiles of 16, 16 and 9 rows
    {"T": 1, "B": 3, "D": 2, "H": 96},  # 16
]


@pytest.fixture(autouse=True)
def device():
    with gpu.emulated():
        yield


@pytest.fixture
def version_3():
    with gpu.version(OPS["lstm"], 3), gpu.version(OPS["gru"], 3):
        yield


def sliced(op, case):
    """What version 3 returns; it is what ran."""
    raw.launches.clear()
    found = gpu.run(op, case)
    assert {f"{op.name}_sliced_forward", f"{op.name}_sliced_backward"} <= set(raw.launches)
    return found


@pytest.mark.parametrize("dims", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_agreement(version_3, name, dims):
    op = OPS[name]
    for options in combinations(op):
        cases, expected = reference(op, options, dims)
        for dtype, case in cases.items():
            expected.compare(f"{name} {dtype} version 3", sliced(op, case), dtype)


@pytest.mark.parametrize("name, options", pytest_combinations(NAMES), ids=label)
def test_gradients_of_the_kernels_themselves(version_3, name, options):
    """Finite differences of the forward kernel against the backward kernel, float64, with several blocks."""
    op = OPS[name]
    case = draw(op, options=options, dims={"T": 3, "B": 2, "D": 1, "H": 7})

    def forward(**arguments):
        on_host, y, saved = gpu.forward(op, arguments)
        return on_host, (y, saved)

    def backward(dy, saved):
        with devices.implementation("gpu"):
            return devices.to_host(gpu.functions(op)[1](devices.to_device(dy), saved[1]))

    subject = Subject(op.name, forward, backward, dict(case.arguments), case.differentiable)
    subject.scalar = False
    report = check_module.check(subject, 1e-6)
    assert report.passed, str(report)


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_order_of_threads_and_blocks(name):
    op = OPS[name]
    for dims in SHAPES[1:4]:
        case = draw(op, np.float32, dims, {"padded": True, "reverse": False})
        results = []
        for order in ("ascending", "descending", "shuffled"):
            with gpu.emulated(order), gpu.version(op, 3):
                results.append(gpu.run(op, case))
        for other in results[1:]:
            same_bits(name, other, results[0])


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_at_most_twice_that_of_numpy(version_3, name):
    op = OPS[name]
    cases, expected = reference(op, dims={"T": 12, "B": 9, "D": 5, "H": 96})
    single = cases[np.dtype(np.float32)]
    found = sliced(op, single)
    for kind in ("outputs", "gradients"):
        for key, exact in getattr(expected.exact, kind).items():
            plain = np.abs(getattr(expected.plain, kind)[key].astype(np.float64) - exact).max()
            error = np.abs(getattr(found, kind)[key].astype(np.float64) - exact).max()
            few = 4 * np.finfo(np.float32).eps * np.abs(exact).max()
            assert error <= 2 * plain + few, f"{kind} {key}: {error:.2e}, NumPy's {plain:.2e}"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_the_device(version_3, name):
    op = OPS[name]
    case = draw(op, np.float32, SHAPES[1])
    arguments = devices.to_device(case.arguments)
    y, _, _ = gpu.forward(op, case.arguments)
    dy = devices.to_device(gpu.cotangent(y))
    gpu.fake_cupy.waits.clear()
    with devices.ids_are_checked(), devices.implementation("gpu"):
        _, saved = gpu.functions(op)[0](**arguments)
        gpu.functions(op)[1](dy, saved)
    assert gpu.fake_cupy.waits == []


@pytest.mark.parametrize("name", NAMES)
def test_everybody_gets_it_where_one_block_could_not_hold_the_weights(name):
    op = OPS[name]
    case = draw(op, np.float32, {"T": 1, "B": 1, "D": 1, "H": 96})
    sliced(op, case)
    raw.launches.clear()
    gpu.run(op, draw(op, np.float32))
    assert f"{name}_persistent_forward" in raw.launches and f"{name}_sliced_forward" not in raw.launches


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_goes_step_by_step(version_3, name, monkeypatch):
    monkeypatch.setattr(slices, "_device", lambda: slices.Device(6, 4_000, True))
    raw.launches.clear()
    agreement(OPS[name], dims=SHAPES[1], number=3)
    assert f"{name}_step_forward" in raw.launches and f"{name}_sliced_forward" not in raw.launches
    monkeypatch.setattr(slices, "_device", lambda: slices.Device(6, 232_448, False))
    assert slices.plan(17, 5, 4, 4) is None


@pytest.mark.parametrize(
    "dims, expected",
    [
        ({"T": 3, "B": 64, "D": 3, "H": 512}, (16, 16, 4)),
        ({"T": 2, "B": 64, "D": 3, "H": 1024}, (8, 64, 1)),
        ({"T": 2, "B": 5, "D": 3, "H": 509}, (4, 5, 1)),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_real_widths_on_132_multiprocessors(version_3, monkeypatch, name, dims, expected):
    """The very launches of an H200, in two orders of blocks."""
    monkeypatch.setattr(raw, "MULTIPROCESSORS", 132)
    op = OPS[name]
    cases, reference_ = reference(op, {"padded": True, "reverse": False}, dims)
    for order in ("ascending", "shuffled"):
        with gpu.emulated(order), gpu.version(op, 3):
            assert slices.plan(dims["H"], dims["B"], {"lstm": 4, "gru": 3}[name], 4) == expected
            reference_.compare(f"{name} {order}", sliced(op, cases[np.dtype(np.float32)]), np.float32)


def test_more_blocks_than_run_at_once_are_refused(version_3, monkeypatch):
    """As by CUDA: they would wait for ever."""
    monkeypatch.setattr(slices, "_device", lambda: slices.Device(100, 232_448, True))
    op = OPS["lstm"]
    with pytest.raises(RuntimeError, match="too many blocks in cooperative launch"):
        gpu.run(op, draw(op, np.float32, {"T": 1, "B": 16, "D": 1, "H": 96}))


H200, A100, T4 = (132, 232_448), (108, 166_912), (40, 65_536)


@pytest.mark.parametrize(
    "device, H, B, gates, itemsize, expected",
    [
        (H200, 512, 64, 4, 4, (16, 16, 4)),
        (H200, 512, 64, 3, 4, (16, 16, 4)),
        (H200, 512, 1, 4, 4, (4, 1, 1)),
        (H200, 128, 512, 4, 4, (16, 32, 16)),
        (H200, 1024, 64, 4, 4, (8, 64, 1)),
        (H200, 1280, 64, 4, 4, None),
        (H200, 512, 64, 4, 8, (8, 32, 2)),
        (A100, 512, 64, 4, 4, (10, 32, 2)),
        (T4, 512, 64, 4, 4, None),
    ],
)
def test_plans(monkeypatch, device, H, B, gates, itemsize, expected):
    monkeypatch.setattr(slices, "_device", lambda: slices.Device(*device, True))
    plan = slices.plan(H, B, gates, itemsize)
    assert plan == expected
    if plan:
        blocks = -(-H // plan.units) * plan.parts
        assert blocks <= device[0] and plan.parts * plan.rows >= B


@pytest.mark.parametrize("name", NAMES)
def test_gradients_that_come_from_some_outputs_only(version_3, name):
    op = OPS[name]
    case = draw(op, np.float64, SHAPES[1], {"padded": True, "reverse": False})
    y, _, _ = gpu.forward(op, case.arguments)
    whole = gpu.cotangent(y)
    for kept in range(len(whole)):
        dy = [part if number == kept else None for number, part in enumerate(whole)]
        found = []
        for implementation, there in (("gpu", devices.to_device), ("oracle", lambda tree: tree)):
            with devices.implementation(implementation):
                _, saved = gpu.functions(op)[0](**there(case.arguments))
                found.append(devices.to_host(gpu.functions(op)[1](there(dy), saved)))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("letter", "TBDH")
@pytest.mark.parametrize("name", NAMES)
def test_empty(version_3, name, letter):
    op = OPS[name]
    case = draw(op, np.float64, {**SHAPES[1], letter: 0})
    found = gpu.run(op, case)
    with np.errstate(all="ignore"):
        expected = run(op, "oracle", case)
    Reference(expected, expected).compare(f"{name} {letter} = 0", found, np.float64)
