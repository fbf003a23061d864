"""Every kernel compiles for four generations of GPUs, with nothing spilled from registers to memory."""

import pytest

from minilm import devices
from minilm.ops import FOLDERS
from tests.cuda_on_cpu import nvrtc
from tests.ops import gpu

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
SHARED = ("columns", "products")  # tables that belong to no op
SLICED = ("lstm.sliced", "gru.sliced")  # second tables

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc")


def tables(name):
    """The kernel table of an op's folder, or of a file that ops share."""
    folder, _, module = ("cuda." + name if name in SHARED else name).partition(".")
    with gpu.emulated():
        return devices.load(f"minilm.ops.{folder}", module or "gpu").KERNELS


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("name", [*FOLDERS, *SHARED, *SLICED])
def test_compiles_without_spills(name, real):
    table = tables(name)
    definitions = [f"-D{key}={value}" for key, value in table.definitions(real).items()]
    for architecture in ARCHITECTURES:
        done = nvrtc.compile(table.code(real), architecture, definitions)
        assert done.cubin[:4] == b"\x7fELF"
        assert set(done.registers) == set(table.entries), "kernels and table differ"
        assert not any(done.spills.values()), f"{architecture}: {done.spills}"
        assert max(done.registers.values()) <= 255


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("width", [16, 32, 64, 96, 128])
def test_attention_on_tensor_cores_compiles_without_spills(width, precision):
    """All widths for one generation, the usual and the widest for all; where there are no such tensor cores, to a trap."""
    with gpu.emulated():
        module = devices.load("minilm.ops.attention", "gpu")
        table, widths = module.tensor(precision, width), module.WIDTHS
    assert width in widths
    definitions = [f"-D{key}={value}" for key, value in table.definitions("float32").items()]
    for architecture in ARCHITECTURES if width in (64, 128) else ["sm_90"]:
        done = nvrtc.compile(table.code("float32"), architecture, definitions)
        assert set(done.registers) == set(table.entries) and not any(done.spills.values()), f"{architecture}: {done.spills}"


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_attention_of_one_query_compiles_without_spills(real):
    with gpu.emulated():
        table = devices.load("minilm.ops.attention", "gpu").ONE_QUERY
    for architecture in ARCHITECTURES:
        definitions = [f"-D{key}={value}" for key, value in table.definitions(real).items()]
        done = nvrtc.compile(table.code(real), architecture, definitions)
        assert set(done.registers) == set(table.entries) and not any(done.spills.values()), f"{architecture}: {done.spills}"


def test_an_error_names_file_and_line():
    text = tables("softmax").text.replace("sum_of_exp(row, m, V)", "sum_of_exp(row, n0, V)", 1)
    with pytest.raises(nvrtc.CompileError, match=r'gpu\.cu\(\d+\): error: identifier "n0" is undefined'):
        nvrtc.compile(text, "sm_90")


def test_a_spill_is_seen():
    """The proof that the numbers are read rightly: a kernel that needs more registers than it may have."""
    text = """
    extern "C" __global__ void __launch_bounds__(1024) hungry(double* x) {
        double v[128];
        for (int i = 0; i < 128; ++i) v[i] = x[i];
        for (int k = 0; k < 9; ++k)
    #pragma unroll
            for (int i = 0; i < 128; ++i) v[i] = v[(i * 7 + 1) % 128] * v[i] + x[k];
    #pragma unroll
        for (int i = 0; i < 128; ++i) x[i] = v[i];
    }"""
    assert nvrtc.compile(text, "sm_90").spills["hungry"] > 0
