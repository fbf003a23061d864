"""Muon for the matrices inside of a model, AdamW for all else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from minilm.layers.parameters import Parameters
from minilm.ops import adam, checks, muon
from minilm.optimizers.base import Optimizer

__all__ = ["Muon", "inner_matrices"]

OUTER = re.compile(r"(^|\.)(wte|wpe|embed\w*|\w*embedding\w*|lm_head|head|output|decoder|score|classifier)\.")


def inner_matrices(name: str) -> bool:
    """Whether a matrix of this name is one that Muon is for: no table of vectors and no output layer."""
    return OUTER.search(name) is None


class Muon(Optimizer):
    """Muon: the momentum of each matrix, made orthogonal. Formulas: `minilm.ops.muon.spec`.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
    momentum : float
        In [0, 1).
    nesterov : bool
    ns_steps : int
        Iterations (of Newton and Schulz) that make a matrix orthogonal.
    size : {"match_rms_adamw", "original"}
        "match_rms_adamw" makes steps as large as AdamW's, so that one `lr` serves all parameters.
    matrices : callable, optional
        ``matrices(name)``: of which parameters with two axes; `inner_matrices` without it. The others are AdamW's.
    betas, eps
        Of AdamW.
    weight_decay, decay, clip_norm, trainable
        See `minilm.optimizers.base.Optimizer`. The decay is decoupled.

    Notes
    -----
    The state's first array is the momentum of matrices and AdamW's mean of all else, the second AdamW's mean of squares.
    """

    slots = ("m", "v")

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float] = 1e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        size: str = "match_rms_adamw",
        matrices: Callable[[str], bool] | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        beta1, beta2 = (checks.number(f"betas[{i}]", beta, 0, 1, high_open=True) for i, beta in enumerate(betas))
        eps = checks.number("eps", eps, 0, math.inf, high_open=True)
        self._adam = {"beta1": beta1, "beta2": beta2, "eps": eps, "decoupled": True}
        momentum = checks.number("momentum", momentum, 0, 1, high_open=True)
        self._rule = {
            "momentum": momentum,
            "nesterov": checks.flag("nesterov", nesterov),
            "steps": checks.whole("ns_steps", ns_steps, 0, 100),
            "size": checks.option("size", size, muon.SIZES),
        }
        self._matrices = inner_matrices if matrices is None else matrices
        super().__init__(parameters, lr, weight_decay=weight_decay, decay=decay, clip_norm=clip_norm, trainable=trainable)

    def _shape_of(self, name):
        shape = self.parameters.shapes[name]
        return shape if len(shape) == 2 and self._matrices(name) else None

    def _update(self, flat, gradient, m, v, *, shape=None, **options):
        if shape is None:
            adam.step(flat, gradient, m, v, **self._adam, **options)
        else:
            count = math.prod(shape)  # behind which the flat buffer may have a gap
            muon.step(*(array[:count].reshape(shape) for array in (flat, gradient, m)), **self._rule, **options)
