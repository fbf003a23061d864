"""`minilm show`: the sources it prints are those that run."""

import os
import pathlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm import cli, devices, ops
from minilm.cli import pager
from minilm.examples import EXAMPLES
from minilm.pages import PAGES

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
    assert all(source(folder, name) in show(capsys, folder, "--cpu") for name in devices.versions(f"minilm.ops.{folder}"))
    assert source(folder, "spec") in show(capsys, folder, "--spec")
    assert source(folder, "cases") in show(capsys, folder, "--cases")
    assert source(folder, "oracle") in show(capsys, folder, "--oracle")


@pytest.mark.parametrize("name, folder", [("log_softmax", "softmax"), ("gelu_erf", "activations"), ("lstm_cell", "lstm")])
def test_an_op_by_its_own_name(name, folder, capsys):
    assert show(capsys, name) == show(capsys, folder)


def test_helpers(capsys):
    out = show(capsys, "softmax", "--cpu")
    names = "minilm/ops/simd.py, minilm/ops/exponentials.py"
    assert out.rstrip().splitlines()[-1] == f"# It uses {names}: with --helpers these are printed as well."
    out = show(capsys, "softmax", "--cpu", "--helpers")
    assert (ROOT / "simd.py").read_text(encoding="utf-8").strip("\n") in out and "--helpers" not in out
    assert "minilm/ops/philox/cpu.py" in show(capsys, "dropout", "--cpu")
    assert "It uses" not in show(capsys, "softmax", "--oracle")


@pytest.mark.parametrize("folder", ops.FOLDERS)
def test_helpers_of_helpers(folder, capsys):
    """All that is needed is there, once."""
    out = show(capsys, folder, "--cpu", "--helpers")
    paths = printed(out)
    versions = [ROOT / folder / f"{name}.py" for name in devices.versions(f"minilm.ops.{folder}")]
    assert len(paths) == len(set(paths)) and paths[: len(versions)] == versions
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            wanted = re.match(r"from minilm\.ops import (.*)|from minilm\.ops\.(\w+|\w+\.cpu) import", line)
            for name in re.split(r", ", (wanted[1] or wanted[2]) if wanted else ""):
                file = ROOT / (name.replace(".", "/") + ".py")
                if name and file.is_file() and name not in ("checks", "contract", "jit", "workspace"):
                    assert file in paths, f"{path} uses {file}"


def test_the_list(capsys):
    listed, _, rest = show(capsys).partition("\n\npages: a model on one page\n")
    pages, _, rest = rest.partition("\n\nexamples: a script each, run by python -m minilm.examples.NAME\n")
    scripts, _, rest = rest.partition("\n\nlayers\n")
    assert [line.split()[0] for line in scripts.splitlines()] == list(EXAMPLES)
    assert [line.split()[0] for line in pages.splitlines()] == list(PAGES)
    assert {name for line in listed.splitlines() for name in line.split("  ")[0].split(", ")} == set(ops.registry())
    layers, _, models = rest.partition("\n\nmodels\n")
    assert {"LSTM", "TransformerBlock", "CRF"} <= set(re.findall(r"\w+", layers))
    assert {"GPT", "BERTForPreTraining", "RNNLanguageModel", "Word2Vec"} <= set(re.findall(r"\w+", models))


def printed(out):
    """The files that were printed."""
    return [ROOT.parent.parent / line[len("# ---- ") :] for line in out.splitlines() if line.startswith("# ---- ")]


@pytest.mark.parametrize("folder", [folder for folder in ops.FOLDERS if (ROOT / folder / "gpu.cu").is_file()])
def test_the_gpu_sources_are_whole(folder, capsys):
    """All kernels of an op, what launches them, and every header of ours that they include."""
    paths = printed(show(capsys, folder, "--gpu"))
    assert paths[0] == ROOT / folder / "gpu.cu" and len(paths) == len(set(paths))
    assert {*(ROOT / folder).glob("*.cu"), ROOT / folder / "gpu.py"} <= set(paths)
    included = {name for path in paths for name in re.findall(r'^#include "([\w.]+)"', path.read_text(encoding="utf-8"), re.M)}
    assert included - {"shim.h"} == {path.name for path in paths if path.suffix == ".h"} and paths[-1].name == "minilm_cuda.h"


