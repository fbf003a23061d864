"""WordLevel: one id a word, for word-level language models."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import repeat

import numpy as np

from minilm.typing import PathLike

from .base import Tokenizer
from .character import place
from .files import field, regroup, strings

SPLITS = ("words", "spaces")


class WordLevel(Tokenizer):
    r"""One id a word, as language models on the Penn Treebank or WikiText use it.

    Parameters
    ----------
    words : iterable of str
        The vocabulary without the special tokens; a word's id follows from its place.
    split : {"words", "spaces"}
        "words": words, and every punctuation mark or symbol by itself ("Stay, said she." is 5 tokens; an apostrophe between
        letters stays inside its word). "spaces": what white space separates, for texts that come tokenized.
    lower : bool
        Lower-case every token.
    unk_token : str or None
        The token for words outside the vocabulary. With None such a word is an error.
    eos_token : str or None
        The token for the end of a line. With None line ends are white space like any other.

    Notes
    -----
    Ids: `unk_token`, `eos_token` (those that are not None), then the words; `train` orders them by falling count, and ties by
    code points, so that neither the order of the files nor of the lines matters.

    Every "\n" gives one `eos_token`, an empty line too, and nothing else does: a prompt that does not end its line gets none. All
    other white space ("\r" of "\r\n" as well) only separates. A special token that stands by itself in the text (as "<unk>" in
    the Penn Treebank's files) is that token.

    `decode` joins by single spaces and writes `eos_token` as "\n": spacing is not restored, but encoding the decoded text again
    gives the same ids.

    References
    ----------
    T. Mikolov et al., Recurrent neural network based language model, Interspeech 2010 (the Penn Treebank set-up, 10,000 words).
    S. Merity et al., Pointer sentinel mixture models, ICLR 2017 (WikiText).
    """

    def __init__(
        self,
        words: Iterable[str],
        *,
        split: str = "words",
        lower: bool = False,
        unk_token: str | None = "<unk>",
        eos_token: str | None = "<eos>",
    ):
        special = special_tokens(unk_token, eos_token)
        words = tuple(words)
        for token in [*special, *words]:
            if not isinstance(token, str) or not token or token.split() != [token]:
                raise ValueError(f"tokens must be non-empty str without white space, got {token!r}")
        super().__init__([*special, *words], special)
        if not self.vocab_size:
            raise ValueError("words must hold at least one word, got none")
        self.split, self.lower, self.unk_token, self.eos_token = split, bool(lower), unk_token, eos_token
        self._special_spellings = special_spellings(unk_token, eos_token, self._ids, self.lower)
        self._pattern = token_pattern(split, self._special_spellings)
        self._lookup = {**self._special_spellings, **self._ids}  # spelling -> id

    @classmethod
    def train(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        errors: str = "strict",
        vocab_size: int | None = None,
        min_count: int = 1,
        split: str = "words",
        lower: bool = False,
        unk_token: str | None = "<unk>",
        eos_token: str | None = "<eos>",
    ) -> WordLevel:
        """`train_from_chunks` of the text of files, read in chunks.

        Parameters
        ----------
        paths, errors
            As in `Tokenizer.train`.
        vocab_size, min_count, split, lower, unk_token, eos_token
            As in `train_from_chunks`.

        Returns
        -------
        tokenizer : WordLevel

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
            min_count=min_count,
            split=split,
            lower=lower,
            unk_token=unk_token,
            eos_token=eos_token,
        )

    @classmethod
    def train_from_chunks(
        cls,
        chunks: str | Iterable[str],
        *,
        vocab_size: int | None = None,
        min_count: int = 1,
        split: str = "words",
        lower: bool = False,
        unk_token: str | None = "<unk>",
        eos_token: str | None = "<eos>",
    ) -> WordLevel:
        """Build the tokenizer of a text's most frequent words.

        Parameters
        ----------
        chunks : str or iterable of str
            One text, or its pieces in order.
        vocab_size : int, optional
            At most this many ids, special tokens included. It needs `unk_token`, as does `min_count` above 1.
        min_count : int
            Words that occur less often are left out.
        split, lower, unk_token, eos_token
            As in the constructor.

        Returns
        -------
        tokenizer : WordLevel

        Raises
        ------
        ValueError
            No words are left of the text, words are left out and there is no `unk_token`, or `vocab_size` has no room for one.
        """
        options = {"split": split, "lower": lower, "unk_token": unk_token, "eos_token": eos_token}
        return cls._train([chunks], "text", vocab_size=vocab_size, min_count=min_count, **options)

    @classmethod
    def _train(cls, texts, source, *, vocab_size=None, min_count=1, **options):
        probe = cls(("a",), **options)  # cuts texts by the same rules; its only word is of no account
        if probe.unk_token is None and (vocab_size is not None or min_count > 1):
            raise ValueError("vocab_size and min_count need unk_token: words that are left out must become something")
        counts = Counter()
        for chunks in texts:
            held = []
            for piece in regroup(chunks):
                cut = probe._safe_cut(piece)
                if cut:
                    counts.update(probe._tokens("".join([*held, piece[:cut]])))
                    held = []
                held.append(piece[cut:])
            counts.update(probe._tokens("".join(held)))
        words = [word for word, count in counts.items() if count >= min_count and word not in probe._special_spellings]
        if not words:
            raise ValueError(f"{source}: no words to train a tokenizer on (empty text, or min_count {min_count} too large)")
        words.sort(key=lambda word: (-counts[word], word))
        if vocab_size is not None:
            room = vocab_size - len(probe.special_tokens)
            if room < 1:
                raise ValueError(f"vocab_size must leave room for a word beside the special tokens, got {vocab_size}")
            words = words[:room]
        try:
            return cls(words, **options)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    def _tokens(self, text: str) -> list[str]:
        tokens = self._pattern.findall(text)
        return [token.lower() for token in tokens] if self.lower else tokens

    def _encode(self, text, start, source):
        tokens = self._tokens(text)
        unknown = -1 if self.unk_token is None else self._ids[self.unk_token]
        ids = np.fromiter(map(self._lookup.get, tokens, repeat(unknown)), np.int32, count=len(tokens))  # (T,)
        if self.unk_token is None and ids.size and ids.min() < 0:
            wrong = int(np.argmax(ids < 0))
            match = next(word for count, word in enumerate(self._pattern.finditer(text)) if count == wrong)
            raise ValueError(
                f"{place(source, start + match.start())}: word {match.group()!r} is not in the vocabulary; "
                "train the tokenizer on text that has it, or with unk_token"
            )
        return ids

    def _safe_cut(self, text):
        for index in range(len(text) - 1, -1, -1):
            if text[index].isspace():
                return index + 1
        return 0

    def _decode(self, ids, state):
        at_line_start = state is None or state  # no space before the first token of a line
        pieces, end_of_line = [], self.eos_token_id
        for id in ids.tolist():
            if id == end_of_line:
                pieces.append("\n")
                at_line_start = True
            else:
                pieces.append(self._vocabulary[id] if at_line_start else " " + self._vocabulary[id])
                at_line_start = False
        return "".join(pieces), at_line_start

    def _fields(self):
        return {
            "split": self.split,
            "lower": self.lower,
            "unk_token": self.unk_token,
            "eos_token": self.eos_token,
            "words": list(self._vocabulary[len(self._special_tokens) :]),
        }

    @classmethod
    def _from_fields(cls, fields):
        return cls(
            strings(fields, "words"),
            split=field(fields, "split", str),
            lower=field(fields, "lower", bool),
            unk_token=field(fields, "unk_token", str, optional=True),
            eos_token=field(fields, "eos_token", str, optional=True),
        )


