"""Pictures of a record: ratios as bars, cases under the roofline, and speed against the number of threads."""

from __future__ import annotations

import os
import textwrap
from typing import Any

MOST = 60  # bars of a picture: more are cut into several
COLOURS = {"reached": "#4477aa", "missed": "#ee7733", "disturbed": "#bbbbbb"}


def draw(folder: str, content: dict[str, Any]) -> list[str]:
    """Draw what the record has rows for, into a folder; the paths written."""
    import matplotlib

    matplotlib.use("Agg")
    os.makedirs(folder, exist_ok=True)
    rows = [row for row in content["results"] if row["samples"] or row["ratios"]]
    machine, paths = content["machine"], []
    barred = [row for row in rows if row["ratios"] and row["suite"] != "scaling"]
    for number, start in enumerate(range(0, len(barred), MOST), 1):
        name = "ratios.png" if len(barred) <= MOST else f"ratios-{number}.png"
        paths.append(ratios(os.path.join(folder, name), machine, barred[start : start + MOST]))
    placed = [row for row in rows if row["roof"] and row["rates"].get("GFLOP/s") and row["rates"].get("GB/s")]
    if placed:
        paths.append(roofline(os.path.join(folder, "roofline.png"), machine, placed))
    scaled = [row for row in rows if row["suite"] == "scaling" and not row["facts"]]
    if scaled:
        paths.append(scaling(os.path.join(folder, "scaling.png"), machine, scaled))
    for row in rows:
        if row["subject"] == "ranks" and row["facts"]:
            paths.append(efficiency(os.path.join(folder, "ranks.png"), machine, row["facts"]))
    return paths


def _titled(figure, machine: dict, text: str, axes=None) -> None:
    """A title over the whole picture, or over `axes` where a legend stands beside them."""
    title = f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores', '?')} cores; {text}"
    lines = textwrap.wrap(title, int((11 if axes is None else 6) * figure.get_figwidth()))
    (figure.suptitle if axes is None else axes.set_title)("\n".join(lines), fontsize=9)


def _saved(figure, path: str) -> str:
    from matplotlib import pyplot

    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def peer_of(row: dict[str, Any]) -> str:
    """The contestant that a bar stands for: the one of the target, else the first."""
    return row["against"] if row["against"] in row["ratios"] else next(iter(row["ratios"]))


def colour_of(row: dict[str, Any], ratio: dict[str, float]) -> str:
    """Of a bar."""
    if row["conditions"].get("reasons"):
        return COLOURS["disturbed"]
    return COLOURS["reached" if ratio["median"] >= (row["target"] or 1.0) else "missed"]


