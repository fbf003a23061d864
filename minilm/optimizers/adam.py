"""Adam and AdamW."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from minilm import devices
from minilm.layers.parameters import Parameters
from minilm.ops import adam, checks
from minilm.optimizers.base import Group, Optimizer


class Adam(Optimizer):
    """Adam. Weight decay is added to the gradient. Formulas: `minilm.ops.adam.spec`.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
    betas : tuple of two floats
        In [0, 1).
    eps : float
    amsgrad : bool
        Divide by the root of the largest mean of squares so far.
    weight_decay, decay, clip_norm, trainable
        See `minilm.optimizers.base.Optimizer`.
    """

    decoupled = False
    elementwise = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        beta1, beta2 = (checks.number(f"betas[{i}]", beta, 0, 1, high_open=True) for i, beta in enumerate(betas))
        eps = checks.number("eps", eps, 0, math.inf, high_open=True)
        self.slots = ("m", "v", "v_max") if checks.flag("amsgrad", amsgrad) else ("m", "v")
        self._rule = {"beta1": beta1, "beta2": beta2, "eps": eps, "decoupled": self.decoupled}
        super().__init__(parameters, lr, weight_decay=weight_decay, decay=decay, clip_norm=clip_norm, trainable=trainable)

    def _update_groups(self, flat, gradient, lr, **options):
        groups = self._groups
        if devices.on_gpu(flat) or not _adjoin(groups):
            super()._update_groups(flat, gradient, lr, **options)
            return
        where, kept = (slice(first.start, last.stop) for first, last in zip(groups[0][:2], groups[-1][:2], strict=True))
        own = {
            "ends": [group.where.stop - where.start for group in groups],
            "lr": [lr * group.rate for group in groups],
            "weight_decay": [self.weight_decay * group.decay for group in groups],
        }
        state = [array[kept] for array in self.state.values()]
        self._update(flat[where], gradient[where], *state, **own, **options)

    def _update(self, flat, gradient, *state, **options):
        adam.step(flat, gradient, *state, **self._rule, **options)


def _adjoin(groups: list[Group]) -> bool:
    """Whether these are several groups, and nothing that is frozen or not kept here lies between two."""
    pairs = itertools.pairwise(groups)
    return len(groups) > 1 and all(a.where.stop == b.where.start and a.kept.stop == b.kept.start for a, b in pairs)


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 unless said otherwise; arguments as `Adam`'s. Formulas: `minilm.ops.adam.spec`."""

    decoupled = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 0.01,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        shared = {"weight_decay": weight_decay, "decay": decay, "clip_norm": clip_norm, "trainable": trainable}
        super().__init__(parameters, lr, betas=betas, eps=eps, amsgrad=amsgrad, **shared)
