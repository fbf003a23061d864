"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable

from minilm.layers.parameters import Parameters
from minilm.ops import checks, sgd
from minilm.optimizers.base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, plain or Nesterov's. Formulas: `minilm.ops.sgd.spec`.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
    momentum, dampening : float
        In [0, 1].
    nesterov : bool
    weight_decay, decay, clip_norm, trainable
        See `minilm.optimizers.base.Optimizer`.
    """

    elementwise = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        momentum = checks.number("momentum", momentum, 0, 1)
        dampening = checks.number("dampening", dampening, 0, 1)
        nesterov = checks.flag("nesterov", nesterov)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(f"nesterov wants a momentum and no dampening, got momentum={momentum!r}, dampening={dampening!r}")
        self.slots = ("momentum_buffer",) if momentum else ()
        self._rule = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(parameters, lr, weight_decay=weight_decay, decay=decay, clip_norm=clip_norm, trainable=trainable)

    def _update(self, flat, gradient, *state, **options):
        sgd.step(flat, gradient, *state, **self._rule, **options)
