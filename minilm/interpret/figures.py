"""What the plots of explanations share: a file for each part, sizes, and labels of axes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from minilm.pictures import new_figure, write_png
from minilm.typing import PathLike

__all__ = ["label_axis", "printable", "wide", "write_figures"]

MOST_LABELS = 80  # tokens that are written at an axis


def write_figures(folder: PathLike, parts: Mapping[str, Callable], *arguments) -> list[str]:
    """Write NAME.png for each part whose ``draw(figure, *arguments)`` did not return False; the paths of what was written.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    folder = os.fspath(folder)
    os.makedirs(folder, exist_ok=True)
    written = []
    for name, draw in parts.items():
        figure = new_figure(dpi=130)
        if draw(figure, *arguments) is not False:
            written.append(write_png(figure, os.path.join(folder, f"{name}.png")))
    return written


def wide(T: int) -> float:
    """Inches for a row of T tokens."""
    return min(30, max(6, 1.5 + 0.17 * T))


def label_axis(axis, names) -> None:
    """Write names at an axis, where they are not too many to be read."""
    if len(names) <= MOST_LABELS:
        axis.set_ticks(range(len(names)), names, fontsize=7)
        for label in axis.get_ticklabels():
            label.set_parse_math(False)  # a dollar is a dollar
            label.set_rotation(90 if axis.axis_name == "x" and max(map(len, names)) > 1 else 0)


def printable(token: str) -> str:
    """A token as a label: white space by signs, at most 12 characters."""
    shown = token.strip(" ") or "␣"
    shown = shown.replace("\n", "⏎").replace("\t", "⇥")
    return "".join(c if c.isprintable() else "�" for c in shown)[:12]
