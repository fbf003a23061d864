"""A list of layers, each reading what the one before gives: their names, shapes and weights."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.parameters import Parameters
from minilm.ops import checks
from minilm.sequential.base import UNBUILT, SequentialLayer, shape_of, snake_case
from minilm.sequential.core import Embedding, Input
from minilm.sequential.table import table
from minilm.typing import DType, Seed

__all__ = ["Stack", "lock"]

lock = threading.RLock()  # held while the first use of a model builds it, since several threads may use one model
if hasattr(os, "register_at_fork"):  # else a child could wait for a thread of its parent's, which does not exist in the child
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


class Stack(Layer):
    """`Sequential` without loss and training: layers, shapes and weights.

    Parameters
    ----------
    name : str
    dtype : {float32, float64}
        Of the weights.
    seed : int, Generator or None
        Where the first weights come from; None takes fresh entropy.
    """

    def __init__(self, name: str, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        self.name = name
        self.layers: list[SequentialLayer] = []
        self._declared: tuple | None = None  # shape of the input, of an Input or the first layer's arguments
        self._hint: int | None = None  # the length T in it, where it comes from an Embedding's input_length alone
        self._where = "cpu"  # the device of the weights, also before they are made

    # --- layers ------------------------------------------------------------------------------------------------------

    def add(self, layer: SequentialLayer | Input) -> None:
        """Add a layer at the end; or an `Input`, before the first layer.

        Parameters
        ----------
        layer : SequentialLayer or Input

        Raises
        ------
        TypeError
            If it is neither.
        ValueError
            If it is in the model already, has the name of another layer, or cannot read what the last layer gives; or if an
            `Input` does not come first.
        """
        if isinstance(layer, Input):
            if self.layers or self._declared:
                raise ValueError("Input belongs before all layers, once")
            self._declared = layer.shape
            return
        if not isinstance(layer, SequentialLayer):
            kind = type(layer).__name__
            hint = f"; minilm.sequential has a {kind} of its own" if isinstance(layer, Layer) else ""
            raise TypeError(f"a layer must come from minilm.sequential, got {checks.describe(layer)}{hint}")
        if any(layer is other for other in self.layers):
            raise ValueError(f"layer {layer.label()} is in the model already; make a second one")
        names = {other.name for other in self.layers}
        if layer.name in names:
            if layer._named or layer.built:  # another model may know it by that name
                raise ValueError(f"there is a layer named {layer.name!r} already: make one of the two with another name=")
            layer.name = None
        if layer.name is None:
            base = snake_case(re.sub(r"\W", "", type(layer).__name__))
            number = 0
            while (name := f"{base}_{number}" if number else base) in names:
                number += 1
            layer.name = name
        before = self._declared, self._hint
        if not self.layers and self._declared is None and layer.declared_shape is not None:
            self._declared, self._hint = layer.declared_shape, getattr(layer, "input_length", None)
        self.layers.append(layer)
        try:
            if self._declared is not None:
                self._build_layers(self._declared)
        except (ValueError, TypeError):
            self.layers.pop()
            self._declared, self._hint = before
            raise
        self._changed()

    def pop(self) -> SequentialLayer:
        """Remove the last layer, and return it; ValueError where there is none."""
        if not self.layers:
            raise ValueError("the model has no layers")
        self._changed()
        return self.layers.pop()

    def _changed(self) -> None:
        """Called when a layer has been added, or is about to be removed."""

    def get_layer(self, name: str | None = None, index: int | None = None) -> SequentialLayer:
        """The layer of a name, or of a number that counts from 0.

        Raises
        ------
        ValueError
            If no layer has the name.
        IndexError
            If no layer has the number.
        """
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"there is no layer {name!r}; there are {', '.join(layer.name for layer in self.layers)}")

    @property
    def built(self) -> bool:
        """Whether all layers have their weights."""
        return bool(self.layers) and all(layer.built for layer in self.layers)

    @property
    def input_shape(self) -> tuple | None:
        """The shape of the inputs, with None for the batch; None where it is not known yet."""
        return self.layers[0].input_shape if self.built else self._declared

    @property
    def output_shape(self) -> tuple | None:
        """The shape of the outputs, with None for the batch; None before the model is built."""
        return self.layers[-1].output_shape if self.built else None

    def build(self, input_shape: tuple | None = None) -> None:
        """Make the weights. Where it is not called, `fit` and `predict` do it for the inputs that they get.

        Parameters
        ----------
        input_shape : tuple of int or None, optional
            The batch (None) included; without it what an `Input` or the first layer has declared.

        Raises
        ------
        ValueError
            If there are no layers, the shape is not known, or a layer cannot read what the one before it gives.
        """
        shape = self._declared if input_shape is None else (None, *shape_of(tuple(input_shape)[1:]))
        if shape is None:
            raise ValueError("input_shape is missing: such as (None, 10) for rows of 10 ids")
        if not self.layers:
            raise ValueError("the model has no layers: add them first")
        self._build_layers(shape)

    def _build_layers(self, shape: tuple) -> None:
        before = None
        for layer in self.layers:
            self._check_rank(layer, before, shape)
            if layer.built:
                layer.check_width(shape)
            shape = layer.compute_output_shape(shape) if layer.built else layer.build(shape, self._generator, self._dtype)
            before = layer
        if self._where != "cpu":
            super().to(self._where)

    def _check_rank(self, layer, before, shape) -> None:
        """`layer.check_rank`; where it wants a sequence and the one `before` gives its last step, the message says what to do."""
        if len(shape) == 2 and 3 in layer.accepts and getattr(before, "return_sequences", True) is False:
            raise ValueError(
                f"layer {layer.label()} wants inputs of shape {layer.letters}, but layer {before.label()} gives its last step "
                f"alone, {shape}: make layer {before.label()} with return_sequences=True"
            )
        layer.check_rank(shape)

    def build_for(self, x: np.ndarray) -> None:
        """Make the weights for inputs x (N, ...), where they are not made yet; ValueError where x does not fit the layers."""
        if not self.layers:
            raise ValueError("the model has no layers: add them first")
        with lock:  # another thread may be building it
            if not self.built:
                self.build((None, *x.shape[1:]))
        self.compute_output_shape(x.shape)
        if isinstance(self.layers[0], Embedding):
            self.layers[0].checked(x)  # now: a message then names the row as the user numbers it, before rows are shuffled

    def compute_output_shape(self, shape: tuple) -> tuple:
        """The shape of the outputs for inputs of `shape`, the batch included in both; ValueError where `shape` does not fit."""
        declared = self._declared if self._hint is None else None
        if declared is not None and (
            len(shape) != len(declared)
            or any(size is not None and size != got for size, got in zip(declared[1:], shape[1:], strict=True))
        ):
            raise ValueError(f"x must have shape {declared}, as the model's Input says, got {tuple(shape)}")
        before, steps = None, shape[1] if len(shape) == 2 else None
        for layer in self.layers:
            self._check_rank(layer, before, shape)
            self._check_width(layer, shape, steps)
            before, shape = layer, layer.compute_output_shape(shape)
        return tuple(shape)

    def _check_width(self, layer, shape: tuple, steps: int | None) -> None:
        """`layer.check_width`; where the width follows from an Embedding's input_length, the message says so."""
        try:
            layer.check_width(shape)
        except ValueError as error:
            if self._hint is None or steps in (None, self._hint):
                raise
            raise ValueError(
                f"{error}: x has {steps} time steps, and the layers were made for Embedding(input_length={self._hint}); "
                f"pad_sequences(..., maxlen={self._hint}) makes x fit, or leave input_length out"
            ) from None

    # --- weights -----------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Parameters:
        """All parameters by dotted name, in one flat buffer; a layer that another model has too leaves that model's buffer."""
        return Parameters(self.named_parameters(), shared=True)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all layers' weights on the host, in Keras's order and orientation."""
        return [weight for layer in self.layers for weight in layer.get_weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy weights in.

        Parameters
        ----------
        weights : sequence of array_like
            In the order and with the shapes of `get_weights`.

        Raises
        ------
        ValueError
            If the model is not built yet, or if their number or a shape differs.
        TypeError
            If one does not hold numbers.
        """
        weights, start = list(weights), 0
        counts = [len(layer.weight_shapes()) if layer.built else 0 for layer in self.layers]
        if not self.built:
            raise ValueError(f"the model has no weights yet: {UNBUILT}")
        if len(weights) != sum(counts):
            raise ValueError(f"the model has {sum(counts)} weights, got {len(weights)}")
        for layer, count in zip(self.layers, counts, strict=True):
            layer.set_weights(weights[start : start + count])
            start += count

    def count_params(self) -> int:
        """How many numbers all weights hold together; ValueError before the model is built."""
        if not self.built:
            raise ValueError(f"the model has no weights yet: {UNBUILT}")
        return self.parameters.count

    def summary(  # type: ignore[override]
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], object] | None = None,
        **_: Any,
    ) -> None:
        """Print a table of the layers, their outputs' shapes and their numbers of parameters, as Keras does.

        Parameters
        ----------
        line_length : int, optional
            Width of the table in characters, 88 without it.
        positions
            Accepted as Keras accepts it; it changes nothing here.
        print_fn : callable, optional
            Gets the whole table as one str, in place of ``print``.
        """
        (print_fn or print)(table(self, line_length))

    def __repr__(self):
        return f"<Sequential name={self.name}, built={self.built}>"

    # --- where they lie ----------------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device of the weights, also before they are made: ``"cpu"`` or ``"cuda"``."""
        return next((parameter.device for _, parameter in self.named_parameters()), self._where)

    def to(self, where: str | DType) -> Stack:
        """Move the weights to a device, or convert them, as `Layer.to` does; weights that are made later are made there."""
        super().to(where)
        if isinstance(where, str) and where in devices.DEVICES:
            self._where = where
        return self
