"""The CPU that plays the GPU finds every planted defect, and says at which line."""

import re

import numpy as np
import pytest

from tests.cuda_on_cpu import defects, loader, sanitized

pytestmark = pytest.mark.skipif(sanitized.missing() is not None, reason=str(sanitized.missing()))


def launch(body, *arguments, block=64, grid=1, shared=0, order="ascending", parameters="REAL* y"):
    text = f'{defects.HEADER}extern "C" __global__ void kernel({parameters}) {{ {body}\n}}\n'
    loader.launch(loader.compiled(text), "kernel", (grid,), (block,), arguments, shared, order)


def numbers(count=64):
    return np.zeros(count, np.float32)


def test_a_right_kernel_in_three_orders():
    t = np.arange(64)
    expected = (t + 33) % 64 + (t + 34) % 64 + t % 4 + 1
    for order in loader.ORDERS:
        assert np.array_equal(defects.run(defects.text(), "none", order), expected.astype(np.float32))


@pytest.mark.parametrize(
    "body, says",
    [
        (
            "if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();",
            r"different barriers in block \(0, 0, 0\): thread 0 at a barrier, line 1; thread 32 at a barrier, line 2",
        ),
        (
            "if (threadIdx.x < 32) return;\n__syncthreads();",
            r"after some threads have exited.*thread 0 exited; thread 32 at a barrier, line 2",
        ),
        ("if (threadIdx.x % 2) __shfl_xor_sync(~0u, 1, 1);", r"deadlock.*thread 1 at a warp's operation, line 1"),
        (
            "if (threadIdx.x < 32) __syncthreads();\nelse __shfl_sync(1u, 1, 0);",
            r"a lane that its own mask does not name, line 2",
        ),
    ],
)
def test_waiting_for_what_never_comes(body, says):
    with pytest.raises(loader.LaunchError, match=re.compile(says, re.S)):
        launch(body, numbers())


def test_what_nobody_wrote_is_nan():
    for body in (
        "__shared__ REAL s[64];\ny[threadIdx.x] = s[threadIdx.x];",
        "DYN_SHARED(REAL, s);\ny[threadIdx.x] = s[threadIdx.x];",
    ):
        y = numbers()
        launch(body, y, shared=256)
        assert np.isnan(y).all()
    y = numbers()
    launch("y[threadIdx.x] = __shfl_sync(0xffffu << threadIdx.x / 16 % 2 * 16, REAL(1), threadIdx.x < 16 ? 20 : 0);", y, block=32)
    assert np.isnan(y[:16]).all()


def test_nothing_leaks_from_block_to_block():
    y = numbers(2)
    launch("__shared__ REAL s;\nif (blockIdx.x == 0) s = 1;\ny[blockIdx.x] = s;", y, block=1, grid=2)
    assert y[0] == 1 and np.isnan(y[1])


def test_warp_operations_are_those_of_cuda():
    y = numbers(32)
    lanes = np.arange(32)
    for body, expected in (
        ("__shfl_xor_sync(~0u, t, 5)", lanes ^ 5),
        ("__shfl_sync(~0u, t, 3, 8)", lanes // 8 * 8 + 3),
        ("__shfl_up_sync(~0u, t, 2u)", np.where(lanes < 2, lanes, lanes - 2)),
        ("__shfl_down_sync(~0u, t, 2u, 16)", np.where(lanes % 16 >= 14, lanes, lanes + 2)),
        ("REAL(__popc(__ballot_sync(~0u, t < 5)))", np.full(32, 5)),
    ):
        launch(f"REAL t = threadIdx.x;\ny[threadIdx.x] = {body.replace(', t,', ', t,')};", y, block=32)
        assert np.array_equal(y, expected), body


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "takes 2 arguments, got 0"),
        ([1.0, np.int64(3)], "argument 0 must be an array, got float"),
        ([np.zeros(3, np.float32), 3], "argument 1 must be of int64, got int"),
        ([np.zeros(3, np.float32), np.int32(3)], "argument 1 must be of int64, got int32"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(TypeError, match=says):
        launch("", *arguments, parameters="REAL* y, i64 N")


@pytest.mark.parametrize(
    "form, says", [({"block": 1025}, "1 to 1024 threads"), ({"shared": 300_000}, "227 KiB"), ({"grid": 0}, "a grid has")]
)
def test_launches_that_no_device_takes(form, says):
    with pytest.raises(loader.LaunchError, match=says):
        launch("", numbers(), **form)


def test_a_mistake_of_the_language_is_told():
    with pytest.raises(RuntimeError, match=r"kernel.cu:1:.*nonsense"):
        launch("y[0] = nonsense;", numbers())


@pytest.mark.parametrize("name", defects.DEFECTS)
def test_address_sanitizer_finds(name):
    _, _, line, says = defects.DEFECTS[name]
    outcome = sanitized.run("address", "-m", "tests.cuda_on_cpu.defects", "address", name)
    assert outcome.status != 0, outcome.output
    assert re.search(says, outcome.output), outcome.output
    assert f"kernel.cu:{line}" in outcome.output, outcome.output


def test_thread_sanitizer_finds_a_race():
    outcome = sanitized.run("thread", "-m", "tests.cuda_on_cpu.defects", "thread", "race")
    assert "data race" in outcome.output and "kernel.cu:12" in outcome.output, outcome.output


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sanitizers_are_quiet_about_a_right_kernel(sanitizer):
    outcome = sanitized.run(sanitizer, "-m", "tests.cuda_on_cpu.defects", sanitizer, "clean")
    assert outcome.status == 0 and "Sanitizer" not in outcome.output, outcome.output
