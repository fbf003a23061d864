"""What all tests share: a deterministic hypothesis, and the number of threads put back after each test."""

import os

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


@pytest.fixture(autouse=True)
def _default_threads():
    yield
    devices.set_threads(None)
