"""Ctrl-C and a request to end (SIGTERM) while a run trains: the step is finished and a checkpoint written first."""

from __future__ import annotations

import signal
import threading

__all__ = ["Stop", "Stopped"]


class Stopped(KeyboardInterrupt):
    """Training was stopped by a signal, after a checkpoint was written.

    Attributes
    ----------
    folder : str
    step : int
    signal : int
    """

    def __init__(self, folder: str, step: int, number: int):
        super().__init__(f"stopped at step {step:,}")
        self.folder, self.step, self.signal = folder, step, number


class Stop:
    """Inside this block the first SIGINT or SIGTERM sets ``signal``; a second one ends the program as usual.

    Only the main thread may set handlers: elsewhere nothing is changed.
    """

    def __init__(self):
        self.signal: int | None = None
        self._before: dict = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def __exit__(self, *_) -> None:
        self._restore()
