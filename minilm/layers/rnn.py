"""The simple recurrent layer."""

from __future__ import annotations

import numpy as np

from minilm.layers.recurrent import Output, Recurrent
from minilm.ops import checks
from minilm.typing import DType, Seed


class RNN(Recurrent[Output]):
    """h' = tanh or relu of W_ih x + b_ih + W_hh h + b_hh. Formulas: `minilm.ops.rnn.spec`.

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
    nonlinearity : {"tanh", "relu"}
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
    Parameters are named as in PyTorch: ``weight_ih_l0`` (H, D), ``weight_hh_l0`` (H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (H,), then ``..._l0_reverse``, then ``..._l1``; all uniform in ±1/√H at first.
    """

    op_name, gates = "rnn", 1

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
        nonlinearity: str = "tanh",
        variational: bool = False,
        weight_dropout: float = 0.0,
        orthogonal: bool = False,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        self.nonlinearity = checks.option("nonlinearity", nonlinearity, ("tanh", "relu"))
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

    @property
    def _options(self):
        return {"nonlinearity": self.nonlinearity}

    def settings(self) -> str:
        return super().settings() + (f", nonlinearity={self.nonlinearity!r}" if self.nonlinearity != "tanh" else "")
