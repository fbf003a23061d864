"""What RNN, LSTM and GRU have in common: several layers, both directions, dropout between the layers.

The ops compute one layer in one direction: formulas in `minilm.ops.lstm.spec`, `minilm.ops.gru.spec`, `minilm.ops.rnn.spec`. Here
they are put together as PyTorch's modules of the same names do it, with the same names of parameters::

    x_0      = x                                             (T, B, D)
    z_l      = x_l, with dropout from layer 1 on
    f_l      = op(z_l), from the first step to the last      (T, B, H)
    b_l      = op(z_l), from the last step to the first      (T, B, H)                   where bidirectional
    x_(l+1)  = [f_l; b_l], or f_l                            (T, B, directions * H)      y = x_L

Layer l in direction d reads and writes row ``l * directions + d`` of the states. Backward goes from the last layer to the first:
the halves of dx_(l+1) are df_l and db_l, and dz_l is the sum of what the op gives back for each of them.
"""

from __future__ import annotations

import importlib
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from minilm import devices
from minilm.layers import initialisers, recurrent_arguments
from minilm.layers.base import Layer
from minilm.layers.sequences import half, side_by_side
from minilm.ops import checks, dropout
from minilm.ops.recurrence import frozen_weights
from minilm.ops.workspace import empty, release_after, scratch
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed, State


class Output(NamedTuple):
    """What RNN and GRU return."""

    y: np.ndarray  # (B, T, directions * H), or (T, B, directions * H) where batch_first is False
    h_n: np.ndarray  # (num_layers * directions, B, H), after each row's last step

    @property
    def state(self) -> State:
        """What `forward` takes as ``state`` to go on from here."""
        return self.h_n


class Saved(NamedTuple):
    """What backward needs."""

    runs: list  # what the op saved, of each layer and direction: a run
    drops: list  # what dropout saved, for each layer's input; None where there was none
    weight_drops: list  # what dropout saved of each run's W_hh, or None
    shape: tuple[int, int, int]  # of y in time order, (T, B, directions * H)
    with_state: bool  # whether a state came in, whose gradient is wanted


Outputs = TypeVar("Outputs", bound=tuple)  # what a kind of layer returns


