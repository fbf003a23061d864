"""Gated recurrent unit."""

from __future__ import annotations

from minilm.layers.recurrent import Recurrent, document


@document("Gated recurrent unit, gates in PyTorch's order r z n, reset after the product. Formulas: `minilm.ops.gru.spec`.")
class GRU(Recurrent):
    op_name, gates = "gru", 3
