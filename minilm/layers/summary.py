"""The picture of a model that ``print(model)`` gives."""

from __future__ import annotations

import html
import math
from typing import NamedTuple

from minilm.layers.parameter import Parameter

SIDES = ("left", "left", "right")  # of the columns
STYLE = "white-space: pre; font-family: monospace"


class PackedWeight(NamedTuple):
    """What is shown of a weight that is no parameter, but stored in fewer bits: see `minilm.quantized`."""

    shape: tuple[int, ...]
    nbytes: int
    kind: str  # such as "int8"
    shared: Parameter | None = None  # an embedding's table with the same numbers, which count once


def summary(layer) -> str:
    """The tree of layers as a table: each parameter's shape, and how many numbers it holds, tied ones counted once.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    str
    """
    rows = _rows(layer)
    table = [row for row in rows if len(row) == 3]
    widths = [max((len(row[column]) for row in table), default=0) for column in range(3)]
    form = "   ".join(f"{{:{side}{width}}}" for side, width in zip("<<>", widths, strict=True))
    lines = [form.format(*row) if len(row) == 3 else row[0] for row in rows]
    return "\n".join([*lines, _total(layer)])


def in_a_line(layer) -> str:
    """What the layer is, and how many numbers it holds."""
    return f"{type(layer).__name__}({layer.settings()}), {_count(layer):,} parameters"


def summary_html(layer) -> str:
    """The same as a table of HTML, which a notebook shows for a model in a cell's last line."""
    lines = []
    for row in _rows(layer):
        # each cell keeps its spaces, which Jupyter's style would take from it, were that said of the row
        cells = [
            f"<td style='{STYLE}; text-align: {side}'>{html.escape(cell)}</td>" for side, cell in zip(SIDES, row, strict=False)
        ]
        lines.append(f"<tr>{''.join(cells)}{'<td></td>' * (3 - len(row))}</tr>")
    return f"<table>{''.join(lines)}<tr><th colspan='3'>{html.escape(_total(layer))}</th></tr></table>"


def _packed(layer) -> list[PackedWeight]:
    """The packed weights of a layer and all below it."""
    return [weight for _, each in layer.named_layers() for weight in each.packed_weights().values()]


def _count(layer) -> int:
    """How many numbers a layer holds: its parameters', and those that are packed."""
    counted = {id(parameter) for _, parameter in layer.named_parameters()}
    packed = (math.prod(weight.shape) for weight in _packed(layer) if id(weight.shared) not in counted)
    return layer.parameters.count + sum(packed)


def _total(layer) -> str:
    packed = _packed(layer)
    nbytes = layer.parameters.count * layer.dtype.itemsize + sum(weight.nbytes for weight in packed)
    size = f"{nbytes / 2**20:,.1f} MiB" if nbytes >= 2**20 else f"{nbytes / 2**10:,.1f} KiB"
    kinds = dict.fromkeys([str(layer.dtype), *(weight.kind for weight in packed)])
    return f"{_count(layer):,} parameters, {size} of {' and '.join(kinds)}"


def _rows(layer) -> list[tuple[str, ...]]:
    """Lines of the table: a layer's name alone, or a parameter's name, shape and number."""
    rows: list[tuple[str, ...]] = []
    _walk(layer, "", "", "", rows, {})
    return rows


def _walk(layer, path: str, head: str, lead: str, rows: list, seen: dict[int, str]) -> None:
    """Append one row of one text for `layer`, and one of three for each parameter; `lead` continues the lines of the tree."""
    name = path.rpartition(".")[2]
    if name.isdigit():  # one of a list
        name = ".".join(path.split(".")[-2:])
    rows.append((f"{head}{name}{': ' if name else ''}{type(layer).__name__}({layer.settings()})",))
    parts = list(layer.sublayers())
    for name, weight in layer.packed_weights().items():
        first = seen.get(id(weight.shared))
        note = f"{math.prod(weight.shape):,} in {weight.kind}" if first is None else f"{weight.kind} of {first}"
        rows.append((f"{lead}{'│' if parts else ' '}  {name}", _times(weight.shape), note))
    for name, parameter in vars(layer).items():
        if isinstance(parameter, Parameter):
            full = f"{path}.{name}" if path else name
            first = seen.setdefault(id(parameter), full)
            note = f"{parameter.size:,}" if first == full else f"tied to {first}"
            rows.append((f"{lead}{'│' if parts else ' '}  {name}", _times(parameter.shape), note))
    for name, part in parts:
        last = part is parts[-1][1]
        below = f"{path}.{name}" if path else name
        _walk(part, below, lead + ("└─ " if last else "├─ "), lead + ("   " if last else "│  "), rows, seen)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
