"""A running mean of the weights, which often generalises better than the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from minilm import devices
from minilm.layers.parameters import Parameters
from minilm.ops import checks
from minilm.typing import Array


class WeightAverage:
    """Exponential moving average of all parameters, without bias towards the first ones.

    .. math:: a \\leftarrow a + r_t (param - a), \\qquad r_t = \\max(1 - decay, 1 / t)

    so the first update copies, the first ``1 / (1 - decay)`` give the plain mean, and later ones the exponential one.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    decay : float
        In [0, 1).

    Examples
    --------
    ::

        average = optimizers.WeightAverage(model.parameters, decay=0.999)
        ...
        adam.step(); average.update()
        with average.applied():
            loss, state = model.loss(ids, targets)

    References
    ----------
    B. T. Polyak, A. B. Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30 (1992).
    """

    def __init__(self, parameters: Parameters, decay: float = 0.999):
        self.parameters = parameters
        self.decay = checks.number("decay", decay, 0, 1, high_open=True)
        self.updates = 0
        self._flat = devices.aligned_zeros(parameters.flat.size, parameters.dtype, parameters.flat)  # (P,)

    def rate(self) -> float:
        """r of the next update."""
        return max(1 - self.decay, 1 / (self.updates + 1))

    def update(self, rate: Array | None = None) -> None:
        """Take in the parameters as they are now.

        Parameters
        ----------
        rate : array of one number on the GPU, optional
            What to take for `rate`, in a CUDA graph. Who launches it counts `updates`.
        """
        if rate is None:
            rate = self._flat.dtype.type(self.rate())
            self.updates += 1
        if devices.on_gpu(self._flat):
            flat = self.parameters.flat
            with np.errstate(invalid="ignore"):  # infinite numbers, which forbid tags, have no mean
                self._flat[...] = np.where(np.isinf(flat), flat, self._flat + rate * (flat - self._flat))
            return
        kernel = devices.load("minilm.ops", "sums").move_towards
        devices.parallel(kernel, self._flat.size, self._flat, self.parameters.flat, rate, grain=1 << 15)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside this block the model has the averaged parameters; at its end it has its own again.

        Raises
        ------
        ValueError
            If `update` has not been called yet.
        """
        if self.updates == 0:
            raise ValueError("there is no average yet: call update first")
        flat = self.parameters.flat  # (P,)
        own = flat.copy()  # (P,)
        flat[...] = self._flat
        try:
            yield
        finally:
            self.parameters.flat[...] = own

    def put_in(self) -> None:
        """Give the model the averaged parameters for good; without an update it keeps its own."""
        if self.updates:
            self.parameters.flat[...] = self._flat

    def views(self) -> dict[str, np.ndarray]:
        """The averages by the names of the parameters, as they lie in the flat buffer."""
        return self.parameters.split(self._flat)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the averages by name, and ``updates``."""
        averages = {f"average.{name}": np.array(devices.to_host(view)) for name, view in self.views().items()}
        return {"updates": np.array(self.updates, np.int64), **averages}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy in what `state_dict` gave. Nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            If a part is missing, unknown or of another shape; the message lists each.
        """
        views = {f"average.{name}": view for name, view in self.views().items()}
        problems = [f"missing {name}" for name in ("updates", *views) if name not in state]
        problems += [f"unexpected {name}" for name in state if name != "updates" and name not in views]
        problems += [
            f"{name} is {checks.describe(state[name])}, wanted {checks.describe(view)}"
            for name, view in views.items()
            if name in state and (state[name].shape != view.shape or state[name].dtype != view.dtype)
        ]
        if problems:
            raise ValueError("the state does not fit this average: " + "; ".join(problems))
        for name, view in views.items():
            devices.copy_into(view, state[name])
        self.updates = int(state["updates"])
