"""A pattern's tree as a program of small steps: what may be tried at a place, the preferred first.

A step is one of

    ("take", set, next)            a character of a set
    ("try", [next, ...])           the first that lets the rest match
    ("ahead", set, at_end, next)   goes on only where a character of the set follows, or the text ends
    ("match",)                     the piece may end here

Repetitions that keep what they took (``x++``) become ordinary ones, which is the same wherever the rest of the pattern could not
use what they would give back; elsewhere they are refused.
"""

from __future__ import annotations

import numpy as np

from minilm.tokenizers.bpe.patterns.syntax import Ahead, Chars, Either, Repeat, Sequence


class Program:
    """The steps of a pattern.

    Attributes
    ----------
    steps : list of tuple
    start : int
        Where to begin.
    """

    def __init__(self, tree):
        self.steps: list = []
        self.start = self._add(tree, self._step("match"))

    def _step(self, *step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _add(self, tree, after: int) -> int:
        """Enter what comes before step `after`; returns where it begins."""
        if isinstance(tree, Chars):
            return self._step("take", tree.members, after)
        if isinstance(tree, Ahead):
            return self._step("ahead", tree.members, tree.at_end, after)
        if isinstance(tree, Sequence):
            for part in reversed(tree.parts):
                after = self._add(part, after)
            return after
        if isinstance(tree, Either):
            return self._step("try", [self._add(option, after) for option in tree.options])
        return self._repeat(tree, after)

    def _repeat(self, tree: Repeat, after: int) -> int:
        if tree.possessive:
            self._refuse_giving_back(tree.part, after)
        if tree.most is None:
            again = self._step("try", [])
            begin = self._add(tree.part, again)
            if again in self.reached([begin]):
                raise ValueError("a repetition without end of what may be empty is not supported in a pattern")
            self.steps[again] = ("try", [begin, after])
            after = again
        else:
            end = after  # from every further repetition it may go on there
            for _ in range(tree.most - tree.least):
                after = self._step("try", [self._add(tree.part, after), end])
        for _ in range(tree.least):
            after = self._add(tree.part, after)
        return after

    def reached(self, steps: list[int]) -> list[int]:
        """The steps that these lead to without a character, themselves included, the preferred first."""
        order: dict[int, None] = {}
        waiting = list(reversed(steps))
        while waiting:
            step = waiting.pop()
            if step not in order:
                order[step] = None
                if self.steps[step][0] == "try":
                    waiting += reversed(self.steps[step][1])
        return list(order)

    def _refuse_giving_back(self, part, after: int) -> None:
        """ValueError unless what follows cannot begin with a character that a repetition of `part` took."""
        if not isinstance(part, Chars):
            raise ValueError("a possessive repetition (++) of more than one character is not supported in a pattern")
        for step in self.reached([after]):
            kind, *rest = self.steps[step]
            if kind in ("take", "ahead") and np.any(rest[0] & part.members):
                raise ValueError(
                    "a possessive repetition (++) whose characters may also begin what follows it is not supported in a pattern"
                )
