"""How a run shows its progress: log.csv, a row every few steps; loss.png, its curves; and a bar or lines on stderr meanwhile."""

from __future__ import annotations

import csv
import os
import sys
from typing import Any

from minilm import bars
from minilm.files import named_errors
from minilm.pictures import new_figure, write_png
from minilm.streams import Guarded
from minilm.training.growing_file import GrowingFile, Mark
from minilm.typing import PathLike

__all__ = [
    "COLUMNS",
    "NAME",
    "NO_PLOTS",
    "PLOT",
    "TIMES",
    "Log",
    "NoLog",
    "Progress",
    "line_of",
    "plot",
    "read_log",
    "steps_below",
]

NO_PLOTS = 'loss.png was left out: matplotlib is not installed (pip install matplotlib, or the extra "plots")'

NAME, PLOT = "log.csv", "loss.png"
COLUMNS = ("step", "epoch", "tokens", "lr", "loss", "gradient_norm", "validation_loss", "seconds", "tokens_per_second")
TIMES = ("seconds", "tokens_per_second")  # columns that differ between two runs that are equal in all else
HEADER = ",".join(COLUMNS) + "\n"

BAR_SECONDS = 0.2  # between two looks at the state
LINE_SECONDS = 30.0


class Log(GrowingFile):
    """log.csv of a run.

    Parameters
    ----------
    folder : str or os.PathLike
        The run's.
    keep : int
        How many bytes of the file belong to the checkpoint that the run goes on from.
    """

    def __init__(self, folder: PathLike, keep: int = 0):
        super().__init__(folder, NAME, keep, head=HEADER.encode())

    def row(self, **values: float | None) -> None:
        """Append a row, with a value for each of `COLUMNS`; the cell of None is empty. It can be read at once."""
        cells = ("" if values[name] is None else _cell(name, values[name]) for name in COLUMNS)
        self.append((",".join(cells) + "\n").encode())
        with named_errors(self.path):
            self._file.flush()


class NoLog:
    """In place of a `Log` or a `Trace` in all processes of a job but the one that writes them."""

    def row(self, *values: Any, **named: Any) -> None:
        """Write nothing."""

    add = row

    def flush(self) -> Mark:
        return Mark(0, "")

    def close(self) -> None:
        """There is nothing to close."""


def _cell(name: str, value) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if name in TIMES else f"{value:.7g}"


def read_log(folder: PathLike) -> dict[str, list[float]]:
    """The columns of a run's log.csv by name; NaN where a cell is empty.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file, and the line if one is damaged.
    """
    path = os.path.join(os.fspath(folder), NAME)
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            header, *rows = list(reader) or [[]]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} is damaged: its first line is not {HEADER.strip()!r}")
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for number, row in enumerate(rows, 2):
        try:
            for name, cell in zip(COLUMNS, row, strict=True):
                columns[name].append(float(cell or "nan"))
        except ValueError:
            raise ValueError(f"{path}:{number} is damaged: wanted {len(COLUMNS)} numbers, got {','.join(row)[:60]!r}") from None
    return columns


def plot(folder: PathLike) -> str | None:
    """Draw loss.png from log.csv; returns its path, or None where matplotlib is not installed (the extra `plots`).

    Raises
    ------
    OSError, ValueError
        log.csv cannot be read, or loss.png not be written.
    """
    try:
        figure = new_figure((7, 4.2))
    except ImportError:
        return None
    log, axes = read_log(folder), figure.subplots()
    axes.plot(log["step"], log["loss"], label="training", **line_of(len(log["step"])))
    validated = [(step, loss) for step, loss in zip(log["step"], log["validation_loss"], strict=True) if loss == loss]
    if validated:
        axes.plot(*zip(*validated, strict=True), "o-", ms=4, lw=1.4, color="C3", label=f"validation, last {validated[-1][1]:.4f}")
    axes.set_ylabel("loss, nats a token")
    steps_below(axes)
    axes.grid(alpha=0.25)
    axes.legend()
    return write_png(figure, os.path.join(folder, PLOT))


def line_of(points: int) -> dict:
    """Matplotlib's options for the line of training losses, of `points` points; a point alone gets a mark, to be visible."""
    return {"lw": 0.9, "color": "0.6", "marker": "o" if points == 1 else "", "ms": 4}


def steps_below(axes: Any) -> None:
    """Label the horizontal axis with steps: whole numbers, written out (2,500,000, not 2.5 with 1e6 in the corner)."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")


class Progress:
    """Shows how far training is.

    Parameters
    ----------
    show : bool, optional
        None: a bar if stderr is a terminal or a notebook, else lines; False: nothing.
    unit : str
        What tokens are called: "characters" or "tokens".
    done : float
        The part of training, in [0, 1], that an earlier process did.
    """

    def __init__(self, show: bool | None, unit: str, done: float = 0.0):
        self._show, self._unit = show is not False, unit
        self._bar = None
        self._stream = Guarded(sys.stderr)
        self._every = LINE_SECONDS
        self._next = self._every  # nothing is shown before that
        self._first = done
        if self._show and bars.can_draw():
            form = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
            self._bar = bars.bar(total=1.0, initial=done, bar_format=form, file=self._stream, leave=False, dynamic_ncols=True)
            self._next = self._every = BAR_SECONDS

    def due(self, now: float) -> bool:
        """Whether it is time to show something; `now` in seconds since this process began to train."""
        return self._show and now >= self._next

    def update(self, now: float, done: float, step: int, loss: float, tokens: int, note: str = "") -> None:
        """Show how far training is.

        Parameters
        ----------
        now : float
            Seconds since this process began to train.
        done : float
            The part of training that is done, in [0, 1].
        step : int
        loss : float
            Of the last step.
        tokens : int
            Tokens that this process has trained on.
        note : str
            Shown after the loss.
        """
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
        """Print a line above the bar, which stays."""
        if self._show:
            if self._bar is None:
                print(text, file=self._stream, flush=True)
            else:
                self._bar.write(text, file=self._stream)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """Seconds as text: ``"1:05"``, or ``"2:01:05"`` from an hour on."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
