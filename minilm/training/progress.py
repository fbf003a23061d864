"""What a run shows while it trains: a bar on a terminal or in a notebook, a line now and then elsewhere. All of it on stderr."""

from __future__ import annotations

import sys

from minilm import bars
from minilm.streams import Guarded

__all__ = ["Progress"]

BAR_SECONDS = 0.2
LINE_SECONDS = 30.0


class Progress:
    """Shows how far training is.

    Parameters
    ----------
    show : bool, optional
        None: a bar if stderr is a terminal or a notebook, else lines; False: nothing.
    unit : str
        What tokens are called: "characters" or "tokens".
    done : float
        The part of training that an earlier process did.
    """

    def __init__(self, show: bool | None, unit: str, done: float = 0.0):
        self._show, self._unit = show is not False, unit
        self._bar = None
        self._stream = Guarded(sys.stderr)
        self._every = LINE_SECONDS
        self._next = self._every  # there is nothing to say at once
        self._first = done
        if self._show and bars.can_draw():
            form = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
            self._bar = bars.bar(total=1.0, initial=done, bar_format=form, file=self._stream, leave=False, dynamic_ncols=True)
            self._next = self._every = BAR_SECONDS

    def due(self, now: float) -> bool:
        """Whether it is time to show something; `now` in seconds since this process began to train."""
        return self._show and now >= self._next

    def update(self, now: float, done: float, step: int, loss: float, tokens: int, note: str = "") -> None:
        """Show the state: the part of training that is `done`, the last loss, and `tokens` that this process trained on."""
        self._next = now + self._every
        left = now * (1 - done) / (done - self._first) if done > self._first else 0.0
        rate = tokens / now if now > 0 else 0.0
        text = f"loss {loss:.3f}{note}, {rate:,.0f} {self._unit}/s, {clock(left)} left"
        if self._bar is None:
            self.say(f"step {step:,} ({done:.0%}): {text}")
        else:
            self._bar.n = min(done, 1.0)
            self._bar.set_description_str(f"step {step:,}", refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.refresh()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._show:
            if self._bar is None:
                print(text, file=self._stream, flush=True)
            else:
                self._bar.write(text, file=self._stream)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """``"1:05"``, or ``"2:01:05"`` from an hour on."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
