"""``python -m benchmarks board``: what is learned on two cores in a budget of minutes; the rules stand in benchmarks/board.md.

A row is a JSON file. `check` says what is wrong with one; `p_value` decides between two.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import statistics
import sys
import tempfile
from typing import Any

from benchmarks import corpora, report
from benchmarks.trained import measured, trained

ROWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "records", "board")  # the folder of the rows
TASKS = {  # name -> (corpus, unit, budgets in minutes)
    "shakespeare": ("tinyshakespeare", "nats a character", (3, 15, 60)),
    "words": ("wikitext", "nats a word", (3, 15, 60)),
    "sst2": ("sst2", "error rate", (3, 15)),
    "dates": ("dates", "error rate", (3,)),
}
COMMANDS = {  # name -> arguments of minilm, where {corpus}, {minutes} and {seed} are filled in
    "shakespeare": ["train", "--corpus", "{corpus}", "--model", "lstm", "--minutes", "{minutes}", "--seed", "{seed}"],
    "words": ["train", "--corpus", "{corpus}", "--recipe", "words", "--minutes", "{minutes}", "--seed", "{seed}"],
    "sst2": ["recipe", "sentiment", "--data", "{corpus}", "--minutes", "{minutes}", "--seed", "{seed}"],
    "dates": ["recipe", "translate", "--data", "{corpus}", "--minutes", "{minutes}", "--seed", "{seed}"],
}
FIELDS = {
    "task": str, "minutes": int, "title": str, "by": str, "seeds": list, "losses": list, "processor": str, "cores": int,
    "commit": str, "date": str, "command": str, "pretrained": bool, "dynamic": bool,
}  # fmt: skip
CORES, LEAST_SEEDS, SIGNIFICANT = 2, 3, 0.05
DRAWN = 20_000  # permutations that are tried where there are more
Row = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Run the command."""
    from minilm.cli import Parser

    parser = Parser(prog="python -m benchmarks board", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("table", "run", "check"), default="table", help="table without it")
    parser.add_argument("names", nargs="*", metavar="NAME", help="run TASK MINUTES; check FILE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="S", help="of `run` (0 1 2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="a setting of minilm")
    parser.add_argument("--title", default="minilm's own settings", help="of the row")
    parser.add_argument("--out", metavar="FILE", help="where `run` writes the row")
    parser.add_argument("--corpora", metavar="FOLDER", help=f"of the texts ({corpora.FOLDER})")
    args = parser.parse_args(arguments)
    if args.action == "check":
        return check_command(args.names)
    if args.action == "run":
        return run_command(args)
    if args.names:
        raise ValueError(f"board takes run, check or nothing, got {args.names[0]!r}")
    rows = rows_of(ROWS)
    print("\n".join([*table(rows), "", *missing(rows)]))
    return 0


# --- rows ---------------------------------------------------------------------------------------------------------------


def rows_of(folder: str) -> list[Row]:
    """All rows of a folder.

    Raises
    ------
    ValueError
        For a file that is no row, with what is wrong with it.
    """
    files = sorted(name for name in os.listdir(folder) if name.endswith(".json")) if os.path.isdir(folder) else []
    return [read(os.path.join(folder, name)) for name in files]


def read(path: str) -> Row:
    """A row, checked."""
    try:
        with open(path, encoding="utf-8") as file:
            row = json.load(file)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path} is no row of the board: it is not JSON") from None
    if wrong := fault(row):
        raise ValueError(f"{path}: {wrong}")
    return row


