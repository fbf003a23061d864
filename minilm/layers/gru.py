"""Gated recurrent unit."""

from __future__ import annotations

from minilm.layers.recurrent import Output, Recurrent


class GRU(Recurrent[Output]):
    """Gated recurrent unit, gates in PyTorch's order r z n, reset after the product. Formulas: `minilm.ops.gru.spec`.

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
    Parameters are named as in PyTorch: ``weight_ih_l0`` (3H, D), ``weight_hh_l0`` (3H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (3H,), then ``..._l0_reverse``, then ``..._l1``; all uniform in ±1/√H at first.
    """

    op_name, gates = "gru", 3
