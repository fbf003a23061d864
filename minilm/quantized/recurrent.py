"""LSTM, GRU and RNN layers with quantised weights: step by step, by the gates of the ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from minilm.layers import recurrent_arguments
from minilm.layers.base import Layer
from minilm.layers.parameter import Parameter
from minilm.layers.recurrent import Recurrent
from minilm.layers.sequences import side_by_side
from minilm.layers.summary import PackedWeight
from minilm.ops import checks
from minilm.ops.contract import fold
from minilm.quantized.layers import Source, construction_of, packed, shown
from minilm.quantized.spec import FORMATS
from minilm.random import Key
from minilm.typing import Array, Ids, State

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

SETTINGS = ("input_size", "hidden_size", "num_layers", "batch_first", "bidirectional", "bias", "op_name", "gates", "Output")


class QuantizedRecurrent(Recurrent):
    """A `minilm.layers.LSTM`, `GRU` or `RNN` whose weights W_ih and W_hh are stored in fewer bits.

    Parameters
    ----------
    layer : Recurrent
        On the host, in float32.
    kind : {"int8", "bf16", "int4"}
    group : int or None
    source : callable, optional
        See `minilm.quantized.layers.QuantizedLinear`.

    Notes
    -----
    Parameters: the layer's biases. Formulas: `minilm.quantized.spec` and those of the op.
    """

    def __init__(self, layer: Recurrent, kind: str = "int8", group: int | None = 64, source: Source | None = None):
        Layer.__init__(self, dtype=np.float32)
        self.construction = construction_of(self, layer, kind, group)
        for name in SETTINGS:
            setattr(self, name, getattr(layer, name))
        self.kind, self.group = checks.option("kind", kind, FORMATS), group
        self.relu = layer._options.get("nonlinearity") == "relu"
        source = source or (lambda _, W: packed(W, kind, group))
        self.packed = {}
        self._like = (Parameter(np.zeros(1, np.float32)),)  # where states lie: in a tuple, so as to be no parameter of this layer
        for suffix in (suffix for number in range(self.num_layers) for suffix in self._suffixes(number)):
            W_ih, W_hh, *biases = layer._own(suffix)
            self.packed[suffix] = source(f"weight_ih_{suffix}", W_ih.value), source(f"weight_hh_{suffix}", W_hh.value)
            for name, bias in zip(("bias_ih", "bias_hh"), biases, strict=True):
                if bias is not None:
                    setattr(self, f"{name}_{suffix}", bias)

    def weights(self) -> dict[str, Packed]:
        """The packed weights, by the names that they had as parameters."""
        pairs = self.packed.items()
        return {f"weight_{which}_{suffix}": pair[i] for suffix, pair in pairs for i, which in enumerate(("ih", "hh"))}

    def packed_weights(self) -> dict[str, PackedWeight]:
        return shown(self.weights(), self.kind)

    def forward(
        self, x: Array, state: State | None = None, lengths: Ids | None = None, *, key: Key | None = None
    ) -> tuple[Any, Any]:
        """Run over sequences, without dropout.

        Parameters
        ----------
        x : ndarray of float32, shape (T, B, input_size), or (B, T, input_size) with batch_first
        state, lengths
            As `Recurrent.forward`'s.
        key : Key, optional
            Of no use here: there is no dropout.

        Returns
        -------
        out
            As `Recurrent.forward`'s.
        saved : None
            There is no way back.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape, dtype or range.
        """
        x = recurrent_arguments.inputs(x, self.input_size, self.dtype, self.batch_first)  # (T, B, D)
        T, B = x.shape[:2]
        states = self._states(state, B)
        finals = [np.empty_like(part) for part in states]
        steps = np.arange(T)[:, None]
        inside = None if lengths is None else steps < checks.lengths("lengths", lengths, B, T)  # (T, B)
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * self.directions + direction
                y, after = self._run(x, [part[row] for part in states], suffix, inside, direction == 1)
                for final, part in zip(finals, after, strict=True):
                    final[row] = part
                outputs.append(y)
            x = side_by_side(*outputs)  # (T, B, directions * H)
        return self.Output(x.transpose(1, 0, 2) if self.batch_first else x, *finals), None

    def step(self, x: Array, state: State | None = None) -> tuple[Array, State]:
        """One step of all rows.

        Parameters
        ----------
        x : ndarray of float32, shape (B, input_size)
        state : ndarray, or pair of ndarray, optional
            As `Recurrent.step`'s.

        Returns
        -------
        y : ndarray of float32, shape (B, H)
        state
            After the step.

        Raises
        ------
        ValueError
            The layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer reads the whole sequence: it has no single step")
        x = checks.floating("x", x, (None, self.input_size), self.dtype, "(B, input_size)")
        out, _ = self.forward(x[:, None] if self.batch_first else x[None], state)
        return (out.y[:, 0] if self.batch_first else out.y[0]), out.state

    def backward(self, dy: Array, saved: Any) -> NoReturn:
        """Raises ValueError: rounded weights have no gradient."""
        raise ValueError(f"{self.kind} weights are for inference: they have no gradient")

    def _run(self, x, states, suffix, inside, reverse):
        """One layer in one direction: y (T, B, H), and the states after each row's last step."""
        from minilm.quantized import cpu

        T, B, _ = x.shape
        W_ih, W_hh = self.packed[suffix]
        zeros = np.zeros(self.gates * self.hidden_size, np.float32)
        b_ih, b_hh = (
            getattr(self, f"{name}_{suffix}").value if self.bias else zeros for name in ("bias_ih", "bias_hh")
        )  # (G*H,) each
        by_input = np.empty((T, B, self.gates * self.hidden_size), np.float32)  # (T, B, G*H)
        cpu.product(fold(checks.kernel_ready(x)), W_ih, fold(by_input))
        by_state = np.empty(by_input.shape[1:], np.float32)  # (B, G*H)
        y = np.zeros((T, B, self.hidden_size), np.float32)  # (T, B, H)
        for t in range(T - 1, -1, -1) if reverse else range(T):
            cpu.product(checks.kernel_ready(states[0]), W_hh, by_state)
            new = self._cell(by_input[t], by_state, b_ih, b_hh, states)
            if inside is None:
                states, y[t] = new, new[0]
            else:
                counts = inside[t][:, None]  # (B, 1)
                states = [np.where(counts, part, before) for part, before in zip(new, states, strict=True)]
                y[t] = np.where(counts, new[0], 0)
        return y, states

    def _cell(self, by_input, by_state, b_ih, b_hh, states):
        """The states after a step, from the products (B, G*H) by the input and by the state before; both are written over."""
        from minilm.ops.gru import cpu as gru
        from minilm.ops.lstm import cpu as lstm
        from minilm.ops.rnn import cpu as rnn

        H, h = self.hidden_size, np.empty_like(states[0])  # (B, H)
        if self.op_name == "gru":  # its candidate's product by the state is not added to that by the input
            by_input[:, : 2 * H] += by_state[:, : 2 * H]
            inner = checks.kernel_ready(by_state[:, 2 * H :])  # (B, H)
            gru._cell(by_input, inner, gru._biases(b_ih, b_hh, np.empty(4 * H, np.float32)), states[0], h)
            return [h]
        by_input += by_state
        if self.op_name == "lstm":
            c = np.empty_like(h)  # (B, H)
            lstm._cell(by_input, b_ih + b_hh, checks.kernel_ready(states[1]), c, h)
            return [h, c]
        rnn._cell(by_input, b_ih + b_hh, self.relu)
        return [by_input.copy()]

    def _own(self, suffix):
        return self._like

    def settings(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.num_layers}, {self.kind!r}"
