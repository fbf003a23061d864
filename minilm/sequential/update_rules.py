"""Keras's update rules, where they are not those of `minilm.optimizers`, which are PyTorch's.

Adam adds ε to √v before the correction for the start from zero::

    Keras     w -= lr √(1 - β2^t) / (1 - β1^t)  m / (√v + ε)
    PyTorch   w -= lr / (1 - β1^t)  m / (√(v / (1 - β2^t)) + ε')        equal with ε' = ε / √(1 - β2^t)

RMSprop adds ε under the root, and its momentum b sums whole steps, the learning rate included::

    Keras     b = μ b + lr g / √(v + ε)         w -= b
    PyTorch   b = μ b + g / (√v + ε)            w -= lr b               but for ε the same w as long as lr does not change

where v = ρ v + (1 - ρ) g². Keras's SGD sums whole steps too, which differs from `minilm.optimizers.SGD` only when lr changes: so
that one serves here.
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices, optimizers
from minilm.ops import adam

__all__ = ["KerasAdam", "KerasAdamW", "KerasRMSprop"]


class KerasAdam(optimizers.Adam):
    """Adam with Keras's place of ε."""

    def _update(self, flat, gradient, *state, **options):
        correction = math.sqrt(1 - self._rule["beta2"] ** (self.steps + 1))  # self.steps, since options["step"] may be on a GPU
        adam.step(flat, gradient, *state, **{**self._rule, "eps": self._rule["eps"] / correction}, **options)


class KerasAdamW(KerasAdam):
    """`KerasAdam` with decoupled weight decay."""

    decoupled = True


class KerasRMSprop(optimizers.Optimizer):
    """RMSprop with Keras's place of ε, with momentum or without."""

    def __init__(self, parameters, lr, *, rho, momentum, eps, **options):
        self.slots = ("v", "momentum_buffer") if momentum else ("v",)
        self._rho, self._momentum, self._eps = rho, momentum, eps
        super().__init__(parameters, lr, **options)

    def _update(self, flat, gradient, v, buffer=None, *, step, lr, weight_decay, scale, clear):
        real = flat.dtype.type
        lr, scale = (value if devices.on_gpu(value) else real(value) for value in (lr, scale))
        rho, momentum, moving, left = real(self._rho), real(self._momentum), None, real(0)
        g = gradient * scale + real(weight_decay) * flat  # (P,)
        if devices.on_gpu(scale):  # as in the kernels of Adam and SGD: with a scale that is not finite nothing may change
            moving = np.isfinite(scale)
            g, left = np.where(moving, g, real(0)), np.where(moving, real(0), gradient)
            rho, momentum = np.where(moving, rho, real(1)), np.where(moving, momentum, real(1))
        v *= rho
        v += (1 - rho) * g * g
        move = lr * g / np.sqrt(v + real(self._eps))
        if buffer is not None:
            buffer *= momentum
            buffer += move
            move = buffer if moving is None else np.where(moving, buffer, real(0))
        flat -= move
        if clear:
            gradient[...] = left
