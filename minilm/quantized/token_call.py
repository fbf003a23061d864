"""The call of `minilm.quantized.token_step`: what the threads share, and what each has for itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm import threads
from minilm.compiled.waiting import LINE
from minilm.ops.attention.scratch import task_of
from minilm.ops.memory import place
from minilm.ops.workspace import empty, scratch
from minilm.quantized.cpu import group_of
from minilm.quantized.token_step import COLUMNS, FOLLOWS, FORMS, KEYS, Own, Sizes, Team, token_step

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache

LONGEST = 2**31 - 4  # of a group: a whole row


class Weights(NamedTuple):
    """Where the weights lie: addresses, in the order of `token_step`'s columns."""

    table: np.ndarray  # (L, 16) int64, of each block
    final: np.ndarray  # (5,) int64, of the last normalisation and lm_head
    form: str  # "float32" or one of FORMATS
    group: int | None  # of int8


def read_token(weights: Weights, config, x: np.ndarray, cache: KeyValueCache) -> np.ndarray:
    """Logits (B, V) after one more token of each text, whose embeddings are x (B, D); x is written over.

    Parameters
    ----------
    weights : Weights
        Whoever calls keeps them alive.
    config : GPTConfig
    cache : KeyValueCache
        With room for the token, which is put in.
    """
    (B, D), H, V = x.shape, config.n_head, config.vocab_size
    F, K = 4 * D if config.n_inner is None else config.n_inner, D // H
    keys, number = cache[0].keys, threads.threads()
    group = LONGEST if weights.group is None else weights.group
    sizes = Sizes(
        B, D, F, H, V, FORMS[weights.form], group, FOLLOWS[config.activation], config.layer_norm_epsilon, *keys.strides[:2]
    )
    logits = empty((B, V), np.float32)  # (B, V)
    with scratch():
        table = np.empty((len(weights.table), COLUMNS), np.int64)  # (L, COLUMNS)
        table[:, :KEYS] = weights.table
        table[:, KEYS:] = [[place(part)[0] for part in cache[layer][:2]] for layer in range(len(table))]
        team, own = _shared(sizes, number), _own(sizes, number)
        query = team.qkv.reshape(B, 1, 3, H, K)[:, :, 0]  # (B, 1, H, K)
        task = task_of(query, keys[:, : cache.length], cache.key_mask, True, None, 1 / math.sqrt(K), None, 0.0, None)
        threads.together(token_step, table, weights.final, sizes, task, place(query), team, own, x, logits)
    return logits


def _shared(sizes, number: int) -> Team:
    B, D, F, H = sizes[:4]
    return Team(
        reached=np.zeros(number * LINE, np.int64),
        raw=empty((B * max(3 * D, F),), np.float32),
        qkv=empty((B, 3 * D), np.float32),
        y=empty((B, 1, H, D // H), np.float32),
        logsumexp=empty((B, H, 1), np.float32),
        hidden=empty((B, F), np.float32),
    )


def _own(sizes, number: int) -> Own:
    B, D, F = sizes[:3]
    groups = max(-(-width // group_of(sizes.group, width)) for width in (D, F))
    codes = max(-(-width // group_of(sizes.group, width)) * group_of(sizes.group, width) for width in (D, F))
    return Own(
        u=empty((number, B, D), np.float32),
        moments=empty((number, 2, B), np.float32),
        codes=empty((number, B * codes), np.int8),
        scales=empty((number, 2, B * groups), np.float32),
    )
