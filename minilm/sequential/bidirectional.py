"""A recurrent layer in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.ops import checks
from minilm.random import Key, at
from minilm.sequential.base import LayerOptions, SequentialLayer
from minilm.sequential.recurrence import Recurrent
from minilm.typing import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Bidirectional"]

MERGES = ("concat", "sum", "ave", "mul")


def _twin(layer: Recurrent, go_backwards: bool) -> Recurrent:
    """A new layer with the same arguments, which runs in the direction that `go_backwards` says."""
    config = {key: value for key, value in layer._config.items() if key not in ("name", "weights", "input_shape")}
    config["go_backwards"] = go_backwards
    twin = type(layer)(**config)
    # As in Keras: with outputs of all steps, those at masked steps are zeros, so that both halves have theirs at the same steps.
    twin.zero_output_for_mask = twin.return_sequences
    return twin


class Bidirectional(SequentialLayer):
    """A recurrent layer in both directions of time: (B, T, D) to (B, T, 2H) or (B, 2H).

    The first shape is that of a layer with ``return_sequences=True``. H is the layer's ``units``.

    Parameters
    ----------
    layer : LSTM, GRU or SimpleRNN
        Copied twice, once for each direction.
    merge_mode : {"concat", "sum", "ave", "mul"}
        What becomes of the two outputs: they stand side by side, which makes 2H; or their sum, mean or product is taken, which
        leaves H.
    backward_layer : LSTM, GRU or SimpleRNN, optional
        For the second direction, with ``go_backwards=True``; without it `layer` turned round.

    Raises
    ------
    TypeError
        If a layer is not a recurrent one.
    ValueError
        If `backward_layer` differs in ``return_sequences``, runs in the same direction, or has other ``units`` where the outputs
        do not stand side by side.

    Notes
    -----
    Weights: those of the forward layer, then those of the backward one.
    """

    accepts, letters = (3,), "(batch, time, features)"

    def __init__(
        self,
        layer: SequentialLayer,
        merge_mode: str | None = "concat",
        *,
        backward_layer: SequentialLayer | None = None,
        **options: Unpack[LayerOptions],
    ):
        if getattr(layer, "declared_shape", None) is not None and options.get("input_shape") is None:
            options["input_shape"] = layer.declared_shape[1:]
        super().__init__(**options)
        for argument, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(value, Recurrent) and (value is not None or argument == "layer"):
                raise TypeError(f"{argument} must be a recurrent layer of minilm.sequential, got {checks.describe(value)}")
        self.merge_mode = checks.option("merge_mode", merge_mode, MERGES)
        self.forward_layer = _twin(layer, layer.go_backwards)
        if backward_layer is None:
            self.backward_layer = _twin(layer, not layer.go_backwards)
        else:
            self.backward_layer = _twin(backward_layer, backward_layer.go_backwards)
            for name, expected in (("go_backwards", not layer.go_backwards), ("return_sequences", layer.return_sequences)):
                if getattr(backward_layer, name) != expected:
                    raise ValueError(f"backward_layer must have {name}={expected}, got {getattr(backward_layer, name)}")
            if merge_mode != "concat" and layer.units != backward_layer.units:
                raise ValueError(f"merge_mode={merge_mode!r} wants equal units, got {layer.units} and {backward_layer.units}")
        self.return_sequences = layer.return_sequences

    def make(self, shape: tuple) -> None:
        self.forward_layer.name, self.backward_layer.name = f"forward_{self.name}", f"backward_{self.name}"
        for layer in (self.forward_layer, self.backward_layer):
            layer.build(shape, self._generator, self._dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        *lead, H = self.forward_layer.compute_output_shape(shape)
        return (*lead, H + self.backward_layer.units if self.merge_mode == "concat" else H)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        return mask if self.return_sequences else None

    def _flipped(self, y):
        """The backward layer's outputs, in time order."""
        return y[:, ::-1] if self.return_sequences else y

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """y, as the class says, and what `backward` needs, for x (B, T, D) and `mask` (B, T)."""
        y1, saved1 = self.forward_layer.forward(x, mask, key=at(key, "forward_layer"))
        y2, saved2 = self.backward_layer.forward(x, mask, key=at(key, "backward_layer"))
        y2 = self._flipped(y2)
        if self.merge_mode == "concat":
            y = np.concatenate([y1, y2], axis=-1)
        elif self.merge_mode == "mul":
            y = y1 * y2
        else:
            y = y1 + y2
            if self.merge_mode == "ave":
                y *= 0.5
        return y, (saved1, saved2, (y1, y2) if self.merge_mode == "mul" else None)

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (B, T, D), from dy of y's shape."""
        saved1, saved2, factors = saved
        if self.merge_mode == "concat":
            H = self.forward_layer.units
            dy1, dy2 = dy[..., :H], dy[..., H:]
        elif self.merge_mode == "mul":
            dy1, dy2 = dy * factors[1], dy * factors[0]
        else:
            dy1 = dy2 = dy * dy.dtype.type(0.5) if self.merge_mode == "ave" else dy
        dx = self.forward_layer.backward(dy1, saved1)
        return dx + self.backward_layer.backward(self._flipped(dy2), saved2)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{part}_{name}": shape
            for part, layer in (("forward", self.forward_layer), ("backward", self.backward_layer))
            for name, shape in layer.weight_shapes().items()
        }

    def get_weights(self) -> list[np.ndarray]:
        return self.forward_layer.get_weights() + self.backward_layer.get_weights()

    def assign(self, weights: list[np.ndarray]) -> None:
        count = len(self.forward_layer.weight_shapes())
        self.forward_layer.assign(weights[:count])
        self.backward_layer.assign(weights[count:])
