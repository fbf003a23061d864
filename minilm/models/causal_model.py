"""What GPT and Llama have in common: the loss of a text without gradients, and the logits of the next token, in generation.

Of the tokens so far the keys and values are kept, see `minilm.layers.cache`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.cache import KeyValueCache
from minilm.layers.fixed_cache import FixedCache
from minilm.ops import checks, cross_entropy
from minilm.typing import Array, Ids, Scalar

__all__ = ["CacheShape", "CausalModel", "GPTState", "left_padding", "mask_and_positions"]


class GPTState(NamedTuple):
    """What has been read."""

    cache: KeyValueCache
    ids: np.ndarray  # (B, length) the tokens themselves, to be read again when the context is full

    def reorder(self, rows: Ids) -> GPTState:
        """The state of some of the texts, by their numbers (N,), which lie on the host."""
        return GPTState(self.cache.reorder(rows), self.ids[devices.to_device_of(self.ids, np.asarray(rows))])

    def claimed(self, count: int) -> tuple[GPTState, GPTState]:
        """This state with room for `count` more tokens, and one that reads them one by one without a change of any shape."""
        cache = self.cache.extended(count)
        return GPTState(cache, self.ids), GPTState(FixedCache(cache, self.cache.length), self.ids[:, :0])


class CacheShape(NamedTuple):
    """What a model keeps of every token."""

    layers: int  # L
    heads: int  # of keys and values: H, or G where heads of queries share them
    width: int  # K


class CausalModel:
    """What `GPT` and `Llama` share: evaluation and generation.

    Of the model it wants ``context``, ``cache_shape``, ``_tokens_table``, ``lm_head`` and ``_hidden``.
    """

    context: int
    context_setting: str  # of the configuration: the name of `context` there
    cache_shape: CacheShape

    # --- evaluation --------------------------------------------------------------------------------------------------

    def loss(self, ids: Ids, targets: Ids, *, key_mask: Array | None = None) -> Scalar:
        """Mean cross-entropy without dropout and without what a gradient would need.

        Parameters
        ----------
        ids, targets, key_mask
            As `forward`'s.

        Returns
        -------
        loss : scalar
            In nats a token.
        """
        ids, targets = self._checked(ids, targets)
        x, _ = self._hidden(ids, padding=left_padding(key_mask, ids), gradient=False)  # (B, T, D)
        return cross_entropy.forward(self._logits(x), targets, gradient=False)[0]

    # --- generation --------------------------------------------------------------------------------------------------

    def initial_state(self, batch: int) -> GPTState:
        """The state of `batch` texts before their first token."""
        batch, like = checks.whole("batch", batch, 0, 2**31), self._tokens_table
        layers, heads, width = self.cache_shape
        cache = KeyValueCache(layers, batch, self.context, heads, width, self.dtype, like=like)
        return GPTState(cache, devices.array_module(like).empty((batch, 0), np.int64))

    def logits(
        self, ids: Ids, state: GPTState | None = None, *, last: bool = False, key_mask: Array | None = None
    ) -> tuple[Array, GPTState]:
        """Logits of the token after each of `ids`.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        state : GPTState, optional
            What was read before.
        last : bool
            Only those after the last token: what generation wants of a prompt.
        key_mask : ndarray of bool, shape (B, T), optional
            False for the padding with which the shorter texts begin. Only at the beginning, without a state. It may lie on the
            host, where it is looked at.

        Returns
        -------
        logits : ndarray, shape (B, T, V), or (B, V) with `last`
        state : GPTState
            After the last token. The one that was given still holds.

        Raises
        ------
        ValueError
            If the tokens are more than the context, or the mask is not of padding at the left.
        """
        ids, _ = self._checked(ids)
        padding = left_padding(key_mask, ids)
        return self._read(ids, padding, state, last)

    def _read(self, ids, padding, state, last: bool):
        """`logits` of ids that were checked; padding (B,) or None."""
        state = self.initial_state(len(ids)) if state is None else state
        if state.ids.shape[1] and padding is not None:
            raise ValueError("key_mask is for the beginning of texts, and the state has read some tokens already")
        if len(state.ids) != len(ids):
            raise ValueError(f"ids has {len(ids)} rows, the state is of {len(state.ids)} texts")
        cache = state.cache.extended(ids.shape[1], padding)
        reader = self._token_reader(cache) if last and ids.shape[1] == 1 else None
        if reader is not None:
            logits = reader.read_token(self, ids, cache)  # (B, V)
        else:
            x, _ = self._hidden(ids, cache=cache, gradient=False)  # (B, T, D)
            x = devices.array_module(x).ascontiguousarray(x[:, -1]) if last else x  # (B, D) or (B, T, D)
            logits = self._logits(x)
        return logits, GPTState(cache, np.concatenate([state.ids, ids], axis=1))

    def step(self, ids: Ids, state: GPTState | None = None) -> tuple[Array, GPTState]:
        """Logits after one more token of each text.

        Parameters
        ----------
        ids : ndarray of integers, shape (B,)
        state : GPTState, optional

        Returns
        -------
        logits : ndarray, shape (B, V)
        state : GPTState

        Notes
        -----
        When a text fills the context, its older half is forgotten: the newer half is read again, at positions from 0 on, and the
        text goes on from there. So a text may be of any length, at the price of one longer step every context / 2 tokens.
        Padding is no part of a text: a text forgets when it would by itself, whatever stands in the other rows.
        """
        ids = checks.ids("ids", ids, self.config.vocab_size, (None,), "(B,)")
        if state is not None and state.cache.length == self.context:
            if not state.cache.padding.any():  # all texts forget at once: one reading for the newer half and the new token
                read = np.concatenate([state.ids[:, self.context - self.context // 2 :], ids[:, None]], axis=1)  # (B, T)
                return self._read(read, None, None, last=True)
            state = self._with_room(state)
        return self._read(ids[:, None], None, state, last=True)

    def _with_room(self, state: GPTState) -> GPTState:
        """A full state in which the texts that fill the context have forgotten its older half, and the others moved up."""
        kept = self.context // 2
        full = np.flatnonzero(state.cache.padding == 0)  # (M,)
        newer = None
        if len(full):
            newer = self.initial_state(len(full)).cache.extended(kept)
            rows = devices.to_device_of(state.ids, full)
            self._hidden(state.ids[rows, self.context - kept :], cache=newer, gradient=False)
        cache = state.cache.renewed(full, newer)
        return GPTState(cache, state.ids[:, self.context - cache.length :])

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _checked(self, ids, targets=None):
        """ids (B, T) and targets (B, T) or None, as kernels take them."""
        ids = checks.ids("ids", ids, self.config.vocab_size, (None, None), "(B, T)")
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one token, got shape {ids.shape}")
        if ids.shape[1] > self.context:
            limit = f"{self.context_setting} = {self.context}"
            raise ValueError(f"ids has {ids.shape[1]} tokens a row, more than the context of {limit}")
        if targets is not None:
            targets = checks.ids("targets", targets, self.config.vocab_size, ids.shape, "(B, T)", ignore=-100)
        return ids, targets

    def _logits(self, x):
        """Logits (..., V) of what `_hidden` gave."""
        return self.lm_head.forward(x)[0]

    def _token_reader(self, cache):
        """What reads one token by a kernel of its own, see `minilm.models.token_reader`; None where layers do."""
        return None


def left_padding(key_mask: Array, ids: Ids) -> np.ndarray | None:
    """How many of each row's first tokens are padding, (B,) on the host, or None where there is none."""
    if key_mask is None:
        return None
    key_mask = devices.to_host(key_mask)
    if not isinstance(key_mask, np.ndarray) or key_mask.dtype != np.bool_:
        raise TypeError(f"key_mask must be a numpy array of bool, got {checks.describe(key_mask)}")
    checks.check_shape("key_mask", key_mask, ids.shape, "(B, T)")
    padding = ids.shape[1] - key_mask.sum(axis=1)  # (B,)
    if not np.array_equal(key_mask, np.arange(ids.shape[1]) >= padding[:, None]):
        raise ValueError(
            "key_mask must be False for the first tokens of a row and True for the others; of texts filled up at their end it is "
            "the targets that say so (-100)"
        )
    return padding if padding.any() else None


def mask_and_positions(
    ids: Ids, padding: Ids | None = None, cache: KeyValueCache | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, int]:
    """Which of the tokens count, and where in its text each stands.

    Parameters
    ----------
    ids : ndarray of integers, shape (B, T)
    padding : ndarray of integers, shape (B,), optional
        How many of each row's first tokens are padding.
    cache : KeyValueCache, optional
        The ids come after the tokens in it. It holds the mask of all of them, so that none is returned.

    Returns
    -------
    key_mask : ndarray of bool, shape (B, T), or None
        False for padding; None where there is none.
    positions : ndarray of integers, shape (B, T), or None
        Counted from each row's first token that is no padding; None where row after row they are ``offset ... offset + T - 1``.
    offset : int
        Position of the first token.
    """
    if cache is not None:
        return None, None if cache.key_mask is None else cache.positions(), cache.start
    if padding is None:
        return None, None, 0
    positions = np.arange(ids.shape[1]) - padding[:, None]  # (B, T)
    return *devices.to_device_of(ids, (positions >= 0, np.maximum(positions, 0))), 0
