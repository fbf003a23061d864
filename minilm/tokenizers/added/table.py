"""The added tokens of one tokenizer."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from .matching import SPACES, Matcher, code_points, has_any
from .token import AddedToken, to_json

CHOICES = 16  # sets of allowed special tokens whose matchers are kept


class AddedTokens:
    """The added tokens of a tokenizer, in the order of their ids.

    Parameters
    ----------
    special_tokens : iterable of str
        Those that are special and have no other flag.
    added_tokens : iterable of AddedToken
        The others. One that `special_tokens` names too is special.
    ids : mapping of str to int
        The vocabulary.
    normalize : callable, optional
        From texts to what the tokenizer's normalizer makes of each; None where it changes nothing.

    Attributes
    ----------
    tokens : tuple of AddedToken
        With their ids.
    special : tuple of str
        The contents of the special ones.
    raw, normalized : Matcher
        Of the tokens that are looked for in the text as it is, and of those that are in the normalised text.

    Raises
    ------
    TypeError, ValueError
        A token is empty, given twice, or not in the vocabulary.
    """

    def __init__(
        self,
        special_tokens: Iterable[str],
        added_tokens: Iterable[AddedToken],
        ids: Mapping[str, int],
        normalize: Callable[[list[str]], list[str]] | None = None,
    ):
        self._normalize = normalize
        self.tokens = tuple(sorted(_table(special_tokens, added_tokens, ids), key=operator.attrgetter("id")))
        self.special = tuple(token.content for token in self.tokens if token.special)
        self._special = frozenset(self.special)
        self._special_ids = np.array([token.id for token in self.tokens if token.special], np.int64)  # (S,)
        # Of two tokens with one pattern the special one counts.
        by_kind = [*(token for token in self.tokens if token.special), *(token for token in self.tokens if not token.special)]
        self.raw = self._matcher([token for token in by_kind if not token.normalized], None)
        self.normalized = self._matcher([token for token in by_kind if token.normalized], normalize)
        self._firsts = sorted({*self.raw.firsts, *self.normalized.firsts})
        self._choices: dict[frozenset, AddedTokens] = {}

    def _matcher(self, tokens: list[AddedToken], normalize) -> Matcher:
        contents = [token.content for token in tokens]
        return Matcher(tokens, normalize(contents) if normalize and contents else contents)

    def __contains__(self, content) -> bool:
        return content in self._special

    def __eq__(self, other):
        return isinstance(other, AddedTokens) and self.tokens == other.tokens

    __hash__ = None

    def __getstate__(self):
        return {**self.__dict__, "_choices": {}}

    def allowing(self, special_tokens: frozenset[str]) -> AddedTokens:
        """These tokens without the special ones that are not among `special_tokens`."""
        if special_tokens == self._special:
            return self
        if special_tokens not in self._choices:
            kept = [token for token in self.tokens if not token.special or token.content in special_tokens]
            if len(self._choices) >= CHOICES:
                self._choices.clear()
            self._choices[special_tokens] = AddedTokens((), kept, {token.content: token.id for token in kept}, self._normalize)
        return self._choices[special_tokens]

    def may_occur(self, text: str) -> bool:
        """Whether one of the tokens may stand in a text: no, for certain, or perhaps."""
        return has_any(self._firsts, text)

    def segments(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Cut a text at the tokens in it, where nothing is normalised; see `Matcher.segments`."""
        return self._twice(text) if self.normalized else self.raw.segments(text)

    def _twice(self, text):
        for start, stop, id in self.raw.segments(text):
            if id >= 0:
                yield start, stop, id
                continue
            for first, last, id in self.normalized.segments(text[start:stop]):
                yield start + first, start + last, id

    def touched(self, text: str) -> np.ndarray:
        """Where a cut might change what `segments` finds: (N + 1,), bool; see `Matcher.touched`."""
        codes = code_points(text)
        return self.raw.touched(codes) | self.normalized.touched(codes)

    @property
    def margin(self) -> int:
        """How much of the text on both sides of a place `touched` needs to know that nothing is touched there."""
        return max(self.raw.margin, self.normalized.margin)

    @functools.cached_property
    def white_space(self) -> bool:
        """Whether one of the tokens spells or takes in white space, so that it may reach over the end of a line."""
        return any(each.lstrip or each.rstrip or any(ord(letter) in SPACES for letter in each.content) for each in self.tokens)

    def written(self, vocabulary: Iterable[str]) -> list[str]:
        """The vocabulary as `decode` writes it: normalised tokens as they are looked for."""
        tokens = list(vocabulary)
        for token, pattern in zip(self.normalized.tokens, self.normalized.patterns, strict=True):
            tokens[token.id] = pattern
        return tokens

    def without_special(self, ids: np.ndarray) -> np.ndarray:
        """Checked ids (T,) but for those of special tokens."""
        return ids[~np.isin(ids, self._special_ids)]

    def to_json(self) -> list[dict]:
        """The tokens as they stand in a tokenizer.json."""
        return [to_json(token) for token in self.tokens]

    def further(self) -> tuple[AddedToken, ...]:
        """The tokens that are more than a special token without flags, without their ids."""
        plain = (AddedToken(token.content, special=True, id=token.id) for token in self.tokens)
        return tuple(token._replace(id=None) for token, usual in zip(self.tokens, plain, strict=True) if token != usual)


def _table(special_tokens, added_tokens, ids) -> Iterable[AddedToken]:
    """The tokens with their ids, checked."""
    special = dict.fromkeys(names(special_tokens))
    table: dict[str, AddedToken] = {}
    for token in added_tokens:
        if not isinstance(token, AddedToken):
            raise TypeError(f"added_tokens must hold AddedToken, got {token!r}")
        content, id = token.content, token.id
        if not isinstance(content, str) or not content:
            raise ValueError(f"added tokens must be non-empty str, got {content!r}")
        if content in table:
            raise ValueError(f"added token {content!r} is given twice")
        if content not in ids:
            raise ValueError(f"added token {content!r} is not in the vocabulary")
        if id is not None and id != ids[content]:
            raise ValueError(f"added token {content!r} has id {id}, and {ids[content]} in the vocabulary")
        if id is None or (content in special and not token.special):
            token = token._replace(special=token.special or content in special, id=ids[content])
        table[content] = token
    for content in special:
        if content not in ids:
            raise ValueError(f"special token {content!r} is not in the vocabulary")
        table.setdefault(content, AddedToken(content, special=True, id=ids[content]))
    return table.values()


def names(special_tokens) -> tuple[str, ...]:
    """The tokens, which must be non-empty str, each there once."""
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens must be a list of str, got one str: write [{special_tokens!r}]")
    tokens = tuple(special_tokens)
    seen = set()
    for token in tokens:
        if not isinstance(token, str) or not token:
            raise ValueError(f"special tokens must be non-empty str, got {token!r}")
        if token in seen:
            raise ValueError(f"special token {token!r} is given twice")
        seen.add(token)
    return tokens
