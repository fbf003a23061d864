"""What BERT is pretrained on: pairs of segments of a text, some of their tokens masked. All a function of the seed and the step.

::

    [CLS] a_1 ... a_n [SEP] b_1 ... b_m [SEP] [PAD] ...       ids              (B, T)
      0    0       0    0    1       1    1     0             token_type_ids   (B, T)
      1    1       1    1    1       1    1     0             key_mask         (B, T)

Segment b is what follows a in the text, or with probability 1/2 what stands at a random place (``next_sentence`` 0 or 1). As in
the paper a "sentence" is any span of the text. Together they fill the row; one row in ten is shorter, of a random length.

Of the tokens that are not special 15 % are chosen, at least one a row. Of those, 80 % become [MASK], 10 % a random token, and
10 % stay what they are: so the model must know of every token what may stand there. ``targets`` has the true token at the chosen
places, and -100 elsewhere.

Reference: J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, BERT: pre-training of deep bidirectional transformers for language
understanding, NAACL 2019, section 3.1 and appendix A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.data.batching import IGNORE, _Batches, _count, _seed
from minilm.tokenizers import Tokenizer

__all__ = ["MaskingIds", "PretrainingBatches", "mask_tokens", "masked_places"]

CHOSEN, MASKED, REPLACED, SHORT = 0.15, 0.8, 0.1, 0.1


class MaskingIds(NamedTuple):
    """The ids that masking needs of a vocabulary."""

    vocab_size: int
    cls: int
    sep: int
    mask: int
    pad: int
    special: tuple[int, ...]  # all that are never masked, nor put in another's place

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> MaskingIds:
        """Those of a tokenizer; ValueError if it lacks one."""
        ids = {}
        for role in ("cls", "sep", "mask", "pad"):
            ids[role] = getattr(tokenizer, f"{role}_token_id", None)
            if ids[role] is None:
                raise ValueError(
                    f"{type(tokenizer).__name__} has no {role}_token, which masked language models need: "
                    "tokenizer.kind must be 'wordpiece'"
                )
        special = tuple(tokenizer.token_to_id(token) for token in tokenizer.special_tokens)
        return cls(tokenizer.vocab_size, **ids, special=special)


def _uniform(numbers: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from 64 random bits each."""
    return (numbers >> np.uint64(11)) * 2.0**-53


def mask_tokens(ids: np.ndarray, numbers: np.ndarray, special: MaskingIds) -> tuple[np.ndarray, np.ndarray]:
    """Mask tokens as BERT's pretraining does.

    Parameters
    ----------
    ids : ndarray of integers, shape (B, T)
    numbers : ndarray of uint64, shape (3, B, T)
        Random bits: which are chosen, what becomes of them, and which token takes their place.
    special : MaskingIds

    Returns
    -------
    masked : ndarray, shape (B, T)
    targets : ndarray, shape (B, T)
        -100 where nothing is to be predicted.
    """
    free = ~np.isin(ids, special.special)  # (B, T) may be masked
    counts = np.where(free.any(axis=1), np.maximum(1, np.rint(CHOSEN * free.sum(axis=1))), 0).astype(int)  # (B,)
    order = np.where(free, _uniform(numbers[0]), 2.0)  # (B, T)
    rank = order.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")  # (B, T) place of each among its row's
    chosen = free & (rank < counts[:, None])  # (B, T)
    ordinary = np.setdiff1d(np.arange(special.vocab_size), special.special)  # (V',)
    what = _uniform(numbers[1])  # (B, T)
    masked = np.where(chosen & (what < MASKED), special.mask, ids)
    other = ordinary[(_uniform(numbers[2]) * len(ordinary)).astype(np.int64)]  # (B, T)
    masked = np.where(chosen & (what >= MASKED) & (what < MASKED + REPLACED), other, masked)
    return masked, np.where(chosen, ids, IGNORE)


def masked_places(targets: np.ndarray) -> np.ndarray:
    """Positions of the masked tokens of each row, the same number for every row: what a GPU needs to know before it gets work.

    Parameters
    ----------
    targets : ndarray of integers, shape (B, T)
        -100 where nothing is to be predicted.

    Returns
    -------
    ndarray of int64, shape (B, M)
        Of each row first the places whose target counts, in order, then others, until there are M: the most that
        `PretrainingBatches` masks of T tokens, so that all its batches have one M; or more, where a row has more.
    """
    counts = targets != IGNORE  # (B, T)
    most = max(1, round(CHOSEN * (targets.shape[1] - 3)), int(counts.sum(axis=1).max(initial=0)))  # M
    return np.argsort(~counts, axis=1, kind="stable")[:, :most]


class PretrainingBatches(_Batches):
    """Batches of masked pairs, without end.

    Parameters
    ----------
    tokens : array_like of int, shape (N,), N >= time
    batch, time : int
        B rows of T tokens, special ones included; T >= 8.
    special : MaskingIds
    seed : int

    Attributes
    ----------
    epoch_steps : int
        Steps that read as many tokens as the stream has.

    Notes
    -----
    ``batch(step)`` gives (ids, targets, token_type_ids, key_mask, next_sentence): what `minilm.models.BERTForPreTraining` takes.
    The random numbers are raw Philox 4x64-10 numbers of the key (seed, step).
    """

    def __init__(self, tokens: ArrayLike, batch: int, time: int, special: MaskingIds, seed: int = 0):
        super().__init__(tokens, batch, time)
        if self.time < 8:
            raise ValueError(f"time must be at least 8, for two segments and three special tokens, got {time}")
        self._require(self.time, f"a pair of segments in time={self.time}")
        self.special, self.seed = special, _seed(seed)
        self.epoch_steps = max(1, -(-self.tokens.size // (self.batch_size * (self.time - 3))))

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(ids, targets, token_type_ids, key_mask, next_sentence) of a step."""
        B, T = self.batch_size, self.time
        key = np.array([self.seed, _count("step", step, 0)], np.uint64)  # (2,)
        numbers = np.random.Philox(key=key).random_raw(B * (3 * T + 6))
        layout = _uniform(numbers[: 6 * B]).reshape(B, 6)  # (B, 6)
        ids = np.full((B, T), self.special.pad, np.int64)
        types, mask = np.zeros((B, T), np.int64), np.zeros((B, T), bool)  # (B, T) each
        follows = (layout[:, 0] < 0.5).astype(np.int64)  # (B,) 1: b stands elsewhere
        for b in range(B):
            first, second = self._pair(layout[b], bool(follows[b]))
            row = np.concatenate([[self.special.cls], first, [self.special.sep], second, [self.special.sep]])
            ids[b, : len(row)] = row
            types[b, len(first) + 2 : len(row)] = 1
            mask[b, : len(row)] = True
        masked, targets = mask_tokens(ids, numbers[6 * B :].reshape(3, B, T), self.special)
        return masked, targets, types, mask, follows

    def _pair(self, u, elsewhere: bool):
        """Two segments by five random numbers of [0, 1)."""
        N, room = self.tokens.size, self.time - 3
        if u[1] < SHORT:
            room = 2 + int(u[2] * (room - 1))
        n = 1 + int(u[3] * (room - 1))  # tokens of the first, at least one for each
        m = room - n
        start = int(u[4] * (N - room + 1))
        other = start + n
        if elsewhere:
            other = int(u[5] * (N - m + 1))
            if other == start + n:
                other = (other + 1) % (N - m + 1)
        return self.tokens[start : start + n], self.tokens[other : other + m]

    def fresh(self, step: int) -> bool:
        """Whether a carried state must be dropped before a step: always."""
        return True
