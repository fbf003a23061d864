"""The CPU that plays the GPU finds every planted defect, and says at which line."""

import json
import re

import numpy as np
import pytest

from tests.cuda_on_cpu import defects, loader, sanitized

pytestmark = pytest.mark.skipif(sanitized.missing() is not None, reason=str(sanitized.missing()))


def launch(body, *arguments, block=64, grid=1, shared=0, order="ascending", parameters="REAL* y", cooperative=False):
    text = f'{defects.HEADER}extern "C" __global__ void kernel({parameters}) {{ {body}\n}}\n'
    loader.launch(loader.compiled(text), "kernel", (grid,), (block,), arguments, shared, order, cooperative)


def together(body, counter=0, grid=3, block=64, order="ascending"):
    """A cooperative launch of a body that has numbers y (grid, block), a counter, and the grid's barrier; y."""
    y, arrived = np.full((grid, block), np.nan, np.float32), np.full(1, counter, np.uint32)
    header = defects.source.flatten(defects.source.SHARED / "grid.h") + '#line 1 "kernel.cu"\n'
    parameters = "REAL* y, u32* arrived"
    text = f'{defects.HEADER}{header}extern "C" __global__ void kernel({parameters}) {{ {body}\n}}\n'
    loader.launch(loader.compiled(text), "kernel", (grid,), (block,), [y, arrived], 256, order, True)
    return y


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


# --- cooperative launches: blocks that wait for one another ----------------------------------------------------------


@pytest.mark.parametrize("order", loader.ORDERS)
def test_blocks_that_wait_for_one_another(order):
    found, expected = defects.run_exchange(defects.exchange(), order=order)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("order", loader.ORDERS)
def test_every_block_keeps_its_shared_memory(order):
    body = """__shared__ REAL fixed[64];
    DYN_SHARED(REAL, dynamic);
    fixed[threadIdx.x] = dynamic[threadIdx.x] = 100 * blockIdx.x + threadIdx.x;
    grid_barrier(arrived, gridDim.x);
    fixed[threadIdx.x] += 1000;
    grid_barrier(arrived, 2 * gridDim.x);
    y[thread_of_grid()] = fixed[63 - threadIdx.x] + dynamic[63 - threadIdx.x];"""
    block, t = np.arange(3)[:, None], np.arange(64)[None]
    assert np.array_equal(together(body, order=order), 2 * (100 * block + 63 - t) + 1000)
    y = together(
        "__shared__ REAL fixed[64];\nDYN_SHARED(REAL, more);\ny[thread_of_grid()] = blockIdx.x % 2 ? fixed[0] : more[0];"
    )
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    "body, says",
    [
        (
            "if (blockIdx.x == 1) return;\ngrid_barrier(arrived, gridDim.x);",
            r"deadlock of the grid: block \(0, 0, 0\): thread 0 waiting for other blocks, line 2; thread 1 at a barrier, line 2;"
            r" block \(1, 0, 0\): thread 0 exited;",
        ),
        (
            "if (blockIdx.x) grid_barrier(arrived, gridDim.x);\nelse grid_barrier(arrived, gridDim.x);",
            r"blocks at different barriers of the grid: block \(0, 0, 0\): thread 0 waiting for other blocks, line 2;.*"
            r"block \(1, 0, 0\): thread 0 waiting for other blocks, line 1;",
        ),
        (
            "if (threadIdx.x < 32) grid_barrier(arrived, gridDim.x);\nelse __syncthreads();",
            r"different barriers in block \(0, 0, 0\): thread 0 at a barrier, line 1; thread 32 at a barrier, line 2",
        ),
        ("grid_barrier(arrived, 2 * gridDim.x);", "deadlock of the grid"),  # the second barrier, without the first
        ("grid_barrier(arrived, gridDim.x - 1);", "a counter beyond what is waited for"),
        ("grid_barrier(arrived, gridDim.x + 1);", "deadlock of the grid"),
        (
            "if (threadIdx.x % 2) __shfl_xor_sync(~0u, 1, 1);",
            r"deadlock in block \(0, 0, 0\).*thread 1 at a warp's operation, line 1",
        ),
    ],
)
def test_blocks_that_wait_in_vain(body, says):
    with pytest.raises(loader.LaunchError, match=re.compile(says, re.S)):
        together(body)


def test_a_counter_that_is_not_zero():
    for counter in (1, 3, 2**32 - 1):
        with pytest.raises(loader.LaunchError, match=r"a counter beyond what is waited for|deadlock of the grid"):
            defects.run_exchange(defects.exchange(), counter=counter)


def test_waiting_for_blocks_that_are_not_there_yet():
    with pytest.raises(loader.LaunchError, match=r"a launch that is not cooperative in block \(0, 0, 0\).*line 11"):
        defects.run_exchange(defects.exchange(), cooperative=False)


def test_thread_sanitizer_finds_races_between_blocks():
    """Of all that orders threads of several blocks each part is deleted in turn; a line that then comes too early is named."""
    outcome = sanitized.run("thread", "-m", "tests.cuda_on_cpu.defects", "thread", "exchange")
    assert "RESULT" in outcome.output, outcome.output
    found = json.loads(next(line for line in outcome.output.splitlines() if line.startswith("RESULT")).removeprefix("RESULT"))
    assert found.pop("nothing") == ""
    for deleted, report in found.items():
        assert "data race" in report and f"kernel.cu:{defects.ORDERING[deleted][1]}" in report, (deleted, report[:3000])


@pytest.mark.parametrize("suffix", [".so", ".o"])  # the library, and the runtime that is linked to all
def test_a_library_that_others_could_have_planted_is_not_loaded(suffix, tmp_path, monkeypatch):
    """It would run as this user: one that others may write to, or a link, is compiled anew and replaced."""
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(loader, "cache", loader.cache.__wrapped__)
    folder = tmp_path / "emulated"
    folder.mkdir()
    folder.chmod(0o777)

    def compile_anew():
        loader.compiled.__wrapped__('extern "C" __global__ void kernel(REAL* y) { y[0] = 1; }', ("-DREAL=float",))
        (path,) = folder.glob(f"*{suffix}")
        return path

    with pytest.raises(ValueError, match="not enough values"):
        compile_anew()  # in a folder of this process: others may write to the one of the cache
    folder.chmod(0o700)
    path = compile_anew()
    for plant in (lambda: path.chmod(0o777), lambda: path.rename(tmp_path / "x") and path.symlink_to(tmp_path / "x")):
        before = path.stat().st_ino
        plant()
        assert compile_anew() == path
        assert path.stat().st_ino != before and not path.is_symlink() and not path.stat().st_mode & 0o022


def test_the_runtime_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(loader, "cache", loader.cache.__wrapped__)
    for y in (1, 2):
        text = f'extern "C" __global__ void kernel(float* y) {{ y[threadIdx.x] = {y}; }}'
        found = numbers(2)
        loader.launch(loader.compiled.__wrapped__(text), "kernel", (1,), (2,), [found])
        assert found.tolist() == [y, y]
    assert sorted(path.suffix for path in tmp_path.rglob("*.*o")) == [".o", ".so", ".so"]
