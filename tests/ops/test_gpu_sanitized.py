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
    """Each barrier in turn is deleted, and the deletion is reported: as a race, or as threads that wait in vain."""
    arguments = ("-m", "tests.ops.gpu_sanitized", "barriers", folder)
    outcome = sanitized.run("thread", *arguments, lines=False)
    if "there is a race" in outcome.output:
        outcome = sanitized.run("thread", *arguments)
    assert outcome.status == 0 and "RESULT" in outcome.output, outcome.output
    results = json.loads(next(line for line in outcome.output.splitlines() if line.startswith("RESULT")).removeprefix("RESULT"))
    in_vain = [f"{file}:{line}" for file, line, found in results if not found]
    assert not in_vain, f"nothing shows when these barriers or fences are deleted: {in_vain}"


def test_every_shared_barrier_is_somebodys_to_test():
    shared = {
        path.name
        for path in source.SHARED.iterdir()
        if path.suffix in (".cu", ".h") and gpu_sanitized.BARRIER.search(path.read_text())
    }
    assert shared == {name for names in gpu_sanitized.SHARED.values() for name in names}
