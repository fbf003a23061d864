"""The machine of a record: what minilm is held to, and which kept rates are its own."""

import dataclasses
import os
import platform
import subprocess
import sys

import pytest

from benchmarks import machine
from minilm.compiled import isa
from tests.benchmarks.test_report import MACHINE

PROGRAM = "from benchmarks import machine; print(machine.kind())"


@pytest.mark.skipif(platform.machine() not in isa.X86, reason="names of x86 processors")
def test_units_that_a_level_leaves_out_are_not_named():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={**environment, "MINILM_ISA": "baseline"}
    )
    assert done.stdout == "x86-64, 128-bit vectors, MINILM_ISA=baseline\n", done.stderr


def test_a_level_is_not_held_to_another_levels_rates(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    wide = machine.best_ever(dataclasses.replace(MACHINE, kind="512-bit vectors", peak=4e11))
    narrow = dataclasses.replace(MACHINE, kind="128-bit vectors", peak=1e11)
    assert machine.best_ever(narrow).peak == 1e11
    assert machine.best_ever(dataclasses.replace(wide, peak=3e11)).peak == 4e11  # its own, kept
