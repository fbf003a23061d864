"""Sequential's layers of every row or step by itself: embedding, affine maps, activations, dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices
from minilm.layers.embedding import accumulate
from minilm.ops import checks, dropout, embedding, linear
from minilm.random import Key
from minilm.sequential import activations
from minilm.sequential.base import LayerOptions, SequentialLayer, shape_of, units
from minilm.sequential.initializers import initializer
from minilm.typing import Array, DType, Ids

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Activation", "Dense", "Dropout", "Embedding", "Input", "SpatialDropout1D"]


class Input:
    """The shape of a model's input, at the head of its list of layers.

    Parameters
    ----------
    shape : int, or tuple or list of int or None
        Without the batch; None for an axis of any length.
    batch_shape : tuple or list of int or None
        The same with the batch, in its place.
    batch_size, dtype, name
        Accepted as Keras accepts them; they change nothing here.

    Raises
    ------
    ValueError
        If both shapes are given, or none, or a size is neither None nor a whole number of at least 1.
    TypeError
        If `shape` is of another type, or `batch_shape` an int.
    """

    def __init__(
        self,
        shape: tuple | None = None,
        batch_shape: tuple | None = None,
        batch_size: int | None = None,
        dtype: DType | None = None,
        name: str | None = None,
    ):
        if (shape is None) == (batch_shape is None):
            raise ValueError(f"Input wants shape or batch_shape, got shape={shape!r}, batch_shape={batch_shape!r}")
        self.shape = (None, *shape_of(tuple(batch_shape)[1:] if shape is None else shape))
        self.name = name


class Embedding(SequentialLayer):
    """y = E[ids], a vector for each id: (B, T) of integers to (B, T, output_dim).

    Parameters
    ----------
    input_dim : int
        Number of ids: each must lie in [0, input_dim). For words of a Tokenizer that is ``len(word_index) + 1``.
    output_dim : int
        Width of a vector.
    embeddings_initializer : str or callable
        What the table E starts from: see `minilm.sequential.initializers`.
    mask_zero : bool
        Whether id 0 is padding: the layers after this one skip those steps, and the loss leaves them out.
    input_length : int, optional
        Length T of the sequences, as older versions of Keras took it: a hint, by which layers that need to know it, such as a
        Dense over a Flatten, are made before any data is seen. Other layers take sequences of any length.
    weights : list of one ndarray, optional
        What the table (input_dim, output_dim) starts from.

    Raises
    ------
    ValueError
        If a width is less than 1; from `forward`, if an id is not in [0, input_dim), with its position.
    TypeError
        If a width is no whole number; from `forward`, if the inputs are not numbers.

    Notes
    -----
    Weights: ``embeddings`` (input_dim, output_dim). Formulas: `minilm.ops.embedding.spec`.
    """

    reads_width = False

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | Callable = "uniform",
        *,
        mask_zero: bool = False,
        input_length: int | None = None,
        weights: Sequence[ArrayLike] | None = None,
        **options: Unpack[LayerOptions],
    ):
        shapes = ("input_shape", "batch_input_shape", "batch_shape")
        self.input_length = None  # where it alone says what the input is like
        if input_length is not None and all(options.get(name) is None for name in shapes):
            self.input_length = options["input_shape"] = units("input_length", input_length)
        super().__init__(**options)
        self.input_dim, self.output_dim = units("input_dim", input_dim), units("output_dim", output_dim)
        self.mask_zero = checks.flag("mask_zero", mask_zero)
        self._initialise = initializer("embeddings_initializer", embeddings_initializer)
        self._start = None if weights is None else [np.asarray(weight) for weight in weights]

    def make(self, shape: tuple) -> None:
        self.parameter("embeddings", (self.input_dim, self.output_dim), self._initialise)
        if self._start is not None:
            self.built = True  # set_weights asks for it
            self.set_weights(self._start)
            self._start = None

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape, self.output_dim)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        return x != 0 if self.mask_zero else None

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """The vectors of ids x (B, T), as (B, T, output_dim): in time order in memory, since a recurrent layer reads them so."""
        ids = self.checked(x)
        y, saved = embedding.forward(ids.T if ids.ndim == 2 else ids, self.embeddings.value)
        return y.transpose(1, 0, 2) if ids.ndim == 2 else y, saved

    def backward(self, dy: Array, saved: Any) -> None:
        """Adds the table's gradient, from dy (B, T, output_dim); returns None, since ids have no gradient."""
        dy = dy.transpose(1, 0, 2) if dy.ndim == 3 else dy
        accumulate(self.embeddings, checks.kernel_ready(dy), saved)

    def checked(self, x: Array) -> Ids:
        """x as integers; ValueError names the first that is no id, with its position, and TypeError what is no number."""
        if devices.on_gpu(x):
            if not checks.trusted(x):
                self.checked(x.get())
            return x.astype(np.int64) if x.dtype.kind == "f" else x
        if x.dtype.kind == "f":  # as Keras has it, whole numbers may come as floats
            if x.size and not (np.isfinite(x).all() and (x == np.floor(x)).all()):
                raise ValueError(f"layer {self.label()} wants ids, which are whole numbers; got {checks.describe(x)} with others")
            x = x.astype(np.int64)
        if x.dtype.kind not in "iu":
            raise TypeError(f"layer {self.label()} wants ids, which are whole numbers; got {checks.describe(x)}")
        if x.size and (x.min() < 0 or x.max() >= self.input_dim):
            where = np.unravel_index(int(((x < 0) | (x >= self.input_dim)).argmax()), x.shape)
            place = ", ".join(str(int(i)) for i in where)
            hint = f"; input_dim must be at least {x.max() + 1}" if x.min() >= 0 else ""
            raise ValueError(f"layer {self.label()} has input_dim={self.input_dim}, but x[{place}] is {x[where]}{hint}")
        return x

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"embeddings": (self.input_dim, self.output_dim)}

    def get_weights(self) -> list[np.ndarray]:
        return [np.array(devices.to_host(self.embeddings.value))] if self.built else []

    def assign(self, weights: list[np.ndarray]) -> None:
        self.embeddings.value = weights[0]


