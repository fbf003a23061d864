"""The call of a kernel that reads one token (`minilm.quantized.token_step`, `llama_step`): what does not change from one token of
a text to the next is made once.

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
from minilm.quantized import llama_rooms, llama_step, rooms, token_step
from minilm.quantized.cpu import WORTH
from minilm.quantized.half_blocks import FOLLOWS
from minilm.quantized.token_products import TAGS

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache

LONGEST = 2**31 - 4  # of a group: a whole row


class Weights(NamedTuple):
    """Where the weights lie: addresses, in the order of the kernel's columns. Whoever holds them keeps the arrays alive."""

    table: np.ndarray  # (L, columns but for the cache's two) int64, of each block
    final: np.ndarray  # int64, of the last normalisation and lm_head
    tokens: int  # of the table of tokens
    positions: int  # of the table of positions, 0 without one
    form: str  # "float32" or one of FORMATS
    group: int | None  # of int8


class TokenCall:
    """Reads one more token of each of some texts at a time.

    Parameters
    ----------
    kernel : callable
    weights : Weights
    sizes : NamedTuple
        The kernel's ``Sizes``, with any mask and Tk.
    reals : list of float
    room : tuple (int, int)
        Numbers of float32 that the threads share, and that each has for itself.
    work : int
        Multiply-adds of a text's token.
    cache : KeyValueCache
        Of the texts; those that are `extended` from it have the same arrays.
    """

    def __init__(self, kernel, weights: Weights, sizes, reals, room: tuple[int, int], work: int, cache: KeyValueCache):
        self.kernel, self.weights, self.vocab_size, self.threads = kernel, weights, sizes.V, threads.threads()
        self._alone = work < 2 * WORTH
        self._sizes, self._reals = np.array(sizes, np.int64), np.array(reals, np.float64)
        self._mask, self._length = sizes._fields.index("mask"), sizes._fields.index("Tk")
        layers, columns = weights.table.shape
        self.table = np.empty((layers, columns + 2), np.int64)
        self.table[:, :columns] = weights.table
        self.table[:, columns:] = addresses_of(cache[layer][:2] for layer in range(layers))
        self.keys = cache[0].keys  # (B, T_max, G, K)
        self._ids, self._positions = (np.empty(sizes.B, np.int64) for _ in range(2))  # (B,) each
        self._reached = np.zeros(self.threads * LINE, np.int64)
        shared = devices.aligned_zeros(room[0], np.float32)
        own = devices.aligned_zeros(self.threads * room[1], np.float32).reshape(self.threads, -1)
        scratch = self._reached, self.table, weights.final, self._sizes, self._reals, shared, own
        self._arguments = TAGS[weights.form], *scratch, self._ids, self._positions

    def fits(self, weights: Weights) -> bool:
        """Whether it reads with these weights, and as many threads as there are now."""
        return self.weights is weights and self.threads == threads.threads()

    def __call__(self, ids: np.ndarray, cache: KeyValueCache, *tables: np.ndarray) -> np.ndarray:
        """Logits (B, V) after the tokens ids (B, 1), for which `cache` has room. `tables` are the kernel's."""
        mask = cache.key_mask
        self._ids[:] = ids[:, 0]
        self._positions[:] = cache.start if mask is None else cache.positions()[:, 0]
        self._sizes[self._mask] = 0 if mask is None else place(mask)[0]
        self._sizes[self._length] = cache.length
        self._reached[:] = 0
        logits = empty((len(ids), self.vocab_size), np.float32)  # (B, V)
        if self._alone:
            self.kernel(0, 1, *self._arguments, *tables, logits)
        else:
            threads.together(self.kernel, *self._arguments, *tables, logits)
        return logits


def addresses_of(pairs) -> list[list[int]]:
    """The addresses of the keys and values of each layer."""
    return [[place(part)[0] for part in pair] for pair in pairs]


def _group(weights: Weights) -> int:
    return LONGEST if weights.group is None else weights.group


def gpt_call(weights: Weights, config, cache: KeyValueCache) -> TokenCall:
    """The call of a GPT of a `GPTConfig`."""
    keys = cache[0].keys  # (B, T_max, H, K)
    B, D, H, V = len(keys), config.n_embd, config.n_head, config.vocab_size
    F, group = 4 * D if config.n_inner is None else config.n_inner, _group(weights)
    places = *keys.strides[:2], weights.tokens, weights.positions
    sizes = token_step.Sizes(B, D, F, H, V, group, FOLLOWS[config.activation], *places, 0, 0)
    reals = [config.layer_norm_epsilon, 1 / math.sqrt(D // H)]
    room = rooms.shared_size(B, D, F, H), rooms.own_size(B, D, F, group)
    work = len(weights.table) * D * (4 * D + 2 * F) + V * D
    return TokenCall(token_step.token_step, weights, sizes, reals, room, work, cache)


def llama_call(weights: Weights, config, cache: KeyValueCache) -> TokenCall:
    """The call of a Llama of a `LlamaConfig`."""
    keys = cache[0].keys  # (B, T_max, G, K)
    D, F, H, G, K = config.hidden_size, config.intermediate_size, config.num_attention_heads, config.groups, config.width
    numbers = len(keys), D, F, H, G, K, config.vocab_size, _group(weights)
    kinds = llama_step.GATES[config.activation], int(config.traits.gemma)
    sizes = llama_rooms.Sizes(*numbers, *kinds, *keys.strides[:2], weights.tokens, 0, 0)
    factor = math.sqrt(D) if config.traits.gemma else 1
    reals = [config.rms_norm_eps, config.scale, factor]
    room = llama_rooms.shared_size(sizes), llama_rooms.own_size(sizes)
    work = len(weights.table) * D * (2 * (H + G) * K + 3 * F) + config.vocab_size * D
    return TokenCall(llama_step.llama_step, weights, sizes, reals, room, work, cache)
