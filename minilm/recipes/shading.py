"""A picture of texts whose words are shaded by their weights."""

from __future__ import annotations

import textwrap

from minilm.pictures import new_figure, write_png

__all__ = ["shaded"]

WIDTH = 100  # characters a line
SIZE = 9  # of the letters, in points
LETTER, LINE = 0.602 * SIZE / 72, 0.24  # inches that a letter of the monospaced font is wide, and a line high


def shaded(path: str, rows: list) -> str:
    """Write a PNG: texts, each below its label and each word on a ground as dark as its weight is large.

    Parameters
    ----------
    path : str
    rows : list of (list of (word, weight), label)

    Returns
    -------
    str
        `path`.
    """
    lines = []  # (x, y, word, part of the heaviest) of all words, in characters and lines
    labels, y = [], 0
    for weighted, label in rows:
        labels.append((y, textwrap.shorten(label, WIDTH, placeholder=" …")))
        y += 1
        heaviest = max((weight for _, weight in weighted), default=1.0) or 1.0
        x = 0
        for word, weight in weighted:
            word = textwrap.shorten(word, 40, placeholder="…") if len(word) > 40 else word
            if x and x + len(word) > WIDTH:
                x, y = 0, y + 1
            lines.append((x, y, word, weight / heaviest))
            x += len(word) + 1
        y += 2
    figure = new_figure(((WIDTH + 6) * LETTER, (y + 1) * LINE), layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-3, WIDTH + 3), ylim=(y, -1))
    axes.axis("off")
    for y, label in labels:
        axes.text(0, y, label, va="center", fontsize=SIZE, fontweight="bold", color="0.25", parse_math=False)
    for x, y, word, part in lines:
        ground = {"boxstyle": "square,pad=0.15", "facecolor": (1.0, 0.62, 0.1, 0.85 * part), "edgecolor": "none"}
        axes.text(x, y, word, family="monospace", fontsize=SIZE, va="center", bbox=ground, parse_math=False)
    return write_png(figure, path)