class Dense(SequentialLayer):
    """y = activation(x K + b) over the last axis: (..., D) to (..., units).

    Parameters
    ----------
    units : int
        Width of the output.
    activation : str, optional
        One of linear, relu, sigmoid, tanh, gelu, silu (swish), softmax, elu, selu, softplus, softsign, exponential, hard_sigmoid,
        leaky_relu. None is linear.
    use_bias : bool
        Whether there is a b.
    kernel_initializer, bias_initializer : str or callable
        What K and b start from: see `minilm.sequential.initializers`.

    Raises
    ------
    ValueError
        If an argument is out of range or a name is not known; when the layer is built, if the width D is not known.

    Notes
    -----
    Weights: ``kernel`` K (D, units), ``bias`` b (units,). The kernel lies in memory as its transpose, as in all of minilm.
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Callable = "glorot_uniform",
        bias_initializer: str | Callable = "zeros",
        **options: Unpack[LayerOptions],
    ):
        super().__init__(**options)
        self.units = checks.whole("units", units, 1, 2**31)
        self.activation = activations.activation_name(activation)
        self.use_bias = checks.flag("use_bias", use_bias)
        self._initialise = initializer("kernel_initializer", kernel_initializer)
        self._initialise_bias = initializer("bias_initializer", bias_initializer)

    def check_rank(self, shape: tuple) -> None:
        if len(shape) < 2 or shape[-1] is None:
            raise ValueError(f"layer {self.label()} wants inputs of shape (batch, ..., features) with a known width, got {shape}")

    def make(self, shape: tuple) -> None:
        D = shape[-1]
        self.parameter("weight", (self.units, D), lambda generator, _: self._initialise(generator, (D, self.units)).T)
        self.bias = None
        if self.use_bias:
            self.parameter("bias", (self.units,), self._initialise_bias)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:-1], self.units)

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None, logits: bool = False) -> tuple[Array, Any]:
        """y (..., units), or with `logits` x K + b alone, and what `backward` needs, for x (..., D)."""
        z, mapped = linear.forward(x, self.weight.value, self.bias.value if self.use_bias else None)
        y, activated = (z, None) if logits else activations.forward(self.activation, z)
        return y, (mapped, activated, logits)

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (..., D), from dy (..., units)."""
        mapped, activated, logits = saved
        dz = dy if logits else activations.backward(self.activation, dy, activated)  # (..., units)
        dx, dW, db = linear.backward(dz, mapped)
        self.weight.accumulate(dW)
        if self.use_bias:
            self.bias.accumulate(db)
        return dx

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        if not self.built:
            return {}
        return {"kernel": self.weight.shape[::-1], **({"bias": (self.units,)} if self.use_bias else {})}

    def get_weights(self) -> list[np.ndarray]:
        if not self.built:
            return []
        weights = [self.weight.value.T, *([self.bias.value] if self.use_bias else [])]
        return [np.array(weight, order="C") for weight in devices.to_host(weights)]

    def assign(self, weights: list[np.ndarray]) -> None:
        self.weight.value = weights[0].T
        if self.use_bias:
            self.bias.value = weights[1]


