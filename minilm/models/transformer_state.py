"""How a `minilm.models.Transformer` writes: with the keys and values of the source and of the tokens so far kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.cache import KeyValueCache
from minilm.models.encoder_decoder import Beams, EncoderDecoder, mask_of
from minilm.models.token_reader import reader_of
from minilm.models.transformer_token import FEW, TransformerReader
from minilm.ops import checks
from minilm.typing import Array, Ids

__all__ = ["TransformerState", "WritingTransformer"]


class TransformerState(NamedTuple):
    """What has been read and written, for generation."""

    cache: KeyValueCache
    memory: tuple  # the `Memory` of each layer of the decoder, (N, S, H, K) arrays
    mask: np.ndarray | None  # (N, S) True for tokens of the source
    sentence: np.ndarray  # (N,) which source a row belongs to, on the host

    def reorder(self, rows: Ids) -> TransformerState:
        """The state of some of the rows, by their numbers (N,) on the host; one may come several times, as in a beam search."""
        cache, sentence = self.cache.reorder(rows), self.sentence[rows]
        if np.array_equal(sentence, self.sentence):  # beams of one sentence share its memory
            return TransformerState(cache, self.memory, self.mask, sentence)
        rows = devices.to_device_of(self.memory[0].key, rows)
        memory = tuple(type(part)(*(array[rows] for array in part)) for part in self.memory)
        return TransformerState(cache, memory, None if self.mask is None else self.mask[rows], sentence)


class WritingTransformer(EncoderDecoder):
    """The part of `Transformer` that generation uses."""

    def encode(self, source: Ids, lengths: Ids | None = None, *, tokens: int = 256) -> TransformerState:
        """Read the source: the state before the first token of the target.

        Parameters
        ----------
        source : ndarray of integers, shape (B, S)
            On the host or the model's device.
        lengths : ndarray of integers, shape (B,), optional
            Tokens of each row, at least 1; S without it.
        tokens : int
            The most tokens that the target will have, for which the cache has room.
        """
        source, lengths = devices.to_device_of(self, self._source(source, lengths))
        mask = mask_of(lengths, source.shape[1])
        B, H = len(source), self.config.num_heads
        cache = KeyValueCache(len(self.decoder), B, tokens, H, self.config.d_model // H, self.dtype, like=source)
        reader = reader_of(self, cache, TransformerReader) if 0 < source.size <= FEW else None
        if reader is not None:
            return TransformerState(cache, reader.read(self, source, mask), mask, np.arange(B))
        with devices.ids_are_checked():
            memory, _ = self._encode(source, mask)  # (B, S, D)
        remembered = tuple(block.crossattention.remember(memory) for block in self.decoder)
        return TransformerState(cache, remembered, mask, np.arange(B))

    def step(self, ids: Ids, state: TransformerState) -> tuple[Array, TransformerState]:
        """Logits after one more token of each target.

        Parameters
        ----------
        ids : ndarray of integers, shape (N,)
            The first of each is the one that begins a target.
        state : TransformerState
            From `encode`, or from the step before.

        Returns
        -------
        logits : ndarray, shape (N, V)
        state : TransformerState
            The one that was given still holds.
        """
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        cache = state.cache.extended(1)
        reader = reader_of(self, cache, TransformerReader) if len(ids) else None
        if reader is not None:
            return reader.write(self, ids, state, cache), state._replace(cache=cache)
        y, _ = self._embedded("target", ids[:, None], offset=state.cache.length)  # (N, 1, D)
        for layer, block in enumerate(self.decoder):
            y, _ = block.forward(y, state.memory[layer], memory_mask=state.mask, cache=cache[layer])
        y = y if self.decoder_norm is None else self.decoder_norm(y)
        return self.output.forward(checks.kernel_ready(y[:, 0]))[0], state._replace(cache=cache)

    def greedy_steps(self, ids: Ids, state: TransformerState, tokens: int, end: int) -> tuple[Ids, TransformerState]:
        """As `EncoderDecoder.greedy_steps`, by one kernel for all tokens where the model fits it."""
        if devices.on_gpu(ids):
            return super().greedy_steps(ids, state, tokens, end)
        checks.whole("tokens", tokens, 1, 2**63)
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        reader = reader_of(self, state.cache, TransformerReader) if len(ids) else None
        if reader is None:
            return super().greedy_steps(ids, state, tokens, end)
        cache = state.cache.extended(1)
        written = reader.write_greedily(self, ids, state, cache, self._room(state, tokens), end)  # (n, N)
        return written, state._replace(cache=cache.extended(len(written) - 1))

    def beam_steps(
        self, ids: Ids, state: TransformerState, tokens: int, beams: Beams
    ) -> tuple[Array, Array, TransformerState] | None:
        """As `EncoderDecoder.beam_steps`, by one kernel for all tokens where the model fits it."""
        if devices.on_gpu(ids) or beams.count > self.config.outputs:
            return None
        reader = reader_of(self, state.cache, TransformerReader)
        if reader is None:
            return None
        sums, places, cache = reader.write_beams(self, ids, state, state.cache.extended(1), self._room(state, tokens), beams)
        return sums, places, state._replace(cache=cache)

    def _room(self, state: TransformerState, tokens: int) -> int:
        """Of so many tokens, for how many there are places and room in the cache; 1 at least, whose lack a step refuses."""
        last = self.config.max_positions if self.config.positions == "learned" else state.cache.capacity
        return max(1, min(tokens, min(last, state.cache.capacity) - state.cache.length))
