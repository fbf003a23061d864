r"""Reads the regular expressions that tokenizers cut texts with.

What they use, and what is understood here::

    abc  \r \n \t \x20 \u3000    characters            x?  x*  x+  x{3}  x{1,3}   as many as possible
    \s \S  \p{L} \P{Lu} \d       sets of characters    x?+ x++ ...                and never fewer
    [^\r\n\p{L}]  [a-z]          sets, written out     (?!\S)  (?=\s)  $          what follows, looked at but not taken
    x|y   (?:x)   (x)            choice, groups        (?i:'s|'t)                 both cases of ASCII letters

Anything else is refused by name: a part that is ignored cuts texts where the model never saw them cut.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from minilm.tokenizers.bpe.patterns import sets

_CONTROL = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "v": "\v"}
_REFUSED = {
    "(?<": "lookbehind or a named group",
    "(?>": "an atomic group",
    "(?P": "a named group",
    "(?#": "a comment",
}


class Chars(NamedTuple):
    """One character of a set."""

    members: np.ndarray  # (0x110000,) bool


class Sequence(NamedTuple):
    """Parts, one after the other."""

    parts: list


class Either(NamedTuple):
    """The first of several options that lets the rest match."""

    options: list


class Repeat(NamedTuple):
    """A part, `least` to `most` times (None: no end), as often as possible; `possessive`: and never given back."""

    part: object
    least: int
    most: int | None
    possessive: bool


class Ahead(NamedTuple):
    """Nothing, where a character of a set follows; or, if `at_end`, where the text ends."""

    members: np.ndarray  # (0x110000,) bool
    at_end: bool


def parse(pattern: str):
    """The tree of a pattern.

    Raises
    ------
    ValueError
        Naming the part that is not understood, or is wrong, and its position.
    """
    reader = _Reader(pattern)
    tree = reader.either()
    if reader.at < len(pattern):
        reader.refuse(reader.at, "a closing parenthesis that nothing opens")
    return tree


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str):
        self.pattern, self.at, self.fold = pattern, 0, False

    def refuse(self, start: int, what: str):
        part = self.pattern[start : start + 24]
        raise ValueError(f"{what} at character {start} of the pattern, {part!r}, is not supported")

    def take(self, expected: str) -> bool:
        """Whether the pattern goes on with these characters, which are then behind."""
        matches = self.pattern.startswith(expected, self.at)
        self.at += len(expected) * matches
        return matches

    def either(self):
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Either(options)

    def sequence(self):
        parts = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else Sequence(parts)

    def repeated(self):
        start, part = self.at, self.atom()
        counts = re.compile(r"\?|\*|\+|\{(\d+)(,?)(\d*)\}").match(self.pattern, self.at)
        if not counts:
            return part
        self.at = counts.end()
        if isinstance(part, Ahead):
            self.refuse(start, "a repeated look at what follows")
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(counts[0], (None, None))
        if least is None:
            least = int(counts[1])
            most = least if not counts[2] else int(counts[3]) if counts[3] else None
        if self.take("?"):
            self.refuse(start, "repetition as rarely as possible")
        return Repeat(part, least, most, self.take("+"))

    def atom(self):
        start = self.at
        for opening, what in _REFUSED.items():
            if self.pattern.startswith(opening, start):
                self.refuse(start, what)
        if self.take("("):
            return self.group(start)
        if self.take("["):
            return Chars(self.folded(start, self.bracket(start)))
        if self.take("$"):
            return Ahead(sets.none(), True)
        if self.take("."):
            return Chars(~sets.between(ord("\n"), ord("\n")))
        if self.pattern[start] in "^?*+{":
            self.refuse(start, "an anchor" if self.pattern[start] == "^" else "a repetition of nothing")
        return Chars(self.folded(start, self.character()))

    def group(self, start: int):
        """What follows an opening parenthesis, up to the closing one."""
        outer = self.fold
        looks = self.take("?!") or self.take("?=")
        if not looks and self.take("?i:"):
            self.fold = True
        elif not looks and not self.take("?:") and self.pattern.startswith("?", self.at):
            self.refuse(start, "a group of this kind")
        tree = self.either()
        self.fold = outer
        if not self.take(")"):
            self.refuse(start, "a group without an end")
        if not looks:
            return tree
        if not isinstance(tree, Chars):
            self.refuse(start, "a look at more than one character")
        negated = self.pattern[start + 2] == "!"
        return Ahead(~tree.members if negated else tree.members, negated)

    def bracket(self, start: int) -> np.ndarray:
        """What follows an opening bracket, up to the closing one."""
        negated, members, first = self.take("^"), sets.none(), True
        while first or not self.take("]"):
            first = False
            if self.at >= len(self.pattern):
                self.refuse(start, "a set without an end")
            if self.pattern[self.at] == "[" or self.pattern.startswith("&&", self.at):
                self.refuse(self.at, "a set within a set")
            begin = self.at
            one = self.character()
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                last = self.character()
                if np.count_nonzero(one) != 1 or np.count_nonzero(last) != 1 or one.argmax() > last.argmax():
                    self.refuse(begin, "a range of characters")
                one = sets.between(one.argmax(), last.argmax())
            members |= one
        return ~self.folded(start, members) if negated else members

    def character(self) -> np.ndarray:
        r"""A character, or an escape that stands for one or several: (0x110000,) bool."""
        start = self.at
        self.at += 1
        if self.pattern[start] != "\\":
            return sets.between(ord(self.pattern[start]), ord(self.pattern[start]))
        letter = self.pattern[self.at : self.at + 1]
        self.at += 1
        if letter in _CONTROL:
            return sets.between(ord(_CONTROL[letter]), ord(_CONTROL[letter]))
        if letter and letter in "xu":
            written = r"\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{" + ("2" if letter == "x" else "4") + "})"
            digits = re.compile(written).match(self.pattern, self.at)
            if not digits:
                self.refuse(start, "an escape without its digits")
            self.at, code = digits.end(), int(digits[1] or digits[2], 16)
            return sets.between(code, code)
        if letter and letter in "sSdD":
            members = sets.white() if letter in "sS" else sets.category("Nd")
            return ~members if letter.isupper() else members
        if letter and letter in "pP":
            name = re.compile(r"\{(\^?)(\w+)\}|()(\w)").match(self.pattern, self.at)
            self.at = name.end() if name else self.at
            try:
                members = sets.category(name[2] or name[4]) if name else None
            except KeyError:
                members = None
            if members is None:
                self.refuse(start, "a property other than a general category")
            return ~members if (letter == "P") != bool(name[1]) else members
        if not letter or letter.isalnum():
            self.refuse(start, "an escape of this kind")
        return sets.between(ord(letter), ord(letter))

    def folded(self, start: int, members: np.ndarray) -> np.ndarray:
        """The set with both cases of its letters, within (?i:...)."""
        if self.fold:
            members = sets.folded(members)
            if members is None:
                self.refuse(start, "both cases of what is not ASCII")
        return members
