"""Long short-term memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.layers.recurrent import Recurrent, document

_FORGET_BIAS = """    forget_bias : float, optional
        Let the sum of the forget gates' biases start from this number: 1 keeps at first what is in the cell.
"""


class LSTMOutput(NamedTuple):
    """What LSTM returns."""

    y: np.ndarray  # (B, T, directions * H), or (T, B, directions * H) where batch_first is False
    h_n: np.ndarray  # (num_layers * directions, B, H), after each row's last step
    c_n: np.ndarray  # (num_layers * directions, B, H)

    @property
    def state(self):
        """What `forward` takes as ``state`` to go on from here."""
        return self.h_n, self.c_n


@document("Long short-term memory, gates in PyTorch's order i f g o. Formulas: `minilm.ops.lstm.spec`.", _FORGET_BIAS)
class LSTM(Recurrent):
    op_name, gates = "lstm", 4
    Output = LSTMOutput

    def __init__(self, input_size: int, hidden_size: int, *arguments, forget_bias: float | None = None, **options):
        super().__init__(input_size, hidden_size, *arguments, **options)
        if forget_bias is not None:
            self.set_forget_bias(forget_bias)

    def set_forget_bias(self, number: float) -> None:
        """Set the forget gates' biases of all layers: bias_ih to `number`, bias_hh to 0."""
        if not self.bias:
            raise ValueError("forget_bias needs biases, got bias=False")
        H = self.hidden_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for parameter, start in zip(self._own(suffix)[2:], (number, 0), strict=True):
                    parameter.value[H : 2 * H] = start
