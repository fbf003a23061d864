"""Every script of the gallery runs, at a small size, and does what it says; each is a screen long, and in the wheel."""

import importlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from minilm import examples

FOLDER = pathlib.Path(examples.__file__).parent
# name: what main is given, and what must hold of its result
CASES = {
    "own_op": ({}, lambda result: result is True),
    "own_layer": ({}, lambda result: result is True),
    "own_model": ({"steps": 60}, lambda loss: loss < 3.2),
    "own_data": ({"steps": 20}, lambda counts: sum(counts) == 320 and 190 < counts[0] < 290),
    "fine_tuning": ({"steps": 30}, lambda losses: losses["all weights"] < losses["before"] > losses["LoRA"]),
    "probing": ({"steps": 10, "rows": 8}, lambda results: len(results) == 3 and all(0 < each < 1 for each in results.values())),
    "patching": ({"steps": 20}, lambda values: values.shape == (2, 22) and np.isfinite(values).all()),
    "data_parallel": ({"steps": 4}, lambda digest: len(digest) == 64),
    "quantised": ({"steps": 10, "tokens": 20}, lambda losses: abs(losses["int8"] - losses["float32"]) < 0.02),
    "converting": ({}, lambda difference: difference < 1e-6),
}


def test_every_script_is_listed_and_fits_a_screen():
    files = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(examples.EXAMPLES) == set(CASES) and len(files) == 10
    for name, source in files.items():
        assert len(source.splitlines()) <= 100, name
        assert name in (examples.__doc__ or "") and "    main()\n" in source


@pytest.mark.parametrize("name", CASES)
def test_it_does_what_it_says(name, capsys, tmp_path, tmp_path_factory, monkeypatch):
    kept = tmp_path_factory.mktemp("texts")
    monkeypatch.setattr("minilm.data.sources.cache_folder", lambda *parts: str(kept))
    monkeypatch.chdir(tmp_path)
    options, holds = CASES[name]
    assert holds(importlib.import_module(f"minilm.examples.{name}").main(**options))
    assert capsys.readouterr().out.count("\n") >= 1 and not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_as_a_user_runs_it(name, tmp_path):
    done = subprocess.run([sys.executable, "-m", f"minilm.examples.{name}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr
