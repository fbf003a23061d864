"""The list of planted faults fits the sources, and the tool tells what is caught from what is not."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.mutants import __main__ as command
from tests.mutants.fault import ROOT, area, mutated, stale
from tests.mutants.faults import AREAS, FAULTS
from tests.mutants.planting import copied_tree, failing, try_fault

QUICK = "tests/optimizers/test_schedules.py"  # needs no kernel
SCHEDULES = "minilm/optimizers/schedules.py"


def planted(what, text, replacement, tests=QUICK, file=SCHEDULES):
    (fault,) = area("optimizers", (what, file, text, replacement, tests))
    return fault


CAUGHT = planted("a decay too late", "math.floor(epoch) + 1 - self.after", "math.floor(epoch) - self.after")
MISSED = planted("a comment changed", "# also for NaN", "# for NaN too")
BROKEN = planted("no module", "import math\n", "import maths\n")
HANGS = planted("never ends", "progress = min(max(float(progress), 0.0), 1.0)", "while True: pass")
STALE = planted("moved on", "what never stood there", "")


@pytest.mark.parametrize("name", AREAS)
def test_every_fault_fits_the_sources(name):
    """Its text stands there once, what it becomes is Python where it is a module, and its tests are there."""
    wrong = [reason for reason in map(stale, (fault for fault in FAULTS if fault.area == name)) if reason]
    assert not wrong, "\n".join(wrong)


def test_the_list():
    assert 150 <= len(FAULTS) and len(AREAS) == 9
    names = Counter((fault.area, fault.name) for fault in FAULTS)
    assert max(names.values()) == 1
    for fault in FAULTS:
        assert fault.tests and mutated(fault) != (ROOT / fault.file).read_text(encoding="utf-8"), fault.name


def test_what_is_said_of_a_sample(capsys, tmp_path, monkeypatch):
    """Caught, missed and stale ones, one of them from the list; the tree itself stays as it is."""
    before = (ROOT / SCHEDULES).read_bytes()
    (listed,) = (fault for fault in FAULTS if fault.name == "cosine: warm-up counts from the peak")
    monkeypatch.setattr(command, "FAULTS", [CAUGHT, listed, MISSED, STALE])
    assert command.main(["optimizers", "--json", str(tmp_path / "found.json")]) == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(row["name"], row["result"]) for row in found] == [
        (CAUGHT.name, "caught"), (listed.name, "caught"), (MISSED.name, "missed"), (STALE.name, "stale")
    ]  # fmt: skip
    assert found[0]["test"].startswith(f"{QUICK}::")
    out = capsys.readouterr().out
    assert "optimizers      2 of    4    50.0%" in out and "missed: optimizers: a comment changed" in out
    assert "has 0 times the text 'what never stood there'" in out
    assert (ROOT / SCHEDULES).read_bytes() == before


def test_what_does_not_run_or_end_is_not_caught():
    with copied_tree() as root:
        assert try_fault(BROKEN, root, 600).result == "broken"
        assert try_fault(HANGS, root, 8)[:2] == ("timeout", "")


def test_the_tests_see_the_copy():
    """Those that import minilm, and the processes that they start, from any folder. What fails without a fault is known too."""
    with copied_tree() as root:
        (root / "tests" / "test_where.py").write_text(
            "import pathlib, subprocess, sys, minilm\n"
            "def test_where(tmp_path):\n"
            "    code = 'import minilm; print(minilm.__file__)'\n"
            "    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)\n"
            f"    assert minilm.__file__ == done.stdout.strip() == {str(root / 'minilm' / '__init__.py')!r}\n"
        )
        seen = planted("elsewhere", "# also for NaN", "# for NaN too", "tests/test_where.py")
        assert try_fault(seen, root, 600).result == "missed"
        always = "tests/test_always.py::test_it"
        (root / "tests" / "test_always.py").write_text("def test_it():\n    raise AssertionError\n")
        assert failing([always, "tests/test_where.py::test_where"], root) == {always}


def test_exit_status_and_choice(capsys):
    assert command.main(["oracle", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 1 + sum(fault.area == "oracle" for fault in FAULTS)
    assert all(line.startswith("oracle") for line in listed[:-1])
    one, other = (command.chosen(command.arguments(["--sample", "5", "--seed", str(seed)])) for seed in (1, 2))
    assert len(one) == 5 and one != other and one == command.chosen(command.arguments(["--sample", "5", "--seed", "1"]))
    with pytest.raises(SystemExit) as exit:
        command.main(["orakel"])
    assert exit.value.code == 2 and "there is no area 'orakel'" in capsys.readouterr().err
    words = [sys.executable, "-m", "tests.mutants", "--name", "no such fault"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "no fault has such a name\n"
