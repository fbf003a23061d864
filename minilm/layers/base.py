"""The base of everything with parameters: layers and models.

A layer keeps the contract of an op, and holds its parameters::

    y, saved = layer.forward(x, ..., key=None)
    dx = layer.backward(dy, saved)

``backward`` returns the gradients with respect to the inputs, in the order of forward's arguments, and *adds* the gradients by
the parameters to the gradient buffer. Between the two calls the layer remembers nothing, so it may be used twice in one
model, and gradients add up over micro-batches.

Sub-layers are attributes, or lists in attributes. Names are dotted paths, as ``named_parameters`` gives them in PyTorch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices
from minilm.layers import changes, loading
from minilm.layers.diagnosis import first_not_finite
from minilm.layers.initialisers import Initialiser
from minilm.layers.parameter import Parameter
from minilm.layers.parameters import Parameters
from minilm.layers.summary import PackedWeight, summary, summary_html
from minilm.random import Key
from minilm.typing import DType, Seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Layer", "generator_of"]


def generator_of(seed: Seed) -> np.random.Generator:
    """A Generator from a whole number, from None (fresh entropy), or itself.

    A Generator is passed through, so that the parts of a model, drawing in turn from the one that the model made, start
    from different numbers.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise TypeError(f"seed must be a whole number of at least 0, a numpy Generator or None, got {seed!r}")
    return np.random.default_rng(seed)


