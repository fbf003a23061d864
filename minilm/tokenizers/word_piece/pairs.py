"""Sequences as BERT reads them: one or two texts between special tokens, cut to a length, padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TRUNCATIONS = ("longest_first", "only_first", "only_second", None)
PADDINGS = ("longest", "max_length", None)


class Encoding(NamedTuple):
    """One sequence (T,), or a batch of them (B, T), all int32 but for `offsets`.

    Attributes
    ----------
    input_ids : ndarray
    token_type_ids : ndarray
        0 for the first text and the special tokens that go with it, 1 for the second.
    attention_mask : ndarray
        1 where there is a token, 0 where there is padding.
    word_ids : ndarray
        The number of the word in its text that a token is part of; -1 for what encoding added.
    sequence_ids : ndarray
        0 and 1: the text that a token is part of; -1 for what encoding added.
    offsets : ndarray, (T, 2) or (B, T, 2), int64
        The token's place in its text (in its word, if the text came as words); (0, 0) for what encoding added.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    word_ids: np.ndarray
    sequence_ids: np.ndarray
    offsets: np.ndarray


class Pairs:
    """The part of `WordPiece` that makes sequences for BERT."""

    def encode_pair(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: str | None = "longest_first",
        padding: str | None = None,
    ) -> Encoding:
        """Make ``[CLS] text [SEP]``, or ``[CLS] text [SEP] pair [SEP]``.

        Parameters
        ----------
        text, pair : str, or list of str
            A text, or one that is cut into words already; `word_ids` then counts those, as token classification needs it.
        max_length : int, optional
            No more tokens than these, special ones included.
        truncation : {"longest_first", "only_first", "only_second", None}
            Which text loses tokens, from its end, if `max_length` demands it. With "longest_first" the longer one, until both
            have the same length, then both; for an odd number of tokens the longer keeps one more. None raises instead.
        padding : {"max_length", None}
            Whether to fill up to `max_length`.

        Returns
        -------
        encoding : Encoding
            Arrays (T,).

        Raises
        ------
        ValueError
            The tokenizer lacks a token that is needed, or the texts cannot be cut to `max_length` so; says what is wrong.
        """
        if padding == "longest":
            raise ValueError("padding must be 'max_length' or None for one sequence, got 'longest': encode_pairs makes batches")
        self._check_lengths(max_length, truncation, padding)
        encoding = self._assemble(text, pair, max_length, truncation)
        return self._padded(encoding, max_length) if padding else encoding

    def encode_pairs(
        self,
        texts: Sequence[str | Sequence[str]],
        pairs: Sequence[str | Sequence[str]] | None = None,
        *,
        max_length: int | None = None,
        truncation: str | None = "longest_first",
        padding: str = "longest",
        multiple_of: int = 1,
    ) -> Encoding:
        """Make a batch of sequences, padded at their ends to one length.

        Parameters
        ----------
        texts, pairs : list of B texts
            Each as in `encode_pair`.
        max_length, truncation
            As in `encode_pair`.
        padding : {"longest", "max_length"}
            Fill up to the longest sequence of the batch, or to `max_length`.
        multiple_of : int
            Fill further up to a multiple of this.

        Returns
        -------
        encoding : Encoding
            Arrays (B, T).

        Raises
        ------
        TypeError
            `texts` or `pairs` is one str, or a text is neither a str nor a list of str.
        ValueError
            `texts` and `pairs` are not of one length, an argument is none of those above, or as of `encode_pair`.
        """
        if isinstance(texts, str) or isinstance(pairs, str):
            raise TypeError("texts and pairs must be lists of texts, got one str: use encode_pair")
        if padding is None:
            raise ValueError("padding must be 'longest' or 'max_length' for a batch, got None")
        if multiple_of < 1:
            raise ValueError(f"multiple_of must be at least 1, got {multiple_of!r}")
        self._check_lengths(max_length, truncation, padding)
        texts, pairs = list(texts), [None] * len(texts) if pairs is None else list(pairs)
        if len(texts) != len(pairs):
            raise ValueError(f"texts and pairs must be of one length, got {len(texts)} and {len(pairs)}")
        rows = [self._assemble(text, pair, max_length, truncation) for text, pair in zip(texts, pairs, strict=True)]
        length = max_length if padding == "max_length" else max((row.input_ids.size for row in rows), default=0)
        length = -(-length // multiple_of) * multiple_of
        if not rows:
            none = np.empty((0, length), np.int32)
            return Encoding(none, none, none, none, none, np.empty((0, length, 2), np.int64))
        return Encoding(*(np.stack(column) for column in zip(*(self._padded(row, length) for row in rows), strict=True)))

    def _check_lengths(self, max_length, truncation, padding) -> None:
        if truncation not in TRUNCATIONS:
            raise ValueError(f"truncation must be one of {', '.join(map(repr, TRUNCATIONS))}, got {truncation!r}")
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(map(repr, PADDINGS))}, got {padding!r}")
        if padding == "max_length" and max_length is None:
            raise ValueError("padding='max_length' needs max_length")

    def _assemble(self, text, pair, max_length, truncation) -> Encoding:
        cls, sep = self._special("cls"), self._special("sep")
        parts = [self._part(text, "text")] + ([] if pair is None else [self._part(pair, "pair")])
        if max_length is not None:
            lengths = cut_to(tuple(part[0].size for part in parts), max_length - len(parts) - 1, truncation)
            parts = [tuple(array[:length] for array in part) for part, length in zip(parts, lengths, strict=True)]
        added = np.array([-1], np.int32)
        ids, types, words, sequences, offsets = [np.array([cls])], [np.array([0])], [added], [added], [np.zeros((1, 2), np.int64)]
        for number, (part_ids, part_offsets, part_words) in enumerate(parts):
            ids += [part_ids, np.array([sep])]
            types.append(np.full(part_ids.size + 1, number))
            words += [part_words, added]
            sequences += [np.full(part_ids.size, number), added]
            offsets += [part_offsets, np.zeros((1, 2), np.int64)]
        ids, types, words, sequences = (np.concatenate(each).astype(np.int32) for each in (ids, types, words, sequences))
        return Encoding(ids, types, np.ones_like(ids), words, sequences, np.concatenate(offsets))

    def _part(self, text, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, offsets and words of one text, or of one that comes as words."""
        if isinstance(text, str):
            return self._places(text)
        if not isinstance(text, Sequence) or isinstance(text, bytes) or not all(isinstance(word, str) for word in text):
            raise TypeError(f"{name} must be a str or a list of str, got {type(text).__name__}")
        encoded = [self._places(word)[:2] for word in text]
        words = [np.full(ids.size, number) for number, (ids, _) in enumerate(encoded)]
        return (
            np.concatenate([np.empty(0, np.int32), *(ids for ids, _ in encoded)]),
            np.concatenate([np.empty((0, 2), np.int64), *(offsets for _, offsets in encoded)]),
            np.concatenate([np.empty(0, np.int64), *words]),
        )

    def _padded(self, encoding: Encoding, length: int) -> Encoding:
        missing = length - encoding.input_ids.size
        if missing <= 0:
            return encoding
        pad = self._special("pad")
        fills = (pad, 0, 0, -1, -1)
        filled = [np.concatenate([array, np.full(missing, fill, np.int32)]) for array, fill in zip(encoding, fills, strict=False)]
        return Encoding(*filled, np.concatenate([encoding.offsets, np.zeros((missing, 2), np.int64)]))

    def _special(self, role: str) -> int:
        token = getattr(self, f"{role}_token")
        if token is None:
            raise ValueError(f"the tokenizer has no {role}_token, which this sequence needs")
        return self._ids[token]


def cut_to(lengths: tuple[int, ...], room: int, truncation: str | None) -> tuple[int, ...]:
    """How many tokens of each text are kept so that they are at most `room` together; ValueError if it cannot be done so."""
    if room < 0:
        raise ValueError(f"max_length must leave room for {len(lengths) + 1} special tokens, got {room + len(lengths) + 1}")
    excess = sum(lengths) - room
    if excess <= 0:
        return lengths
    if truncation is None:
        raise ValueError(f"the sequence is {excess} tokens longer than max_length, and truncation is None")
    if truncation == "longest_first":
        if len(lengths) == 1:
            return (room,)
        shorter, longer = sorted(lengths)
        longer = max(shorter, room - shorter)
        if shorter + longer > room:
            shorter, longer = room // 2, room // 2 + room % 2
        return (longer, shorter) if lengths[0] > lengths[1] else (shorter, longer)
    which = TRUNCATIONS.index(truncation) - 1
    if which >= len(lengths):
        raise ValueError("truncation='only_second' needs a pair")
    if lengths[which] <= excess:
        raise ValueError(f"truncation={truncation!r} cannot shorten {lengths[which]} tokens by {excess}")
    return tuple(length - excess * (number == which) for number, length in enumerate(lengths))
