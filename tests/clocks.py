"""Clocks for tests, none of which may depend on how busy the machine is."""

from __future__ import annotations

import contextlib
import time

import pytest

PATIENCE = 600  # seconds that a process may take that ends by itself: only one that hangs reaches it


class Clock:
    """A clock that stands until somebody moves it."""

    def __init__(self):
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def after(self, seconds: float, function):
        """`function` as one that takes `seconds` by this clock."""

        def call(*arguments, **options):
            self.advance(seconds)
            return function(*arguments, **options)

        return call


@contextlib.contextmanager
def stopped():
    """Within the block ``time.perf_counter`` is that of the `Clock` that this gives."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock.now)
        yield clock


@contextlib.contextmanager
def of_the_process():
    """Within the block ``time.perf_counter`` is the processor's time that this process has had, whatever others take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", time.process_time)
        yield
