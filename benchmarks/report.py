"""What a run says: an aligned table, JSON, CSV and a plot. Ratios and shares of the roofline, no absolute times."""

from __future__ import annotations

import csv
import json
import os
import textwrap
from dataclasses import asdict

from benchmarks.case import Result
from benchmarks.machine import Machine
from benchmarks.timing import Spread
from minilm.devices import VERSIONS

OTHERS = ("torch", "oracle", *VERSIONS)  # the columns, in this order
NOTE = "times as fast as, median [quartiles] over rounds; roof: share of what the machine's matmul rate or copy bandwidth allows"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def show(ratio: Spread | None) -> str:
    """A ratio with its quartiles."""
    return f"{number(ratio.median)} [{number(ratio.low)}-{number(ratio.high)}]" if ratio else "-"


def verdict(result: Result) -> str:
    """The target and whether it is reached."""
    if result.error:
        return "NOT TIMED"
    if result.target is None:
        return ""
    word = {True: "reached", False: "MISSED", None: "no peer"}[result.reached]
    return f"{word} (>= {number(result.target)})"


def aligned(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns of equal width; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        first, *others = (f"{cell:{'>' if i else '<'}{widths[i]}}" for i, cell in enumerate(cells))
        return "  ".join([first, *others]).rstrip()

    return [line(head), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]


def row_of(result: Result) -> list[str]:
    """A result's cells."""
    roof = f"{result.roof.median:.0%} {result.bound}" if result.roof else "-"
    return [result.name, *(show(result.ratios.get(other)) for other in OTHERS), roof, verdict(result)]


def table(results: list[Result]) -> list[str]:
    """The results as lines of text, and below them what went wrong."""
    lines = aligned(["case", *OTHERS, "roof", "target"], [row_of(result) for result in results])
    return [*lines, *(f"{result.name}: {result.error}" for result in results if result.error)]


def summary(results: list[Result]) -> str:
    """How many targets are reached, in one line."""
    judged = [result for result in results if result.reached is not None]
    missed = [result.name for result in judged if not result.reached]
    if not judged:
        return "no target was judged"
    return f"targets reached: {len(judged) - len(missed)} of {len(judged)}" + (f"; missed: {'; '.join(missed)}" if missed else "")


def to_json(machine: Machine, results: list[Result]) -> dict:
    """The run as plain data."""
    return {
        "machine": asdict(machine),
        "note": NOTE,
        "results": [
            {
                "name": result.name,
                "suite": result.suite,
                "subject": result.subject,
                "ratios": {other: ratio._asdict() for other, ratio in result.ratios.items()},
                "roof": result.roof._asdict() if result.roof else None,
                "bound": result.bound or None,
                "rounds": result.rounds,
                "target": result.target,
                "reached": result.reached,
                "error": result.error or None,
            }
            for result in results
        ],
    }


def write_json(path: str, machine: Machine, results: list[Result]) -> None:
    """Write the run as JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(to_json(machine, results), file, indent=1)
        file.write("\n")


def write_csv(path: str, results: list[Result]) -> None:
    """Write one line a case."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        spreads = [f"{other}_{which}" for other in OTHERS for which in Spread._fields]
        writer.writerow(["suite", "subject", "name", *spreads, "roof", "bound", "rounds", "target", "reached", "error"])
        for r in results:
            ratios = [r.ratios[o][i] if o in r.ratios else "" for o in OTHERS for i in range(len(Spread._fields))]
            roof = r.roof.median if r.roof else ""
            cells = [r.suite, r.subject, r.name, *ratios, roof, r.bound, r.rounds, r.target, r.reached, r.error]
            writer.writerow(["" if cell is None else cell for cell in cells])


def plot(path: str, machine: Machine, results: list[Result]) -> str:
    """Draw the ratios to the peer (to the oracle where there is no peer) as horizontal bars; the path written.

    A folder gets ``benchmarks.png``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    if os.path.isdir(path) or path.endswith(os.sep):
        path = os.path.join(path, "benchmarks.png")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    against = "torch" if any("torch" in result.ratios for result in results) else "oracle"
    shown = [result for result in results if against in result.ratios][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 1.5 + 0.28 * len(shown)), layout="constrained")
    for place, result in enumerate(shown):
        ratio = result.ratios[against]
        colour = "tab:blue" if ratio.median >= (result.target or 1.0) else "tab:orange"
        axes.barh(place, ratio.median - 1, left=1, color=colour, height=0.6)  # a bar leaves the line of equal speed
        axes.plot([ratio.low, ratio.high], [place, place], color="black", linewidth=1.2)
        if result.target is not None:
            axes.plot([result.target] * 2, [place - 0.4, place + 0.4], color="tab:red", linewidth=2)
    axes.set_yticks(range(len(shown)), [result.name for result in shown], fontsize=8)
    axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel(f"times as fast as {against}")
    title = f"{machine.cpu}, {machine.cores} cores; black: quartiles, red: target"
    figure.suptitle("\n".join(textwrap.wrap(title, 90)), fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
