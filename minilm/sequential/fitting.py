"""What `Sequential.fit` does: the loop of `minilm.training.loop`, over the batches of one epoch after the other.

Arrays are the host's (`minilm.sequential.batches`); how they reach a model on a GPU, and when its losses are read, stands in
`minilm.sequential.measuring`.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices, training
from minilm.ops import checks
from minilm.random import Key
from minilm.sequential.bar import Bar, announced
from minilm.sequential.batches import Rows, gives_batches, size_of, steps_of, stream_of
from minilm.sequential.callback import Callback, History, attached, notify
from minilm.sequential.data import Data, prepared, weighted
from minilm.sequential.measuring import Course, measured
from minilm.training.divergence import quiet

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["fit", "train_batch"]

CALLER = 6  # stack frames from `_ran_out` and `_validated` up to the caller of Sequential.fit, whose line a warning names


def fit(
    model: Sequential,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: int | str = "auto",
    callbacks: Callback | training.Callback | Iterable[Callback | training.Callback] | None = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: dict | None = None,
    sample_weight: ArrayLike | None = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int = 1,
) -> History:
    """Train a compiled model. The other arguments, what is returned and what is raised are those of `Sequential.fit`."""
    epochs = checks.whole("epochs", epochs, 0, 2**31)
    initial_epoch = checks.whole("initial_epoch", initial_epoch, 0, 2**31)
    validation_freq = checks.whole("validation_freq", validation_freq, 1, 2**31)
    split = checks.number("validation_split", validation_split, 0, 1, high_open=True)
    steps, size = steps_of("steps_per_epoch", steps_per_epoch), size_of(batch_size)
    if gives_batches(x):
        if split:
            raise ValueError("validation_split is for arrays: where x gives batches, give validation_data")
        beside, held = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}, None
        source = stream_of(model, "x", x, steps, class_weight, **beside)
    else:
        data, held = _split(prepared(model, x, y, sample_weight), 0.0 if validation_data is not None else split)
        source = Rows(weighted(model, data, class_weight), size, steps)
    if validation_data is not None or held is not None:
        validation = held if validation_data is None else validation_data
        held = _held(model, validation, size, validation_batch_size, steps_of("validation_steps", validation_steps))
    model.ready_optimizer()
    history = History()
    listed = [callbacks] if isinstance(callbacks, (Callback, training.Callback)) else list(callbacks or [])
    events = [callback for callback in listed if isinstance(callback, training.Callback)]
    watching = attached(model, [*(callback for callback in listed if callback not in events), history])
    for callback in watching:
        callback.set_params({"epochs": epochs, "steps": source.length, "verbose": verbose})
    model.history, model.stop_training = history, False
    loop = FitLoop(model, source, watching, events, range(initial_epoch, epochs), verbose, shuffle, held, validation_freq)
    with announced(verbose):
        loop.run(KerasCallbacks(watching))
    return history


class FitLoop(training.Loop):
    """A training loop whose batches are those of one epoch after the other.

    Parameters
    ----------
    model : Sequential
    source : Rows or Stream
        The batches to train on.
    watching : list of minilm.sequential.Callback
        This loop calls their methods for epochs, `KerasCallbacks` those for batches.
    callbacks : iterable of minilm.training.Callback
    epochs : range
    verbose, shuffle
        As of `Sequential.fit`.
    held : Rows or Stream, optional
        The batches to validate on, after every `validation_freq` epochs.

    Attributes
    ----------
    batch : int
        The number of the batch, which counts from 0 in every epoch.
    course : Course
        The loss and the metrics of this epoch.
    bar : Bar
        The bar of this epoch.
    logs : dict of str to float
        What the last epoch gave.
    """

    def __init__(self, model, source, watching, callbacks, epochs: range, verbose, shuffle: bool, held, validation_freq: int):
        super().__init__(model, model.optimizer, source, seed=model.seed, callbacks=callbacks)
        self._keras, self._epochs, self._verbose, self._shuffle = watching, epochs, verbose, shuffle
        self._held, self._validation_freq = held, validation_freq
        self.batch, self.course, self.logs = 0, Course(model), {}

    def stream(self):
        model, source, watching = self.model, self.batches, self._keras
        for epoch in self._epochs:
            notify(watching, "on_epoch_begin", epoch)
            self.course = Course(model)
            # another order in each epoch and each call; a run that was saved and goes on has the order it would have had
            rng = np.random.default_rng([model.seed, epoch, model.optimizer.iterations]) if self._shuffle else None
            with contextlib.closing(Bar(self._verbose, source.length, f"Epoch {epoch + 1}/{self._epochs.stop}")) as self.bar:
                for self.batch, batch in enumerate(source.epoch(rng)):
                    yield batch
                    if model.stop_training:
                        break
                self.logs = self.course.logs()
            if self.bar.done < (source.steps or 1) and not model.stop_training:
                _ran_out(model, source, self.bar.done, epoch)
                if not self.bar.done:
                    return
            if self._held is not None and (epoch + 1) % self._validation_freq == 0:
                values = _validated(model, self._held, watching, epoch)
                self.logs.update(values)
                self.notify("on_validation_end", values)
            notify(watching, "on_epoch_end", epoch, self.logs)
            self.bar.line(self.logs)
            if model.stop_training:
                return

    def step(self, batch: Data) -> tuple:
        rate = self.optimizer.learning_rate
        self.lr = math.nan if callable(rate) else rate  # the optimizer alone calls it, once a step
        with self.workspace.step():
            return _step(self.model, self._upload(batch), self.course)

    def check(self, step: int, loss, norm) -> None:
        """A loss that is not finite is a callback's business, see `TerminateOnNaN`; of the norm `Course` takes care."""

    def stop(self) -> None:
        super().stop()
        self.model.stop_training = True


