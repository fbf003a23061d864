"""What importing minilm costs and brings along."""

import subprocess
import sys

import pytest

import minilm
from tests import clocks

HEAVY = ("numba", "llvmlite", "matplotlib", "safetensors", "tqdm", "torch", "cupy", "mpi4py", "hypothesis", "pytest")


def python(code: str) -> str:
    options = {"capture_output": True, "text": True, "check": True, "timeout": clocks.PATIENCE}
    return subprocess.run([sys.executable, "-c", code], **options).stdout.strip()


def test_import_is_light():
    loaded = python("import sys, minilm; print(*sorted(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    "module",
    ["ops", "layers", "models", "optimizers", "tokenizers", "data", "training", "generation", "gradcheck", "cli", "weights"]
    + ["sequential"],
)
def test_no_subpackage_brings_a_peer_or_a_plot(module):
    loaded = python(f"import sys, minilm.{module}; print(*sorted(sys.modules))").split()
    assert not {"torch", "matplotlib", "cupy", "mpi4py", "pytest", "hypothesis", "numba"} & set(loaded)


def test_import_is_quick():
    """Under 0.3 s of the processor beyond the interpreter and NumPy, the best of three."""
    code = "import time, numpy; t = time.process_time(); import minilm; print(time.process_time() - t)"
    assert min(float(python(code)) for _ in range(3)) < 0.3


def test_the_names_are_there():
    listed = dir(minilm)
    for name in minilm.__all__:
        assert name in listed
        assert getattr(minilm, name) is not None
    assert callable(minilm.gradcheck) and callable(minilm.implementation) and isinstance(minilm.Workspace, type)
    with pytest.raises(AttributeError, match="no attribute 'gradchek'"):
        _ = minilm.gradchek


@pytest.mark.parametrize(
    "first", ["import minilm.gradcheck", "import minilm.gradcheck.check", "from minilm import gradcheck", "import minilm.cli"]
)
def test_gradcheck_is_the_function_whatever_was_imported_before(first):
    assert python(f"{first}\nfrom minilm import gradcheck\nprint(callable(gradcheck))") == "True"
