"""Plots of the recipes: attention maps, and the relations of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minilm.models import WordVectors
from minilm.pictures import new_figure, write_png

__all__ = ["attention_maps", "relations"]

SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))  # of a point, where its word may stand


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
    columns = min(2, len(maps))
    rows = -(-len(maps) // columns)
    widest = max(len(source) for _, source, _ in maps)
    tallest = max(len(target) for _, _, target in maps)
    size = (columns * min(10, 2 + 0.24 * widest), rows * min(9, 1.5 + 0.24 * tallest))
    figure = new_figure(size, dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False)
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
    write_png(figure, path)


def _shown(token: str) -> str:
    """A token as a label: blanks are seen, and no dollar sign begins a formula."""
    token = token.strip() or "␣"
    return ("␣" if token == "␣" else token).replace("$", r"\$")


def relations(path: str, vectors: WordVectors, groups: Mapping[str, list[tuple[str, str]]]) -> None:
    """Write a PNG with a plane for each relation, its words' vectors cast onto it, and an arrow from each word to its partner.

    Parameters
    ----------
    path : str
    vectors : WordVectors
    groups : mapping of str to list of (str, str)
        The pairs of each relation.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = new_figure((5 * columns, 4.4 * rows), dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat[len(groups) :]:
        each.axis("off")
    written = []
    for each, (name, pairs) in zip(axes.flat, groups.items(), strict=False):
        words = [word for pair in pairs for word in pair]
        points = np.stack([vectors.unit[vectors.id(word)] for word in words])  # (2P, D)
        points = points - points.mean(axis=0)
        _, _, directions = np.linalg.svd(points, full_matrices=False)
        x, y = points @ directions[0], points @ directions[min(1, len(directions) - 1)]  # the two directions of most variance
        for i in range(0, len(words), 2):
            each.annotate("", (x[i + 1], y[i + 1]), (x[i], y[i]), arrowprops={"arrowstyle": "->", "color": "0.6"})
        each.scatter(x, y, s=12, color=["C0", "C3"] * len(pairs))
        written.append((each, (words, x, y)))
        each.set_title(name, parse_math=False)
        each.set(xticks=[], yticks=[])
        each.margins(0.2, 0.08)
    figure.draw_without_rendering()  # decides where the axes are
    figure.set_layout_engine("none")
    for each, labels in written:
        _label_pairs(each, *labels)
    write_png(figure, path)


def _label_pairs(axes, words, x, y) -> None:
    """Write a word at each point of pairs that arrows join: where it covers least of other words and points, inside the axes.

    Of sides that are equally good it is the one that is farthest from the arrow.
    """
    from matplotlib.transforms import Bbox

    figure = axes.figure
    frame = axes.get_window_extent()
    points = axes.transData.transform(np.stack([x, y], axis=1))  # (N, 2) pixels
    boxes = [Bbox.from_extents(px - 4, py - 4, px + 4, py + 4) for px, py in points]
    for i in np.argsort(points[:, 0]).tolist():
        away, best = points[i] - points[i ^ 1], None  # i ^ 1 is the partner
        for across, up in sorted(SIDES, key=lambda side: -(away @ side)):
            options = {"xytext": (across * 4, up * 4), "textcoords": "offset points", "fontsize": 8, "parse_math": False}
            options |= {"ha": {-1: "right", 0: "center", 1: "left"}[across], "va": {-1: "top", 0: "center", 1: "bottom"}[up]}
            label = axes.annotate(words[i], (x[i], y[i]), **options)
            box = label.get_window_extent(figure.canvas.get_renderer())
            inside = _overlap(box, frame)
            cost = box.width * box.height - inside + sum(_overlap(box, other) for j, other in enumerate(boxes) if j != i)
            if best is None or cost < best[0] - 1e-9:
                if best is not None:
                    best[1].remove()
                best = cost, label, box
            else:
                label.remove()
        boxes.append(best[2])


def _overlap(a, b) -> float:
    """Pixels that two boxes have in common."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