class KerasCallbacks(training.Callback):
    """Calls the callbacks of `minilm.sequential` at the events of the loop, and shows the epoch's bar."""

    def __init__(self, watching):
        self._watching = watching
        self._every_batch = any(callback.wants_every_batch for callback in watching)

    def on_train_begin(self, loop):
        notify(self._watching, "on_train_begin")

    def on_step_begin(self, loop):
        notify(self._watching, "on_train_batch_begin", loop.batch)

    def on_step_end(self, loop):
        logs = loop.course.logs() if self._every_batch or loop.course.due or loop.bar.due else {}
        notify(self._watching, "on_train_batch_end", loop.batch, logs)
        loop.bar.update(logs)

    def on_train_end(self, loop):
        notify(self._watching, "on_train_end", loop.logs)


def _ran_out(model, source, done: int, epoch: int) -> None:
    """Warn of an epoch that got fewer batches than it should have; where no more will come, training ends."""
    model.stop_training = source.once or not done
    then = ": training ends" if model.stop_training else ""
    message = f"x gave {done} batches for epoch {epoch + 1}, and {source.steps or 'some'} were wanted{then}"
    warnings.warn(message, stacklevel=CALLER)


def _validated(model, held, watching, epoch: int) -> dict[str, float]:
    """The validation's loss and metrics as ``val_loss`` and so on; where there are no batches an empty dict, and a warning."""
    values = measured(model, held, watching)
    if values is None:
        warnings.warn(f"validation_data gives no more batches after epoch {epoch + 1}", stacklevel=CALLER)
    return {f"val_{name}": value for name, value in (values or {}).items()}


def _split(data: Data, share: float) -> tuple[Data, Data | None]:
    """The rows to train on, and the rows to validate on: the last ones, `share` of all."""
    if not share:
        return data, None
    count = int(len(data.x) * (1 - share))
    if count in (0, len(data.x)):
        raise ValueError(f"validation_split={share:g} of {len(data.x)} rows leaves none for one of the two parts")
    return data.rows(slice(0, count)), data.rows(slice(count, None))


def _held(model, validation, size: int, batch_size: int | None, steps: int | None):
    """The batches to validate on, of `Data`, a tuple of arrays, or what gives batches."""
    if gives_batches(validation):
        return stream_of(model, "validation_data", validation, steps, validation_batch_size=batch_size)
    if not isinstance(validation, Data):
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight), got {checks.describe(validation)}")
        validation = prepared(model, *validation)
    size = size if batch_size is None else checks.whole("validation_batch_size", batch_size, 1, 2**31)
    return Rows(validation, size, steps)


def _step(model, batch: Data, course: Course) -> tuple:
    """One step on a batch, which lies where the model does: the loss before it, and the gradients' norm or None."""
    with devices.ids_are_checked():
        loss, saved = model.forward(batch.x, batch.y, batch.weight, key=Key(model.seed, model.optimizer.iterations))
        course.count(model, batch, loss, saved)
        model.backward(saved)
        norm = model.update()
        course.stepped(norm)
    return loss, norm


def train_batch(model: Sequential, batch: Data) -> dict[str, float]:
    """One step on one batch: the loss and the metrics before it."""
    course = Course(model)
    with model.parameters.clean_after_error(), quiet():
        _step(model, devices.to(model.device, batch), course)
    return course.logs()
