"""The calls of an encoder-decoder's kernels (`minilm.quantized.encoder_pass`, `decoder_step`): one reads a source, another writes
one token of its target, with the logits, or many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm import devices, threads
from minilm.compiled.waiting import LINE
from minilm.ops import caches
from minilm.ops.attention.scratch import _length as scratch_length
from minilm.ops.attention.scratch import forward_scratch
from minilm.ops.memory import place
from minilm.ops.tile import WIDTH32
from minilm.ops.workspace import empty
from minilm.quantized import beam_step, decoder_step, encoder_pass
from minilm.quantized.cpu import WORTH
from minilm.quantized.half_blocks import FOLLOWS
from minilm.quantized.rooms import own_size, shared_size
from minilm.quantized.token_call import LONGEST, addresses_of
from minilm.quantized.token_products import TAGS

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache
    from minilm.models.encoder_decoder import Beams
    from minilm.models.transformer import Transformer
    from minilm.models.transformer_state import TransformerState

__all__ = ["DecoderCall", "Weights", "read"]


class Weights(NamedTuple):
    """Where the weights lie: addresses, in the order of the kernels' columns. Whoever holds them keeps the arrays alive."""

    encoder: np.ndarray  # (L, 16) int64, of each block
    encoder_norm: np.ndarray  # (2,)
    memories: np.ndarray  # (2 L', 3) of the products that make keys and values of what was read
    decoder: np.ndarray  # (L', 28) of each block; the columns of the cache and the source are filled in by a call
    final: np.ndarray  # (5,) of the decoder's norm and the output layer
    tables: tuple[int, int]  # of the tokens of source and target
    form: str  # "float32" or one of FORMATS
    group: int | None  # of int8


class _Team:
    """The threads of calls of N rows, and where they compute."""

    def __init__(self, weights: Weights, config, N: int, work: int):
        """`work`: multiply-adds of a row, which is how many numbers the weights are."""
        D, F, H = config.d_model, hidden_dim(config), config.num_heads
        self.threads, self.alone, self.near = threads.threads(), N * work < 2 * WORTH, int(4 * work <= caches.size(3))
        self.group, self.tag = LONGEST if weights.group is None else weights.group, TAGS[weights.form]
        self.reached = np.zeros(self.threads * LINE, np.int64)
        self.shared = devices.aligned_zeros(shared_size(N, D, F, H), np.float32)
        own = own_size(N, D, F, self.group)
        self.rooms = devices.aligned_zeros(self.threads * own, np.float32).reshape(self.threads, own)

    def run(self, kernel, tables: tuple, sizes: np.ndarray, reals: np.ndarray, *arguments: np.ndarray) -> None:
        """The kernel, on one thread or all."""
        self.reached[:] = 0
        every = self.tag, self.reached, *tables, sizes, reals, self.shared, self.rooms, *arguments
        if self.alone:
            kernel(0, 1, *every)
        else:
            threads.together(kernel, *every)


def hidden_dim(config) -> int:
    """F."""
    return 4 * config.d_model if config.hidden_dim is None else config.hidden_dim


