"""The weights of Sequential's recurrent layers, which Keras and the ops keep in different orders of the gates.

This is the one place where the two orders meet; the ops' is PyTorch's::

    Keras LSTM   i f c o        kernel (D, 4H)    recurrent_kernel (H, 4H)    bias (4H,)
    ops   LSTM   i f g o        the same gates in the same order: c and g are two names of one
    Keras GRU    z r h          kernel (D, 3H)    recurrent_kernel (H, 3H)    bias (2, 3H): of the input, of the state
    ops   GRU    r z n          the first two change places; h and n are two names of one

In memory the weights lie as the ops read them, weight_ih (G*H, D) and weight_hh (G*H, H) with G gates; `get_weights` and
`set_weights` transpose and reorder them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minilm import devices
from minilm.ops.workspace import empty
from minilm.sequential.base import SequentialLayer

__all__ = ["RecurrentWeights"]


class RecurrentWeights(SequentialLayer):
    """A recurrent layer's weights: how they are made, read and set, how an op gets them, and where their gradients go."""

    order: tuple[int, ...]  # for each of the ops' gates its number in Keras's order; a permutation that is its own inverse
    biases = 1  # bias vectors (G*H,) that are learned
    units: int
    use_bias: bool
    _initialisers: tuple[Callable, Callable, Callable]  # of kernel, recurrent_kernel and bias

    def check_rank(self, shape: tuple) -> None:
        super().check_rank(shape)
        if shape[-1] is None:
            raise ValueError(f"layer {self.label()} wants inputs of shape {self.letters} with a known width, got {shape}")

    def make(self, shape: tuple) -> None:
        G, H, D = len(self.order), self.units, shape[-1]
        kernel, recurrent, bias = self._initialisers
        self.parameter("weight_ih", (G * H, D), lambda rng, _: self._reordered(kernel(rng, (D, G * H)).T))
        self.parameter("weight_hh", (G * H, H), lambda rng, _: self._reordered(recurrent(rng, (H, G * H)).T))
        if self.use_bias:
            self.parameter("bias", (self.biases * G * H,), lambda rng, _: self._reordered_bias(self._first_bias(rng, bias)))

    def _first_bias(self, rng, bias):
        shape = (len(self.order) * self.units,)
        return bias(rng, shape) if self.biases == 1 else np.stack([bias(rng, shape) for _ in range(self.biases)])

    def _reordered(self, rows):
        """Rows (G*H, ...) from Keras's order of the gates to the ops', or back: the permutation is its own inverse."""
        G = len(self.order)
        return rows.reshape(G, self.units, *rows.shape[1:])[list(self.order)].reshape(rows.shape)

    def _reordered_bias(self, bias):
        """Keras's bias, (G*H,) or (2, G*H), in the ops' order, one vector after the other: (G*H,) or (2*G*H,)."""
        return np.concatenate([self._reordered(row) for row in bias.reshape(self.biases, -1)])

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        if not self.built:
            return {}
        rows, D = self.weight_ih.shape
        bias = (rows,) if self.biases == 1 else (self.biases, rows)
        return {"kernel": (D, rows), "recurrent_kernel": (self.units, rows), **({"bias": bias} if self.use_bias else {})}

    def get_weights(self) -> list[np.ndarray]:
        if not self.built:
            return []
        weights = devices.to_host([self.weight_ih.value, self.weight_hh.value])
        arrays = [np.ascontiguousarray(self._reordered(weight).T) for weight in weights]
        if self.use_bias:
            bias = np.stack([self._reordered(row) for row in devices.to_host(self.bias.value).reshape(self.biases, -1)])
            arrays.append(bias if self.biases > 1 else bias[0])
        return arrays

    def assign(self, weights: list[np.ndarray]) -> None:
        self.weight_ih.value, self.weight_hh.value = (self._reordered(np.ascontiguousarray(weight.T)) for weight in weights[:2])
        if self.use_bias:
            self.bias.value = self._reordered_bias(weights[2])

    def _bias_vectors(self, like):
        """b_ih and b_hh, (G*H,) each; zeros for what Keras's layer does not have, which is b_hh or both."""
        rows = len(self.order) * self.units
        zeros = None
        if not self.use_bias or self.biases == 1:
            zeros = empty((rows,), self.dtype, like=like)
            zeros.fill(0)
        if not self.use_bias:
            return zeros, zeros
        return (self.bias.value, zeros) if self.biases == 1 else tuple(self.bias.value.reshape(2, rows))

    def _accumulate(self, gradients) -> None:
        """Add gradients by the op's weights and biases, dW_ih, dW_hh, db_ih, db_hh, to the layer's."""
        dW_ih, dW_hh, db_ih, db_hh = gradients
        self.weight_ih.accumulate(dW_ih)
        self.weight_hh.accumulate(dW_hh)
        if self.use_bias:
            rows = len(db_ih)
            self.bias.accumulate(db_ih, slice(0, rows))
            if self.biases == 2:
                self.bias.accumulate(db_hh, slice(rows, 2 * rows))
