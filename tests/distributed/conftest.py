"""Fixtures that the tests of training have."""

from tests.training.conftest import corpus, tiny  # noqa: F401 - fixtures
