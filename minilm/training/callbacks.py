"""What happens between two steps of a run, each a callback: validation, the log, the progress bar, checkpoints, signals.

`minilm.training.Trainer` calls them in this order; `Bar` and `Signals` are for every `Loop`. `Stop`, on which `Signals` is built,
also serves alone, around work that must not be interrupted in the middle.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from minilm.training import kept
from minilm.training.events import Callback

if TYPE_CHECKING:
    from minilm.training.evaluation import Evaluation
    from minilm.training.log import Progress
    from minilm.training.loop import Loop

__all__ = ["SIGNALS", "Bar", "Checkpoints", "Kept", "Rows", "Signals", "Stop", "Stopped", "Validation"]

HANGUP, USER = getattr(signal, "SIGHUP", None), getattr(signal, "SIGUSR1", None)  # Windows has neither
SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, HANGUP, USER) if number is not None]


class _Repeated(Callback):
    """Something done every so many steps or seconds, whichever come first."""

    def __init__(self, every: int | None, seconds: float | None):
        self._every, self._seconds = every, seconds

    def on_train_begin(self, loop: Loop) -> None:
        self._last = loop.state.seconds

    def due(self, loop: Loop) -> bool:
        """Whether it is time, after a step that is not the last."""
        if loop.ending:
            return False
        if self._every is not None and loop.state.step % self._every == 0:
            return True
        return self._seconds is not None and loop.stepped - self._last >= self._seconds


class Validation(_Repeated):
    """Validates every so many steps or seconds, whichever come first.

    Parameters
    ----------
    every : int, optional
        Steps from one time to the next.
    seconds : float, optional
        Seconds of training from one time to the next.
    """

    def on_step_end(self, loop: Loop) -> None:
        if self.due(loop):
            loop.validate()
            loop.tick()
            self._last = loop.state.seconds


class Rows(Callback):
    """Writes a row of log.csv every so many steps, after a validation, and when training ends.

    Parameters
    ----------
    every : int
        Steps between rows.
    """

    def __init__(self, every: int):
        self._every = every
        self._validation_loss: float | None = None

    def on_train_begin(self, loop: Loop) -> None:
        self._seconds, self._tokens = loop.state.seconds, loop.state.tokens

    def on_step_begin(self, loop: Loop) -> None:
        self._validation_loss = None

    def on_validation_end(self, loop: Loop, evaluation: Evaluation) -> None:
        self._validation_loss = evaluation.loss

    def on_step_end(self, loop: Loop) -> None:
        validated, state = self._validation_loss is not None, loop.state
        if validated or loop.ending or state.step % self._every == 0:
            rate = (state.tokens - self._tokens) / max(loop.stepped - self._seconds, 1e-9)
            loop.row(loop.lr, loop.gradient_norm, rate, self._validation_loss)
            self._seconds, self._tokens = loop.clock.seconds, state.tokens


class Bar(Callback):
    """Shows how far training is.

    Parameters
    ----------
    shown : Progress
        Of `minilm.training.log`: the bar, which stays open when training ends.
    """

    def __init__(self, shown: Progress):
        self._shown = shown

    def on_train_begin(self, loop: Loop) -> None:
        self._seconds, self._seen = loop.state.seconds, loop.seen()

    def on_step_end(self, loop: Loop) -> None:
        now = loop.stepped - self._seconds
        if self._shown.due(now):
            self._shown.update(now, loop.progress(), loop.state.step, loop.loss, loop.seen() - self._seen, loop.note())


class Checkpoints(_Repeated):
    """Writes checkpoints: every so many steps or seconds, whichever come first, and when training ends.

    Parameters
    ----------
    every : int, optional
        Steps from one time to the next.
    seconds : float, optional
        Seconds of training from one time to the next.
    """

    def on_step_end(self, loop: Loop) -> None:
        if self.due(loop):
            loop.save()
            self._last = loop.clock.seconds

    def on_train_end(self, loop: Loop) -> None:
        if not loop.state.finished:
            loop.state.finished = loop.finished()
            loop.save()


class Kept(Callback):
    """Keeps a checkpoint for good every so many steps, each in a folder of its own: see `minilm.training.kept`.

    Parameters
    ----------
    every : int, optional
        Steps between checkpoints that are kept; None keeps none.
    """

    def __init__(self, every: int | None):
        self._every = every

    def on_train_begin(self, loop: Loop) -> None:
        self._keep(loop)  # if the last process was killed between writing a checkpoint and keeping it

    def on_step_end(self, loop: Loop) -> None:
        if self._every is not None and loop.state.step % self._every == 0 and loop.saved != loop.state.step:
            loop.save()
        self._keep(loop)

    def _keep(self, loop) -> None:
        if self._every is not None and loop.state.step and loop.state.step % self._every == 0 and loop.leads:
            kept.keep(loop.folder, loop.state.step)


class Stopped(KeyboardInterrupt):
    """Training was stopped by a signal, after a checkpoint was written.

    Attributes
    ----------
    folder : str
        The run's.
    step : int
        The steps that were done.
    signal : int
        The signal's number.
    """

    def __init__(self, folder: str, step: int, number: int):
        super().__init__(f"stopped at step {step:,}")
        self.folder, self.step, self.signal = folder, step, number


class Stop:
    """Inside this block the first of `SIGNALS` sets ``signal``; a second one ends the program as usual.

    SIGTERM asks a process to end, and so does SIGUSR1, which Slurm can be told to send before a job's time is up. SIGHUP means
    that the terminal has gone: a closed window, or a broken connection. Under nohup, where SIGHUP is ignored so that training
    goes on, it stays ignored. Only the main thread may set handlers: in another one nothing is changed.
    """

    def __init__(self) -> None:
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

    def __exit__(self, *_: object) -> None:
        self._restore()

    def act(self) -> None:
        """To be called after the block: if a signal came in it, send it again, so that it has its usual effect."""
        if self.signal is not None:
            signal.raise_signal(self.signal)


class Signals(Callback):
    """Handles Ctrl-C and the other `SIGNALS` while a run trains: the step is finished, and then training ends.

    From this callback's `on_train_end` on a signal has its usual effect; those of callbacks before it in the list are shielded.

    Attributes
    ----------
    signal : int or None
        The signal that came.
    stopped : bool
        Whether it ended training before the budget was used up.
    """

    def __init__(self) -> None:
        self._stop = Stop()
        self.signal: int | None = None
        self.stopped = False

    def on_train_begin(self, loop: Loop) -> None:
        self._stop.__enter__()

    def on_step_end(self, loop: Loop) -> None:
        self.signal = loop.agreement.signal(self._stop.signal)
        if self.signal is not None and not loop.ending:
            self.stopped = True
            loop.stop()

    def on_train_end(self, loop: Loop) -> None:
        self.close()

    def close(self) -> None:
        self._stop.__exit__()
