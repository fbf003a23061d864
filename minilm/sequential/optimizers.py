"""Optimizers by Keras's names and with its defaults: settings, until a model gives them its parameters at its first step.

Keras's Adam and RMSprop are not quite those of `minilm.optimizers`: see `minilm.sequential.update_rules`. In the formulas w is
a weight, g its gradient, and lr the learning rate.

An id that occurs several times in a batch gives its row of an Embedding several gradients. On TensorFlow, Keras's Adam and
RMSprop add up their squares, and clipvalue and clipnorm clip each; on Keras's other backends, and here, they are added first, and
the sum is squared or clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from minilm import devices, optimizers
from minilm.layers.parameters import Parameters
from minilm.mistaken import did_you_mean
from minilm.ops import checks
from minilm.sequential.update_rules import KerasAdam, KerasAdamW, KerasRMSprop

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "optimizer_of"]


class OptimizerOptions(TypedDict, total=False):
    """What every optimizer of Sequential takes beside its own arguments; see `Optimizer`."""

    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    weight_decay: float | None
    name: str | None
    lr: float | None


class Optimizer:
    """Base of the optimizers: the settings, and once the model has begun training, the optimizer itself.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A callable gets the number of steps done and returns the learning rate. The default is the class's.
    clipnorm : float, optional
        Scale each weight's gradient down to this norm, if its norm is larger.
    global_clipnorm : float, optional
        Scale all gradients together down to this norm, if it is larger.
    clipvalue : float, optional
        Limit every number of a gradient to [-clipvalue, clipvalue].
    weight_decay : float, optional
        Of `AdamW` alone.
    name : str, optional
    lr : float, optional
        An older spelling of `learning_rate`.

    Raises
    ------
    ValueError
        If a number is out of range, more than one way of clipping is set, or `weight_decay` for another optimizer than AdamW.
    """

    name = ""
    rate = 1e-3

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] | None = None,
        *,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        clipvalue: float | None = None,
        weight_decay: float | None = None,
        name: str | None = None,
        lr: float | None = None,
    ):
        learning_rate = lr if learning_rate is None else learning_rate  # `lr` is the older spelling
        self.learning_rate = self.rate if learning_rate is None else learning_rate
        self.name = name or self.name
        limits = {"clipnorm": clipnorm, "global_clipnorm": global_clipnorm, "clipvalue": clipvalue}
        for argument, value in limits.items():
            if value is not None:
                limits[argument] = checks.number(argument, value, 0, math.inf, low_open=True)
        if sum(value is not None for value in limits.values()) > 1:
            raise ValueError(f"give one of clipnorm, global_clipnorm and clipvalue, got {limits}")
        self._limits = limits
        if weight_decay is not None and not isinstance(self, AdamW):
            raise ValueError(f"weight_decay is for AdamW, got weight_decay={weight_decay!r} for {type(self).__name__}")
        self._bound: optimizers.Optimizer | None = None
        self._owner: object = None  # the model whose parameters it has, by its token
        self.frozen: tuple[str, ...] = ()

    @property
    def learning_rate(self) -> float | Callable[[int], float]:
        """The learning rate, or the function of the number of steps done that returns it; it may be set during training."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Callable[[int], float]) -> None:
        self._learning_rate = value if callable(value) else checks.number("learning_rate", value, 0, math.inf, high_open=True)

    lr = learning_rate

    @property
    def iterations(self) -> int:
        """The number of steps done."""
        return 0 if self._bound is None else self._bound.steps

    @property
    def bound(self) -> bool:
        """Whether it has a model's parameters."""
        return self._bound is not None

    def belongs_to(self, owner: object) -> bool:
        """Whether it has the parameters of the model with this token: see `bind`."""
        return self._bound is not None and self._owner is owner

    def bind(self, parameters: Parameters, frozen: tuple[str, ...] = (), owner: object = None) -> None:
        """Give it a model's parameters, with a state of zeros.

        Parameters
        ----------
        parameters : Parameters
        frozen : tuple of str
            Beginnings of the names of parameters that get no weight decay.
        owner : object, optional
            A token that stands for the model, for `belongs_to` and `release`.
        """
        self.frozen, self._owner = frozen, owner
        self._bound = self.make(parameters)

    def release(self, owner: object) -> None:
        """Forget the parameters and the state, if they are those of the model with this token."""
        if self.belongs_to(owner):
            self._bound = self._owner = None

    def _decayed(self, name: str) -> bool:
        return not name.startswith(self.frozen)

    def make(self, parameters: Parameters) -> optimizers.Optimizer:
        """The optimizer itself, one of `minilm.optimizers`, for these parameters: each subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no make")

    def step(self) -> float | None:
        """Clip the gradients, update the weights by them, and set them to zero.

        Returns
        -------
        float or None
            The norm of all gradients before `global_clipnorm` scales them; None without it.
        """
        bound = self._bound
        if self._limits["clipvalue"] is not None:
            gradient = bound.parameters.gradient_flat
            np.clip(gradient, -self._limits["clipvalue"], self._limits["clipvalue"], out=gradient)
        if self._limits["clipnorm"] is not None:
            for gradient in bound.parameters.gradients.values():
                norm = np.sqrt(np.square(gradient, dtype=np.float64).sum())  # ()
                if devices.on_gpu(norm):  # the host does not wait for it
                    gradient *= (self._limits["clipnorm"] / np.maximum(norm, self._limits["clipnorm"])).astype(gradient.dtype)
                elif norm > self._limits["clipnorm"]:
                    gradient *= gradient.dtype.type(self._limits["clipnorm"] / norm)
        return bound.step(self.learning_rate(bound.steps) if callable(self.learning_rate) else self.learning_rate)

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them; of a callable learning rate its value at this step."""
        rate = self.learning_rate(self.iterations) if callable(self.learning_rate) else self.learning_rate
        limits = {name: value for name, value in self._limits.items() if value is not None}
        return {"name": self.name, "learning_rate": float(rate), **limits, **self.settings()}

    def settings(self) -> dict:
        """The arguments that the subclass adds to those of `Optimizer`."""
        return {}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of its state on the host, by name; empty until training begins."""
        return {} if self._bound is None else self._bound.state_dict()

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy in a state that `state_dict` returned; ValueError where it does not fit the parameters, or there are none yet."""
        if self._bound is None:
            raise ValueError(f"optimizer {self.name!r} has no parameters for a state: a model gives it its own at the first step")
        self._bound.load_state_dict(state)


