"""The picture of a model that ``print(model)`` gives."""

from __future__ import annotations

import html

from minilm.layers.parameter import Parameter

SIDES = ("left", "left", "right")  # of the columns
STYLE = "white-space: pre; font-family: monospace"


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
    return f"{type(layer).__name__}({layer.settings()}), {layer.parameters.count:,} parameters"


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


def _total(layer) -> str:
    count = layer.parameters.count
    nbytes = count * layer.dtype.itemsize
    size = f"{nbytes / 2**20:,.1f} MiB" if nbytes >= 2**20 else f"{nbytes / 2**10:,.1f} KiB"
    return f"{count:,} parameters, {size} of {layer.dtype}"


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
    for name, parameter in vars(layer).items():
        if isinstance(parameter, Parameter):
            full = f"{path}.{name}" if path else name
            first = seen.setdefault(id(parameter), full)
            note = f"{parameter.size:,}" if first == full else f"tied to {first}"
            rows.append((f"{lead}{'│' if parts else ' '}  {name}", " × ".join(map(str, parameter.shape)), note))
    for name, part in parts:
        last = part is parts[-1][1]
        below = f"{path}.{name}" if path else name
        _walk(part, below, lead + ("└─ " if last else "├─ "), lead + ("   " if last else "│  "), rows, seen)
