"""Keras's initializers: what a weight starts from. By name or as objects, in Keras's orientation: a kernel is (inputs, outputs).

Each is called as ``initialize(generator, shape) -> ndarray``, and so is a function of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from minilm.layers import initialisers
from minilm.mistaken import did_you_mean
from minilm.ops import checks

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "initializer",
]

CUT = 0.87962566103423978  # standard deviation of a normal distribution cut at ±2


class Initializer:
    """Base of all initializers.

    Parameters
    ----------
    seed : int, optional
        Accepted as Keras accepts it; the random numbers follow the model's seed.
    """

    def __init__(self, seed: int | None = None):
        pass

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        """The numbers that a weight starts from.

        Parameters
        ----------
        generator : numpy.random.Generator
        shape : tuple of int
            The weight's, in Keras's orientation.

        Returns
        -------
        ndarray of float64, shape `shape`
            The layer converts it to its own dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def get_config(self) -> dict:
        """The constructor's arguments, `seed` left out."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class Constant(Initializer):
    """A value for every element, or an array of them.

    Parameters
    ----------
    value : float, or array_like of the weight's shape
        Such as a table of word vectors. When the weight is made, an array of another shape raises ValueError.
    """

    def __init__(self, value: ArrayLike = 0.0):
        self.value = value if isinstance(value, (int, float)) else np.array(value, float)

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        value = np.asarray(self.value, float)
        if value.ndim and value.shape != tuple(shape):
            raise ValueError(f"value of Constant must have the weight's shape {tuple(shape)}, got {value.shape}")
        return np.array(np.broadcast_to(value, shape))


class Zeros(Initializer):
    """Zeros."""

    def __init__(self) -> None:
        pass

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """Ones."""

    def __init__(self) -> None:
        pass

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return np.ones(shape)


class RandomUniform(Initializer):
    """Independent numbers, uniform in [minval, maxval).

    Parameters
    ----------
    minval, maxval : float
        ValueError if the second is less than the first.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        self.minval = checks.number("minval", minval, -math.inf, math.inf)
        self.maxval = checks.number("maxval", maxval, self.minval, math.inf)

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return generator.uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer):
    """Independent normal numbers.

    Parameters
    ----------
    mean : float
    stddev : float
        Standard deviation; ValueError if it is negative.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        self.mean = checks.number("mean", mean, -math.inf, math.inf)
        self.stddev = checks.number("stddev", stddev, 0, math.inf)

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return self.mean + self.stddev * generator.standard_normal(shape)


class TruncatedNormal(RandomNormal):
    """Normal numbers, drawn again while they are more than two `stddev` from `mean`. Parameters: those of `RandomNormal`."""

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        drawn = generator.standard_normal(shape)
        while (far := np.abs(drawn) > 2).any():
            drawn[far] = generator.standard_normal(int(far.sum()))
        return self.mean + self.stddev * drawn


class VarianceScaling(Initializer):
    """Independent numbers of mean 0 and variance ``scale / n``, where n follows from the weight's shape.

    Parameters
    ----------
    scale : float
        More than 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
        n is the first axis, the number of inputs; the last, the number of outputs; or the mean of both.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        A truncated one is widened, so that the variance is that of the formula after the cut at two standard deviations.

    Raises
    ------
    ValueError
        If `scale` is not positive, or one of the others none of its choices.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None):
        self.scale = checks.number("scale", scale, 0, math.inf, low_open=True)
        self.mode = checks.option("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        kinds = ("truncated_normal", "untruncated_normal", "uniform")
        self.distribution = checks.option("distribution", distribution, kinds)

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        fan_in, fan_out = (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            bound = math.sqrt(3 * variance)
            return generator.uniform(-bound, bound, shape)
        if self.distribution == "untruncated_normal":
            return math.sqrt(variance) * generator.standard_normal(shape)
        return TruncatedNormal(stddev=math.sqrt(variance) / CUT)(generator, shape)


class _Named(VarianceScaling):
    """A `VarianceScaling` whose settings have a name of their own."""

    settings: tuple

    def __init__(self, seed: int | None = None):
        super().__init__(*self.settings)

    def get_config(self) -> dict:
        return {}


class GlorotUniform(_Named):
    """Uniform, with variance 2 / (inputs + outputs)."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Truncated normal, with variance 2 / (inputs + outputs)."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """Uniform, with variance 2 / inputs."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Truncated normal, with variance 2 / inputs."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Uniform, with variance 1 / inputs."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """Truncated normal, with variance 1 / inputs."""

    settings = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, whichever are fewer; of a recurrent kernel one matrix over all gates.

    Parameters
    ----------
    gain : float
        Multiplies the matrix.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        self.gain = checks.number("gain", gain, -math.inf, math.inf)

    def __call__(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return initialisers.orthogonal(gain=self.gain)(generator, shape)


KINDS = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
}


def initializer(argument: str, value: str | Callable) -> Callable:
    """The function ``initialize(generator, shape)`` that an argument stands for.

    Parameters
    ----------
    argument : str
        The argument's name, for the message.
    value : str, Initializer, a class of these, or callable
        A name (`KINDS` has them), or what is such a function already.

    Raises
    ------
    ValueError
        If it is neither; the message suggests the nearest name.
    """
    if isinstance(value, type) and issubclass(value, Initializer):
        return value()
    if callable(value):
        return value
    if not isinstance(value, str) or value not in KINDS:
        hint = did_you_mean(value, KINDS)
        raise ValueError(f"{argument} must be an initializer's name or a function of (generator, shape), got {value!r}; {hint}")
    return KINDS[value]()
