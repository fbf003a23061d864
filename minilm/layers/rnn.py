"""The simple recurrent layer."""

from __future__ import annotations

from minilm.layers.recurrent import Recurrent, document
from minilm.ops import checks

_NONLINEARITY = """    nonlinearity : {"tanh", "relu"}
"""


@document("h' = tanh or relu of W_ih x + b_ih + W_hh h + b_hh. Formulas: `minilm.ops.rnn.spec`.", _NONLINEARITY)
class RNN(Recurrent):
    op_name, gates = "rnn", 1

    def __init__(self, input_size: int, hidden_size: int, *arguments, nonlinearity: str = "tanh", **options):
        self.nonlinearity = checks.option("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, *arguments, **options)

    @property
    def _options(self):
        return {"nonlinearity": self.nonlinearity}

    def settings(self):
        return super().settings() + (f", nonlinearity={self.nonlinearity!r}" if self.nonlinearity != "tanh" else "")
