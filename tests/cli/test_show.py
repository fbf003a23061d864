"""`minilm show`: the sources it prints are those that run."""

import pathlib
import re

import pytest

from minilm import cli, ops

ROOT = pathlib.Path(ops.__file__).parent


def show(capsys, *words):
    assert cli.main(["show", *words]) == 0
    return capsys.readouterr().out


def source(folder, name):
    return (ROOT / folder / f"{name}.py").read_text(encoding="utf-8").strip("\n")


@pytest.mark.parametrize("folder", ops.FOLDERS)
def test_every_op(folder, capsys):
    out = show(capsys, folder)
    formulas, _, code = out.partition(f"# ---- minilm/ops/{folder}/oracle.py\n\n")
    assert code.startswith(source(folder, "oracle"))
    assert "Source" in formulas and '"""' not in formulas and "import numpy" not in formulas
    assert source(folder, "cpu") in show(capsys, folder, "--cpu")
    assert source(folder, "spec") in show(capsys, folder, "--spec")
    assert source(folder, "oracle") in show(capsys, folder, "--oracle")


@pytest.mark.parametrize("name, folder", [("log_softmax", "softmax"), ("gelu_erf", "activations"), ("lstm_cell", "lstm")])
def test_an_op_by_its_own_name(name, folder, capsys):
    assert show(capsys, name) == show(capsys, folder)


def test_helpers(capsys):
    out = show(capsys, "softmax", "--cpu")
    assert out.rstrip().splitlines()[-1] == "# It uses minilm/ops/simd.py: with --helpers these are printed as well."
    out = show(capsys, "softmax", "--cpu", "--helpers")
    assert (ROOT / "simd.py").read_text(encoding="utf-8").strip("\n") in out and "--helpers" not in out
    assert "minilm/ops/philox/cpu.py" in show(capsys, "dropout", "--cpu")
    assert "It uses" not in show(capsys, "softmax", "--oracle")


@pytest.mark.parametrize("folder", ops.FOLDERS)
def test_helpers_of_helpers(folder, capsys):
    """All that is needed is there, once."""
    out = show(capsys, folder, "--cpu", "--helpers")
    printed = [ROOT.parent.parent / line[len("# ---- ") :] for line in out.splitlines() if line.startswith("# ---- ")]
    assert len(printed) == len(set(printed)) and printed[0] == ROOT / folder / "cpu.py"
    for path in printed:
        for line in path.read_text(encoding="utf-8").splitlines():
            wanted = re.match(r"from minilm\.ops import (.*)|from minilm\.ops\.(\w+|\w+\.cpu) import", line)
            for name in re.split(r", ", (wanted[1] or wanted[2]) if wanted else ""):
                file = ROOT / (name.replace(".", "/") + ".py")
                if name and file.is_file() and name not in ("checks", "contract", "jit", "workspace"):
                    assert file in printed, f"{path} uses {file}"


def test_the_list(capsys):
    out = show(capsys)
    names = {name for line in out.splitlines() for name in line.split("  ")[0].split(", ")}
    assert names == set(ops.registry())


def test_the_gpu_sources(capsys):
    out = show(capsys, "lstm", "--gpu")
    assert 'extern "C" __global__ void lstm_persistent_forward(' in out and "KERNELS.launch" in out
    assert {"minilm/ops/cuda/gates.h", "minilm/ops/lstm/sliced.cu"} <= set(re.split(r"[ ,]+", out.splitlines()[-1]))
    helpers = show(capsys, "lstm", "--gpu", "--helpers")
    assert "inline REAL sigmoid" in helpers and "lstm_sliced_forward(" in helpers and "#define grid_barrier" in helpers
    out = show(capsys, "attention", "--gpu")
    places = [out.index(f"__global__ void attention_forward_{rung}(") for rung in (1, 2, 3)]
    assert places == sorted(places) and out.index("KERNELS.launch") > places[-1]
    assert "minilm/ops/cuda/mma.h" in out.splitlines()[-1]


@pytest.mark.parametrize(
    "words, says",
    [
        (["lst"], "there is no op 'lst'; did you mean 'lstm'"),
        (["gelu"], "did you mean 'gelu_erf' or 'gelu_tanh'?"),
        (["xyzzy"], "there are linear, embedding"),
        (["--cpu"], "--cpu of which op?"),
    ],
)
def test_what_there_is_not(words, says, capsys):
    assert cli.main(["show", *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and not captured.out
