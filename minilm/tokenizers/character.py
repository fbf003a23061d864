"""Character: one id a character."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minilm.typing import PathLike

from .base import Tokenizer
from .files import field, regroup, strings


class Character(Tokenizer):
    """One id a character: the characters of the training text, sorted by code point.

    Parameters
    ----------
    characters : iterable of str, or str
        The characters, in any order; ids are given in the order of their code points.
    unk_token : str, optional
        A token for every character outside `characters`. Without one such a character is an error.
    special_tokens : iterable of str
        Further tokens that no text encodes to, such as "<eos>"; they decode to their spelling.

    Notes
    -----
    With c_0 < c_1 < ... the sorted characters, ``encode`` maps c_i to i, as in char-rnn and nanoGPT; special tokens, `unk_token`
    first, follow the characters, so that adding one changes no other id. ``decode(encode(text)) == text`` for every text over the
    characters. Nothing is normalised: a letter and its accent are two characters if the text has them as two; "\\r\\n" is two.

    The lookup is a table from code point to id, applied by NumPy to the whole text at once.
    """

    def __init__(self, characters: Iterable[str] | str, *, unk_token: str | None = None, special_tokens: Iterable[str] = ()):
        characters = sorted(set(characters))
        for character in characters:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"characters must be single characters, got {character!r}")
        if not characters:
            raise ValueError("characters must hold at least one character, got none")
        special = list(special_tokens) if unk_token is None else [unk_token, *special_tokens]
        for token in special:
            if not isinstance(token, str) or not token:
                raise ValueError(f"special tokens must be non-empty str, got {token!r}")
            if token in characters:
                raise ValueError(f"special token {token!r} is also one of the characters")
        super().__init__([*characters, *special], special)
        self.unk_token = unk_token
        self._codes = np.array([ord(character) for character in characters], "<u4")  # (C,)
        # One place past the largest known code point serves all larger ones; ASCII texts skip that test, so 128 at the least.
        self._limit = max(int(self._codes[-1]) + 1, 128)
        unknown = -1 if unk_token is None else len(characters)
        self._table = np.full(self._limit + 1, unknown, np.int32)  # (limit + 1,)
        self._table[self._codes] = np.arange(len(characters), dtype=np.int32)  # (C,)

    @classmethod
    def train(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        errors: str = "strict",
        vocab_size: int | None = None,
        unk_token: str | None = None,
        special_tokens: Iterable[str] = (),
    ) -> Character:
        """`train_from_chunks` of the text of files, read in chunks.

        Parameters
        ----------
        paths, errors
            As in `Tokenizer.train`.
        vocab_size, unk_token, special_tokens
            As in `train_from_chunks`.

        Returns
        -------
        tokenizer : Character

        Raises
        ------
        FileNotFoundError
        ValueError
            As of `Tokenizer.train` and `train_from_chunks`.
        """
        return super().train(
            paths,
            errors=errors,
            vocab_size=vocab_size,
            unk_token=unk_token,
            special_tokens=special_tokens,
        )

    @classmethod
    def train_from_chunks(
        cls,
        chunks: str | Iterable[str],
        *,
        vocab_size: int | None = None,
        unk_token: str | None = None,
        special_tokens: Iterable[str] = (),
    ) -> Character:
        """Build the tokenizer of a text's characters.

        Parameters
        ----------
        chunks : str or iterable of str
            One text, or its pieces in order.
        vocab_size : int, optional
            Keep the most frequent characters only, so that there are at most this many ids, special tokens included; ties go to
            the lower code point. It needs `unk_token`.
        unk_token, special_tokens
            As in the constructor.

        Returns
        -------
        tokenizer : Character

        Raises
        ------
        ValueError
            The text is empty or holds a lone surrogate, or `vocab_size` comes without `unk_token` or is too small.
        """
        return cls._train([chunks], "text", vocab_size=vocab_size, unk_token=unk_token, special_tokens=special_tokens)

    @classmethod
    def _train(cls, texts, source, *, vocab_size=None, unk_token=None, special_tokens=()):
        special_tokens = tuple(special_tokens)
        if vocab_size is not None and unk_token is None:
            raise ValueError("vocab_size needs unk_token: characters beyond it must become something")
        counts = np.zeros(0x110000, np.int64)  # (code points,)
        for chunks in texts:
            start = 0
            for text in regroup(chunks):
                more = np.bincount(code_points(text, start, source))  # (largest code point + 1,)
                counts[: more.size] += more
                start += len(text)
        codes = np.flatnonzero(counts)  # (C,)
        if not codes.size:
            raise ValueError(f"{source}: no characters to train a tokenizer on (empty text)")
        if vocab_size is not None:
            room = vocab_size - len(special_tokens) - 1
            if room < 1:
                raise ValueError(f"vocab_size must leave room for a character beside the special tokens, got {vocab_size}")
            codes = codes[np.argsort(-counts[codes], kind="stable")[:room]]  # (min(C, room),)
        return cls(map(chr, codes.tolist()), unk_token=unk_token, special_tokens=special_tokens)

    def _encode(self, text, start, source):
        codes = code_points(text, start, source)  # (T,)
        if codes.dtype != np.uint8:
            codes = np.minimum(codes, self._limit)  # (T,)
        ids = self._table[codes]  # (T,)
        if self.unk_token is None and ids.size and ids.min() < 0:
            position = int(np.argmax(ids < 0))
            character = text[position]
            raise ValueError(
                f"{place(source, start + position)}: {character!r} (U+{ord(character):04X}) is not in the vocabulary; "
                "train the tokenizer on text that has it, or with unk_token"
            )
        return ids

    def _safe_cut(self, text):
        return len(text)

    def _decode(self, ids, state):
        special = np.flatnonzero(ids >= self._codes.size)  # (S,)
        pieces, start = [], 0
        for position in special.tolist():
            pieces += [self._characters(ids[start:position]), self._vocabulary[ids[position]]]
            start = position + 1
        return "".join([*pieces, self._characters(ids[start:])]), None

    def _characters(self, ids):
        return self._codes[ids].tobytes().decode("utf-32-le")

    def _fields(self):
        special = list(self._special_tokens)
        if self.unk_token is not None:
            special.remove(self.unk_token)
        characters = list(self._vocabulary[: self._codes.size])
        return {"unk_token": self.unk_token, "special_tokens": special, "characters": characters}

    @classmethod
    def _from_fields(cls, fields):
        characters = strings(fields, "characters")
        tokenizer = cls(
            characters, unk_token=field(fields, "unk_token", str, optional=True), special_tokens=strings(fields, "special_tokens")
        )
        if characters != list(tokenizer._vocabulary[: len(characters)]):
            raise ValueError("field 'characters' must be sorted by code point, without repetition")
        return tokenizer


def code_points(text: str, start: int = 0, source: str = "") -> np.ndarray:
    """The code points of a text: (T,), uint8 if all are ASCII, otherwise uint32; a lone surrogate is a ValueError."""
    if text.isascii():  # a flag of the str object, so this costs nothing
        return np.frombuffer(text.encode("ascii"), np.uint8)  # (T,)
    try:
        return np.frombuffer(text.encode("utf-32-le"), "<u4")  # (T,)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{place(source, start + error.start)}: lone surrogate U+{ord(text[error.start]):04X}, which is half of a character; "
            'read the file as UTF-8 with errors="replace"'
        ) from None


def place(source: str, position: int) -> str:
    """Where in a text: "FILE, character 12"."""
    return f"{source}, character {position}" if source else f"character {position}"