def _reals(model: Transformer) -> np.ndarray:
    D, H = model.config.d_model, model.config.num_heads
    return np.array([model.decoder[0].ln_1.eps, 1 / math.sqrt(D // H), math.sqrt(D)])  # (3,)


def read(weights: Weights, model: Transformer, source: np.ndarray, places: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Keys and values of the source (B, S) for each of L' blocks of the decoder: (L', 2, B, S, D); places (S, D), mask (B, S)."""
    config, (B, S) = model.config, source.shape
    N, D, F, H = B * S, config.d_model, hidden_dim(config), config.num_heads
    work = D * (len(weights.encoder) * (4 * D + 2 * F) + len(weights.memories) * D)
    team = _Team(weights, config, N, work)
    rows = empty((team.threads, scratch_length(forward_scratch, WIDTH32, S, D // H, D // H)), np.float32)
    out = empty((len(weights.memories), N, D), np.float32)  # (2 L', N, D)
    masked, post = 0 if mask is None else place(mask)[0], int(not config.norm_first)
    follows, kind = FOLLOWS[config.activation], (post, team.near)
    sizes = encoder_pass.Sizes(N, D, F, H, team.group, follows, weights.tables[0], S, masked, *kind)
    tables, ids = (weights.encoder, weights.encoder_norm, weights.memories), np.ascontiguousarray(source, np.int64).reshape(N)
    team.run(encoder_pass.encoder_pass, tables, np.array(sizes, np.int64), _reals(model), rows, ids, places, out)
    return out.reshape(-1, 2, B, S, D)


class DecoderCall:
    """Writes the next tokens of some targets, of a cache and those that are `extended` from it.

    Parameters
    ----------
    weights : Weights
    model : Transformer
    state : TransformerState
        With the keys and values of the sources.
    cache : KeyValueCache
    """

    def __init__(self, weights: Weights, model: Transformer, state: TransformerState, cache: KeyValueCache):
        config, keys, memory = model.config, cache[0].keys, state.memory[0].key  # (B, T_max, H, K), (B, S, H, K)
        B, D, F, H, V = len(keys), config.d_model, hidden_dim(config), config.num_heads, config.outputs
        self.weights, self.memory, self.mask = weights, state.memory, state.mask
        self._team = _Team(weights, config, B, len(weights.decoder) * D * (6 * D + 2 * F) + V * D)
        self._table, layers = weights.decoder.copy(), range(len(weights.decoder))
        self._table[:, 16:18] = addresses_of(cache[layer][:2] for layer in layers)
        self._table[:, decoder_step.MEMORY_KEYS :] = addresses_of(state.memory)
        numbers = B, D, F, H, V, self._team.group, FOLLOWS[config.activation], *keys.strides[:2], weights.tables[1], 0, 0
        masked = 0 if state.mask is None else place(state.mask)[0]
        source, kind = (memory.shape[1], *memory.strides[:2], masked), (int(not config.norm_first), self._team.near)
        self._sizes = np.array(decoder_step.Sizes(*numbers, *source, *kind, -1), np.int64)
        self._reals, self._best = _reals(model), np.empty((self._team.threads, 2, B), np.int64)
        self._logits = B, V
        self._nothing = np.empty((0, B), np.int64)

    def fits(self, weights: Weights, state: TransformerState) -> bool:
        """Whether it reads these weights and sources, with as many threads as there are now."""
        same = self.weights is weights and self.memory is state.memory and self.mask is state.mask
        return same and self._team.threads == threads.threads()

    def logits(self, ids: np.ndarray, places: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Logits (B, V) after the tokens ids (B,), whose position has the vector places (1, D)."""
        return self._run(ids, places, cache, -1, self._nothing)

    def greedy(self, ids: np.ndarray, places: np.ndarray, cache: KeyValueCache, end: int) -> np.ndarray:
        """The most probable tokens (n, B) after ids (B,), up to that with which a target ends, at most one for each of places
        (., D). `cache` ends with the first, and has room for all."""
        written = np.full((len(places), len(ids)), -1)  # (n, B)
        self._run(ids, places, cache, end, written)
        return written[: np.count_nonzero(written[:, 0] >= 0)]

    def _run(self, ids, places, cache, end, written):
        sizes, fields = self._sizes, decoder_step.Sizes._fields
        sizes[fields.index("Tk")], sizes[fields.index("end")] = cache.length, end
        logits, tables = empty(self._logits, np.float32), (self._table, self.weights.final)
        ids = np.ascontiguousarray(ids, np.int64)
        self._team.run(decoder_step.decoder_step, tables, sizes, self._reals, ids, places, self._best, written, logits)
        return logits

    def beams(
        self, ids: np.ndarray, places: np.ndarray, cache: KeyValueCache, beams: Beams
    ) -> tuple[np.ndarray, np.ndarray, KeyValueCache]:
        """sums and places (n, M, C) as `EncoderDecoder.beam_steps` gives them, for ids (M k,), and the cache then.

        At most one step for each of places (., D). `cache` ends with the first, and has room for all; it is written over.
        """
        (M, k), C, tokens = beams.totals.shape, beams.count, len(places)
        second, table = cache.alike(), self._table.copy()
        table[:, 16:18] = addresses_of(second[layer][:2] for layer in range(len(table)))
        self._sizes[decoder_step.Sizes._fields.index("Tk")] = cache.length
        logits, log_p = (np.empty(self._logits, np.float32) for _ in range(2))  # (M k, V) each
        room = logits, log_p, np.empty((M, k, C)), np.empty((M, k, C), np.int64)
        sums, chosen, done = np.empty((tokens, M, C)), np.empty((tokens, M, C), np.int64), np.zeros(2, np.int64)
        arguments = np.ascontiguousarray(ids, np.int64), places, beams.ends, np.ascontiguousarray(beams.totals), beams.least
        tables, reals = (self._table, table, self.weights.final), np.append(self._reals, beams.divisor)
        self._team.run(beam_step.beam_step, tables, self._sizes, reals, *arguments, *room, sums, chosen, done)
        steps, swapped = int(done[beam_step.STEPS]), bool(done[beam_step.SWAPPED])
        after = second.extended(cache.length + steps - 1) if swapped else cache.extended(steps - 1)
        return sums[:steps], chosen[:steps], after
