"""Long short-term memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.layers.recurrent import Recurrent
from minilm.typing import DType, Seed, State


class LSTMOutput(NamedTuple):
    """What LSTM returns."""

    y: np.ndarray  # (B, T, directions * H), or (T, B, directions * H) where batch_first is False
    h_n: np.ndarray  # (num_layers * directions, B, H), after each row's last step
    c_n: np.ndarray  # (num_layers * directions, B, H)

    @property
    def state(self) -> State:
        """What `forward` takes as ``state`` to go on from here."""
        return self.h_n, self.c_n


class LSTM(Recurrent[LSTMOutput]):
    """Long short-term memory, gates in PyTorch's order i f g o. Formulas: `minilm.ops.lstm.spec`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Each layer reads the outputs of the one below.
    bias : bool
        Whether there are bias_ih and bias_hh.
    batch_first : bool
        Whether x and y are (B, T, D), which is the default here, unlike in PyTorch, or (T, B, D).
    dropout : float
        Probability with which an input of any layer but the first is dropped, where `forward` is given a key.
    bidirectional : bool
        Whether each layer also runs backwards over the sequence; its outputs are then (..., 2 * hidden_size).
    forget_bias : float, optional
        Let the sum of the forget gates' biases start from this number: 1 keeps at first what is in the cell.
    variational : bool
        Drop the same elements at every time step (Gal and Ghahramani), between the layers; the recurrent
        state itself is not dropped, see `weight_dropout` for that.
    weight_dropout : float
        Probability with which an element of weight_hh is dropped, for the whole sequence (Merity, Keskar and Socher).
    orthogonal : bool
        Let weight_hh start with orthogonal matrices, one for each gate.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters are named as in PyTorch: ``weight_ih_l0`` (4H, D), ``weight_hh_l0`` (4H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (4H,), then ``..._l0_reverse``, then ``..._l1``; all uniform in ±1/√H at first.
    """

    op_name, gates = "lstm", 4
    Output = LSTMOutput

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
        forget_bias: float | None = None,
        variational: bool = False,
        weight_dropout: float = 0.0,
        orthogonal: bool = False,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            variational=variational,
            weight_dropout=weight_dropout,
            orthogonal=orthogonal,
            dtype=dtype,
            seed=seed,
        )
        if forget_bias is not None:
            self.set_forget_bias(forget_bias)

    def set_forget_bias(self, number: float) -> None:
        """Set the forget gates' biases of all layers: bias_ih to `number`, bias_hh to 0.

        Raises
        ------
        ValueError
            If the layer has no biases.
        """
        if not self.bias:
            raise ValueError("forget_bias needs biases, got bias=False")
        H = self.hidden_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for parameter, start in zip(self._own(suffix)[2:], (number, 0), strict=True):
                    parameter.value[H : 2 * H] = start
