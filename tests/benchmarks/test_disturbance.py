"""A run that was disturbed says so."""

import subprocess
import sys
import time

import pytest

from benchmarks import disturbance
from benchmarks.case import Case, measure
from benchmarks.disturbance import Clocks, Conditions, Watch
from benchmarks.peers import none
from benchmarks.timing import Contestant


def test_verdicts():
    assert Conditions(others=0.01, steal=0.0, control={"arithmetic": 1.02}).judge().verdict == "quiet"
    disturbed = Conditions(others=1.0, steal=0.3, control={"arithmetic": 1.9, "memory": 1.1}).judge()
    assert disturbed.verdict == "disturbed: others on 1.0 processors, host took 30%, arithmetic took 1.90 x its quiet time"
    assert Conditions().judge().verdict == "quiet"  # where the system tells nothing


def test_what_others_took_is_what_this_process_did_not(monkeypatch):
    now = iter([Clocks(0, 0, 100, 10), Clocks(0, 0, 100, 10), Clocks(10, 6, 115, 11)])
    monkeypatch.setattr(disturbance, "clocks", lambda: next(now))
    monkeypatch.setattr(disturbance.os, "cpu_count", lambda: 2)
    watch = Watch(1, "p", quick=True)
    watch.begin()
    conditions = watch.end()
    assert conditions.others == pytest.approx((15 - 6) / 10, abs=0.01) and conditions.steal == pytest.approx(1 / 10 / 2)


@pytest.mark.skipif(disturbance.clocks().busy is None, reason="the system has no /proc/stat")
def test_a_busy_process_beside_is_seen():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)  # it starts
        case = Case("c", "ops", "c", lambda peers: [Contestant("minilm", lambda: time.sleep(0.2))], rounds=1)
        result = measure(case, none(), seconds=0.6, quick=True, watch=Watch(1, "p", quick=True))
    finally:
        busy.kill()
        busy.wait()
    # on a busy machine it has less than a processor, and others more
    assert result.conditions.others > disturbance.OTHERS and result.conditions.verdict.startswith("disturbed: others on")


def test_a_control_kernel_that_takes_longer_than_ever_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(disturbance, "COUNT", 10_000)
    monkeypatch.setattr(disturbance, "NUMBERS", 1 << 12)
    first = Watch(1, "p")
    first.begin()
    assert all(times >= 1 for times in first.end().control.values())
    slower = Watch(1, "p")  # reads what is kept
    slower._quiet = {kind: seconds / 100 for kind, seconds in slower._quiet.items()}
    slower.begin()
    verdict = slower.end().verdict
    assert "arithmetic took" in verdict and "memory took" in verdict
