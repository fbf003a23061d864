"""The loops of fit, evaluate and predict.

They take arrays of the host. Of a model on a GPU each batch is copied there ahead, and losses and metrics stay there until
somebody wants to see them: the bar, the end of the epoch, a callback of one's own for every batch, or at the latest every fifty
batches.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from minilm import bars, devices
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.random import Key
from minilm.sequential.callbacks import Callback, History
from minilm.sequential.data import Data, as_inputs, prepared
from minilm.training.device import READ_EVERY, uploader

__all__ = ["as_asked", "evaluate", "fit", "predict", "train_batch"]

BATCH = 32
SHOW_SECONDS = 0.2  # between two changes of the bar's numbers, where it takes waiting to know them


class _Course:
    """The mean loss and the metrics of the batches so far."""

    def __init__(self, model):
        self._metrics, self._every = model.metric_objects(), 1 if model.device == "cpu" else READ_EVERY
        for metric in self._metrics:
            metric.reset()
        self._total, self._rows, self._unread = 0.0, 0, 0

    def add(self, loss, rows: int) -> None:
        """Take in the loss of a batch; its metrics have been counted."""
        self._total, self._rows, self._unread = self._total + loss.astype(np.float64) * rows, self._rows + rows, self._unread + 1

    @property
    def due(self) -> bool:
        """Whether it is time to look: on a CPU always."""
        return self._unread >= self._every

    def logs(self) -> dict[str, float]:
        """What the numbers are; a GPU is waited for."""
        self._unread = 0
        loss = float(self._total) / max(1, self._rows)
        return {"loss": loss, **{metric.name: metric.result() for metric in self._metrics}}


def fit(
    model,
    x,
    y,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose="auto",
    callbacks=None,
    validation_split: float = 0.0,
    validation_data=None,
    shuffle: bool = True,
    class_weight: dict | None = None,
    sample_weight=None,
    initial_epoch: int = 0,
    validation_batch_size: int | None = None,
    validation_freq: int = 1,
) -> History:
    """Train a model.

    Parameters
    ----------
    x : array of N rows
    y : array of N targets
    batch_size : int
        Rows a step; 32 without it.
    epochs : int
        Up to which epoch; one is a pass over all rows.
    verbose : {"auto", 0, 1, 2}
        0: nothing; 1 and auto: a bar and a line for each epoch; 2: a line.
    callbacks : list of Callback, optional
    validation_split : float
        In [0, 1): this part of the rows, the last ones, is not trained on but measured after each epoch.
    validation_data : tuple (x, y) or (x, y, sample_weight), optional
        Rows to measure after each epoch.
    shuffle : bool
        Take the rows in another order in each epoch.
    class_weight : dict of int to float, optional
        A weight for every row by its class.
    sample_weight : array (N,), or (N, T) for targets at every step, optional
    initial_epoch : int
        The epoch to begin with, for a run that goes on.
    validation_batch_size, validation_freq : int
        Measure after every so many epochs.

    Returns
    -------
    History
        ``history.history["loss"]`` has a number for each epoch; with validation also ``"val_loss"``; likewise the metrics.
    """
    size = BATCH if batch_size is None else checks.whole("batch_size", batch_size, 1, 2**31)
    epochs = checks.whole("epochs", epochs, 0, 2**31)
    initial_epoch = checks.whole("initial_epoch", initial_epoch, 0, 2**31)
    validation_freq = checks.whole("validation_freq", validation_freq, 1, 2**31)
    validation_split = checks.number("validation_split", validation_split, 0, 1, high_open=True)
    shuffle = checks.flag("shuffle", bool(shuffle))
    data = prepared(model, x, y, sample_weight, class_weight)
    held = None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight), got {checks.describe(validation_data)}")
        held = prepared(model, *validation_data)
    elif validation_split:
        count = int(len(data.x) * (1 - validation_split))
        if count in (0, len(data.x)):
            raise ValueError(f"validation_split={validation_split:g} of {len(data.x)} rows leaves none for one of the two parts")
        data, held = data.rows(slice(0, count)), data.rows(slice(count, None))
    history = History()
    watching = [*(callbacks or []), history]
    for callback in watching:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold callbacks of minilm.sequential, got {checks.describe(callback)}")
        callback.set_model(model)
        callback.set_params({"epochs": epochs, "steps": -(-len(data.x) // size), "verbose": verbose})
    model.history, model.stop_training = history, False
    workspace, logs = Workspace(), {}
    for callback in watching:
        callback.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        for callback in watching:
            callback.on_epoch_begin(epoch)
        order = np.random.default_rng([model.seed, epoch]).permutation(len(data.x)) if shuffle else np.arange(len(data.x))
        bar = _Bar(verbose, len(data.x), size, f"Epoch {epoch + 1}/{epochs}")
        logs = _epoch(model, data, order, size, watching, workspace, bar)
        if held is not None and (epoch + 1) % validation_freq == 0:
            measured = _measured(model, held, validation_batch_size or size)
            logs.update({f"val_{name}": value for name, value in measured.items()})
        for callback in watching:
            callback.on_epoch_end(epoch, dict(logs))
        bar.line(logs)
        if model.stop_training:
            break
    for callback in watching:
        callback.on_train_end(dict(logs))
    return history


def _epoch(model, data: Data, order, size: int, watching, workspace, bar) -> dict[str, float]:
    """One pass over the rows in an order; the mean loss and the metrics."""
    course, upload = _Course(model), uploader(model.device)
    shown = any(callback.wants_every_batch for callback in watching)
    try:
        for number, start in enumerate(range(0, len(order), size)):
            for callback in watching:
                callback.on_train_batch_begin(number)
            batch = upload(data.rows(order[start : start + size]))
            workspace.reset()
            course.add(_step(model, batch, workspace), len(batch.x))
            logs = course.logs() if shown or course.due or bar.due else {}
            for callback in watching:
                callback.on_train_batch_end(number, logs)
            bar.update(logs)
            if model.stop_training:
                break
        return course.logs()
    finally:
        bar.close()


def _step(model, batch: Data, workspace):
    """Train on a batch, which lies where the model does, and count its metrics; the loss before the step."""
    metrics = model.metric_objects()
    with np.errstate(over="ignore", invalid="ignore"), devices.ids_are_checked():
        key = Key(model.seed, model.optimizer.iterations)
        loss, saved = model.forward(batch.x, batch.y, batch.weight, key=key, workspace=workspace)
        if metrics:
            outputs = model.probabilities(saved)
            for metric in metrics:
                metric.update(batch.y, outputs, saved.mask)
        model.backward(saved, workspace=workspace)
        model.update()
    return loss


def train_batch(model, batch: Data) -> dict[str, float]:
    """Train on one batch; its loss and metrics."""
    course = _Course(model)
    course.add(_step(model, devices.to(model.device, batch), None), len(batch.x))
    return course.logs()


def _measured(model, data: Data, size: int) -> dict[str, float]:
    """Loss and metrics without training."""
    course, metrics, workspace, upload = _Course(model), model.metric_objects(), Workspace(), uploader(model.device)
    with devices.ids_are_checked():
        for start in range(0, len(data.x), size):
            batch = upload(data.rows(slice(start, start + size)))
            workspace.reset()
            loss, saved = model.forward(batch.x, batch.y, batch.weight, workspace=workspace)
            course.add(loss, len(batch.x))
            outputs = model.probabilities(saved) if metrics else None
            for metric in metrics:
                metric.update(batch.y, outputs, saved.mask)
    return course.logs()


def as_asked(logs: dict[str, float], return_dict: bool):
    """A dict, a number where there are no metrics, or a list."""
    values = list(logs.values())
    return logs if return_dict else values[0] if len(values) == 1 else values


def evaluate(model, x, y, *, batch_size: int | None = None, verbose="auto", sample_weight=None, return_dict: bool = False):
    """Measure a model on data.

    Returns
    -------
    float, list of float, or dict
        The loss; a list of it and the metrics, where there are some; with `return_dict` a dict.
    """
    data = prepared(model, x, y, sample_weight)
    size = BATCH if batch_size is None else checks.whole("batch_size", batch_size, 1, 2**31)
    logs = _measured(model, data, size)
    if verbose:
        print(_told(logs), flush=True)
    return as_asked(logs, return_dict)


def predict(model, x, batch_size: int | None, verbose) -> np.ndarray:
    """The outputs (N, ...) for x (N, ...)."""
    x = as_inputs("x", x)
    size = BATCH if batch_size is None else checks.whole("batch_size", batch_size, 0, 2**31)
    model.build_for(x)
    if not len(x):
        return np.empty(model.compute_output_shape(x.shape), model.dtype)
    workspace, found, upload = Workspace(), [], uploader(model.device)
    bar = _Bar(verbose, len(x), size)
    for start in range(0, len(x), size):
        workspace.reset()
        with devices.ids_are_checked():
            outputs = model.run(upload(x[start : start + size]), workspace=workspace)[0]
        found.append(np.array(devices.to_host(outputs)))
        bar.update({})
    bar.close()
    return np.concatenate(found)


def _told(logs: dict[str, float]) -> str:
    return " - ".join(f"{name}: {value:.4f}" for name, value in logs.items())


class _Bar:
    """A bar on a terminal or in a notebook while an epoch runs, and a line at its end."""

    def __init__(self, verbose, rows: int, size: int, text: str = ""):
        self._verbose, self._text, self._steps, self._bar = verbose, text, -(-rows // size), None
        self._began = self._shown = time.perf_counter()
        if verbose in (1, "auto", True) and bars.wanted():
            self._bar = bars.bar(total=self._steps, desc=text, leave=False, file=sys.stderr, dynamic_ncols=True)

    @property
    def due(self) -> bool:
        """Whether it is time to show numbers."""
        return self._bar is not None and time.perf_counter() - self._shown > SHOW_SECONDS

    def update(self, logs) -> None:
        """One batch more; with numbers, if there are any."""
        if self._bar is not None:
            self._bar.update()
            if logs:
                self._shown = time.perf_counter()
                self._bar.set_postfix_str(_told(logs), refresh=False)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def line(self, logs) -> None:
        """What the epoch gave."""
        if self._verbose:
            seconds = time.perf_counter() - self._began
            pace = f"{1e3 * seconds / max(1, self._steps):.0f}ms/step"
            print(f"{self._text} - {seconds:.0f}s - {pace} - {_told(logs)}", flush=True)