class SGD(Optimizer):
    """Stochastic gradient descent, w -= lr g; with momentum b = momentum b + g and w -= lr b.

    Parameters
    ----------
    learning_rate : float or callable
        0.01 without it.
    momentum : float
        In [0, 1].
    nesterov : bool
        Nesterov's form of momentum: w -= lr (g + momentum b), with the new b.
    **options
        Those of `Optimizer`.
    """

    name, rate = "sgd", 0.01

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] | None = None,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(learning_rate, **options)
        self.momentum = checks.number("momentum", momentum, 0, 1)
        self.nesterov = checks.flag("nesterov", nesterov)

    def make(self, parameters: Parameters) -> optimizers.Optimizer:
        nesterov = self.nesterov and self.momentum > 0
        options = {"momentum": self.momentum, "nesterov": nesterov, "clip_norm": self._limits["global_clipnorm"]}
        return optimizers.SGD(parameters, **options)

    def settings(self) -> dict:
        return {"momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """Gradients divided by the root of the running mean of their squares: v = rho v + (1 - rho) g², w -= lr g / √(v + epsilon).

    Parameters
    ----------
    learning_rate : float or callable
        0.001 without it.
    rho : float
        In [0, 1).
    momentum : float
        In [0, 1]: the steps are summed as b = momentum b + lr g / √(v + epsilon), and w -= b.
    epsilon : float
        More than 0.
    **options
        Those of `Optimizer`.
    """

    name = "rmsprop"

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] | None = None,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(learning_rate, **options)
        self.rho = checks.number("rho", rho, 0, 1, high_open=True)
        self.momentum = checks.number("momentum", momentum, 0, 1)
        self.epsilon = checks.number("epsilon", epsilon, 0, math.inf, low_open=True)

    def make(self, parameters: Parameters) -> optimizers.Optimizer:
        options = {"rho": self.rho, "momentum": self.momentum, "eps": self.epsilon, "clip_norm": self._limits["global_clipnorm"]}
        return KerasRMSprop(parameters, self.rate, **options)

    def settings(self) -> dict:
        return {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}


class Adam(Optimizer):
    """Adam: running means m of the gradients and v of their squares, corrected for their start from zero.

    At step t, from 1 on::

        m  = beta_1 m + (1 - beta_1) g
        v  = beta_2 v + (1 - beta_2) g²
        w -= lr √(1 - beta_2^t) / (1 - beta_1^t)  m / (√v + epsilon)

    Parameters
    ----------
    learning_rate : float or callable
        0.001 without it.
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        More than 0.
    amsgrad : bool
        Must be False; ValueError else.
    **options
        Those of `Optimizer`.
    """

    name = "adam"
    kind: type = KerasAdam

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(learning_rate, **options)
        self.beta_1 = checks.number("beta_1", beta_1, 0, 1, high_open=True)
        self.beta_2 = checks.number("beta_2", beta_2, 0, 1, high_open=True)
        self.epsilon = checks.number("epsilon", epsilon, 0, math.inf, low_open=True)
        if amsgrad:
            raise ValueError("amsgrad=True is for minilm.optimizers.Adam, whose formula of it is PyTorch's")

    def make(self, parameters: Parameters) -> optimizers.Optimizer:
        options = {"betas": (self.beta_1, self.beta_2), "eps": self.epsilon, "clip_norm": self._limits["global_clipnorm"]}
        return self.kind(parameters, self.rate, **options, **self._decay())

    def _decay(self) -> dict:
        return {}

    def settings(self) -> dict:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


class AdamW(Adam):
    """`Adam` with decoupled weight decay: every weight is also reduced by lr weight_decay w at each step.

    Parameters
    ----------
    learning_rate : float or callable
        0.001 without it.
    weight_decay : float
        Of all weights, biases too, but those of frozen layers.
    **options
        Those of `Adam` and `Optimizer`.
    """

    name, kind = "adamw", KerasAdamW

    def __init__(
        self,
        learning_rate: float | Callable[[int], float] | None = None,
        weight_decay: float = 0.004,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(learning_rate, **options)
        self.weight_decay = checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True)

    def _decay(self):
        return {"weight_decay": self.weight_decay, "decay": self._decayed}

    def settings(self) -> dict:
        return {**super().settings(), "weight_decay": self.weight_decay}


KINDS = {kind.name: kind for kind in (SGD, RMSprop, Adam, AdamW)}


def optimizer_of(optimizer: str | Optimizer | type) -> Optimizer:
    """A new optimizer of a name or a class, or the optimizer itself; ValueError for anything else, with the nearest name."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if str(optimizer).lower() not in KINDS:
        hint = did_you_mean(optimizer, KINDS)
        raise ValueError(f"optimizer must be a name or one of minilm.sequential.optimizers, got {optimizer!r:.80}; {hint}")
    return KINDS[str(optimizer).lower()]()
