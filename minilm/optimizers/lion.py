"""Lion."""

from __future__ import annotations

from collections.abc import Callable

from minilm.layers.parameters import Parameters
from minilm.ops import checks, lion
from minilm.optimizers.base import Optimizer


class Lion(Optimizer):
    """Lion: every number moves by the same size, in the direction of a running mean. Formulas: `minilm.ops.lion.spec`.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
        A third to a tenth of Adam's.
    betas : tuple of two floats
        In [0, 1).
    weight_decay, decay, clip_norm, trainable
        See `minilm.optimizers.base.Optimizer`. The decay is decoupled, and three to ten times Adam's.
    """

    slots = ("m",)
    elementwise = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        beta1, beta2 = (checks.number(f"betas[{i}]", beta, 0, 1, high_open=True) for i, beta in enumerate(betas))
        self._rule = {"beta1": beta1, "beta2": beta2}
        super().__init__(parameters, lr, weight_decay=weight_decay, decay=decay, clip_norm=clip_norm, trainable=trainable)

    def _update(self, flat, gradient, *state, **options):
        lion.step(flat, gradient, *state, **self._rule, **options)