class Activation(SequentialLayer):
    """y = activation(x), of x's shape.

    Parameters
    ----------
    activation : str or None
        As of `Dense`.

    Raises
    ------
    ValueError
        If no activation has that name.
    """

    def __init__(self, activation: str | None, **options: Unpack[LayerOptions]):
        super().__init__(**options)
        self.activation = activations.activation_name(activation)

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None, logits: bool = False) -> tuple[Array, Any]:
        """y (..., D), or with `logits` x itself, and what `backward` needs, for x (..., D)."""
        y, activated = (x, None) if logits else activations.forward(self.activation, x)
        return y, (activated, logits)

    def backward(self, dy: Array, saved: Any) -> Array:
        activated, logits = saved
        return dy if logits else activations.backward(self.activation, dy, activated)


class Dropout(SequentialLayer):
    """During training each number is set to 0 with probability `rate`, and else divided by 1 - rate.

    Parameters
    ----------
    rate : float
        In [0, 1); ValueError outside of it.
    seed : int, optional
        Accepted as Keras accepts it; the random numbers follow the model's seed.
    """

    shared_axis: int | None = None

    def __init__(self, rate: float, seed: int | None = None, **options: Unpack[LayerOptions]):
        super().__init__(**options)
        self.rate = checks.number("rate", rate, 0, 1, high_open=True)

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """y of x's shape, x itself without a key, and what `backward` needs."""
        if key is None or self.rate == 0:
            return x, None
        # x of a recurrent layer lies in time order in memory: the mask is drawn for that order, without a copy
        transposed = x.ndim == 3 and not x.flags.c_contiguous
        x = x.transpose(1, 0, 2) if transposed else x
        axis = self.shared_axis
        y, saved = dropout.forward(x, self.rate, key, shared_axis=1 - axis if transposed and axis == 1 else axis)
        return y.transpose(1, 0, 2) if transposed else y, (saved, transposed)

    def backward(self, dy: Array, saved: Any) -> Array:
        if saved is None:
            return dy
        dropped, transposed = saved
        dx = dropout.backward(dy.transpose(1, 0, 2) if transposed else dy, dropped)
        return dx.transpose(1, 0, 2) if transposed else dx


class SpatialDropout1D(Dropout):
    """`Dropout` of whole features, for x (B, T, D): in a row each of the D is dropped at all time steps, or at none."""

    accepts, letters = (3,), "(batch, time, features)"
    shared_axis = 1
