"""What fit, evaluate and predict show while they run: a bar, a line for each epoch, and when kernels are compiled."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping

from minilm import bars

__all__ = ["Bar", "announced", "text_of"]

SHOW_SECONDS = 0.2  # between two changes of the bar's numbers: to read them from a GPU costs a wait


def text_of(logs: Mapping[str, float]) -> str:
    """Numbers by name as text: ``"loss: 0.6931 - accuracy: 0.5000"``."""
    return " - ".join(f"{name}: {value:{'.4g' if name == 'learning_rate' else '.4f'}}" for name, value in logs.items())


class Bar:
    """A bar on a terminal or in a notebook while an epoch runs, and a line at its end.

    Parameters
    ----------
    verbose : {"auto", 0, 1, 2}
        As of `Sequential.fit`.
    steps : int, optional
        How many batches there will be, where that is known.
    text : str
        What stands before the bar and in the line: ``"Epoch 1/10"``.

    Attributes
    ----------
    done : int
        Batches so far.
    """

    def __init__(self, verbose: int | str, steps: int | None, text: str = ""):
        self._verbose, self._text, self.done, self._bar = verbose, text, 0, None
        self._began = self._shown = time.perf_counter()
        if verbose in (1, "auto", True) and bars.can_draw():
            self._bar = bars.bar(total=steps, desc=text, leave=False, file=sys.stderr, dynamic_ncols=True)

    @property
    def due(self) -> bool:
        """Whether it is time to show new numbers."""
        return self._bar is not None and time.perf_counter() - self._shown > SHOW_SECONDS

    def update(self, logs: Mapping[str, float]) -> None:
        """Count one more batch, and show the numbers, if there are any."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()
            if logs:
                self._shown = time.perf_counter()
                self._bar.set_postfix_str(text_of(logs), refresh=False)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def line(self, logs: Mapping[str, float]) -> None:
        """Print the line of the epoch: its time, and its numbers."""
        if self._verbose:
            seconds = time.perf_counter() - self._began
            pace = f"{1e3 * seconds / max(1, self.done):.0f}ms/step"
            print(f"{self._text} - {seconds:.0f}s - {pace} - {text_of(logs)}", flush=True)


@contextlib.contextmanager
def announced(verbose: int | str) -> list:
    """While it is entered, the first kernel that is compiled prints a line on stderr, unless `verbose` is 0."""
    if not verbose:
        yield
        return
    from numba.core import event

    class Listener(event.Listener):
        reported = False

        def on_start(self, event):
            if not self.reported and event.data["dispatcher"].py_func.__module__.startswith("minilm."):
                self.reported = True
                print("getting the kernels ready (compiled once, then kept) ...", file=sys.stderr, flush=True)

        def on_end(self, event):
            pass

    with event.install_listener("numba:compile", Listener()):
        yield
