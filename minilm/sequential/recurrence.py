"""What Sequential's recurrent layers share: minilm's ops with Keras's arguments and treatment of masks.

`minilm.sequential.stepwise` computes what the ops do not (other activations, recurrent_dropout, a GRU without reset_after): step
by step in NumPy or CuPy, which is slower.

`get_weights` has Keras's order of the gates, the arrays in memory have the ops': see `minilm.sequential.recurrent_weights`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.sequences import time_first
from minilm.mistaken import did_you_mean
from minilm.ops import checks, dropout
from minilm.ops.workspace import empty
from minilm.random import Key
from minilm.sequential import masking, stepwise
from minilm.sequential.activations import FUNCTIONS
from minilm.sequential.base import LayerOptions
from minilm.sequential.initializers import initializer
from minilm.sequential.recurrent_weights import RecurrentWeights
from minilm.typing import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Recurrent", "Saved"]


class Saved(NamedTuple):
    """What backward needs."""

    run: Any  # what the op, or `stepwise`, saved
    dropped: Any  # what the input's dropout saved; None where there was none
    where: masking.Places | None  # None where the op got the steps as they are


class RecurrentOptions(LayerOptions, total=False):
    """What every recurrent layer takes beside its own arguments; see `minilm.sequential.LSTM`."""

    use_bias: bool
    kernel_initializer: str | Callable
    recurrent_initializer: str | Callable
    bias_initializer: str | Callable
    dropout: float
    recurrent_dropout: float
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool
    seed: int | None
    use_cudnn: str | bool | None
    implementation: int | None


class Recurrent(RecurrentWeights):
    """Base of LSTM, GRU and SimpleRNN. Parameters: those of `minilm.sequential.LSTM`."""

    accepts, letters = (3,), "(batch, time, features)"
    op_name: str
    states = 1
    op_activations: tuple[str, ...] = ("tanh",)

    def __init__(
        self,
        units: int,
        activation: str | None = "tanh",
        recurrent_activation: str | None = "sigmoid",
        *,
        use_bias: bool = True,
        kernel_initializer: str | Callable = "glorot_uniform",
        recurrent_initializer: str | Callable = "orthogonal",
        bias_initializer: str | Callable = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        seed: int | None = None,
        use_cudnn: str | bool | None = None,
        implementation: int | None = None,
        **options: Unpack[LayerOptions],
    ):
        super().__init__(**options)
        self.units = checks.whole("units", units, 1, 2**31)
        self.activation_of_state = _function("activation", activation)
        self.activation_of_gates = _function("recurrent_activation", recurrent_activation)
        self.use_bias = checks.flag("use_bias", use_bias)
        self._initialisers = (
            initializer("kernel_initializer", kernel_initializer),
            initializer("recurrent_initializer", recurrent_initializer),
            initializer("bias_initializer", bias_initializer),
        )
        self.dropout = checks.number("dropout", dropout, 0, 1, high_open=True)
        self.recurrent_dropout = checks.number("recurrent_dropout", recurrent_dropout, 0, 1, high_open=True)
        self.reset_after = True
        self.return_sequences = checks.flag("return_sequences", return_sequences)
        self.go_backwards = checks.flag("go_backwards", go_backwards)
        self.zero_output_for_mask = checks.flag("zero_output_for_mask", zero_output_for_mask)
        kind = type(self).__name__
        for name, value, instead in (
            ("return_state", return_state, "minilm.layers, whose forward gives the states"),
            ("stateful", stateful, "minilm.layers, whose forward takes a state"),
        ):
            if value:
                raise ValueError(f"{kind} has no {name}, got {name}={value!r}; use {instead}")

    def _by_op(self, key) -> bool:
        """Whether the op computes this layer as it is."""
        dropped = key is not None and self.recurrent_dropout > 0
        usual = self.activation_of_state in self.op_activations and self.activation_of_gates == "sigmoid"
        return usual and self.reset_after and not dropped

    @property
    def _op(self):
        return importlib.import_module(f"minilm.ops.{self.op_name}")

    @property
    def _options(self) -> dict:
        return {}

    # --- forward and backward ----------------------------------------------------------------------------------------

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:2], self.units) if self.return_sequences else (shape[0], self.units)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        return mask if self.return_sequences else None

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """The states h as outputs: of all steps, or of the last.

        Parameters
        ----------
        x : ndarray, shape (B, T, D)
        mask : ndarray of bool, shape (B, T), optional
            True for the steps that count. A masked step leaves the state as it is, and its output is that of the step before.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        y : ndarray, shape (B, T, H) with `return_sequences`, else (B, H)
            H is `units`; the latter is the state after the last step that counts.
        saved : Saved

        Raises
        ------
        ValueError
            If there is no row, or no step.
        """
        if 0 in x.shape[:2]:
            raise ValueError(f"layer {self.label()} wants at least one row and one time step, got inputs of shape {x.shape}")
        x = time_first(x, True)  # (T, B, D)
        B = x.shape[1]
        dropped = None
        if key is not None and self.dropout > 0:  # one mask for all steps of a row, as in Keras
            x, dropped = dropout.forward(x, self.dropout, key.at("input"), shared_axis=0)
        if not self._by_op(key):
            return self._step_by_step(x, mask, key, dropped)
        where = None if mask is None else masking.places(mask, self.go_backwards)
        if where is not None:
            x = masking.moved(x, where)
        zeros = empty((B, self.units), self.dtype, like=x)  # (B, H)
        zeros.fill(0)
        b_ih, b_hh = self._bias_vectors(x)
        lengths = None if where is None else where.lengths
        weights = (self.weight_ih.value, self.weight_hh.value, b_ih, b_hh)
        output, run = self._op.forward(x, *[zeros] * self.states, *weights, lengths, reverse=self.go_backwards, **self._options)
        saved = Saved(run, dropped, where)
        if not self.return_sequences:
            y = output.h_n
            if where is not None and where.empty is not None:
                y = np.where(where.empty[:, None], y.dtype.type(0), y)  # (B, H)
            return y, saved
        y = output.y if where is None else masking.held(output.y, where, self.zero_output_for_mask)  # (T, B, H)
        y = y[::-1] if self.go_backwards else y  # in the order in which the steps were taken
        return y.transpose(1, 0, 2), saved

    def _step_by_step(self, x, mask, key, dropped):
        """The same outputs, for x (T, B, D) and what the op does not compute."""
        drop = None
        if key is not None and self.recurrent_dropout > 0:
            ones = devices.array_module(x).ones((x.shape[1], self.units), self.dtype)  # (B, H)
            drop, _ = dropout.forward(ones, self.recurrent_dropout, key.at("recurrent"))
        whole = mask is None or (not devices.on_gpu(mask) and mask.all())
        kept = None if whole else checks.kernel_ready(mask.T)  # (T, B)
        y, last, run = stepwise.forward(
            self.op_name,
            x,
            self.weight_ih.value,
            self.weight_hh.value,
            *self._bias_vectors(x),
            kept=kept,
            drop=drop,
            activation=self.activation_of_state,
            gate=self.activation_of_gates,
            reset_after=self.reset_after,
            reverse=self.go_backwards,
        )
        if not self.return_sequences:
            return last, Saved(run, dropped, None)
        if kept is not None and self.zero_output_for_mask:
            y = np.where(kept[:, :, None], y, y.dtype.type(0))
        y = y[::-1] if self.go_backwards else y
        return y.transpose(1, 0, 2), Saved(run, dropped, None)

    def _step_by_step_back(self, dy, saved):
        """Gradients of `_step_by_step`."""
        dlast = None if self.return_sequences else dy
        if self.return_sequences:
            dy = dy.transpose(1, 0, 2)  # (T, B, H)
            dy = dy[::-1] if self.go_backwards else dy
            if saved.run.kept is not None and self.zero_output_for_mask:
                dy = np.where(saved.run.kept[:, :, None], dy, dy.dtype.type(0))
        dx, *gradients = stepwise.backward(dy if self.return_sequences else None, dlast, saved.run)
        self._accumulate(gradients)
        if saved.dropped is not None:
            dx = dropout.backward(dx, saved.dropped)
        return dx.transpose(1, 0, 2)

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (B, T, D), from dy of y's shape."""
        if isinstance(saved.run, stepwise.Saved):
            return self._step_by_step_back(dy, saved)
        where = saved.where
        if self.return_sequences:
            dy = dy.transpose(1, 0, 2)  # (T, B, H)
            dy = dy[::-1] if self.go_backwards else dy
            dy = checks.kernel_ready(dy) if where is None else masking.held_back(dy, where, self.zero_output_for_mask)
            if where is not None and where.empty is not None:
                dy = np.where(where.empty[:, None], dy.dtype.type(0), dy)
            cotangents = (dy, *[None] * self.states)
        else:
            if where is not None and where.empty is not None:
                dy = np.where(where.empty[:, None], dy.dtype.type(0), dy)
            cotangents = (None, checks.kernel_ready(dy), *[None] * (self.states - 1))
        dx, *rest = self._op.backward(cotangents, saved.run)
        self._accumulate(rest[self.states :])
        if where is not None:
            dx = masking.moved_back(dx, where)
        if saved.dropped is not None:
            dx = dropout.backward(dx, saved.dropped)
        return dx.transpose(1, 0, 2)


def _function(argument: str, activation) -> str:
    """The checked name of an activation; None is ``linear``."""
    activation = "linear" if activation is None else activation
    if not isinstance(activation, str) or activation not in FUNCTIONS:
        hint = did_you_mean(activation, FUNCTIONS)
        raise ValueError(f"{argument} of a recurrent layer must be an activation's name, got {activation!r}; {hint}")
    return activation
