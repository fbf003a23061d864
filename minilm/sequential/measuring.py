"""What `Sequential.evaluate` and `predict` do, and the running means of loss and metrics.

For a model on a GPU each batch is copied there while the one before is computed. Losses and metrics stay on the GPU until they
are shown: in the bar, at the end of the epoch, to a callback that reads them after every batch, or at the latest after fifty.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices
from minilm.ops.workspace import Workspace
from minilm.sequential.bar import Bar, announced, text_of
from minilm.sequential.batches import Rows, gives_batches, inputs_of, refuse_beside, size_of, steps_of, stream_of
from minilm.sequential.callback import Callback, attached, notify
from minilm.sequential.data import as_inputs, prepared
from minilm.training.device import READ_EVERY, uploader
from minilm.typing import Scalar

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["Course", "as_list_or_dict", "evaluate", "measured", "predict"]


class Course:
    """The mean loss and the metrics of the batches so far."""

    def __init__(self, model: Sequential):
        self._metrics, self._every = model.metric_objects(), 1 if model.device == "cpu" else READ_EVERY
        self._total, self._rows, self._unread, self._norm = 0.0, 0, 0, None

    def count(self, model: Sequential, batch: Any, loss: Scalar | float, saved: Any) -> None:
        """Take in a batch: its loss, and for the metrics the outputs in `saved`, of `Compiled.forward`."""
        rows = len(batch.x)
        self._total, self._rows, self._unread = self._total + loss.astype(np.float64) * rows, self._rows + rows, self._unread + 1
        if self._metrics:
            outputs = model.probabilities(saved)
            for metric in self._metrics:
                metric.update(batch.y, outputs, saved.mask)

    def stepped(self, norm: Scalar | float | None) -> None:
        """Take in the norm of a step's gradients, or None. The last is enough: gradients that are not finite stay so."""
        self._norm = norm

    @property
    def empty(self) -> bool:
        """Whether there was no batch."""
        return not self._rows

    @property
    def due(self) -> bool:
        """Whether it is time to read the numbers: on a CPU after every batch, on a GPU after fifty."""
        return self._unread >= self._every

    def logs(self) -> dict[str, float]:
        """The means so far, "loss" first; a GPU is waited for. FloatingPointError if a norm of gradients was not finite."""
        self._unread = 0
        if devices.on_gpu(self._norm) and not math.isfinite(float(self._norm)):  # on a CPU the step has raised it
            raise FloatingPointError(f"norm of the gradients is {float(self._norm)}, wanted a finite number")
        loss = float(self._total) / max(1, self._rows)
        return {"loss": loss, **{metric.name: metric.result() for metric in self._metrics}}


def measured(model: Sequential, source: Any, watching: Iterable[Callback] = ()) -> dict[str, float] | None:
    """Loss and metrics, without training, over one epoch of a `Rows` or `Stream`; None where it has no batches left."""
    course, workspace, upload = Course(model), Workspace(), uploader(model.device)
    notify(watching, "on_test_begin")
    with devices.ids_are_checked():
        for number, batch in enumerate(source.epoch(None)):
            notify(watching, "on_test_batch_begin", number)
            batch = upload(batch)
            with workspace.step():
                loss, saved = model.forward(batch.x, batch.y, batch.weight)
                course.count(model, batch, loss, saved)
            notify(watching, "on_test_batch_end", number)
    if course.empty:
        return None
    logs = course.logs()
    notify(watching, "on_test_end", logs)
    return logs


def as_list_or_dict(logs: dict[str, float], return_dict: bool) -> dict[str, float] | float | list[float]:
    """`logs` itself with `return_dict`; else its values as a list, or the loss alone where there are no metrics."""
    values = list(logs.values())
    return logs if return_dict else values[0] if len(values) == 1 else values


def evaluate(
    model: Sequential,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    verbose: int | str = "auto",
    sample_weight: ArrayLike | None = None,
    steps: int | None = None,
    callbacks: Callback | Iterable[Callback] | None = None,
    return_dict: bool = False,
) -> dict[str, float] | float | list[float]:
    """Measure a compiled model. The other arguments, what is returned and what is raised are those of `Sequential.evaluate`."""
    size, steps, watching = size_of(batch_size), steps_of("steps", steps), attached(model, callbacks)
    if gives_batches(x):
        source = stream_of(model, "x", x, steps, y=y, sample_weight=sample_weight, batch_size=batch_size)
    else:
        source = Rows(prepared(model, x, y, sample_weight), size, steps)
    with announced(verbose):
        logs = measured(model, source, watching)
    if logs is None:
        raise ValueError("x gives no batches")
    if verbose:
        print(text_of(logs), flush=True)
    return as_list_or_dict(logs, return_dict)


def predict(
    model: Sequential,
    x: Any,
    batch_size: int | None,
    verbose: int | str,
    steps: int | None = None,
    callbacks: Callback | Iterable[Callback] | None = None,
) -> np.ndarray:
    """The outputs of a model. The other arguments, what is returned and what is raised are those of `Sequential.predict`."""
    size, steps, watching = size_of(batch_size), steps_of("steps", steps), attached(model, callbacks)
    batched = gives_batches(x)
    if batched:
        refuse_beside("x", batch_size=batch_size)
        count = len(x) if hasattr(x, "__len__") else None
    else:
        x = as_inputs("x", x)
        model.build_for(x)
        if not len(x):
            return np.empty(model.compute_output_shape(x.shape), model.dtype)
        count = -(-len(x) // size)
    workspace, outputs, upload = Workspace(), [], None
    with announced(verbose), contextlib.closing(Bar(verbose, count if steps is None else steps)) as bar:
        notify(watching, "on_predict_begin")
        for number, batch in enumerate(inputs_of("x", x, size, steps)):
            notify(watching, "on_predict_batch_begin", number)
            if batched:
                model.build_for(batch)
            upload = upload or uploader(model.device)
            with devices.ids_are_checked(), workspace.step():
                outputs.append(np.array(devices.to_host(model.run(upload(batch))[0])))
            notify(watching, "on_predict_batch_end", number)
            bar.update({})
        notify(watching, "on_predict_end")
    if not outputs:
        raise ValueError("x gives no batches")
    return np.concatenate(outputs)
