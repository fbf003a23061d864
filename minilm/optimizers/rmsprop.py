"""RMSprop."""

from __future__ import annotations

import math
from collections.abc import Callable

from minilm.layers.parameters import Parameters
from minilm.ops import checks, rmsprop
from minilm.optimizers.base import Optimizer


class RMSprop(Optimizer):
    """RMSprop. Weight decay is added to the gradient. Formulas: `minilm.ops.rmsprop.spec`.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
    alpha : float
        In [0, 1).
    eps : float
    momentum : float
        In [0, 1].
    centered : bool
        Divide by the root of the variance, in the place of the root mean square.
    weight_decay, decay, clip_norm, trainable
        See `minilm.optimizers.base.Optimizer`.
    """

    elementwise = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        momentum = checks.number("momentum", momentum, 0, 1)
        self.slots = ("v",) + ("mean",) * checks.flag("centered", centered) + ("momentum_buffer",) * (momentum > 0)
        alpha = checks.number("alpha", alpha, 0, 1, high_open=True)
        self._rule = {"alpha": alpha, "eps": checks.number("eps", eps, 0, math.inf, high_open=True), "momentum": momentum}
        super().__init__(parameters, lr, weight_decay=weight_decay, decay=decay, clip_norm=clip_norm, trainable=trainable)

    def _update(self, flat, gradient, *state, **options):
        rmsprop.step(flat, gradient, **dict(zip(self.slots, state, strict=True)), **self._rule, **options)
