"""No kernel reads or writes beyond its arrays, none has a data race, and no barrier is there in vain."""

import json

import pytest

from minilm.ops import FOLDERS
from minilm.ops.cuda import source
from tests.cuda_on_cpu import sanitized
from tests.ops import gpu_sanitized

pytestmark = pytest.mark.skipif(sanitized.missing() is not None, reason=str(sanitized.missing()))


@pytest.mark.parametrize("folder", FOLDERS)
def test_within_bounds(folder):
    outcome = sanitized.run("address", "-m", "tests.ops.gpu_sanitized", "address", folder)
    assert outcome.status == 0 and "clean" in outcome.output, outcome.output


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_race_and_every_barrier_is_needed(folder):
    """Each barrier in turn is left out, and that shows: as a race, or as threads that wait in vain."""
    outcome = sanitized.run("thread", "-m", "tests.ops.gpu_sanitized", "barriers", folder, first=True)
    if "with all barriers in place" in outcome.output:  # once more, with the lines
        outcome = sanitized.run("thread", "-m", "tests.ops.gpu_sanitized", "thread", folder)
    assert outcome.status == 0 and "RESULT" in outcome.output, outcome.output
    results = json.loads(next(line for line in outcome.output.splitlines() if line.startswith("RESULT")).removeprefix("RESULT"))
    in_vain = [f"{file}:{line}" for file, line, shown in results if not shown]
    assert not in_vain, f"nothing shows when these barriers or fences are left out: {in_vain}"


def test_every_shared_barrier_is_somebodys_to_test():
    shared = {
        path.name
        for path in source.SHARED.iterdir()
        if path.suffix in (".cu", ".h") and gpu_sanitized.BARRIER.search(path.read_text())
    }
    assert shared == {name for names in gpu_sanitized.SHARED.values() for name in names}
