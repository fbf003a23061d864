"""Sequential's recurrent layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minilm.ops import checks
from minilm.sequential.recurrence import Recurrent, RecurrentOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


__all__ = ["GRU", "LSTM", "SimpleRNN"]


class SimpleRNN(Recurrent):
    """The simple recurrent network, h[t] = activation(x[t] K + h[t - 1] R + b). Formulas: `minilm.ops.rnn.spec`.

    Reads x (B, T, D); returns (B, H), or (B, T, H) with `return_sequences`.

    Parameters
    ----------
    units : int
        Width H of the state.
    activation : str
        tanh or relu, with which it runs at full speed, or another one: see `LSTM`.
    **options
        The further arguments of `LSTM`, without those of the gates.

    Notes
    -----
    Weights: ``kernel`` K (D, H), ``recurrent_kernel`` R (H, H), ``bias`` b (H,).
    """

    op_name, order, op_activations = "rnn", (0,), ("tanh", "relu")

    def __init__(self, units: int, activation: str | None = "tanh", **options: Unpack[RecurrentOptions]):
        super().__init__(units, activation, **options)

    @property
    def _options(self):
        return {"nonlinearity": self.activation_of_state}


class LSTM(Recurrent):
    """Long short-term memory. Formulas: `minilm.ops.lstm.spec`.

    Reads x (B, T, D); returns (B, H), the state after the last step that counts, or (B, T, H) with `return_sequences`.

    Parameters
    ----------
    units : int
        Width H of the state.
    activation, recurrent_activation : str
        Of the cell and the output, and of the gates. With tanh and sigmoid the layer runs at full speed; with relu, linear, elu,
        selu, leaky_relu, softplus, softsign, exponential or hard_sigmoid step by step, which is slower.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, recurrent_initializer, bias_initializer : str or callable
        What the weights start from: see `minilm.sequential.initializers`.
    unit_forget_bias : bool
        Let the forget gate's bias start from 1.
    dropout, recurrent_dropout : float
        In [0, 1): the probability that a number of the input, or of the state on its way into the recurrent product, is dropped
        in training, the same numbers at all time steps of a row. With the second a layer trains step by step, which is slower.
    return_sequences : bool
        Return the outputs of all steps, not of the last alone.
    go_backwards : bool
        Take the last step first; outputs come in that order too.
    zero_output_for_mask : bool
        Whether the outputs at masked steps are zeros, not those of the step before.
    return_state, stateful : bool
        Must be False: `minilm.layers.LSTM` has a state to hand on.
    unroll, seed, use_cudnn, implementation
        Accepted as Keras accepts them; they change nothing here.
    **options
        Those of `SequentialLayer`.

    Raises
    ------
    ValueError
        If an argument is out of range, a name is not known, or `return_state` or `stateful` is set; from `fit`, if the inputs are
        not (B, T, D).

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

    Reads x (B, T, D); returns (B, H), or (B, T, H) with `return_sequences`.

    Parameters
    ----------
    units : int
        Width H of the state.
    activation, recurrent_activation : str
        Of the new state n, and of the gates r and z: see `LSTM`.
    reset_after : bool
        Whether the reset gate multiplies what comes out of the recurrent product, as in cuDNN and PyTorch, or what goes into it,
        as in the paper: then the layer runs step by step, which is slower.
    **options
        The further arguments of `LSTM`, without `unit_forget_bias`.

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
