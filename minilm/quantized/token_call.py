"""The call of `minilm.quantized.token_step`: what does not change from one token of a text to the next is made once.

The weights of a token push everything out of the caches that Python needs, so a line of it takes five times as long here as
elsewhere: the arguments are a few arrays, and a token changes three numbers in them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm import devices, threads
from minilm.compiled.waiting import LINE
from minilm.ops.memory import place
from minilm.ops.workspace import empty
from minilm.quantized.cpu import WORTH
from minilm.quantized.token_products import TAGS
from minilm.quantized.token_step import COLUMNS, FOLLOWS, KEYS, Sizes, own_size, shared_size, token_step

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache

LONGEST = 2**31 - 4  # of a group: a whole row
MASK, TK = Sizes._fields.index("mask"), Sizes._fields.index("Tk")


class Weights(NamedTuple):
    """Where the weights lie: addresses, in the order of `token_step`'s columns. Whoever holds them keeps the arrays alive."""

    table: np.ndarray  # (L, 16) int64, of each block
    final: np.ndarray  # (5,) int64, of the last normalisation and lm_head
    tokens: int  # of the table of tokens
    positions: int
    form: str  # "float32" or one of FORMATS
    group: int | None  # of int8


class TokenCall:
    """Reads one more token of each of some texts at a time.

    Parameters
    ----------
    weights : Weights
    config : GPTConfig
    cache : KeyValueCache
        Of the texts; those that are `extended` from it have the same arrays.
    """

    def __init__(self, weights: Weights, config, cache: KeyValueCache):
        keys = cache[0].keys  # (B, T_max, H, K)
        B, D, H, V = len(keys), config.n_embd, config.n_head, config.vocab_size
        F = 4 * D if config.n_inner is None else config.n_inner
        group = LONGEST if weights.group is None else weights.group
        self.weights, self.vocab_size, self.threads = weights, V, threads.threads()
        self._alone = len(weights.table) * D * (4 * D + 2 * F) + V * D < 2 * WORTH
        self._tag, activation = TAGS[weights.form], FOLLOWS[config.activation]
        places = *keys.strides[:2], weights.tokens, weights.positions
        self._sizes = np.array(Sizes(B, D, F, H, V, group, activation, *places, 0, 0), np.int64)
        self._reals = np.array([config.layer_norm_epsilon, 1 / math.sqrt(D // H)])
        self._table = np.empty((len(weights.table), COLUMNS), np.int64)  # (L, COLUMNS)
        self._table[:, :KEYS] = weights.table
        self._table[:, KEYS:] = [[place(part)[0] for part in cache[layer][:2]] for layer in range(len(self._table))]
        self._reached = np.zeros(self.threads * LINE, np.int64)
        self._shared = devices.aligned_zeros(shared_size(B, D, F, H), np.float32)
        self._rooms = devices.aligned_zeros(self.threads * own_size(B, D, F, group), np.float32).reshape(self.threads, -1)

    def fits(self, weights: Weights) -> bool:
        """Whether it reads with these weights, and as many threads as there are now."""
        return self.weights is weights and self.threads == threads.threads()

    def __call__(self, ids: np.ndarray, positions: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Logits (B, V) after the tokens ids (B,) at positions (B,); `cache` has room for them."""
        self._sizes[MASK] = 0 if cache.key_mask is None else place(cache.key_mask)[0]
        self._sizes[TK] = cache.length
        self._reached[:] = 0
        logits = empty((len(ids), self.vocab_size), np.float32)  # (B, V)
        scratch = self._reached, self._table, self.weights.final, self._sizes, self._reals, self._shared, self._rooms
        arguments = self._tag, *scratch, ids, positions, logits
        if self._alone:
            token_step(0, 1, np.zeros(1, np.int64), *arguments)
        else:
            threads.together(token_step, *arguments)
        return logits
