"""Sequential's recurrent layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minilm.ops import checks
from minilm.sequential.recurrence import Recurrent, RecurrentOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


__all__ = ["GRU", "LSTM", "SimpleRNN"]


class SimpleRNN(Recurrent):
    """h' = activation(x K + h R + b). Formulas: `minilm.ops.rnn.spec`.

    Parameters are those of `LSTM` but for the gates'.
    """

    op_name, order, op_activations = "rnn", (0,), ("tanh", "relu")

    def __init__(self, units: int, activation: str | None = "tanh", **options: Unpack[RecurrentOptions]):
        super().__init__(units, activation, **options)

    @property
    def _options(self):
        return {"nonlinearity": self.activation_of_state}


class LSTM(Recurrent):
    """Long short-term memory. Formulas: `minilm.ops.lstm.spec`.

    Parameters
    ----------
    units : int
    activation, recurrent_activation : str
        Of cell and output, and of the gates: tanh and sigmoid, with which it runs at full speed; or relu, linear, elu,
        softsign, hard_sigmoid.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or callable
    unit_forget_bias : bool
        Let the forget gate's bias start from 1.
    dropout, recurrent_dropout : float
        Of the input, and of the state on its way into the recurrent product: one mask for all time steps of a row. With the
        second a layer trains step by step, which is slower.
    return_sequences : bool
        Give the outputs of all steps, not of the last alone.
    go_backwards : bool
        Take the last step first; outputs come in that order too.
    zero_output_for_mask : bool
        Whether the outputs at masked steps are zeros, not those of the step before.

    Notes
    -----
    Weights: ``kernel`` (D, 4H), ``recurrent_kernel`` (H, 4H), ``bias`` (4H,), gates i f c o.
    """

    op_name, order, states = "lstm", (0, 1, 2, 3), 2

    def __init__(
        self,
        units: int,
        activation: str | None = "tanh",
        recurrent_activation: str | None = "sigmoid",
        *,
        unit_forget_bias: bool = True,
        **options: Unpack[RecurrentOptions],
    ):
        super().__init__(units, activation, recurrent_activation, **options)
        self.unit_forget_bias = checks.flag("unit_forget_bias", unit_forget_bias)

    def _first_bias(self, rng, bias):
        initial = super()._first_bias(rng, bias)  # (4H,)
        if self.unit_forget_bias:
            initial[self.units : 2 * self.units] = 1
        return initial


class GRU(Recurrent):
    """Gated recurrent unit. Formulas: `minilm.ops.gru.spec`.

    Parameters are those of `LSTM`, and

    Parameters
    ----------
    reset_after : bool
        Whether the reset gate stands after the recurrent product, as in cuDNN and PyTorch, or before it, as in the paper: then
        the layer runs step by step, which is slower.

    Notes
    -----
    Weights: ``kernel`` (D, 3H), ``recurrent_kernel`` (H, 3H), ``bias`` (2, 3H), or (3H,) without `reset_after`; gates z r h.
    """

    op_name, order = "gru", (1, 0, 2)

    def __init__(
        self,
        units: int,
        activation: str | None = "tanh",
        recurrent_activation: str | None = "sigmoid",
        *,
        reset_after: bool = True,
        **options: Unpack[RecurrentOptions],
    ):
        super().__init__(units, activation, recurrent_activation, **options)
        self.reset_after = checks.flag("reset_after", reset_after)
        self.biases = 2 if self.reset_after else 1