def fault(row: Any) -> str | None:
    """What is wrong with a row; None if nothing is."""
    if not isinstance(row, dict):
        return f"wanted an object, got {type(row).__name__}"
    for name, kind in FIELDS.items():
        if name not in row:
            return f"{name} is missing"
        if type(row[name]) is not kind:
            return f"{name} must be {kind.__name__}, got {row[name]!r}"
    if unknown := sorted(row.keys() - FIELDS.keys() - {"notes"}):
        return f"{unknown[0]} is no field of a row; there are {', '.join(FIELDS)}, notes"
    if row["task"] not in TASKS:
        return f"task must be one of {', '.join(TASKS)}, got {row['task']!r}"
    budgets = TASKS[row["task"]][2]
    if row["minutes"] not in budgets:
        return f"minutes of {row['task']} must be one of {', '.join(map(str, budgets))}, got {row['minutes']}"
    if row["cores"] > CORES or row["cores"] < 1:
        return f"cores must be 1 or {CORES}, got {row['cores']}"
    seeds, losses = row["seeds"], row["losses"]
    if len(seeds) < LEAST_SEEDS or len(set(map(repr, seeds))) < len(seeds):
        return f"seeds must be {LEAST_SEEDS} different ones at least, got {seeds}"
    if len(losses) != len(seeds):
        return f"losses must be one for each of {len(seeds)} seeds, got {len(losses)}"
    for loss in losses:
        if type(loss) not in (int, float) or not math.isfinite(loss) or loss < 0:
            return f"losses must be numbers of at least 0, got {loss!r}"
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["date"]):
        return f"date must be like 2026-11-29, got {row['date']!r}"
    if not re.fullmatch(r"[0-9a-f]{7,40}", row["commit"]):
        return f"commit must be a hash of git's, got {row['commit']!r}"
    return next((f"{name} must not be empty" for name in ("title", "by", "processor", "command") if not row[name].strip()), None)


def p_value(better: list[float], worse: list[float]) -> float:
    """The part of all ways to share out the results in which the first row's mean is as low as it is: one-sided permutation."""
    every, size = [*better, *worse], len(better)
    limit = sum(better) + 1e-12 * max(map(abs, every), default=1)
    if math.comb(len(every), size) <= DRAWN:
        sums = [sum(part) for part in itertools.combinations(every, size)]
    else:
        import numpy as np

        rng = np.random.default_rng(0)
        sums = [sum(better), *(float(rng.permutation(every)[:size].sum()) for _ in range(DRAWN))]
    return sum(total <= limit for total in sums) / len(sums)


def ranked(rows: list[Row]) -> list[tuple[str, Row]]:
    """The rows of one task, best first, each with its place; those that are not better than the next with p <= 0.05 share one."""
    ordered = sorted(rows, key=lambda row: statistics.fmean(row["losses"]))
    places, place = [], 1
    for number, row in enumerate(ordered):
        if number and p_value(ordered[number - 1]["losses"], row["losses"]) <= SIGNIFICANT:
            place = number + 1
        places.append(str(place))
    return [(f"{place}{' (tie)' if places.count(place) > 1 else ''}", row) for place, row in zip(places, ordered, strict=True)]


def table(rows: list[Row]) -> list[str]:
    """The board as text: a table a task and budget."""
    if not rows:
        return ["no rows yet; benchmarks/board.md says how to submit one"]
    lines: list[str] = []
    groups = sorted({(row["task"], row["minutes"], row["pretrained"], row["dynamic"]) for row in rows})
    for task, minutes, pretrained, dynamic in groups:
        chosen = [
            r for r in rows if (r["task"], r["minutes"], r["pretrained"], r["dynamic"]) == (task, minutes, pretrained, dynamic)
        ]
        more = ", pretrained" * pretrained + ", dynamic evaluation" * dynamic
        head = [
            f"{task}, {minutes} minutes{more}: {TASKS[task][1]}",
            "mean",
            "deviation",
            "seeds",
            "place",
            "processor",
            "commit",
            "by",
        ]
        cells = []
        for place, row in ranked(chosen):
            numbers = [f"{statistics.fmean(row['losses']):.4f}", f"{statistics.stdev(row['losses']):.4f}", str(len(row["seeds"]))]
            cells.append([row["title"], *numbers, place, row["processor"], row["commit"][:10], row["by"]])
        lines += [*report.aligned(head, cells), ""]
    return [*lines, f"places by p <= {SIGNIFICANT}, one-sided permutation of the seeds' results; the rules: benchmarks/board.md"]


def missing(rows: list[Row]) -> list[str]:
    """The tasks and budgets without a row, each with the command that makes one here and what it takes."""
    filled = {(row["task"], row["minutes"]) for row in rows if not (row["pretrained"] or row["dynamic"])}
    lines = []
    for task, (_, _, budgets) in TASKS.items():
        for minutes in budgets:
            if (task, minutes) not in filled:
                out = os.path.join("benchmarks", "records", "board", f"{task}-{minutes}.json")
                command = f"python -m benchmarks board run {task} {minutes} --out {out}"
                lines.append(f"  {command:<96}{minutes * LEAST_SEEDS:>4} minutes on {CORES} quiet cores")
    return ["no row yet:", *lines] if lines else ["every task and budget has a row"]


