"""Sources for a reader: paged, folded and coloured on a terminal, unchanged elsewhere."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

COLUMNS = 100
HEADING = "heading"  # a kind of token that pygments has not
HANGING = 4  # columns by which the rest of a folded line is indented further


class Section(NamedTuple):
    """A text with its heading."""

    title: str | None
    text: str
    language: str = "text"  # or python, cuda: as pygments calls them


def show(sections: Iterable[Section]) -> None:
    """Print the sections. On a terminal through ``$PAGER`` (less without it), and in colour where pygments is installed."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        for section in sections:
            print("".join(text for _, text in _heading(section)) + section.text, end="\n\n")
        return
    columns = min(COLUMNS, shutil.get_terminal_size().columns)
    _page("".join(_formatted(folded([*_heading(section), *_tokens(section)], columns)) + "\n\n" for section in sections))


# --- folding ---------------------------------------------------------------------------------------------------------


def folded(tokens: list[tuple], columns: int) -> Iterator[tuple]:
    """(kind, text) of tokens, with line ends where lines are longer than `columns`, between words where there are any."""
    cuts = iter([*_cuts("".join(text for _, text in tokens), columns), (sys.maxsize, 0)])
    cut, indent = next(cuts)
    position = 0
    for kind, text in tokens:
        start = 0
        while cut < position + len(text):
            yield kind, text[start : cut - position]
            yield None, "\n" + " " * indent
            start = cut - position
            cut, indent = next(cuts)
        yield kind, text[start:]
        position += len(text)


def _cuts(text: str, columns: int) -> Iterator[tuple[int, int]]:
    """Where new lines begin in addition to those that do, and how far these are indented."""
    first = 0
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip()) + HANGING
        indent = indent if indent < columns // 2 else 0
        start, room = 0, columns
        while len(line) - start > room:
            blank = line.rfind(" ", start + room // 2, start + room)
            start = blank + 1 if blank > 0 else start + room
            room = columns - indent
            yield first + start, indent
        first += len(line) + 1


# --- colour ----------------------------------------------------------------------------------------------------------


def _heading(section: Section) -> list[tuple]:
    return [(HEADING, f"# ---- {section.title}"), (None, "\n\n")] if section.title else []


def _tokens(section: Section) -> list[tuple]:
    """(kind, text) of all parts of a text, as pygments cuts it; in one piece where that is not wanted or not installed."""
    with contextlib.suppress(ImportError):
        if not os.environ.get("NO_COLOR"):
            from pygments.lexers import get_lexer_by_name

            lexer = get_lexer_by_name(section.language, stripnl=False, ensurenl=False)
            return list(lexer.get_tokens(section.text))
    return [(None, section.text)]


def _formatted(tokens: Iterable[tuple]) -> str:
    with contextlib.suppress(ImportError):
        if not os.environ.get("NO_COLOR"):
            from pygments import format as formatted
            from pygments.formatters.terminal import TERMINAL_COLORS, TerminalFormatter
            from pygments.token import Token

            kinds = {None: Token.Text, HEADING: Token.Generic.Heading}
            legible = {Token.Comment: ("green", "green"), Token.Text.Whitespace: ("", "")}  # on white and on black
            formatter = TerminalFormatter(colorscheme={**TERMINAL_COLORS, **legible})
            return formatted(((kinds.get(kind, kind), text) for kind, text in tokens), formatter)
    return "".join(text for _, text in tokens)


# --- pages -----------------------------------------------------------------------------------------------------------


def _page(text: str) -> None:
    """Hand the text to the pager, or print it where there is none."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    if command == ["less"]:
        command += ["-R", "-F", "-X"]  # colours pass through; a text of one page just stands there
    if not command or not shutil.which(command[0]):
        print(text, end="")
        return
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, encoding="utf-8", errors="backslashreplace")
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # the reader has seen enough
        pager.communicate(text)
    while pager.poll() is None:  # Ctrl-C is the pager's own affair
        with contextlib.suppress(KeyboardInterrupt):
            pager.wait()
