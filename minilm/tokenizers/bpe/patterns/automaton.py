"""Patterns as an automaton: one look into a table a character, and no backtracking.

A state is what the program (see `program`) may still do, in order of preference; for every class of characters (those that no set
of the pattern tells apart) the table says which state follows, and what became certain about the place before that character:

    ENDS      the piece ends here, and the state is that of the next piece, behind its first character
    MAY_END   the piece ends here unless more of it follows
    BACK      nothing more can follow: the piece ended at the last place where it could

A match is known one character late, so what a pattern looks at behind it (``(?!\\S)``) costs nothing. Of n characters a pattern
reads n, but for those behind a place where it must go back to, which in published patterns is one.

References
----------
K. Thompson, Regular expression search algorithm, CACM 11(6), 1968; R. Cox, Regular expression matching can be simple and fast,
2007 (leftmost-first matches by ordered lists of states).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.tokenizers.bpe.patterns.program import Program
from minilm.tokenizers.bpe.patterns.sets import CODE_POINTS
from minilm.tokenizers.bpe.patterns.syntax import Chars, Either, Repeat

ENDS, MAY_END, BACK = 1 << 31, 1 << 30, 1 << 29  # flags of a table's entry; below them stands where the next state's row begins
STATE = BACK - 1
MOST = 1 << 16  # entries of a table


class Automaton(NamedTuple):
    """Where a text is cut.

    Attributes
    ----------
    classes : (CODE_POINTS,) uint8
        Which of K classes every character is of.
    steps : (S * W,) uint32
        By state and class the next state and flags; class `end` is the end of the text. State 0 is the begin of a piece.
    end : int
    cuts : (K, K) bool
        Whether a piece ends between characters of two classes, whatever surrounds them, and even if the text ended there.
    """

    classes: np.ndarray
    steps: np.ndarray
    end: int
    cuts: np.ndarray


def build(trees: list) -> Automaton:
    """The automaton of patterns that cut a text one after the other, each what the one before it left.

    Parameters
    ----------
    trees : list
        From `syntax.parse`. What a pattern does not match is a piece, too.

    Raises
    ------
    ValueError
        What is not supported.
    """
    trees = [_covering(tree) for tree in trees]
    programs = [Program(tree) for tree in trees]
    of_code, members = _partition(programs)
    kinds = members.shape[1]
    walls = np.zeros((kinds, kinds), bool)  # (K, K): between which classes an earlier pattern cuts
    for program in programs[:-1]:
        cuts, passes = _Table(program, members, walls).cuts()
        if not (cuts | passes).all():
            raise ValueError("a pattern that looks ahead or counts is supported only as the last of several")
        walls = walls | cuts
    table = _Table(programs[-1], members, walls)
    return Automaton(of_code, table.steps(), kinds, table.cuts()[0])


def covers(tree) -> bool:
    """Whether a pattern matches every text from its begin to its end."""
    return bool(_first(tree).all())


def _covering(tree):
    """A pattern that matches every text: this one, or what it never begins with."""
    first = _first(tree)
    return tree if first.all() else Either([tree, Repeat(Chars(~first), 1, None, False)])


def _first(tree) -> np.ndarray:
    """What a pattern may begin with, (CODE_POINTS,) bool."""
    program = Program(tree)
    first = np.zeros(CODE_POINTS, bool)
    for step in program.reached([program.start]):
        kind, *rest = program.steps[step]
        if kind == "match":
            raise ValueError("a pattern that matches nothing at all (an empty piece) is not supported")
        if kind == "ahead":
            raise ValueError("a pattern that begins with a look at what follows is not supported")
        if kind == "take":
            first |= rest[0]
    return first


def _partition(programs: list[Program]) -> tuple[np.ndarray, np.ndarray]:
    """Classes of characters that no set of the programs tells apart; the programs' steps then name their sets by number.

    Returns
    -------
    of_code : (CODE_POINTS,) uint8
        The class of every character.
    members : (sets, K) bool
        Which classes belong to a set.
    """
    distinct: dict[bytes, tuple[int, np.ndarray]] = {}
    for program in programs:
        for number, (name, *rest) in enumerate(program.steps):
            if name in ("take", "ahead"):
                index, _ = distinct.setdefault(np.packbits(rest[0]).tobytes(), (len(distinct), rest[0]))
                program.steps[number] = (name, index, *rest[1:])
    sets = np.stack([members for _, members in distinct.values()])  # (sets, code points)
    begins = np.flatnonzero(np.r_[True, (sets[:, 1:] != sets[:, :-1]).any(axis=0)])  # (R,): runs of characters of one class
    members, kinds = np.unique(sets[:, begins], axis=1, return_inverse=True)  # (sets, K), (R,)
    if members.shape[1] > 250:
        raise ValueError(f"a pattern that tells {members.shape[1]} classes of characters apart is not supported (at most 250)")
    return np.repeat(kinds.reshape(-1).astype(np.uint8), np.diff(begins, append=CODE_POINTS)), members


class _Table:
    """The states of one program, numbered as they are reached."""

    def __init__(self, program: Program, members: np.ndarray, walls: np.ndarray):
        self.program, self.members, self.walls = program, members, walls
        self.kinds = members.shape[1]
        # States are kept apart by where a wall stands behind their last character.
        self.groups = np.unique(walls, axis=0, return_inverse=True)[1].reshape(-1)  # (K,)
        self.numbers: dict = {}  # of states: (steps, group): number
        self.last: list[set[int]] = []  # of every state, which classes its last character may be of
        self.rows: list = []  # of every state, by class and at the end, (next state, flags)
        self._build()

    def _after(self, steps: tuple, kind: int) -> tuple[tuple, bool]:
        """The steps behind a character of class `kind` (or the end), and whether the piece may end before it."""
        following, waiting, seen = [], list(reversed(steps)), set()
        while waiting:
            step = waiting.pop()
            if step in seen:
                continue
            seen.add(step)
            name, *rest = self.program.steps[step]
            if name == "match":
                return self._settled(following), True  # what is less preferred no longer counts
            if name == "try":
                waiting += reversed(rest[0])
            elif name == "ahead":
                if rest[1] if kind == self.kinds else self.members[rest[0], kind]:
                    waiting.append(rest[2])
            elif kind < self.kinds and self.members[rest[0], kind]:
                following.append(rest[1])
        return self._settled(following), False

    def _settled(self, steps: list[int]) -> tuple:
        return tuple(step for step in self.program.reached(steps) if self.program.steps[step][0] != "try")

    def _number(self, steps: tuple, kind: int) -> int:
        """The number of the state with these steps behind a character of class `kind`."""
        number = self.numbers.setdefault((steps, self.groups[kind]), len(self.numbers))
        if number == len(self.last):
            self.last.append(set())
        self.last[number].add(kind)
        return number

    def _build(self) -> None:
        begin = self._settled([self.program.start])
        self.numbers[begin, -1] = 0
        self.last.append(set())
        first = [
            self._number(self._after(begin, kind)[0], kind) for kind in range(self.kinds)
        ]  # behind a piece's first character
        self.rows.append([(state, 0) for state in first] + [(0, BACK)])
        while len(self.rows) < len(self.numbers):
            steps, _ = list(self.numbers)[len(self.rows)]
            self.rows.append(self._row(steps, self.walls[min(self.last[len(self.rows)])], first))
        if any(not flags & (ENDS | MAY_END) for state in first for _, flags in self.rows[state]):
            raise ValueError("a pattern that leaves characters unmatched behind a piece's first one is not supported")

    def _row(self, steps: tuple, wall: np.ndarray, first: list[int]) -> list[tuple[int, int]]:
        """Next state and flags, by class and at the end; `wall` (K,) says before which classes an earlier pattern cuts."""
        row = []
        for kind in range(self.kinds):
            following, ended = self._after(steps, self.kinds if wall[kind] else kind)
            if following:
                row.append((self._number(following, kind), MAY_END * ended))
            else:
                row.append((first[kind], ENDS if ended else BACK))
        return [*row, (0, ENDS if self._after(steps, self.kinds)[1] else BACK)]

    def cuts(self) -> tuple[np.ndarray, np.ndarray]:
        """Between which classes a piece always ends, and between which it always goes on whatever comes: (K, K) bool each."""
        cuts = np.ones((self.kinds, self.kinds), bool)
        passes = np.ones((self.kinds, self.kinds), bool)
        for row, last in zip(self.rows, self.last, strict=True):
            flags = np.array([flags for _, flags in row])  # (K + 1,)
            ends = (flags[:-1] == ENDS) & (flags[-1] == ENDS)  # (K,)
            goes_on = flags[:-1] & (ENDS | BACK) == 0
            cuts[list(last)] &= ends
            passes[list(last)] &= goes_on
        return cuts, passes

    def steps(self) -> np.ndarray:
        """The table, (S * W,) uint32; W is the number of classes and one, rounded up to a power of two."""
        width = 1 << self.kinds.bit_length()
        if len(self.rows) * width > MOST:
            raise ValueError(f"a pattern of {len(self.rows)} states and {self.kinds} classes is too large")
        table = np.zeros((len(self.rows), width), np.uint32)  # (S, W)
        for number, row in enumerate(self.rows):
            table[number, : self.kinds + 1] = [state * width | flags for state, flags in row]
        return table.reshape(-1)
