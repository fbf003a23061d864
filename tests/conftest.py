"""What all tests share: a deterministic hypothesis, slow tests left out, the number of threads put back after each test."""

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test fetches anything

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


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked slow, unless -m speaks of it."""
    if "slow" in (config.getoption("-m") or ""):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes a minute or more: pytest -m slow"))


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


@pytest.fixture(autouse=True)
def _default_threads():
    yield
    devices.set_threads(None)
