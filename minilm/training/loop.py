"""The training loop.

All training in minilm is this loop::

    for batch in batches:
        loss = step(batch)

`Loop` is that loop, for any model that keeps the protocol `minilm.training.Trainable`; a step is `forward_backward`, which fills
the gradient buffer, and the optimizer's step, which empties it. `minilm.training.Trainer` is the loop of language models, which
keeps a run's folder; `minilm.recipes.fit` and `minilm.sequential.fitting` have those of recipes and of ``Sequential.fit``.

Validation, the log, the progress bar, checkpoints and signals happen between two steps. Each is a small `Callback`, see
`minilm.training.callbacks`; a user's own callbacks are of the same kind (`minilm.training.events`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from minilm import devices, distributed
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.training.agreement import Agreement
from minilm.training.device import Unread, uploader
from minilm.training.divergence import check_step, quiet
from minilm.training.events import Callback, checked, listeners
from minilm.training.protocol import Trainable, check_trainable
from minilm.training.state import Budget, LoopState, Stopwatch, check_budget
from minilm.typing import Scalar

__all__ = ["Loop", "forward_backward"]


class Loop:
    """The training loop.

    Parameters
    ----------
    model : Trainable
        See `minilm.training.protocol`.
    optimizer : Optimizer
        Of the model's parameters, or of some of them.
    batches : iterable of tuples of arrays
        Each what the model's ``forward`` takes, on the host.
    steps : int, optional
    minutes : float, optional
        The budget: when to stop, if the batches do not end before.
    schedule : callable, optional
        ``schedule(done)`` returns the learning rate when a part `done` of the budget, in [0, 1), is used up: see
        `minilm.optimizers.schedules`. It needs a budget. Without it the learning rate is the optimizer's.
    average : WeightAverage, optional
        Updated with the weights after each step.
    seed : int
        For dropout: the key of a step is ``Key(seed, step)``.
    callbacks : iterable of Callback
    state : LoopState, optional
        How far an earlier run has come, which this one continues.

    Attributes
    ----------
    model, optimizer, average, state
    lr : float
        The learning rate of the present step, or of the last one.
    ending : bool
        Whether that step is known to be the last.
    clock : Stopwatch
    stepped : float
        Seconds on the clock when the last step ended.

    Raises
    ------
    TypeError
        If the model or the optimizer lacks what a step needs.
    ValueError
        If the budget is not positive, a schedule has none, the optimizer is another model's, or the job has several processes,
        whose batches only some loops share.
    """

    shares = False  # whether the processes of a distributed job share the batches of this loop
    concludes = False  # whether a last validation follows `run`: then `close_callbacks` closes the callbacks, not `run`

    def __init__(
        self,
        model: Trainable,
        optimizer: Optimizer,
        batches: Iterable[tuple],
        *,
        steps: int | None = None,
        minutes: float | None = None,
        schedule: Callable[[float], float] | None = None,
        average: WeightAverage | None = None,
        seed: int = 0,
        callbacks: Iterable[Callback] = (),
        state: Any = None,
    ):
        check_budget(steps, minutes, schedule)
        check_trainable(model, optimizer)
        self.model, self.optimizer, self.batches, self.average = model, optimizer, batches, average
        self.budget, self.schedule, self.seed = Budget(steps, minutes), schedule, seed
        self.callbacks = checked(callbacks)
        self.state = LoopState() if state is None else state
        self.lr: float = optimizer.lr
        self.ending = False
        self.clock, self.stepped = Stopwatch(self.state.seconds), self.state.seconds
        self.workspace = Workspace()
        self.agreement = Agreement(distributed.current())
        ranks = self.agreement.communicator.size
        if ranks > 1 and not self.shares:
            raise ValueError(
                f"{type(self).__name__} trains in one process, and this job has {ranks}, which would all do the same: "
                "what they can share is minilm.training.train and the recipes"
            )
        self._upload, self._unread = uploader(model.device), Unread(model.device)
        self._loss, self._norm = math.nan, None
        self._listeners = listeners(self.callbacks)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self, *callbacks: Callback) -> None:
        """Train until the batches end, the budget is used up, or `stop` is called.

        Parameters
        ----------
        *callbacks : Callback
            Further callbacks, which are called after those that the loop was made with.

        Raises
        ------
        NonFiniteError
            If the loss, or the norm of the gradients, is not finite. On a GPU it is raised when they are read.
        """
        watching = [*self.callbacks, *checked(callbacks)]
        self._listeners = listeners(watching)
        self.clock, self.ending = self.agreement.stopwatch(self.state.seconds), False
        with contextlib.ExitStack() as closing, self.model.parameters.clean_after_error():
            for callback in watching:
                if not (self.concludes and callback in self.callbacks):
                    closing.callback(callback.close)
            batches = closing.enter_context(contextlib.closing(self.stream()))
            self.notify("on_train_begin")
            for batch in batches:
                self.notify("on_step_begin")
                with quiet():
                    loss, norm = self.step(batch)
                self.count(loss, norm)
                self.notify("on_step_end")
            self.read()
            self.notify("on_train_end")

    def close_callbacks(self) -> None:
        """Close the callbacks that the loop was made with, where a loop `concludes`."""
        with contextlib.ExitStack() as closing:
            for callback in self.callbacks:
                closing.callback(callback.close)

    def stream(self) -> Generator[tuple]:
        """The batches to train on, until the budget is used up."""
        batches = self.source()
        while not (self.ending or self.finished()):
            self.lr = self.rate()
            batch = next(batches, None)
            if batch is None:
                return
            yield batch
            self.tick()

    def source(self) -> Iterator[tuple]:
        """The batches from the next step on."""
        return iter(self.batches)

    def rate(self) -> float:
        """The learning rate of the next step. A schedule is read at the middle of the step, where steps are counted."""
        if self.schedule is None:
            return self.optimizer.lr
        return self.schedule(self.budget.done(self.state.step + 0.5, self.state.seconds))

    def step(self, batch: tuple) -> tuple[Any, Any]:
        """One step on a batch: its loss, and the norm of its gradients or None; of a model on a GPU both stay there."""
        with self.workspace.step():
            loss = self.gradients(batch)
        if not devices.on_gpu(loss):
            self.check(self.state.step, loss, None)  # before the weights change
        norm = self.optimizer.step(self.lr)
        if self.average is not None:
            self.average.update()
        return loss, norm

    def gradients(self, batch: tuple) -> Any:
        """The loss of a batch, whose gradients are added to their buffer."""
        return forward_backward(self.model, self._upload(batch), Key(self.seed, self.state.step))

    def count(self, loss: Scalar | float, norm: Scalar | float | None) -> None:
        """Count a step, and keep its loss and norm until they are read."""
        self._unread.add(self.state.step, loss, norm)
        self.state.step += 1
        self.tick()
        self.stepped, self.ending = self.state.seconds, self.ending or self.finished()
        if self._unread.due:
            self.read()

    def finished(self) -> bool:
        """Whether the budget is used up."""
        return self.budget.done(self.state.step, self.state.seconds) >= 1

    def progress(self) -> float:
        """The part of the budget that is used up, in [0, 1]."""
        return min(1.0, self.budget.done(self.state.step, self.state.seconds))

    def seen(self) -> int:
        """How much has been trained on, in the progress bar's unit: steps, or what a subclass counts, such as tokens."""
        return self.state.step

    def note(self) -> str:
        """What the progress bar shows after the loss."""
        return ""

    def tick(self) -> None:
        """Copy the clock's seconds into the state."""
        self.state.seconds = self.clock.seconds

    # --- for callbacks ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End training after this step; between two steps, before the next."""
        self.ending = True

    def notify(self, event: str, *more: Any) -> None:
        """Call the method `event` of all callbacks, with the loop and `more`."""
        for listener in self._listeners[event]:
            listener(self, *more)

    @property
    def loss(self) -> float:
        """The loss of the last step, with the weights before their update; NaN before the first step."""
        self.read()
        return self._loss

    @property
    def gradient_norm(self) -> float | None:
        """The norm of the last step's gradients before clipping; None where the optimizer does not compute it."""
        self.read()
        return self._norm

    def read(self) -> None:
        """Read the losses and norms of the steps since the last call. On a GPU this waits for them; `check` then sees them."""
        for step, loss, norm in self._unread.read():
            self.take(step, loss, norm)

    def take(self, step: int, loss: float, norm: float | None) -> None:
        """Check and keep the loss and the norm of a step, counted from 0, as the last ones that were read."""
        self.check(step, loss, norm)
        self._loss, self._norm = loss, norm

    def check(self, step: int, loss: Scalar | float, norm: Scalar | float | None) -> None:
        """NonFiniteError unless the loss and the norm of a step, where there is one, are finite."""
        check_step(step, loss, norm, self.optimizer.lr)

    def averaged(self) -> AbstractContextManager:
        """Inside this block the model has the averaged weights, where there are some: for validation."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def use_average(self) -> None:
        """Leave the averaged weights in the model, where there are some; training cannot go on with it then."""
        if self.average is not None:
            self.average.put_in()


def forward_backward(model: Trainable, batch: tuple, key: Key) -> Any:
    """The loss of a batch, whose gradients are added to their buffer; of a model on a GPU the loss stays there.

    Parameters
    ----------
    model : Trainable
    batch : tuple
        The arguments of the model's ``forward``, on the model's device.
    key : Key
        For dropout.

    Raises
    ------
    TypeError
        If the batch is no tuple, or the loss is not one number.
    """
    if not isinstance(batch, (tuple, list)):
        raise TypeError(f"a batch must be a tuple, what forward takes, got {checks.describe(batch)}")
    loss, saved = model.forward(*batch, key=key)
    if np.ndim(loss):
        raise TypeError(f"the loss must be one number, the mean over the batch, got {checks.describe(loss)}")
    model.backward(saved)
    return loss
