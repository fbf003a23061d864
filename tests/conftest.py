"""What all tests share: a deterministic hypothesis, slow tests left out, the number of threads put back after each test."""

import os
import re
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test fetches anything
# Read when Numba is, which else writes each function that it tries in colour, for a message that nobody sees.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")

import hypothesis
import pytest

from minilm import devices

hypothesis.settings.register_profile(
    "minilm",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=20,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("minilm")


BY_OTHER_COMPILERS = re.compile(r"tests/(cuda_on_cpu/|ops/test_(gpu|tensor_cores))")  # g++ and NVRTC, in the place of Numba


def pytest_collection_modifyitems(config, items):
    """Put the tests in order, and leave out what is marked slow, unless -m speaks of it.

    A kernel of the CPU is compiled by the process that needs it first, and read by those that need it later. So of two processes
    (see `pytest_xdist_make_scheduler`) one begins with the ops on the CPU, and the other, in the middle, with tests that want no
    such kernel: else both would compile the same ones at the same time.
    """
    by_numba = [item for item in items if not BY_OTHER_COMPILERS.match(item.nodeid)]
    by_numba.sort(key=lambda item: not item.nodeid.startswith("tests/ops/"))
    middle = len(items) // 2
    items[:] = by_numba[:middle] + [item for item in items if BY_OTHER_COMPILERS.match(item.nodeid)] + by_numba[middle:]
    if "slow" in (config.getoption("-m") or ""):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="not in the ordinary run: pytest -m slow"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each process of `-n` gets one stretch of the tests, so that what the tests of a file share is made once.

    One that has done its own takes over half of what is left to another.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.fixture
def hangup_ends():
    """SIGHUP as a terminal's programs have it: under nohup, where the tests may run, it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def unsynced(monkeypatch):
    """``os.fsync`` returns at once: what a killed process has written is the system's, and only a loss of power would lose it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _default_threads():
    yield
    devices.set_threads(None)