def ratios(path: str, machine: dict, rows: list[dict[str, Any]]) -> str:
    """How many times as fast as its peer minilm is, as horizontal bars from the line of equal speed."""
    from matplotlib import pyplot, ticker

    shown = rows[::-1]
    figure, axes = pyplot.subplots(figsize=(9, 1.6 + 0.26 * len(shown)), layout="constrained")
    for place, row in enumerate(shown):
        ratio = row["ratios"][peer_of(row)]
        axes.barh(place, ratio["median"] - 1, left=1, color=colour_of(row, ratio), height=0.6)
        axes.plot([ratio["low"], ratio["high"]], [place, place], color="black", linewidth=1.2)
        if row["target"] is not None:
            axes.plot([row["target"]] * 2, [place - 0.4, place + 0.4], color="#aa3377", linewidth=2)
    labels = [f"{textwrap.shorten(row['name'], 60)} ({peer_of(row)})" for row in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(axis="x", labelsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as fast as the peer in brackets")
    _titled(figure, machine, "black: quartiles, purple: target, orange: below it, grey: the machine was disturbed")
    return _saved(figure, path)


def roofline(path: str, machine: dict, rows: list[dict[str, Any]]) -> str:
    """GFLOP/s over operations a byte, under the roofs of arithmetic and of each memory."""
    import numpy as np
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    points = [(row["rates"]["GFLOP/s"] / row["rates"]["GB/s"], row["rates"]["GFLOP/s"], row) for row in rows]
    low, high = min(x for x, *_ in points) / 2, max(x for x, *_ in points) * 2
    intensity = np.geomspace(low, high, 200)
    peak = machine.get("peak") or max((machine.get("matmul") or {"": 0}).values())
    levels = {"memory": machine["bandwidth"]}
    if machine.get("levels"):
        levels = {"first cache": machine["levels"][0][1], **levels}
    for (name, rate), style in zip(levels.items(), ("--", "-"), strict=False):
        axes.plot(intensity, np.minimum(peak, intensity * rate) / 1e9, style, color="black", linewidth=1, label=f"roof: {name}")
    subjects = sorted({row["subject"] for *_, row in points})
    markers, palette = "osDv^<>PXp*h", pyplot.get_cmap("tab20").colors
    for number, subject in enumerate(subjects):
        own = [(x, y) for x, y, row in points if row["subject"] == subject]
        xs, ys = zip(*own, strict=True)
        style = {"marker": markers[number % len(markers)], "color": palette[number % len(palette)]}
        axes.plot(xs, ys, linestyle="", markersize=6, label=subject, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("GFLOP/s")
    figure.legend(loc="outside right upper", fontsize=7, ncols=1 + len(subjects) // 32)
    _titled(figure, machine, "each point a case", axes)
    return _saved(figure, path)


def scaling(path: str, machine: dict, rows: list[dict[str, Any]]) -> str:
    """Speed over that of one thread of minilm, by the number of threads."""
    from matplotlib import pyplot

    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(3.4 * columns, 0.6 + 2.8 * lines), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(rows) :]:
        axes.set_axis_off()
    for row, axes in zip(rows, grid.flat, strict=False):
        curves = by_threads(row, machine)
        base = dict(curves["minilm"])[1]
        for (library, points), style in zip(curves.items(), ("o-", "s--"), strict=False):
            axes.plot([n for n, _ in points], [base / seconds for _, seconds in points], style, label=library)
        most = max(n for points in curves.values() for n, _ in points)
        axes.plot([1, most], [1, most], ":", color="black", linewidth=0.8, label="ideal")
        axes.set_title("\n".join(textwrap.wrap(row["name"].removeprefix("scaling "), 34)), fontsize=8)
        axes.set_xticks(sorted({n for points in curves.values() for n, _ in points}))
        axes.set_xlabel("threads", fontsize=8)
        axes.set_ylabel("times one thread of minilm", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    _titled(figure, machine, "speed by threads")
    return _saved(figure, path)


def by_threads(row: dict[str, Any], machine: dict) -> dict[str, list[tuple[int, float]]]:
    """(threads, seconds) of each library, of a row of the suite `scaling`."""
    curves: dict[str, list[tuple[int, float]]] = {"minilm": []}
    for name, sample in row["samples"].items():
        parts = name.split("-")
        number = int(parts[1]) if len(parts) > 1 else machine["threads"]["minilm"]
        curves.setdefault(parts[0], []).append((number, sample["median"]))
    curves["minilm"].sort()
    if curves["minilm"][0][0] != 1:
        curves["minilm"].insert(0, (1, curves["minilm"][0][1]))
    return {library: sorted(points) for library, points in curves.items()}


def efficiency(path: str, machine: dict, facts: dict[str, dict[str, float]]) -> str:
    """Speed a core beside one rank's, by ranks: measured, and as the model has it beyond this machine."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    measured: dict[str, list[tuple[int, float]]] = {}
    for name, numbers in facts.items():
        if name.startswith("modelled"):
            axes.plot([int(ranks) for ranks in numbers], list(numbers.values()), "--", label=name)
        else:
            ranks, threads = name.split(" ranks x ")
            measured.setdefault(f"measured, {threads} a rank", []).append((int(ranks), numbers["efficiency"]))
    for name, points in measured.items():
        axes.plot(*zip(*sorted(points), strict=True), "o-", label=name)
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 1.1)
    axes.set_xlabel("ranks")
    axes.set_ylabel("efficiency")
    axes.legend(fontsize=7)
    _titled(figure, machine, "one global batch by ranks", axes)
    return _saved(figure, path)
