"""Every kernel compiles for four generations of GPUs, with nothing spilled from registers to memory."""

import pytest

from minilm import devices
from minilm.ops import FOLDERS
from tests.cuda_on_cpu import nvrtc
from tests.ops import gpu

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
USUAL = {"float32": ("sm_75", "sm_100"), "float64": ("sm_90",)}  # the oldest and the newest; for gradient checks one between
SHARED = ("columns", "products")  # tables that belong to no op
SLICED = ("lstm.sliced", "gru.sliced")  # second tables

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc")


def generations(*reals):
    """Parameters (real, architecture) of a test: of all there are, those that are not usual are slow."""
    return [
        pytest.param(real, architecture, marks=() if architecture in USUAL[real] else pytest.mark.slow)
        for real in reals
        for architecture in ARCHITECTURES
    ]


def tables(name):
    """The kernel table of an op's folder, or of a file that ops share."""
    folder, _, module = ("cuda." + name if name in SHARED else name).partition(".")
    with gpu.emulated():
        return devices.load(f"minilm.ops.{folder}", module or "gpu").KERNELS


def tensor_attention(width, precision):
    """Attention's kernel table for heads of a width, by tensor cores."""
    with gpu.emulated():
        module = devices.load("minilm.ops.attention", "gpu")
        table, widths = module.tensor(precision, width), module.WIDTHS
    assert width in widths
    return table


def compiled(table, real, architecture):
    """What NVRTC makes of a table of kernels; AssertionError if one of them spills."""
    definitions = [f"-D{key}={value}" for key, value in table.definitions(real).items()]
    done = nvrtc.compile(table.code(real), architecture, definitions)
    assert set(done.registers) == set(table.entries), "kernels and table differ"
    assert not any(done.spills.values()), done.spills
    return done


@pytest.mark.parametrize(("real", "architecture"), generations("float32", "float64"))
@pytest.mark.parametrize("name", [*FOLDERS, *SHARED, *SLICED])
def test_compiles_without_spills(name, real, architecture):
    done = compiled(tables(name), real, architecture)
    assert done.cubin[:4] == b"\x7fELF"
    assert max(done.registers.values()) <= 255


@pytest.mark.parametrize(("real", "architecture"), generations("float32"))
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("width", [64, 128])  # the usual and the widest
def test_attention_on_tensor_cores_compiles_without_spills(width, precision, real, architecture):
    """Where there are no such tensor cores, to a trap."""
    compiled(tensor_attention(width, precision), real, architecture)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("width", [16, 32, 96])
def test_attention_of_other_widths_compiles_without_spills(width, precision):
    compiled(tensor_attention(width, precision), "float32", "sm_90")


@pytest.mark.parametrize(("real", "architecture"), generations("float32", "float64"))
def test_attention_of_one_query_compiles_without_spills(real, architecture):
    with gpu.emulated():
        table = devices.load("minilm.ops.attention", "gpu").ONE_QUERY
    compiled(table, real, architecture)


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
