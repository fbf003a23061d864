"""Ctrl-C and requests to end while a run trains: the step is finished and a checkpoint written first.

SIGTERM asks a process to end, and SIGHUP says that its terminal has gone: a closed window, or a connection that broke. Who wants
training to go on then starts it under nohup, which has SIGHUP ignored; so it stays here.
"""

from __future__ import annotations

import signal
import threading

__all__ = ["SIGNALS", "Stop", "Stopped"]

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None]


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
    """Inside this block the first of `SIGNALS` sets ``signal``; a second one ends the program as usual.

    A SIGHUP that was ignored before stays so. Only the main thread may set handlers: elsewhere nothing is changed.
    """

    def __init__(self):
        self.signal: int | None = None
        self._before: dict = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN:
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

    def act(self) -> None:
        """After the block: do what the signal that came in it does outside, if one came."""
        if self.signal is not None:
            signal.raise_signal(self.signal)
