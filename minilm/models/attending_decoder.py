"""The decoders of a recurrent encoder-decoder that attend to its encoder's states: `minilm.models.recurrent_decoder` has the
formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.layers import BahdanauAttention, Linear, LuongAttention
from minilm.layers.residual import added
from minilm.layers.sequences import contiguous, side_by_side
from minilm.models.recurrent_decoder import RecurrentDecoder, Source, SourceGradient, State, Step, every_step
from minilm.ops import tanh
from minilm.ops.workspace import empty
from minilm.typing import Array, DType, Seed

if TYPE_CHECKING:
    from minilm.models.seq2seq_config import Seq2SeqConfig

__all__ = ["AttendFirstDecoder", "AttendingDecoder", "decoder_of"]


def decoder_of(config: Seq2SeqConfig, **options: Any) -> RecurrentDecoder:
    """The decoder that a `Seq2SeqConfig` describes; `options` are dtype and seed."""
    if config.attention is None:
        return RecurrentDecoder(config, **options)
    return (AttendFirstDecoder if config.attend_first else AttendingDecoder)(config, **options)


class AttendingDecoder(RecurrentDecoder):
    """Attention after each step of the RNN, in Luong's order; parameters as `RecurrentDecoder`'s."""

    def __init__(self, config: Seq2SeqConfig, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(config, dtype=dtype, seed=seed)
        H, options = self.hidden_size, {"dtype": dtype, "seed": self._generator}
        if config.attention == "bahdanau":
            self.attention = BahdanauAttention(H, H, **options)
        else:
            self.attention = LuongAttention(H, H, {"luong": "general", "dot": "dot"}[config.attention], **options)
        self.combine = Linear(H * (2 + self.peeky), H, **options) if config.combine else None
        self.width = H if config.combine else H * (2 + self.peeky)

    def start(self, state: tuple[Array, ...], memory: Array | None = None, mask: Array | None = None) -> Any:
        """As `RecurrentDecoder.start`, with the memory, projected for the attention."""
        keys, projected = self.attention.project(memory)  # (B, S, A)
        fed = None
        if self.input_feeding:
            fed = empty(state[0].shape[1:], self.dtype, like=memory)  # (B, H)
            fed.fill(0)
        return (Source(self._peek(state), keys, memory, mask), State(state, fed)), projected

    def weights(self, before: State, after: State, source: Source) -> Array:
        """What a step took of each place of the source, (N, S), from the states before and after it."""
        s = after.recurrent[0][-1][:, None]  # (N, 1, H)
        output, _ = self.attention.attend(s, source.keys, source.memory, key_mask=source.mask, return_weights=True)
        return output.weights[:, 0]  # (N, S)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _run(self, x, state, source, key):
        s, after, ran = self._recur(x, state.fed, state, source, key)  # (B, t, H)
        c, attended = self._attend(s, source)  # (B, t, H)
        h, combined = self._combine(s, c, source)  # (B, t, H)
        return h, State(after, h[:, 0] if self.input_feeding else None), Step(ran, attended, combined)

    def _run_backward(self, dh, dstate, saved, dsource):
        if dstate.fed is not None:
            dh[:, 0] += dstate.fed
        ds, dc = self._combine_backward(dh, saved.combined, dsource)  # (B, t, H) each
        ds += self._attend_backward(dc, saved.attended, dsource)
        dx, dfed, dbefore = self._recur_backward(ds, dstate, saved, dsource)
        return dx, State(dbefore, dfed)

    def _attend(self, query, source: Source):
        """What the queries (B, t, H) take of the memory, (B, t, H)."""
        return self.attention.attend(contiguous(query), source.keys, source.memory, key_mask=source.mask)

    def _attend_backward(self, dc, attended, dsource: SourceGradient):
        """The gradient by the queries, (B, t, H); adds to `dsource`."""
        dquery, dkeys, dmemory = self.attention.attend_backward(dc, attended)
        dsource.keys = dkeys if dsource.keys is None else added(dsource.keys, dkeys, out=dsource.keys)
        dsource.memory = dmemory if dsource.memory is None else added(dsource.memory, dmemory, out=dsource.memory)
        return dquery

    def _combine(self, s, c, source: Source):
        """h = tanh(W_c [s; c; p] + b_c), (B, t, H)."""
        both = side_by_side(s, c, every_step(source.peek))  # (B, t, 2H, and H of p)
        if self.combine is None:
            return both, None
        a, combined = self.combine.forward(both)  # (B, t, H)
        h, curve = tanh.forward(a)
        return h, (combined, curve)

    def _combine_backward(self, dh, saved, dsource: SourceGradient):
        """Gradients by s and c, (B, t, H) each; adds to `dsource`."""
        if self.combine is not None:
            combined, curve = saved
            dh = self.combine.backward(tanh.backward(dh, curve), combined)
        dboth, H = self._without_peek(dh, dsource), self.hidden_size  # (B, t, 2H)
        return dboth[:, :, :H], contiguous(dboth[:, :, H:])

    def _source_backward(self, dsource, projected):
        return self.attention.project_backward(dsource.keys, dsource.memory, projected)  # (B, S, H)


class AttendFirstDecoder(AttendingDecoder):
    """Attention with the state before a step, whose RNN reads what it gives; parameters as `RecurrentDecoder`'s."""

    def weights(self, before: State, after: State, source: Source) -> Array:
        """What a step took of each place of the source, (N, S), from the state before it."""
        return super().weights(before, before, source)

    def _run(self, x, state, source, key):
        c, attended = self._attend(state.recurrent[0][-1][:, None], source)  # (B, 1, H)
        s, after, ran = self._recur(x, c[:, 0], state, source, key)  # (B, 1, H)
        h, combined = self._combine(s, c, source)  # (B, 1, H)
        return h, State(after), Step(ran, attended, combined)

    def _run_backward(self, dh, dstate, saved, dsource):
        ds, dc = self._combine_backward(dh, saved.combined, dsource)  # (B, 1, H) each
        dx, dfed, dbefore = self._recur_backward(ds, dstate, saved, dsource)
        dc[:, 0] += dfed
        dbefore[0][-1] += self._attend_backward(dc, saved.attended, dsource)[:, 0]
        return dx, State(dbefore)
