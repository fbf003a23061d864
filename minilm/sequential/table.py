"""Keras's table of a model."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["table"]

WIDTH = 88
PARTS = (0.46, 0.35)  # of the width, for the first two columns
HEADER = ("Layer (type)", "Output Shape", "Param #")


def table(model: Sequential, line_length: int | None = None) -> str:
    """The layers with their outputs' shapes and numbers of parameters, and the sums, in the form that Keras 3 prints."""
    total = line_length or WIDTH
    rows = [_row(layer) for layer in model.layers]
    room = max(30, total - 3 * len(HEADER) - 1)  # beside the borders and spaces
    widths = [round(part * room) for part in PARTS]
    widths.append(room - sum(widths))
    lines = [f'Model: "{model.name}"', _rule(widths, "┏━┳┓"), _cells(HEADER, widths, "┃"), _rule(widths, "┡━╇┩")]
    for number, row in enumerate(rows):
        lines += [_rule(widths, "├─┼┤")] * (number > 0) + [_cells(row, widths, "│")]
    lines.append(_rule(widths, "└─┴┘"))
    count = sum(layer.count_params() for layer in model.layers if layer.built)
    frozen = sum(layer.count_params() for layer in model.layers if layer.built and not layer.trainable)
    size = model.dtype.itemsize
    sums = {"Total": count, "Trainable": count - frozen, "Non-trainable": frozen}
    return "\n".join([*lines, *(f" {name} params: {n:,} ({readable(n * size)})" for name, n in sums.items())])


def _row(layer) -> tuple[str, str, str]:
    shape = str(layer.output_shape) if layer.built else "?"
    return f"{layer.name} ({type(layer).__name__})", shape, f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"


def _rule(widths, signs: str) -> str:
    left, line, middle, right = signs
    return left + middle.join(line * (width + 2) for width in widths) + right


def _cells(texts, widths, sign: str) -> str:
    """A row; a text that is too long for its column goes on in the next line, as in Keras's table."""
    columns = [textwrap.wrap(text, width) or [""] for text, width in zip(texts, widths, strict=True)]
    lines = []
    for parts in itertools.zip_longest(*columns, fillvalue=""):
        aligned = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
        aligned[-1] = parts[-1].rjust(widths[-1])
        lines.append(sign + sign.join(f" {text} " for text in aligned) + sign)
    return "\n".join(lines)


def readable(nbytes: float) -> str:
    """``"12.50 KB"``, with 1024 bytes a kilobyte."""
    for unit in ("B", "KB", "MB", "GB"):
        if nbytes < 1024 or unit == "GB":
            return f"{nbytes:.2f} {unit}"
        nbytes /= 1024
    raise AssertionError
