"""Loggers: callbacks that write a loop's numbers to a file or to a service that draws them.

Of each step that is logged: ``loss``, ``lr``, ``gradient_norm`` where the optimizer computes it; of each validation
``validation_loss``, or the names of its metrics where it has several. All three loggers work on any `Loop`::

    training.train(config, callbacks=[training.CSVLogger("run.csv"), training.TensorBoardLogger("logs/run-1", every=10)])

References: the layout of TensorBoard's event files is tensorboardX's; W&B's calls are those of its own library. Neither is needed
but by the logger that names it: ``pip install 'minilm[tensorboard]'``, ``pip install 'minilm[wandb]'``.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import io
import math
import numbers
import os
from collections.abc import Mapping
from typing import Any

from minilm.files import written_whole
from minilm.ops import checks
from minilm.training.events import Callback
from minilm.training.loop import Loop
from minilm.typing import PathLike

__all__ = ["CSVLogger", "Logger", "TensorBoardLogger", "WandbLogger"]


class Logger(Callback):
    """Base of the loggers: collects the numbers, and calls `write`.

    Parameters
    ----------
    every : int
        Steps between two that are logged; the last one always is.

    Examples
    --------
    A logger of one's own:

    >>> from minilm import training
    >>> class Printed(training.Logger):
    ...     def write(self, step, values):
    ...         print(step, sorted(values))
    """

    def __init__(self, every: int = 1):
        self.every = checks.whole("every", every, 1, 2**63)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a step, counted from 1, by name."""
        raise NotImplementedError(f"{type(self).__name__} has no write")

    def on_step_end(self, loop: Loop) -> None:
        if loop.state.step % self.every and not loop.ending:
            return
        values = {"loss": loop.loss, "lr": loop.lr}
        if loop.gradient_norm is not None:
            values["gradient_norm"] = loop.gradient_norm
        self.write(loop.state.step, values)

    def on_validation_end(self, loop: Loop, evaluation: Any) -> None:
        self.write(loop.state.step, validation_values(evaluation))


def validation_values(evaluation: Any) -> dict[str, float]:
    """The numbers of a validation by name, of whichever loop: see `Callback.on_validation_end`."""
    if hasattr(evaluation, "loss"):
        return {"validation_loss": float(evaluation.loss)}
    if isinstance(evaluation, Mapping):
        named = {name: value for name, value in evaluation.items() if isinstance(value, numbers.Real)}
        return {name if name.startswith("val") else f"validation_{name}": float(value) for name, value in named.items()}
    return {"validation_metric": float(evaluation)}


class CSVLogger(Logger):
    """Writes a table: ``step``, then a column for each number, which is empty where a row has none.

    Parameters
    ----------
    path : str or os.PathLike
        A file that is there is written over, unless `append`. A second `Loop.run` of the same loop goes on in it.
    every : int
    append : bool
        Add to the file. A run that goes on after step n takes out the rows of later steps with which the file ends, and half a
        row that a killed process left; one that begins, at step 0, takes none out.
    """

    COLUMNS = ("step", "loss", "lr", "gradient_norm")

    def __init__(self, path: PathLike, every: int = 1, *, append: bool = False):
        super().__init__(every)
        self.path, self.append = os.path.expanduser(os.fspath(path)), append
        self._file: Any = None
        self._loop: Loop | None = None  # whose rows stand in the file

    def on_train_begin(self, loop: Loop) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        rows = _rows(self.path) if self.append or loop is self._loop else []
        self._columns = list(rows[0]) if rows else list(self.COLUMNS)
        if "step" not in self._columns:
            raise ValueError(f"{self.path} is another table: it has no column 'step', but {', '.join(map(str, self._columns))}")
        done = loop.state.step
        while done and rows and rows[-1]["step"].isdigit() and int(rows[-1]["step"]) > done:
            rows.pop()
        self._write_all(rows)
        self._loop = loop

    def _writer(self) -> csv.DictWriter:
        return csv.DictWriter(self._file, self._columns, lineterminator="\n")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if new := [name for name in values if name not in self._columns]:
            self._add_columns(new)
        self._writer().writerow({"step": step, **{name: repr(float(value)) for name, value in values.items()}})
        self._file.flush()

    def _add_columns(self, new: list[str]) -> None:
        """The table again, with more columns: a validation has names that no step had."""
        self._file.close()
        self._columns += new
        self._write_all(_rows(self.path))

    def _write_all(self, rows: list[dict]) -> None:
        """Begin the file anew, whole or not at all, with these rows."""
        with written_whole(self.path) as file:
            lines = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.DictWriter(lines, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            lines.detach()
        self._file = open(self.path, "a", newline="", encoding="utf-8")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _rows(path: str) -> list[dict]:
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))  # half a row has no line end


class TensorBoardLogger(Logger):
    """Writes TensorBoard's event files, by tensorboardX: ``tensorboard --logdir FOLDER`` draws them.

    Parameters
    ----------
    folder : str or os.PathLike
    every : int

    Raises
    ------
    ImportError
        Without tensorboardX, when training begins.
    """

    def __init__(self, folder: PathLike, every: int = 1):
        super().__init__(every)
        self.folder = os.path.expanduser(os.fspath(folder))
        self._writer: Any = None

    def on_train_begin(self, loop: Loop) -> None:
        self._writer = _library("tensorboardX", "tensorboard").SummaryWriter(self.folder)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbLogger(Logger):
    """Sends the numbers to Weights & Biases.

    Parameters
    ----------
    every : int
    options : mapping of str, optional
        Of ``wandb.init``: ``project``, ``name``, ``mode="offline"``, ... ``config`` is the run's own without it.

    Raises
    ------
    ImportError
        Without wandb, when training begins.
    """

    def __init__(self, every: int = 1, options: Mapping[str, Any] | None = None):
        super().__init__(every)
        self.options = dict(options or {})
        self._run: Any = None

    def on_train_begin(self, loop: Loop) -> None:
        config = getattr(loop, "config", None)
        options = {**self.options}
        if "config" not in options and dataclasses.is_dataclass(config):
            options["config"] = dataclasses.asdict(config)  # type: ignore[arg-type]
        self._run = _library("wandb", "wandb").init(**options)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({name: value for name, value in values.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this logger needs {name}: pip install 'minilm[{extra}]' ({error})") from None
