"""Instructions that no author could run are tried in a process of its own: what comes of it, and that the trials can fail."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from minilm.compiled import kernel_cache, trial
from minilm.ops import target
from minilm.ops.bfloat16 import trial as bfloat16_trial
from minilm.quantized import trial as int8_trial

PROGRAMS = {
    "": "import os; open('runs', 'a').write(os.environ['MINILM_ISA'] + os.environ['MINILM_TRIAL'] + ' ')",
    r"failed \(ArithmeticError: 3 is wrong\)": "raise ArithmeticError('3 is wrong')",
    "was ended by SIGILL": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    r"could not be run \(TimeoutExpired\)": "import time; time.sleep(60)",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the trials and their answers are."""
    monkeypatch.setattr(kernel_cache, "folder", lambda: str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv(trial.RUNNING, raising=False)
    monkeypatch.setattr(trial, "SECONDS", 10)
    monkeypatch.chdir(tmp_path)
    trial.passes.cache_clear()
    yield tmp_path
    trial.passes.cache_clear()


@pytest.mark.parametrize("says", PROGRAMS)
def test_what_comes_of_a_trial(folder, monkeypatch, says):
    (folder / "attempt.py").write_text(PROGRAMS[says])
    if "Timeout" in says:
        monkeypatch.setattr(trial, "SECONDS", 0.5)
    for _ in range(2):  # the second time it is not run: its program is gone
        if says:
            with pytest.warns(RuntimeWarning, match=f"AMX is not used, since attempt {says}: other instructions"):
                assert not trial.passes("attempt")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert trial.passes("attempt")
            assert (folder / "runs").read_text() == "amx1 "
        trial.passes.cache_clear()
        (folder / "attempt.py").write_text("raise SystemExit(7)")


def test_a_trial_does_not_begin_another(folder, monkeypatch):
    monkeypatch.setenv(trial.RUNNING, "1")
    assert trial.passes("no.such.module")


@pytest.mark.skipif(not target.bfloat16_units(), reason="this processor has no products in bfloat16")
def test_the_trial_of_bfloat16(monkeypatch):
    bfloat16_trial.main()
    product = bfloat16_trial.product

    def wrong(a, W, out, *, transposed):
        product(a, W, out, transposed=transposed)
        out[-1, -1] *= np.float32(1 + 2**-10)

    monkeypatch.setattr(bfloat16_trial, "product", wrong)
    with pytest.raises(ArithmeticError, match=r"a product of \(33, 70\) by \(70, 40\) is wrong"):
        bfloat16_trial.main()


def test_the_trial_of_int8(monkeypatch):
    int8_trial.main()
    product = int8_trial.cpu.product

    def wrong(x, W, out):
        product(x, W, out)
        out[len(x) // 2 : -1] *= np.float32(1 + 2**-20)

    monkeypatch.setattr(int8_trial.cpu, "product", wrong)
    with pytest.raises(ArithmeticError, match=r"a product of \(70, 130\) by \(130, 65\) in groups of 64 is wrong"):
        int8_trial.main()


def test_they_are_programs():
    environment = {**os.environ, trial.RUNNING: "1"}
    done = subprocess.run([sys.executable, "-m", "minilm.quantized.trial"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
