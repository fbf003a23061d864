"""Structs that kernels take: NumPy packs them as both compilers lay them out, and what does not fit is refused."""

import numpy as np
import pytest

from minilm import devices
from minilm.ops import FOLDERS
from minilm.ops.cuda import arguments
from tests.cuda_on_cpu import loader, nvrtc
from tests.ops import gpu

ECHO = """
struct Inner {
    const i64* step;  // (1) or null
    u32 place, low;
};
struct Outer {
    int few;
    Inner inner;
    const REAL* x;  // (N, 2)
    REAL factor;
    i64 N;
};

extern "C" __global__ void echo(
    Outer args,
    REAL* y) {  // (N)
    i64 n = threadIdx.x;
    y[n] = args.factor * args.x[2 * n] + args.few + args.inner.low + (args.inner.step ? *args.inner.step : 0);
}
"""


@pytest.fixture(autouse=True)
def device():
    with gpu.emulated():
        yield


@pytest.fixture
def table(tmp_path):
    from minilm.ops.cuda import Kernel, Kernels

    (tmp_path / "echo.cu").write_text(f'#include "minilm_cuda.h"\n{ECHO}')
    return Kernels(str(tmp_path / "echo.py"), Kernel("echo", grid=lambda s: 1, block=lambda s: s.N))


def values(N=3, dtype=np.float32):
    x, step = devices.to_device((np.arange(2.0 * N).astype(dtype), np.array([7])))
    return {"few": 5, "inner": {"step": step, "place": 1, "low": 2}, "x": x, "factor": 0.5, "N": N}


def tables():
    """The tables of all ops whose kernels take structs."""
    for folder in FOLDERS:
        module = devices.load(f"minilm.ops.{folder}", "gpu")
        yield module.KERNELS
        if folder == "attention":
            yield from (module.ONE_QUERY, module.tensor("tf32", 64))
        if folder in ("lstm", "gru"):
            yield module.sliced.KERNELS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_field_arrives(table, dtype):
    import cupy

    packed = table.pack("Outer", **values(dtype=dtype))
    for _ in range(2):  # packed once, launched twice
        y = cupy.empty(3, dtype)
        table.launch("echo", packed, y)
        assert np.array_equal(y.get(), [14, 15, 16])
    table.launch("echo", values(dtype=dtype) | {"inner": {"place": 1, "low": 2}}, y)
    assert np.array_equal(y.get(), [7, 8, 9])


def definitions(table, real):
    return tuple(f"-D{key}={value}" for key, value in table.definitions(real).items())


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_every_struct_is_compiled_with_its_offsets(real):
    """g++ checks them here, NVRTC in tests/ops/test_gpu_compiles.py."""
    folders = set()
    for table in tables():
        if table.structs and not (table.path.name == "tensor.cu" and real == "float64"):
            folders.add(table.path.parent.name)
            assert all(f"sizeof({name}) ==" in table.code(real) for name in table.structs)
            loader.compiled(table.code(real), definitions(table, real))
    assert {"attention", "dropout", "philox", "sampling"} <= folders


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_other_offsets_do_not_compile(real, monkeypatch):
    """Were a struct packed without C's padding, both compilers would say so."""
    aligned = arguments.layout

    def tight(struct, real):
        kind = aligned(struct, real)
        return np.dtype([(name, kind[name]) for name in kind.names])

    monkeypatch.setattr(arguments, "layout", tight)
    table = devices.load("minilm.ops.attention", "gpu").KERNELS
    with pytest.raises(loader.CompileError, match="minilm packs Attention otherwise"):
        loader.compiled(table.code(real), definitions(table, real))
    if nvrtc.library() is not None:
        with pytest.raises(nvrtc.CompileError, match="minilm packs Attention otherwise"):
            nvrtc.compile(table.code(real), "sm_90", definitions(table, real))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inner": None}, "Outer: inner must be a packed Inner for float32"),
        ({"N": 2}, r"Outer: x must be C-contiguous with \(N, 2\) = 4 numbers, got shape \(6,\)"),
        ({"few": "5"}, "Outer: few must be a number, got str"),
        ({"more": 1}, "Outer has no more"),
        ({"inner": {"low": 1}}, "Inner: place is missing"),
        ({"inner": {"step": 1.5, "place": 1, "low": 2}}, "Inner: step must be an array, got float"),
        ({"x": np.zeros((3, 2), np.float32)}, "Outer: an array of the host"),
    ],
)
def test_what_does_not_fit_is_refused(table, change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        table.pack("Outer", **(values() | change))


def test_a_struct_of_another_type_or_precision_is_refused(table):
    import cupy

    with pytest.raises(TypeError, match="echo: args must be a packed Outer for float32"):
        table.launch("echo", table.pack("Outer", **values(dtype=np.float64)), cupy.empty(3, np.float32), dtype=np.float32)
