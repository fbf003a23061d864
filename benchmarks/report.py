"""What a run says: one line a case as it comes, and what stands below the rows. Rows are those of `benchmarks.record`."""

from __future__ import annotations

import csv
import json
import math
from typing import Any

from benchmarks.timing import Spread

GAUGE = 25  # characters from 1/64 of the roof to the roof
NOTE = (
    "times as fast as: the median of interleaved rounds [quartiles]; of roof: share of what the machine can do at most;\n"
    "gauge: p the peer, M minilm, | the roof, on a scale of powers of two from 1/64 of it"
)
TIMES = "times as fast as"
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
COLUMNS = {"minilm": 9, "rate": 16, "of roof": 15, "gauge": GAUGE, "target": 17, "machine": 9}  # name -> width


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def show(ratio: dict[str, float] | Spread | None) -> str:
    """A ratio with its quartiles."""
    if not ratio:
        return "-"
    median, low, high = ratio.values() if isinstance(ratio, dict) else ratio
    return f"{number(median)} [{number(low)}-{number(high)}]"


def amount(value: float, unit: str = "s") -> str:
    """A time, or a size."""
    if unit != "s":
        return f"{value:.1f} {unit}"
    scale, name = next(((scale, name) for scale, name in UNITS if value >= scale), UNITS[-1])
    return f"{number(value / scale)} {name}"


def verdict(row: dict[str, Any]) -> str:
    """The target and whether it is reached."""
    if row["error"]:
        return "NOT TIMED"
    if row["note"]:
        return "not here"
    if row["target"] is None:
        return ""
    word = {True: "reached", False: "MISSED", None: "no peer"}[row["reached"]]
    return f"{word} (>= {targets(row)})"


def targets(row: dict[str, Any]) -> str:
    """Least ratios: to the peer that the row names first, and to others by name."""
    return ", ".join([number(row["target"]), *(f"{name} {number(least)}" for name, least in row["also"].items())])


def share(row: dict[str, Any]) -> str:
    """Of the roof. A share above it means that more work was counted than is done, and is named so."""
    if not row["roof"]:
        return "-"
    median = row["roof"]["median"]
    return f"{median:.0%} {row['bound']}" if median <= 1 else f"over {row['bound']}?"


def gauge(row: dict[str, Any]) -> str:
    """Where minilm (M) stands between the peer (p) and the roof (|)."""
    if not row["roof"]:
        return ""
    line = [" "] * (GAUGE - 1) + ["|"]

    def mark(letter: str, part: float) -> None:
        place = round((1 + math.log2(max(part, 1 / 64)) / 6) * (GAUGE - 1))
        line[min(max(place, 0), GAUGE - 1)] = letter

    if row["against"] in row["ratios"]:
        mark("p", row["roof"]["median"] / row["ratios"][row["against"]]["median"])
    mark("M", row["roof"]["median"])
    return "".join(line)


def cells(row: dict[str, Any]) -> list[str]:
    """A row's cells, in the order of `COLUMNS`, and the ratios last."""
    own = next(iter(row["samples"].values()), None)
    rate = next(
        (f"{number(value)} {name}" for name in ("tokens/s", "MB/s", "GFLOP/s", "GB/s") if (value := row["rates"].get(name))), ""
    )
    ratios = dict(row["ratios"])
    first = {row["against"]: ratios.pop(row["against"])} if row["against"] in ratios else {}
    times = [f"{name} {show(ratio)}" for name, ratio in first.items()]
    times += [f"{name} {number(ratio['median'])}" for name, ratio in ratios.items()]
    machine = row["conditions"].get("verdict", "").partition(":")[0]
    own_amount = amount(own["median"], row["unit"]) if own else "-"
    return [own_amount, rate, share(row), gauge(row), verdict(row), machine, ", ".join(times)]


class Table:
    """Lines of equal columns, one at a time; `name_width` is that of the longest case."""

    def __init__(self, names: list[str]):
        self.width = max([len("case"), *map(len, names)])

    def line(self, name: str, cells: list[str]) -> str:
        """One line."""
        *columns, last = cells
        padded = (f"{cell:<{width}}" for cell, width in zip(columns, COLUMNS.values(), strict=True))
        return "  ".join([f"{name:<{self.width}}", *padded, last]).rstrip()

    def head(self) -> list[str]:
        """Two lines above the rows."""
        rules = ["-" * width for width in COLUMNS.values()]
        return [self.line("case", [*COLUMNS, TIMES]), self.line("-" * self.width, [*rules, "-" * len(TIMES)])]

    def row(self, row: dict[str, Any]) -> str:
        """The line of a row; below it what went wrong, why it is not here, and what disturbed it."""
        disturbed = row["conditions"].get("reasons")
        remarks = [row["error"] or row["note"], *(f"without {name}: {reason}" for name, reason in row["dropped"].items())]
        remarks.append(f"disturbed: {', '.join(disturbed)}" if disturbed else "")
        facts = [
            f"{name}: {', '.join(f'{key} {number(each)}' for key, each in numbers.items())}"
            for name, numbers in row["facts"].items()
        ]
        return "\n    ".join([self.line(row["name"], cells(row)), *filter(None, remarks), *facts])


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """How many targets are reached, and which rows were disturbed."""
    judged = [row for row in rows if row["reached"] is not None]
    missed = [row["name"] for row in judged if not row["reached"]]
    disturbed = [row for row in rows if row["conditions"].get("verdict", "quiet") != "quiet"]
    lines = ["no target was judged"]
    if judged:
        lines = [
            f"targets reached: {len(judged) - len(missed)} of {len(judged)}"
            + (f"; missed: {'; '.join(missed)}" if missed else "")
        ]
    if disturbed:
        lines.append(
            f"disturbed: {len(disturbed)} of {len(rows)} rows; their ratios prove nothing, so run them again on a quiet machine"
        )
    return lines


def peers(versions: dict[str, str], missing: dict[str, str]) -> list[str]:
    """Which took part, and a line for each that did not."""
    lines = ["peers: " + (", ".join(f"{name} {version}" for name, version in versions.items()) or "none")]
    return [*lines, *(f"    without {name}: {reason}" for name, reason in sorted(missing.items()))]


def write_csv(path: str, rows: list[dict[str, Any]]) -> None:
    """Write one line a contestant of a case."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        head = ["suite", "subject", "name", "contestant", "unit", *Spread._fields, "rounds"]
        writer.writerow([*head, "minilm_times_as_fast", "roof", "bound", "target", "reached", "machine", "error", "facts"])
        for row in rows:
            first = next(iter(row["samples"]), None)
            for name, each in row["samples"].items() or [("", {})]:
                ratio = 1.0 if name == first else row["ratios"].get(name, {}).get("median")
                roof = row["roof"]["median"] if row["roof"] and name == first else None
                numbers = [each.get(field) for field in (*Spread._fields, "rounds")]
                judged = [row["target"], row["reached"], row["conditions"].get("verdict"), row["error"] or row["note"]]
                line = [
                    row["suite"],
                    row["subject"],
                    row["name"],
                    name,
                    row["unit"],
                    *numbers,
                    ratio,
                    roof,
                    row["bound"],
                    *judged,
                    json.dumps(row["facts"]) if row["facts"] and name == first else None,
                ]
                writer.writerow(["" if cell is None else cell for cell in line])


def aligned(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns of equal width; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        first, *others = (f"{cell:{'>' if i else '<'}{widths[i]}}" for i, cell in enumerate(cells))
        return "  ".join([first, *others]).rstrip()

    return [line(head), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]
