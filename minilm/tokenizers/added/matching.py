"""Added tokens in a text: where they occur, and where the text may be cut without splitting one."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator

import numpy as np

from minilm.tokenizers.added.token import AddedToken

FEW = 8  # patterns that a plain search in the text finds sooner than the automaton does
SPACES = frozenset([*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
# Letters in circles and squares, and the two joiners, are of no category that belongs to words.
IN_WORDS = frozenset([*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)])
IN_WORDS |= {0x200C, 0x200D}


def code_points(text: str) -> np.ndarray:
    """The code points of a text, lone surrogates too: (N,), uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")  # (N,)


def in_word(code: int) -> bool:
    """Whether a character is part of a word by Unicode's rule for regular expressions: letters, marks, digits, connectors."""
    category = unicodedata.category(chr(code))
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or code in IN_WORDS


def has_any(firsts: list[str], text: str) -> bool:
    """Whether one of the characters `firsts`, with which tokens begin, stands in a text, or there are too many to look for."""
    if len(firsts) > FEW:
        return True
    for first in firsts:  # no generator, which would take longer than the search in a sentence
        if first in text:
            return True
    return False


class Matcher:
    """Finds added tokens in texts: the leftmost, of those the longest, and so on behind its end.

    Parameters
    ----------
    tokens : list of P AddedToken
        With their ids.
    patterns : list of P str
        What a text spells for each; of equal ones the first counts, and an empty one never does.
    """

    def __init__(self, tokens: list[AddedToken], patterns: list[str]):
        self.tokens = [token for token, pattern in zip(tokens, patterns, strict=True) if pattern]
        self.patterns = [pattern for pattern in patterns if pattern]
        self._ids = [token.id for token in self.tokens]
        self._few = self.patterns if len(self.patterns) <= FEW else None
        self.firsts = sorted({pattern[0] for pattern in self.patterns})
        self._plain = not any(token.single_word or token.lstrip or token.rstrip for token in self.tokens)
        self.margin = max(map(len, self.patterns), default=0) + 1

    def __bool__(self):
        return bool(self.tokens)

    @functools.cached_property
    def _automaton(self):
        from minilm.tokenizers.added import automaton  # not above: it compiles

        return automaton.build(self.patterns)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_automaton"}

    def may_occur(self, text: str) -> bool:
        """Whether a token may stand in the text, by the characters that tokens begin with: no, for certain, or perhaps."""
        return has_any(self.firsts, text)

    def segments(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Cut a text at the tokens in it.

        Returns
        -------
        segments : iterator of (start, stop, id)
            A token text[start:stop], or with id -1 a stretch, perhaps empty, without any.
        """
        if not self.may_occur(text) or (self._few is not None and not any(pattern in text for pattern in self._few)):
            return iter(((0, len(text), -1),))
        return self.segments_of(code_points(text))

    def segments_of(self, codes: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """What `segments` does, for the code points (N,), uint32, of a text."""
        end = 0
        matches = self._automaton.leftmost(codes).tolist() if self.tokens else []  # (M, 3)
        for start, stop, pattern in matches if self._plain else self._judged(codes, matches):
            if start > end:
                yield end, start, -1
            yield start, stop, self._ids[pattern]
            end = stop
        yield end, codes.size, -1

    def _judged(self, codes: np.ndarray, matches: list[list[int]]) -> Iterator[tuple[int, int, int]]:
        """The matches that count by the flags of their tokens, with the white space that these take in."""
        end = 0
        for start, stop, pattern in matches:
            token = self.tokens[pattern]
            if token.single_word and (
                (start > 0 and in_word(int(codes[start - 1]))) or (stop < codes.size and in_word(int(codes[stop])))
            ):
                continue
            while token.lstrip and start > end and int(codes[start - 1]) in SPACES:
                start -= 1
            if token.lstrip:
                start = max(start, end)  # the token before it may have taken in white space with which this one begins
            while token.rstrip and stop < codes.size and int(codes[stop]) in SPACES:
                stop += 1
            if start >= stop:
                continue
            yield start, stop, pattern
            end = stop

    def touched(self, codes: np.ndarray) -> np.ndarray:
        """Where a cut might change what is found, whatever comes before and behind the text.

        Parameters
        ----------
        codes : ndarray, shape (N,), uint32

        Returns
        -------
        touched : ndarray, shape (N + 1,), bool
            False at place n: no token reaches from codes[:n] into codes[n:], and none is judged by characters of both.
        """
        touched = np.zeros(codes.size + 1, bool)  # (N + 1,)
        if not self.tokens:
            return touched
        for start, stop, _ in self._automaton.occurrences(codes).tolist():  # (M, 3)
            touched[start + self._plain : stop + (not self._plain)] = True
        touched[: self.margin] = touched[max(codes.size + 1 - self.margin, 0) :] = True
        if not self._plain:  # white space beside what is touched may belong to a token
            spaces = np.append(np.isin(codes, list(SPACES)), False)  # (N + 1,)
            for place in np.flatnonzero(touched[:-1] & spaces[:-1]).tolist():
                while spaces[place] and not touched[place + 1]:
                    touched[place + 1] = True
                    place += 1
            for place in np.flatnonzero(touched[1:] & spaces[:-1])[::-1].tolist():
                while place >= 0 and spaces[place] and not touched[place]:
                    touched[place] = True
                    place -= 1
        return touched