def check_command(names: list[str]) -> int:
    """Is a file a row, and where would it stand."""
    if len(names) != 1:
        raise ValueError(f"board check wants one FILE, got {len(names)}")
    row = read(names[0])
    rivals = [each for each in rows_of(ROWS) if all(each[n] == row[n] for n in ("task", "minutes", "pretrained", "dynamic"))]
    rivals = [each for each in rivals if each != row]
    mean = statistics.fmean(row["losses"])
    print(f"{names[0]} is a row: {row['task']}, {row['minutes']} minutes, {mean:.4f} {TASKS[row['task']][1]}")
    if rivals:
        best = min(rivals, key=lambda each: statistics.fmean(each["losses"]))
        p = p_value(row["losses"], best["losses"])
        verdict = "takes the first place" if p <= SIGNIFICANT else "does not take the first place"
        print(f"against {best['title']!r}, {statistics.fmean(best['losses']):.4f}: p = {p:.3f}, {verdict}")
    else:
        print("it would be the first of its task")
    return 0


# --- running ------------------------------------------------------------------------------------------------------------


def run_command(args) -> int:
    """Train once a seed, and write the row."""
    if len(args.names) != 2 or args.names[0] not in TASKS or not args.names[1].isdigit():
        raise ValueError(
            f"board run wants TASK MINUTES: one of {', '.join(TASKS)}, and its budget; got {' '.join(args.names) or 'nothing'}"
        )
    task, minutes = args.names[0], int(args.names[1])
    corpus, unit, budgets = TASKS[task]
    if minutes not in budgets:
        raise ValueError(f"{task} has budgets of {', '.join(map(str, budgets))} minutes, got {minutes}")
    path = corpora.path(corpus, args.corpora)
    if path is None:
        raise ValueError(corpora.missing(corpus))
    if args.out and not os.path.isdir(os.path.dirname(os.path.abspath(args.out))):
        raise ValueError(f"cannot write {args.out}: its folder does not exist")
    losses = []
    for seed in args.seeds:
        losses.append(round(loss_of(task, path, minutes, seed, args.sets), 4))
        print(f"seed {seed}: {losses[-1]:.4f} {unit}", flush=True)
    row = new_row(args, task, minutes, losses)
    if wrong := fault(row):
        print(f"no row of the board: {wrong}", file=sys.stderr)
    text = json.dumps(row, indent=1)
    print(text)
    if args.out:
        from minilm import files

        with files.written_whole(args.out) as file:
            file.write(text.encode() + b"\n")
    return 0


def new_row(args, task: str, minutes: int, losses: list[float]) -> Row:
    """The row of a run here."""
    from benchmarks import machine, record
    from benchmarks.case import utc
    from minilm import devices

    arguments = [part for each in args.sets for part in ("--set", each)]
    command = " ".join(["minilm", *COMMANDS[task], *arguments]).format(corpus=TASKS[task][0], minutes=minutes, seed="SEED")
    return {
        "task": task, "minutes": minutes, "title": args.title, "by": "minilm", "seeds": args.seeds, "losses": losses,
        "processor": machine.processor(), "cores": devices.threads(), "commit": record.commit()["commit"] or "0" * 7,
        "date": utc()[:10], "command": command, "pretrained": False, "dynamic": False,
    }  # fmt: skip


def loss_of(task: str, path: str, minutes: float, seed: int, sets: list[str]) -> float:
    """Train by minilm's own command in this process; what counts for the task."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "run")
        words = [word.format(corpus=path, minutes=minutes, seed=seed) for word in COMMANDS[task]]
        arguments = [*words, *(part for each in sets for part in ("--set", each)), "--out", out, "--quiet"]
        trained(arguments)
        return _measured(task, out)


def _measured(task: str, out: str) -> float:
    """The figure that a finished run's folder holds."""
    if COMMANDS[task][0] == "train":
        with open(os.path.join(out, "training.json"), encoding="utf-8") as file:
            return float(json.load(file)["validation"]["loss"])
    metrics = measured(out)["metrics"]
    return 1.0 - float(metrics.get("accuracy", metrics.get("exact_match")))
