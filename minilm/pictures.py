"""Plots as PNG files, by matplotlib's `Figure` alone: pyplot, with its global state, is the user's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from minilm.files import written_whole
from minilm.typing import PathLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "write_png"]


def new_figure(size: tuple[float, float] | None = None, *, dpi: int = 120, layout: str | None = "constrained") -> Figure:
    """An empty figure, `size` (width, height) in inches.

    Raises
    ------
    ImportError
        matplotlib is not installed; it says how to get it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'minilm[plots]'") from None
    options: dict[str, Any] = {} if size is None else {"figsize": size}
    figure = Figure(dpi=dpi, layout=layout, **options)
    FigureCanvasAgg(figure)  # pixels, whatever backend the user's configuration names
    return figure


def write_png(figure: Figure, path: PathLike) -> str:
    """Write a figure to `path`, whole or not at all, and return the path."""
    with written_whole(path) as file:
        figure.savefig(file, format="png")
    return os.fspath(path)