class Layer:
    """Base class of layers and models.

    Parameters
    ----------
    dtype : {float32, float64}
        Of the parameters.
    seed : int, Generator or None
        Where the parameters' first values come from. None takes fresh entropy.

    Examples
    --------
    A layer of one's own declares its parameters, and writes its gradient out:

    >>> import numpy as np
    >>> from minilm import layers
    >>> class Scale(layers.Layer):
    ...     def __init__(self, size, **options):
    ...         super().__init__(**options)
    ...         self.parameter("gain", (size,), layers.initialisers.normal())
    ...
    ...     def forward(self, x, *, key=None):
    ...         return x * self.gain.value, x  # y (..., D), saved
    ...
    ...     def backward(self, dy, saved):
    ...         self.gain.accumulate((dy * saved).reshape(-1, dy.shape[-1]).sum(axis=0))  # (D,)
    ...         return dy * self.gain.value  # (..., D)
    >>> layer = Scale(3, seed=0)
    >>> y, saved = layer.forward(np.ones((2, 3), np.float32))
    >>> y.shape, list(layer.parameters)
    ((2, 3), ['gain'])
    """

    construction: functools.partial  # the constructor and what it was given, for `minilm.models.save`

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        layer = super().__new__(cls)
        layer.construction = functools.partial(cls, *args, **kwargs)
        return layer

    if not TYPE_CHECKING:  # to a checker of types it would say that any attribute may be set

        def __setattr__(self, name, value):
            object.__setattr__(self, name, value)
            changes.count()

        def __delattr__(self, name):
            object.__delattr__(self, name)
            changes.count()

    def __init__(self, *, dtype: DType = np.float32, seed: Seed = None):
        self._dtype = np.dtype(dtype)
        if self._dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {self._dtype}")
        self._generator = generator_of(seed)

    # --- what a layer is made of -------------------------------------------------------------------------------------

    def parameter(self, name: str, shape: tuple[int, ...], initialise: Initialiser) -> Parameter:
        """Declare the parameter ``self.<name>``.

        Parameters
        ----------
        name : str
        shape : tuple of int
        initialise : callable
            ``initialise(generator, shape) -> ndarray``; see `minilm.layers.initialisers`.

        Raises
        ------
        TypeError
            If the layer's ``__init__`` has not called ``super().__init__`` yet.
        ValueError
            If the initialiser gives another shape, or weights that are to be loaded are far smaller: see `minilm.layers.loading`.
        """
        if "_generator" not in vars(self):
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__ before it declares parameters")
        if (allowance := loading.allowance()) is not None:
            allowance.claim(shape)
            parameter = Parameter.zeros(shape, self._dtype)
        else:
            value = np.asarray(initialise(self._generator, shape))
            if value.shape != tuple(shape):
                raise ValueError(f"the initialiser of {name} gave shape {value.shape}, wanted {tuple(shape)}")
            parameter = Parameter(value.astype(self._dtype))
        setattr(self, name, parameter)
        return parameter

    def sublayers(self) -> Iterator[tuple[str, Layer]]:
        """The layers directly inside this one, with their names, in the order they were assigned."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Layer))

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """This layer and all below it, with dotted names; this one's is `prefix`."""
        yield prefix, self
        for name, layer in self.sublayers():
            yield from layer.named_layers(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names; one shared by two layers comes under both names."""
        for path, layer in self.named_layers():
            for name, value in vars(layer).items():
                if isinstance(value, Parameter):
                    yield f"{path}.{name}" if path else name, value

    @property
    def parameters(self) -> Parameters:
        """All parameters by dotted name, in one flat buffer."""
        return Parameters(self.named_parameters())

    def freeze(self, chosen: Callable[[str], bool] | None = None) -> Self:
        """Let some parameters stay as they are: they get no gradient, which spares a third of a `Linear`'s work.

        Parameters
        ----------
        chosen : callable, optional
            Those for whose name ``chosen(name)`` is true are frozen, and all others are not; without it all are frozen.

        Returns
        -------
        self
            Optimizers made before do not know of it: make new ones.
        """
        for _, parameter in self.named_parameters():
            parameter.trainable = True
        for name, parameter in self.named_parameters():
            if chosen is None or chosen(name):
                parameter.trainable = False
        return self

    @property
    def dtype(self) -> np.dtype:
        """The parameters' dtype."""
        return self._dtype

    @property
    def device(self) -> str:
        """Where the parameters lie: ``"cpu"`` or ``"cuda"``. Arguments must lie there too."""
        return next((parameter.device for _, parameter in self.named_parameters()), "cpu")

    def to(self, where: str | DType) -> Self:
        """Move all parameters to a device, or convert them to another precision, in place.

        Parameters
        ----------
        where : {"cpu", "cuda"} or {float32, float64}

        Returns
        -------
        self
            Optimizers made before hold state of the old kind: make new ones.

        Raises
        ------
        RuntimeError
            For "cuda" where no GPU can be used; the message says what is missing.
        """
        if isinstance(where, str) and where in devices.DEVICES:
            self.parameters.move(where)
            return self
        self.parameters.convert(where)
        for _, layer in self.named_layers():
            layer._dtype = np.dtype(where)
        return self

    # --- what a layer does -------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, key: Key | None = None) -> tuple[Any, Any]:
        """The outputs, and ``saved``, which `backward` needs. Each layer says what its inputs are.

        Parameters
        ----------
        *inputs
        key : Key, optional
            What dropout draws from; without it nothing is dropped.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Any, saved: Any) -> Any:
        """The gradients by the inputs, from `dy`, the gradient by the outputs, and `saved`.

        Adds the gradients by the parameters to their buffer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def diagnose(self, *inputs: Any, key: Key | None = None) -> str | None:
        """The first place where a number is not finite, such as "output of h.3": what to say when the loss is NaN.

        Parameters are `forward`'s; see `minilm.layers.diagnosis.first_not_finite`.
        """
        return first_not_finite(self, *inputs, key=key)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of `forward` for the same arguments, without ``saved``: for evaluation."""
        return self.forward(*inputs, **options)[0]

    # --- how a layer shows itself ------------------------------------------------------------------------------------

    def settings(self) -> str:
        """The constructor's arguments worth showing, as in ``65, 64``."""
        return ""

    def packed_weights(self) -> dict[str, PackedWeight]:
        """What is shown of weights that are no parameters, by their names: those that `minilm.quantized` stores in fewer bits."""
        return {}

    def summary(self) -> str:
        """A table of the layers, the shapes of their parameters, and how many numbers these hold."""
        return summary(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def __repr__(self):
        return self.summary() if any(True for _ in self.sublayers()) else f"{type(self).__name__}({self.settings()})"