def test_the_gpu_sources(capsys):
    out = show(capsys, "lstm", "--gpu")
    assert 'extern "C" __global__ void lstm_persistent_forward(' in out and "KERNELS.launch" in out
    assert "inline REAL sigmoid" in out and "lstm_sliced_forward(" in out and "#define grid_barrier" in out
    assert "minilm/ops/cuda/slices.py" in re.split(r"[ ,]+", out.splitlines()[-2])
    out = show(capsys, "attention", "--gpu")
    places = [out.index(f"__global__ void attention_forward_{version}(") for version in (1, 2, 3)]
    assert places == sorted(places) and out.index("KERNELS.launch") > places[-1]


@pytest.mark.parametrize(
    "name, file",
    [
        ("gpt", "pages/gpt"),
        ("GPT", "models/gpt"),
        ("bert", "pages/bert"),
        ("rnn_lm", "pages/rnn_lm"),
        ("wordpiece", "pages/wordpiece"),
        ("rnnlanguagemodel", "models/rnn_lm"),
        ("Seq2Seq", "models/seq2seq"),
        ("LSTM", "layers/lstm"),
        ("TransformerBlock", "layers/transformer"),
        ("lstm", "ops/lstm/oracle"),
        ("dropout", "ops/dropout/oracle"),
        ("Dropout", "layers/dropout"),
    ],
)
def test_layers_and_models(name, file, capsys):
    """A name in its own capitals is a class; an op and a page are written small."""
    (path, *_) = printed(show(capsys, name))
    assert path == ROOT.parent / f"{file}.py"


def test_what_a_model_is_made_of(capsys):
    out = show(capsys, "GPT", "--helpers")
    names = {path.stem for path in printed(out)}
    assert {"gpt", "gpt_config", "transformer", "attention", "feed_forward"} <= names and not {"base", "parameters"} & names
    assert "def forward(self, ids" in out


# --- on a terminal ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.text(alphabet="ab #\n", max_size=200), max_size=4),
    st.integers(10, 40),
)
def test_folding_loses_nothing(parts, columns):
    tokens = [(None, part) for part in parts]
    whole = list(pager.folded(tokens, columns))
    lines = "".join(text for _, text in whole).split("\n")
    assert all(len(line) <= columns for line in lines)
    assert "".join("".join(parts).split()) == "".join("".join(lines).split())


def on_a_terminal(monkeypatch, capsys, *words, **environment):
    """What `minilm show` writes to a terminal of 80 columns."""
    for name, value in {"PAGER": "", "COLUMNS": "80", "TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert cli.main(["show", *words]) == 0
    return capsys.readouterr().out


def test_a_terminal_gets_colour_and_folded_lines(monkeypatch, capsys):
    pytest.importorskip("pygments")
    plain = show(capsys, "lstm", "--gpu")
    coloured = on_a_terminal(monkeypatch, capsys, "lstm", "--gpu")
    visible = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert coloured.count("\x1b[") > 100 and max(map(len, visible.splitlines())) <= 80
    assert "".join(visible.split()) == "".join(plain.split())
    assert "\x1b" not in on_a_terminal(monkeypatch, capsys, "lstm", "--gpu", NO_COLOR="1")
    assert on_a_terminal(monkeypatch, capsys, "lstm", "--gpu", TERM="dumb") == plain


def test_a_terminal_without_pygments(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pygments", None)
    monkeypatch.setitem(sys.modules, "pygments.lexers", None)
    out = on_a_terminal(monkeypatch, capsys, "softmax", COLUMNS="300")
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 100 and "def forward" in out


@pytest.mark.skipif(os.name == "nt", reason="a pager of POSIX")
def test_the_pager(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    reader = f"{sys.executable} -c 'import sys, pathlib; pathlib.Path(\"read\").write_text(sys.stdin.read())'"
    assert on_a_terminal(monkeypatch, capsys, "softmax", PAGER=reader) == ""
    assert "softmax/oracle.py" in (tmp_path / "read").read_text()
    on_a_terminal(monkeypatch, capsys, "lstm", "--gpu", PAGER="true")  # closes at once
    assert "softmax/oracle.py" in on_a_terminal(monkeypatch, capsys, "softmax", PAGER="no-such-pager -R")


@pytest.mark.parametrize(
    "words, says",
    [
        (["lst"], "there is no op, page, example, layer or model 'lst'; did you mean 'lstm'"),
        (["GTP"], "did you mean 'gpt'?"),
        (["gpt", "--cpu"], "--cpu is of an op, 'gpt' is a page, layer or model"),
        (["gelu"], "did you mean 'gelu_erf' or 'gelu_tanh'?"),
        (["xyzzy"], "there are linear, embedding"),
        (["--cpu"], "--cpu of which op?"),
    ],
)
def test_what_there_is_not(words, says, capsys):
    assert cli.main(["show", *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and not captured.out
