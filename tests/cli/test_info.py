"""`minilm info`."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import minilm
from minilm import cli, ops
from minilm.cli import info


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    return tmp_path


def test_the_table(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for name in (
        "minilm",
        "python",
        "processor",
        "threads",
        "blas",
        "numba",
        "llvmlite",
        "implementations",
        "caches",
        "optional",
    ):
        assert any(line.startswith(f"{name} ") for line in out.splitlines()), name
    assert np.__version__ in out and minilm.__version__ in out and f"gpu: {len(ops.FOLDERS)} of {len(ops.FOLDERS)} ops" in out


def test_json(capsys, monkeypatch, cache):
    monkeypatch.setenv("MINILM_THREADS", "3")
    (cache / "corpora").mkdir()
    (cache / "corpora" / "x.txt").write_bytes(b"x" * 2**20)
    (cache / "emulated").mkdir()
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["threads"] == 3 and found["environment"]["MINILM_THREADS"] == "3"
    assert found["caches"]["folder"] == str(cache) and "1 files, 1.0 MiB" in found["caches"]["corpora"]
    assert found["caches"]["CUDA kernels on the CPU"].startswith(str(cache / "emulated"))
    assert found["processor"]["vector"].split()[0] in ("16", "32", "64")
    assert found["implementations"]["oracle"].startswith(f"{len(minilm.ops.FOLDERS)} of")
    assert found["numba"][0].isdigit() and found["optional"]["cupy"].endswith("(GPU)")
    assert found["blas"]["name"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize(
    "variables, width, says",
    [
        ({"NUMBA_CPU_NAME": "generic"}, 16, "generic, with the features of its name alone"),
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}, 32, "haswell, with the features +avx2,+fma"),
        ({"NUMBA_CPU_NAME": "haswell"}, None, "haswell, with this processor's features (NUMBA_CPU_FEATURES is not set)"),
    ],
)
def test_the_processor_is_the_one_that_is_compiled_for(variables, width, says):
    """What info says is what the tile of matrix products is made for."""
    code = (
        "import json; from minilm.cli import info; from minilm.ops import tile; found = info.collect(); "
        "print(json.dumps([found['processor'], found['environment'], tile.VECTOR]))"
    )
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    processor, environment, vector = json.loads(done.stdout)
    assert processor["compiled for"] == says and variables.items() <= environment.items()
    assert processor["vector"].startswith(f"{vector} bytes") and vector == (width or vector)


def test_a_wrong_number_of_threads_is_told(monkeypatch, capsys):
    monkeypatch.setenv("MINILM_THREADS", "two")
    assert cli.main(["info"]) == 2
    assert "MINILM_THREADS must be a whole number" in capsys.readouterr().err


def test_nothing_heavy_is_imported():
    code = "import sys; from minilm import cli; cli.main(['info']); print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "cupy", "matplotlib", "mpi4py"} & set(out.splitlines()[-1].split())
    assert os.path.basename(info.__file__) == "info.py"


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr(info, "OPTIONAL", {"no-such-package-here": "nothing"})
    assert info.collect()["optional"] == {"no-such-package-here": "not installed (nothing)"}