def special_tokens(unk_token, eos_token) -> list[str]:
    """The special tokens there are, in the order of their ids."""
    return [token for token in (unk_token, eos_token) if token is not None]


def special_spellings(unk_token, eos_token, ids: dict, lower: bool) -> dict[str, int]:
    """How a text may spell a special token, and its id: as it is, in lower case if texts are lower-cased, and "\\n"."""
    spellings = {} if eos_token is None else {"\n": ids[eos_token]}
    for token in special_tokens(unk_token, eos_token):
        spellings[token] = ids[token]
        if lower:
            spellings.setdefault(token.lower(), ids[token])
    return spellings


def token_pattern(split: str, special) -> re.Pattern:
    """The expression whose matches, in order, are a text's tokens, given how special ones are spelled. None spans white space."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    line_end = [r"\n"] if "\n" in special else []
    if split == "spaces":
        return re.compile("|".join([*line_end, r"\S+"]))
    spelled = "|".join(re.escape(token) for token in special if token != "\n")
    by_itself = [rf"(?<!\S)(?:{spelled})(?!\S)"] if spelled else []
    marks = punctuation()
    letters = rf"[^\s{marks}]+"
    return re.compile("|".join([*line_end, *by_itself, rf"{letters}(?:['\u2019]{letters})*", rf"[{marks}]"]))


@functools.cache
def punctuation() -> str:
    """Punctuation and symbols, written as the inside of a character class.

    These are the Unicode categories P and S, but "_", below U+10000, and of the rest the blocks of pictographs. Everything else
    that is not white space belongs to words, combining marks above all: the vowel signs of Hindi are no letters to Python's
    ``\\w``. (Below U+10000 `re` looks a character up in a table; above, every further range is one more comparison a character.)
    """
    codes = [code for code in range(0x10000) if unicodedata.category(chr(code))[0] in "PS" and chr(code) != "_"]
    return "".join(f"\\u{code:04x}" for code in codes) + "\\U0001f000-\\U0001fbff"
