"""A sample of `python -m tests.kills`: work that is killed at random moments loses nothing."""

import os

import pytest

from tests import kills

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(kills.token_writer, "SAVED", kills.token_writer.SAVED)
    for name in ("MINILM_CACHE", "no_proxy"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.mark.parametrize("kind", kills.KINDS)
def test_a_few_kills(kind, tmp_path):
    kills.disturb(kind, 2, str(tmp_path))
