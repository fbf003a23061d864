"""MINILM_ISA: kernels for a lower level of instructions, by what is compiled and what it computes."""

import json
import os
import platform
import subprocess
import sys

import pytest

from minilm.compiled import isa

X86 = platform.machine() in isa.X86
PROGRAM = """
import json, re
import numba, numpy as np
import minilm
from minilm import ops
from minilm.ops import target
from minilm.ops.tile import ROWS, WIDTH32, multiply_tile

@numba.njit
def tile(a, panel, c):
    multiply_tile(ROWS, 0, a, 0, ROWS, panel, c, 0, False)

rng = np.random.default_rng(0)
a, panel = (rng.standard_normal(shape).astype(np.float32) for shape in ((ROWS, 70), (70, WIDTH32)))
c = np.empty((ROWS, WIDTH32), np.float32)
tile(a, panel, c)
(assembly,) = tile.inspect_asm().values()
errors = {"tile": float(np.abs(c - a.astype(np.float64) @ panel).max())}
x, W, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((9, 70), (35, 70), (35,)))
for name, arguments in (("linear", (x, W, b)), ("softmax", (x,))):
    op = getattr(ops, name)
    y, saved = op.forward(*arguments)
    with minilm.implementation("oracle"):
        wanted, _ = op.forward(*arguments)
    errors[name] = float(np.abs(y - wanted).max())
facts = {
    "calls": sorted(set(re.findall(r"\\bfmaf?\\b", assembly))),
    "fused": "vfmadd" in assembly,
    "widest": max(re.findall(r"[xyz]mm", assembly)),
    "described": target.described(),
    "bits": c.tobytes().hex(),
}
print(json.dumps({"errors": errors, **facts}))
"""


def run(level, *command, **more):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env={**environment, "MINILM_ISA": level, **more}
    )


REGISTERS = {"baseline": "xmm", "avx": "ymm", "avx2": "ymm", "avx512": "zmm"}


@pytest.mark.skipif(not X86, reason="names of x86 processors")
@pytest.mark.parametrize("without, fused", [("baseline", "avx2"), pytest.param("avx", "avx512", marks=pytest.mark.slow)])
def test_a_level_is_what_kernels_are_compiled_for(without, fused):
    results = {}
    for level in (without, fused):
        if level not in isa.possible():
            pytest.skip(f"this processor has no {level}")
        done = run(level, "-c", PROGRAM)
        assert done.returncode == 0, done.stderr
        results[level] = facts = json.loads(done.stdout)
        assert max(facts["errors"].values()) < 1e-4, (level, facts["errors"])
        assert not facts["calls"], f"{level}: a call of the C library for each multiply-add"
        assert facts["fused"] == (level == fused) and facts["widest"] == REGISTERS[level]
        assert facts["described"] == f"{isa.NAMES[level]}, as MINILM_ISA={level} says"
    assert results[without]["bits"] != results[fused]["bits"]  # as `minilm.compiled.isa` says


@pytest.mark.parametrize(
    "level, more, message",
    [
        ("avx3", {}, f"MINILM_ISA must be one of {', '.join(isa.LEVELS)}, got 'avx3'"),
        ("baseline", {"NUMBA_CPU_NAME": "generic"}, "MINILM_ISA=baseline and NUMBA_CPU_NAME both say what to compile for"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(level, more, message):
    done = run(level, "-m", "minilm", "info", **more)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_level_that_the_processor_has_not_is_refused(monkeypatch):
    monkeypatch.setenv("MINILM_ISA", "amx")
    monkeypatch.setattr(isa, "possible", lambda: ("baseline", "avx"))
    with pytest.raises(ValueError, match="MINILM_ISA=amx wants a processor that has it, got one with baseline, avx"):
        isa.apply.__wrapped__()


def test_a_level_that_comes_too_late_is_refused(monkeypatch):
    monkeypatch.setenv("MINILM_ISA", "baseline")
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(vars(isa.cpu_target), "_toplevel_target_context", None)
    with pytest.raises(ValueError, match="comes too late"):
        isa.apply.__wrapped__()
