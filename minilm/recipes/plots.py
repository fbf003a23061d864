"""Plots of the recipes; matplotlib is imported where they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.files import written_whole

__all__ = ["attention_maps"]


def attention_maps(path: str, maps: Sequence[tuple[np.ndarray, list[str], list[str]]]) -> None:
    """Write a PNG of attention maps side by side, the source from left to right, what was written from top to bottom.

    Parameters
    ----------
    path : str
    maps : sequence of (weights, source tokens, target tokens)
        weights (T, S).

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which is the user's
    from matplotlib.figure import Figure

    columns = min(2, len(maps))
    rows = -(-len(maps) // columns)
    widest = max(len(source) for _, source, _ in maps)
    tallest = max(len(target) for _, _, target in maps)
    size = (columns * min(10, 2 + 0.24 * widest), rows * min(9, 1.5 + 0.24 * tallest))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat[len(maps) :]:
        each.axis("off")
    for each, (weights, source, target) in zip(axes.flat, maps, strict=False):
        image = each.imshow(weights, cmap="magma", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        long = max(map(len, source)) > 1
        each.set_xticks(range(len(source)), [_shown(token) for token in source], rotation=60 if long else 0, fontsize=8)
        if long:
            for label in each.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        each.set_yticks(range(len(target)), [_shown(token) for token in target], fontsize=8)
        each.set(xlabel="source", ylabel="written")
    figure.colorbar(image, ax=axes, label="weight", shrink=0.6)
    with written_whole(path) as file:
        figure.savefig(file, format="png")


def _shown(token: str) -> str:
    """A token as a label: blanks are seen, and no dollar sign begins a formula."""
    token = token.strip() or "␣"
    return ("␣" if token == "␣" else token).replace("$", r"\$")
