"""How a small `Seq2Seq` on the CPU writes targets: by the one kernel of `minilm.ops.seq2seq_token`.

It computes, bit for bit, what the layers do one after the other. A model with other layers, with hooks, in another precision, or
so large that its products are worth several threads, goes the way of its layers.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from minilm import devices
from minilm.layers import GRU, LSTM, BahdanauAttention, Dropout, Embedding, Linear, LuongAttention, changes
from minilm.layers.hooks import HOOKED
from minilm.models.attending_decoder import AttendFirstDecoder, AttendingDecoder
from minilm.models.recurrent_decoder import RecurrentDecoder, State
from minilm.ops import precision
from minilm.ops.workspace import empty
from minilm.typing import Array, Ids

if TYPE_CHECKING:
    from minilm.models.seq2seq import Seq2Seq, Seq2SeqState
    from minilm.ops.seq2seq_token import Decoder

__all__ = ["fits", "write", "write_greedily"]

DECODERS = (RecurrentDecoder, AttendingDecoder, AttendFirstDecoder)
PLAIN = {BahdanauAttention, Dropout, Embedding, GRU, LSTM, Linear, LuongAttention, *DECODERS}
MOST = 2**20  # numbers of weights that one thread reads in less time than others take to begin
FEW = 8  # targets up to which reading the weights for each anew takes less time than packing them

_weights: weakref.WeakKeyDictionary[Seq2Seq, tuple[int, Decoder | None]] = weakref.WeakKeyDictionary()


def fits(model: Seq2Seq, ids: Ids) -> bool:
    """Whether `write` computes what the model's layers would, and sooner."""
    if type(ids) is not np.ndarray or ids.ndim != 1 or not 1 <= len(ids) <= FEW or devices.implementation_for(ids) != "cpu":
        return False
    return not precision.bfloat16(model.dtype) and _weights_of(model) is not None


def _weights_of(model) -> Decoder | None:
    """The weights, gathered anew where a layer of any model has changed; None if the kernel is not for this model."""
    now = changes.number()
    before, weights = _weights.get(model, (-1, None))
    if before != now:
        _weights[model] = now, (weights := _gathered(model) if _plain(model) else None)
    return weights


def _plain(model) -> bool:
    layers = [layer for _, layer in model.decoder.named_layers()]
    parts = [model.target_embedding, model.dropout, model.projection, model.output, *layers]
    if not all(part is None or (type(part) in PLAIN and HOOKED.isdisjoint(vars(part))) for part in parts):
        return False
    return sum((each.value.size for _, each in model.decoder.named_parameters()), model.output.weight.value.size) <= MOST


def write(model: Seq2Seq, ids: Ids, state: Seq2SeqState) -> tuple[Array, Seq2SeqState]:
    """`Seq2Seq.step` of a model that `fits`, for ids (N,) that were checked."""
    return _write(model, ids, state, 0, -1)[1:]


def write_greedily(model: Seq2Seq, ids: Ids, state: Seq2SeqState, tokens: int, end: int) -> tuple[Ids, Seq2SeqState]:
    """`Seq2Seq.greedy_steps` of a model that `fits`, for ids (N,) that were checked."""
    written, _, state = _write(model, ids, state, tokens, end)
    return written[: np.count_nonzero(written[:, 0] >= 0)], state


def _write(model, ids, state, tokens: int, end: int):
    """Tokens that were chosen, (tokens, N), -1 behind the last; logits (N, V) of the last, and the state."""
    from minilm.ops.seq2seq_token import WRITE, Source  # compiles

    before, source, dtype = state.decoder, state.source, model.dtype
    shapes = (len(ids), 0), (len(ids), 0, 0), (len(ids), 0, 0)
    read = [np.empty(shape, dtype) if part is None else part for part, shape in zip(source[:3], shapes, strict=True)]
    mask = np.empty((0, 0), bool) if source.mask is None else source.mask
    recurrent = tuple(np.array(part, dtype, order="C") for part in before.recurrent)  # (L, N, H) each, which are written over
    fed = np.empty((len(ids), 0), dtype) if before.fed is None else before.fed.copy()
    written = np.full((tokens, len(ids)), -1)  # (tokens, N)
    logits = empty((len(ids), model.config.outputs), dtype)  # (N, V)
    kernel, first = WRITE[model.config.cell], isinstance(model.decoder, AttendFirstDecoder)
    ids = np.ascontiguousarray(ids, np.int64)
    kernel(ids, _weights_of(model), first, Source(*read, mask), recurrent, fed, end, written, logits)
    return written, logits, state._replace(decoder=State(recurrent, None if before.fed is None else fed))


def _gathered(model):
    """The arrays of `minilm.ops.seq2seq_token.Decoder`."""
    from minilm.ops.seq2seq_token import Decoder  # compiles

    decoder, attention = model.decoder, getattr(model.decoder, "attention", None)
    none, nothing = np.empty((0, 0), model.dtype), np.empty(0, model.dtype)
    layers = tuple(tuple(decoder.recurrent._weights(f"l{layer}")) for layer in range(decoder.recurrent.num_layers))
    query = none, nothing, nothing
    if isinstance(attention, BahdanauAttention):
        query = attention.query.weight.value, attention.query.bias.value, attention.v.value
    combine, projection = getattr(decoder, "combine", None), model.projection
    combined = (none, nothing) if combine is None else (combine.weight.value, combine.bias.value)
    projected = none if projection is None else projection.weight.value
    output = model.output.weight.value, model.output.bias.value
    return Decoder(model.target_embedding.weight.value, layers, *query, *combined, projected, *output)
