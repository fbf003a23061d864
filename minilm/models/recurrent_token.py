"""How a small `RNNLanguageModel` on the CPU reads one more token: by the one kernel of `minilm.ops.recurrent_token`.

It computes, bit for bit, what the layers do one after the other. A model with other layers, with hooks, in another precision, or
so large that its products are worth several threads, goes the way of its layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm import devices
from minilm.layers import GRU, LSTM, RNN, Dropout, Embedding, Linear
from minilm.layers.hooks import HOOKED
from minilm.ops import checks, precision
from minilm.ops.workspace import empty
from minilm.typing import Array, Ids, State

if TYPE_CHECKING:
    from minilm.models.rnn_lm import RNNLanguageModel

__all__ = ["fits", "read"]

PLAIN = (Dropout, Embedding, GRU, LSTM, Linear, RNN)
FEW = 3  # texts up to which reading the weights for each anew takes less time than packing them
MOST = 2**20  # numbers of weights that one thread reads in less time than others take to begin


def fits(model: RNNLanguageModel, ids: Ids) -> bool:
    """Whether `read` computes what the model's layers would, and sooner."""
    if type(ids) is not np.ndarray or ids.ndim != 1 or not 1 <= len(ids) <= FEW:
        return False
    if model.norm is not None or model.projection is not None:
        return False
    parts = model.embedding, model.dropout, model.recurrent, model.output
    if not all(type(part) in PLAIN and HOOKED.isdisjoint(vars(part)) for part in parts):
        return False
    recurrent, output = model.recurrent, model.output.weight.value
    numbers = recurrent.num_layers * recurrent.gates * recurrent.hidden_size * (recurrent.hidden_size + recurrent.input_size)
    on_host = devices.implementation_for(output) == "cpu" and not precision.bfloat16(model.dtype)
    return on_host and numbers + output.size <= MOST


def read(model: RNNLanguageModel, ids: Ids, state: State | None) -> tuple[Array, State]:
    """`RNNLanguageModel.step` of a model that `fits`."""
    from minilm.ops.recurrent_token import TOKEN  # compiles

    recurrent, output = model.recurrent, model.output
    ids = checks.ids("ids", ids, model.config.vocab_size, (None,), "(B,)")
    before = recurrent._states(state, len(ids))
    after = [np.empty_like(part) for part in before]
    logits = empty((len(ids), model.config.vocab_size), model.dtype)  # (B, V)
    layers = tuple(tuple(recurrent._weights(f"l{layer}")) for layer in range(recurrent.num_layers))
    arrays = [model.embedding.weight.value, layers, output.weight.value, output.bias.value, *before, *after, logits]
    if recurrent.op_name == "rnn":
        arrays.append(model.config.nonlinearity == "relu")
    TOKEN[recurrent.op_name](ids, *arrays)
    return logits, after[0] if len(after) == 1 else tuple(after)