class Recurrent(Layer, Generic[Outputs]):
    """Base of RNN, LSTM and GRU. Parameters: those of `minilm.layers.LSTM`."""

    op_name: str
    gates: int
    Output: type = Output

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        variational: bool = False,
        weight_dropout: float = 0.0,
        orthogonal: bool = False,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.input_size = checks.whole("input_size", input_size, 1, 2**31)
        self.hidden_size = checks.whole("hidden_size", hidden_size, 1, 2**31)
        self.num_layers = checks.whole("num_layers", num_layers, 1, 2**31)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.number("dropout", dropout, 0, 1)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.variational = checks.flag("variational", variational)
        self.weight_dropout = checks.number("weight_dropout", weight_dropout, 0, 1)
        self.bias = checks.flag("bias", bias)
        rows, uniform = self.gates * hidden_size, initialisers.kaiming_uniform(hidden_size)  # ±1/√H, as in PyTorch
        recurrent = initialisers.orthogonal(self.gates) if orthogonal else uniform
        for layer in range(num_layers):
            width = input_size if layer == 0 else self.directions * hidden_size
            for suffix in self._suffixes(layer):
                self.parameter(f"weight_ih_{suffix}", (rows, width), uniform)
                self.parameter(f"weight_hh_{suffix}", (rows, hidden_size), recurrent)
                if bias:
                    self.parameter(f"bias_ih_{suffix}", (rows,), uniform)
                    self.parameter(f"bias_hh_{suffix}", (rows,), uniform)

    # --- parts -------------------------------------------------------------------------------------------------------

    @property
    def directions(self) -> int:
        """2 of a bidirectional layer, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def _op(self):
        return importlib.import_module(f"minilm.ops.{self.op_name}")

    def _op_of(self, suffix: str):
        """The op of one layer in one direction; under `minilm.hooks` one that keeps or replaces the gates."""
        return self._op

    @property
    def _options(self) -> dict:
        return {}

    def _state_shape(self, batch: int) -> tuple[int, int, int]:
        return self.num_layers * self.directions, batch, self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        """What the names of a layer's parameters end with, for each direction."""
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def _own(self, suffix: str) -> list:
        """The Parameters of one layer in one direction: W_ih, W_hh, b_ih, b_hh, the last two None without biases."""
        named = vars(self)
        return [named.get(f"{part}_{suffix}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def _weights(self, suffix: str) -> list:
        """The arrays of `_own`, with zeros for biases that there are not."""
        weights = [None if parameter is None else parameter.value for parameter in self._own(suffix)]
        if not self.bias:
            zeros = empty((self.gates * self.hidden_size,), self.dtype, like=weights[0])  # (G*H,)
            zeros.fill(0)
            weights[2:] = zeros, zeros
        return weights

    def initial_state(self, batch: int) -> State:
        """A state of zeros for `batch` sequences, on the device of the weights."""
        module = devices.array_module(self._own("l0")[0].value)
        parts = [module.zeros(self._state_shape(batch), self.dtype) for _ in self.Output._fields[1:]]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _states(self, state, batch: int) -> list[np.ndarray]:
        """The arrays of a state, each (num_layers * directions, B, H); zeros for None."""
        names, shape = self.Output._fields[1:], self._state_shape(batch)
        return recurrent_arguments.states(state, names, shape, self.dtype, like=self._own("l0")[0].value)

    # --- forward and backward ----------------------------------------------------------------------------------------

    def forward(
        self, x: Array, state: State | None = None, lengths: Ids | None = None, *, key: Key | None = None
    ) -> tuple[Outputs, Saved]:
        """Run over whole sequences.

        Parameters
        ----------
        x : ndarray, shape (B, T, input_size), or (T, B, input_size) where batch_first is False
            Inputs. A transposed view of an array in the other order is read without a copy where that is (T, B, D).
        state : ndarray, or tuple of two for LSTM, shape (num_layers * directions, B, H), optional
            State before the first step; zeros without it.
        lengths : ndarray of integers, shape (B,), optional
            How many steps of each row count. Outputs beyond are zero, and the states are those after a row's last step.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        output : Output
            ``y, h_n`` and for LSTM ``c_n``; ``output.state`` is what a next call takes as its state.
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, the state is of another form, or a length is not in [0, T].
        """
        x = recurrent_arguments.inputs(x, self.input_size, self.dtype, self.batch_first)  # (T, B, D)
        T, B = x.shape[:2]
        states = self._states(state, B)
        finals = [empty(self._state_shape(B), self.dtype, like=x) for _ in states]
        runs, drops, weight_drops = [], [], []
        for layer in range(self.num_layers):
            x, dropped = self._drop(x, layer, key)
            drops.append(dropped)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * self.directions + direction
                W_ih, W_hh, b_ih, b_hh = self._weights(suffix)
                W_hh, dropped = self._drop_weight(W_hh, suffix, key)
                weight_drops.append(dropped)
                output, saved = self._op_of(suffix).forward(
                    x, *(part[row] for part in states), W_ih, W_hh, b_ih, b_hh, lengths, reverse=direction == 1, **self._options
                )
                for final, part in zip(finals, output[1:], strict=True):
                    final[row] = part
                outputs.append(output[0])
                runs.append(saved)
            x = side_by_side(*outputs)  # (T, B, directions * H)
        y = x.transpose(1, 0, 2) if self.batch_first else x
        return self.Output(y, *finals), Saved(runs, drops, weight_drops, x.shape, state is not None)

    def backward(self, dy: Array | tuple[Array | None, ...], saved: Saved) -> tuple[Array, State | None]:
        """Gradients by x and by the state.

        Parameters
        ----------
        dy : ndarray, or tuple (dy, dh_n) or (dy, dh_n, dc_n)
            Gradients by the outputs, in their shapes; None means zero.
        saved : Saved

        Returns
        -------
        dx : ndarray, of x's shape
        dstate : of the state's form, or None where none was given
        """
        names, shape = self.Output._fields[1:], self._state_shape(saved.shape[1])
        dy, dfinals = recurrent_arguments.cotangents(dy, names, saved.shape, shape, self.dtype, self.batch_first)
        dstates = [empty(shape, self.dtype, like=saved.runs[0].x) for _ in names] if saved.with_state else None
        for layer in reversed(range(self.num_layers)):
            total = None
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * self.directions + direction
                half_dy = dy if dy is None or self.directions == 1 else half(dy, direction)  # (T, B, H)
                finals = (None if part is None else part[row] for part in dfinals)
                with frozen_weights(not any(each.trainable for each in self._own(suffix) if each is not None)):
                    dx, *rest = self._op_of(suffix).backward((half_dy, *finals), saved.runs[row])
                for i in range(len(names)):
                    if dstates is not None:
                        dstates[i][row] = rest[i]
                self._accumulate(suffix, rest[len(names) :], saved.weight_drops[row])
                release_after(dx)
                total = dx if total is None else np.add(total, dx, out=total)  # (T, B, D)
            dropped = saved.drops[layer]
            dy = total if dropped is None else dropout.backward(total, dropped)
        dx = dy.transpose(1, 0, 2) if self.batch_first else dy
        if dstates is None:
            return dx, None  # type: ignore[return-value]
        return dx, dstates[0] if len(dstates) == 1 else tuple(dstates)  # type: ignore[return-value]

    def step(self, x: Array, state: State | None = None) -> tuple[Array, State]:
        """One step, for generation.

        Parameters
        ----------
        x : ndarray, shape (B, input_size)
        state : as `forward` takes it

        Returns
        -------
        y : ndarray, shape (B, H)
        state : the state after the step

        Raises
        ------
        ValueError
            If the layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer reads the whole sequence: it has no single step")
        states = self._states(state, len(x))
        after = [np.empty_like(part) for part in states]
        for layer in range(self.num_layers):
            op, weights = self._op_of(f"l{layer}"), self._weights(f"l{layer}")
            output, _ = op.cell_forward(x, *(part[layer] for part in states), *weights, **self._options)
            parts = output if isinstance(output, tuple) else (output,)
            for final, part in zip(after, parts, strict=True):
                final[layer] = part
            x = after[0][layer]  # (B, H)
        return x, after[0] if len(after) == 1 else tuple(after)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _drop(self, x, layer: int, key):
        """Dropout on the input of every layer but the first; with `variational` the same at every time step."""
        if key is None or layer == 0 or self.dropout == 0:
            return x, None
        shared = 0 if self.variational else None
        return dropout.forward(x, self.dropout, key.at(f"l{layer}"), shared_axis=shared)

    def _drop_weight(self, W_hh, suffix: str, key):
        """Dropout on the recurrent weights, one mask for the whole sequence."""
        if key is None or self.weight_dropout == 0:
            return W_hh, None
        return dropout.forward(W_hh, self.weight_dropout, key.at(f"weight_hh_{suffix}"))

    def _accumulate(self, suffix: str, gradients, dropped) -> None:
        dW_ih, dW_hh, db_ih, db_hh = gradients
        if dropped is not None:
            with scratch():
                self._own(suffix)[1].accumulate(dropout.backward(dW_hh, dropped))
            dW_hh = None
        for parameter, gradient in zip(self._own(suffix), (dW_ih, dW_hh, db_ih, db_hh), strict=True):
            if parameter is not None and gradient is not None:
                parameter.accumulate(gradient)

    def settings(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"num_layers={self.num_layers}"] * (self.num_layers > 1) + ["bias=False"] * (not self.bias)
        parts += [f"dropout={self.dropout:g}"] * (self.dropout > 0) + ["variational=True"] * self.variational
        parts += [f"weight_dropout={self.weight_dropout:g}"] * (self.weight_dropout > 0)
        parts += ["bidirectional=True"] * self.bidirectional + ["batch_first=False"] * (not self.batch_first)
        return ", ".join(parts)
