"""The decisions of a task's model as PNG plots, by matplotlib."""

from __future__ import annotations

import numpy as np

from minilm.interpret.figures import label_axis, printable, wide, write_figures
from minilm.interpret.tasks.decisions import Decisions
from minilm.typing import PathLike

__all__ = ["write_task_plots"]


def write_task_plots(decisions: Decisions, folder: PathLike) -> list[str]:
    """Write decisions.png, shares.png where decisions have parts, looked.png where the model says where it looked; the paths.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    return write_figures(folder, {"decisions": _decisions, "shares": _shares, "looked": _looked}, decisions)


def _decisions(figure, decisions: Decisions) -> bool:
    """What each piece did for each decision, a row a decision."""
    if not decisions.decisions:
        return False
    values = np.array([each.values for each in decisions.decisions])  # (N, S)
    most = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12)  # (N, 1)
    figure.set_size_inches(wide(values.shape[1]), _high(len(values)))
    axes = figure.subplots()
    picture = axes.imshow(values / most, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_title("what each piece did: each row divided by its largest", loc="left", fontsize=10)
    label_axis(axes.xaxis, [printable(piece) for piece in decisions.pieces])
    label_axis(axes.yaxis, _names(decisions))
    figure.colorbar(picture, ax=axes, pad=0.01).set_label("red: against, blue: for", fontsize=8)
    return True


def _shares(figure, decisions: Decisions) -> bool:
    """The parts of each decision that has some, as bars: a plot a decision, the first 24."""
    parted = [(name, each) for name, each in zip(_names(decisions), decisions.decisions, strict=True) if each.shares][:24]
    if not parted:
        return False
    figure.set_size_inches(7, sum(0.6 + 0.22 * len(each.shares) for _, each in parted))
    every = figure.subplots(len(parted), 1, squeeze=False, height_ratios=[0.6 + 0.22 * len(each.shares) for _, each in parted])
    for axes, (name, each) in zip(every[:, 0], parted, strict=True):
        sizes = [share for _, share in each.shares]
        axes.barh(range(len(sizes)), sizes, color=["C0" if size >= 0 else "C3" for size in sizes])
        axes.set_yticks(range(len(sizes)), [part for part, _ in each.shares], fontsize=7)
        axes.invert_yaxis()
        axes.set_title(f"{name}: {each.measure} = {each.output:.3f}", loc="left", fontsize=8, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    return True


def _looked(figure, decisions: Decisions) -> bool:
    """Where the model looked: a map for each of `Decisions.maps`."""
    if not decisions.maps:
        return False
    maps = {name: np.atleast_2d(each) for name, each in decisions.maps.items()}  # (N, S) or (K, S) each
    figure.set_size_inches(wide(len(decisions.pieces)), sum(_high(len(each)) for each in maps.values()))
    every = figure.subplots(len(maps), 1, squeeze=False, height_ratios=[_high(len(each)) for each in maps.values()])
    for axes, (name, each) in zip(every[:, 0], maps.items(), strict=True):
        picture = axes.imshow(each, cmap="Purples", vmin=0, aspect="auto", interpolation="nearest")
        axes.set_title(name, loc="left", fontsize=10)
        rows = decisions.map_rows or _names(decisions)
        label_axis(axes.xaxis, [printable(piece) for piece in decisions.pieces])
        label_axis(axes.yaxis, rows if len(rows) == len(each) else [str(row + 1) for row in range(len(each))])
        figure.colorbar(picture, ax=axes, pad=0.01, label="weight")
    return True


def _names(decisions: Decisions) -> list[str]:
    return [printable(name) for name in decisions.labels or [each.answer for each in decisions.decisions]]


def _high(rows: int) -> float:
    return min(12, 1.2 + 0.22 * rows)
