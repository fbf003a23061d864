"""``python -m benchmarks results``: benchmarks/results.md, published figures and ours beside them.

::

    python -m benchmarks results                              write the page from the records
    python -m benchmarks results run chunking --seeds 0 1 2   train, and keep each seed's figures
    python -m benchmarks results run sst2_glove --others vectors=FILE      where the row's command names vectors or weights
    python -m benchmarks results list                         the rows

A record is a JSON file of benchmarks/records/results: the command, and a run for each seed, with the processor that it ran on.
Nothing of ours is typed by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import string
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks import results_page
from benchmarks.corpora import FOLDER
from benchmarks.published import ROWS, Row
from benchmarks.trained import measured, trained

ROOT = os.path.dirname(os.path.abspath(__file__))
RECORDS, PAGE = os.path.join(ROOT, "records", "results"), os.path.join(ROOT, "results.md")


def main(arguments: list[str]) -> int:
    """Run the command."""
    from minilm.cli import Parser

    parser = Parser(prog="python -m benchmarks results", description=__doc__.partition("::")[2])
    parser.add_argument("action", nargs="?", choices=("write", "run", "list"), default="write", help="write without it")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows of `run`")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S", help="of `run` (0)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="a setting of minilm")
    parser.add_argument(
        "--others",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="of `run`: others' vectors=FILE, encoder=FOLDER",
    )
    parser.add_argument("--corpora", metavar="FOLDER", help=f"of the texts (the environment variable {FOLDER})")
    parser.add_argument("--records", metavar="FOLDER", default=RECORDS, help="where records are kept")
    parser.add_argument("--out", metavar="FILE", default=PAGE, help="of `write`")
    args = parser.parse_args(arguments)
    if args.action == "list":
        print("\n".join(f"{name:<14}{row.task}; {row.data}" for name, row in ROWS.items()))
    elif args.action == "run":
        run_command(args)
    else:
        if args.names:
            raise ValueError(f"results takes run, list or nothing, got {args.names[0]!r}")
        write_page(args.records, args.out)
    return 0


def write_page(records: str, path: str) -> None:
    """Write the page from all records of a folder."""
    from minilm import files

    text = results_page.page({name: read(records, name) for name in ROWS})
    with files.written_whole(path) as file:
        file.write(text.encode())


# --- records ------------------------------------------------------------------------------------------------------------


def read(folder: str, name: str) -> dict[str, Any] | None:
    """A row's record; None where there is none yet."""
    path = os.path.join(folder, f"{name}.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            record = json.load(file)
        except ValueError:
            raise ValueError(f"{path} is no record: it is not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("runs"), list):
        raise ValueError(f"{path} is no record: it has no list of runs")
    processor = record.pop("processor", None)  # in records from before each run had its own
    for run in record["runs"]:
        run.setdefault("processor", processor)
    return record


def keep(folder: str, name: str, command: str, run: dict[str, Any]) -> None:
    """Put a run into the record, in place of one of the same seed; runs of another command are dropped."""
    from minilm import files

    record = read(folder, name)
    others = record["runs"] if record and record["command"] == command else []
    runs = sorted([*(each for each in others if each["seed"] != run["seed"]), run], key=lambda each: each["seed"])
    os.makedirs(folder, exist_ok=True)
    with files.written_whole(os.path.join(folder, f"{name}.json")) as file:
        file.write(json.dumps({"command": command, "runs": runs}, indent=1).encode() + b"\n")


# --- running ------------------------------------------------------------------------------------------------------------


def run_command(args) -> None:
    """Train each row once a seed."""
    others = dict(each.partition("=")[::2] for each in args.others)
    corpora = args.corpora or os.environ.get(FOLDER)
    if not corpora:
        raise ValueError(f"--corpora, or {FOLDER}, names the folder of the texts")
    for name in args.names:
        if name not in ROWS or not ROWS[name].command:
            raise ValueError(f"there is nothing to run for {name!r}; rows are {', '.join(n for n in ROWS if ROWS[n].command)}")
        if missing := sorted({"vectors", "encoder"} & set(fields(ROWS[name].command)) - set(others)):
            raise ValueError(f"{name} needs --others {missing[0]}=PATH")
    for name in args.names:
        row = ROWS[name]
        more = [word for each in args.sets for word in ("--set", each)]
        shown = " ".join(["minilm", *row.command, *more]).format(
            data=results_page.shown(row), seed="SEED", **{key: os.path.basename(path) for key, path in others.items()}
        )
        with data_of(row, corpora) as paths:
            for seed in args.seeds:
                run = one_run(row, paths, seed, more, others)
                keep(args.records, name, shown, run)
                figures = ", ".join(f"{key} {results_page.of_run(row, run, key):.4f}" for key in row.metrics)
                print(f"{name}, seed {seed}: {figures}; {run['cpu_seconds'] / 60:.1f} processor minutes", flush=True)


def fields(words: Iterable[str]) -> Iterator[str]:
    """What is to be filled into the words of a command: the names in braces."""
    return (name for word in words for _, name, _, _ in string.Formatter().parse(word) if name)


def one_run(row: Row, paths: dict[str, str], seed: int, more: list[str], others: dict[str, str]) -> dict[str, Any]:
    """Train once, or once for each part of the row; what a record keeps of it."""
    from benchmarks import machine, record
    from benchmarks.case import utc
    from minilm import devices

    metrics, guesses, steps, seconds, begun = {}, {}, 0, 0.0, time.process_time()
    for part, path in paths.items():
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "run")
            trained([*(word.format(data=path, seed=seed, **others) for word in row.command), *more, "--out", out, "--quiet"])
            content = measured(out)
        names = {f"{part}{name}": value for name, value in content["metrics"].items() if not part or name in row.metrics}
        metrics |= names
        guesses[f"{part}{content['metric']}"] = round(content["chance"], 6)
        steps, seconds = steps + content["steps"], seconds + content["seconds"]
    metrics = {name: round(value, 6) for name, value in metrics.items()}
    times = {"seconds": round(seconds, 1), "cpu_seconds": round(time.process_time() - begun, 1), "threads": devices.threads()}
    where = {"processor": machine.processor(), "date": utc()[:10], **record.commit()}
    return {"seed": seed, "metrics": metrics, "guesses": guesses, "steps": steps, **times, **where}


@contextlib.contextmanager
def data_of(row: Row, corpora: str) -> Iterator[dict[str, str]]:
    """What the command reads: part of the row ("" where there are none) -> path."""
    with tempfile.TemporaryDirectory() as folder:
        if row.archive:
            with tarfile.open(existing(corpora, row.archive)) as archive:
                archive.extractall(folder, filter="data")
            yield {f"{part} ": os.path.join(folder, path) for part, path in row.files.items()}
            return
        if len(row.files) == 1:
            yield {"": existing(corpora, next(iter(row.files.values())))}
            return
        for name, path in row.files.items():
            link = os.path.join(folder, name)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.abspath(existing(corpora, path)), link)
        yield {"": folder}


def existing(corpora: str, name: str) -> str:
    """The path of a text; ValueError where it is not there."""
    path = os.path.join(corpora, name)
    if not os.path.exists(path):
        raise ValueError(f"{path} is not here; {corpora} should hold it")
    return path
