"""``python -m benchmarks readme``: the tables of README, from the newest records of each processor.

A table stands between two lines, of which the first says what it holds::

    <!-- benchmarks: models, generation -->
    <!-- benchmarks: models; only: gpt B, LSTM layer -->
    ...
    <!-- end of benchmarks -->

For each processor (by its name and by what kernels were compiled for) and case it takes the newest commit that has a record of
the case, and of that commit the last three runs: the median of their medians. Cases of one commit stand in one table, which
says how many runs its rows are made of; cases that only an older commit has on record follow in a table of that commit; those
that a suite no longer has stand in the records alone. Nothing is picked: a row that was disturbed in most of its runs has a
star.
"""

from __future__ import annotations

import functools
import os
import re
import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks import record, report
from benchmarks.machine import identity
from benchmarks.suites import SUITES, cases

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RECORDS = os.path.join(ROOT, "benchmarks", "records")
FILES = ("README.md", os.path.join("benchmarks", "README.md"))
BLOCK = re.compile(r"(<!-- benchmarks: ([^\n]*?) -->\n).*?(<!-- end of benchmarks -->)", re.DOTALL)
RUNS = 3
Row = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Run the command."""
    from minilm.cli import Parser

    parser = Parser(prog="python -m benchmarks readme", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"with such lines in them ({', '.join(FILES)})")
    parser.add_argument("--write", action="store_true", help="write the tables into the files; else they are printed")
    parser.add_argument("--records", metavar="FOLDER", default=RECORDS, help="of the records")
    args = parser.parse_args(arguments)
    contents = records_of(args.records)
    for path in args.files or [os.path.join(ROOT, name) for name in FILES]:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        new = filled(text, contents)
        if args.write and new != text:
            from minilm import files

            with files.written_whole(path) as file:
                file.write(new.encode())
        elif not args.write:
            blocks = [match[0] for match in BLOCK.finditer(new)]
            print(f"{os.path.relpath(path)}: {len(blocks)} tables\n" + "\n\n".join(blocks))
    return 0


def records_of(folder: str) -> list[dict[str, Any]]:
    """All records of a folder, by file name."""
    return [record.read(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".json")]


def filled(text: str, contents: list[dict[str, Any]]) -> str:
    """The text with its tables made anew."""
    return BLOCK.sub(lambda match: match[1] + "\n".join(block(match[2], contents)) + "\n" + match[3], text)


def block(contents_of: str, contents: list[dict[str, Any]]) -> list[str]:
    """The lines of one block.

    Raises
    ------
    ValueError
        If it names a suite that there is not.
    """
    suites, _, only = contents_of.partition("; only:")
    names = [name.strip() for name in suites.split(",")]
    for name in names:
        if name not in SUITES:
            raise ValueError(f"a table in README wants the suite {name!r}; there are {', '.join(SUITES)}")
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    lines: list[str] = []
    by_processor: dict[str, list[dict[str, Any]]] = {}
    for content in contents:
        if content["format"] >= record.FORMAT:  # before, a record did not say for which processor kernels were compiled
            by_processor.setdefault(identity(content["machine"]), []).append(content)
    for _, own in sorted(by_processor.items()):
        lines += machine_lines(own, names, words)
    return lines or ["no records"]


def machine_lines(own: list[dict[str, Any]], suites: list[str], words: list[str]) -> list[str]:
    """The tables of one processor: for each suite and commit a heading, and the rows."""
    lines = []
    for suite in suites:
        for place, (content, runs_of) in enumerate(newest(own, suite).values()):
            known = listed(suite) if place else runs_of  # of the newest commit all cases, also those of texts that are not here
            chosen = [name for name in runs_of if name in known and (not words or any(word in name.lower() for word in words))]
            rows = [_median_row(runs_of[name]) for name in chosen]
            if rows:
                lines += ["", heading(content, {row["runs"] for row in rows}, suite), "", *markdown(rows), ""]
    return lines


@functools.cache
def listed(suite: str) -> frozenset[str]:
    """The names of the cases that a suite has now."""
    return frozenset(case.name for case in cases([suite]))


def heading(content: dict[str, Any], counts: set[int], suite: str) -> str:
    """Of what machine, date and commit a table is, and of how many runs."""
    machine = content["machine"]
    kind = f" ({machine['kind']})" if machine.get("kind") else ""
    changed = " with changes" if content.get("changed") else ""
    commit = f", commit {content['commit'][:10]}{changed}" if content.get("commit") else ""
    count = "one run" if counts == {1} else f"the median of {' or '.join(map(str, sorted(counts)))} runs"
    place = f"**{machine['cpu']}**{kind}, {machine.get('cores', '?')} cores, {content['date'][:10]}{commit}"
    return f"{place}: {count} of `python -m benchmarks {suite}`"


def newest(own: list[dict[str, Any]], suite: str) -> dict[str, tuple[dict[str, Any], dict[str, list[Row]]]]:
    """By commit, the newest first: its newest record, and of each case that no newer commit has, the rows of its last runs.

    A record without a commit is of its day.
    """
    commit_of: dict[str, str] = {}  # of a case
    tables: dict[str, tuple[dict[str, Any], dict[str, list[Row]]]] = {}
    by_date = sorted(own, key=lambda content: content["date"])
    for content in reversed(by_date):
        commit = content.get("commit") or content["date"][:10]
        for row in measured(content, suite):
            if commit_of.setdefault(row["name"], commit) == commit:
                runs = tables.setdefault(commit, (content, {}))[1].setdefault(row["name"], [])
                if len(runs) < RUNS:
                    runs.insert(0, row)
    names = dict.fromkeys(row["name"] for content in by_date for row in measured(content, suite))  # in the suite's order
    return {
        commit: (content, {name: runs_of[name] for name in names if name in runs_of})
        for commit, (content, runs_of) in tables.items()
    }


def measured(content: dict[str, Any], suite: str) -> list[Row]:
    """The rows of a suite that a record has figures of."""
    return [row for row in content["results"] if row["suite"] == suite and not row["error"] and (row["samples"] or row["ratios"])]


def _median_row(rows: list[Row]) -> Row:
    """One row of a case's runs: the median of each ratio, time, rate and share."""
    names = dict.fromkeys(name for row in rows for name in row["ratios"])
    ratios = {name: _median(row["ratios"][name]["median"] for row in rows if name in row["ratios"]) for name in names}
    last = rows[-1]
    own = [next(iter(row["samples"].values()))["median"] for row in rows if row["samples"]]
    rates = {name: _median(row["rates"][name] for row in rows if name in row["rates"]) for name in last["rates"]}
    shares = [row["roof"]["median"] for row in rows if row["roof"]]
    disturbed = sum(record.verdict(row).startswith("disturbed") for row in rows)
    return {
        **last,
        "ratios": ratios,
        "own": _median(own) if own else None,
        "rates": rates,
        "share": _median(shares) if shares else None,
        "star": 2 * disturbed > len(rows),
        "runs": len(rows),
    }


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def markdown(rows: list[Row]) -> list[str]:
    """A table."""
    lines = ["| case | minilm | of roof | times as fast as its peer | others | target |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratios = dict(row["ratios"])
        first = _peer(row, ratios)
        others = ", ".join(f"{name} {report.number(ratio)}" for name, ratio in ratios.items())
        own = report.amount(row["own"], row["unit"]) if row["own"] is not None else "-"
        for name in ("tokens/s", "MB/s"):
            own += f", {report.number(row['rates'][name])} {name}" if row["rates"].get(name) else ""
        share = f"{row['share']:.0%} {row['bound']}" if row["share"] is not None and row["share"] <= 1 else "-"
        target = report.targets(row) if row["target"] is not None else ""
        star = "*" if row["star"] else ""
        lines.append(f"| {row['name']}{star} | {own} | {share} | {first} | {others} | {target} |")
    if any(row["star"] for row in rows):
        lines += ["", "\\* the machine was disturbed in most of the runs."]
    return lines


def _peer(row: Row, ratios: dict[str, float]) -> str:
    """The ratio to the peer that the target names, taken out of `ratios`; else why there is none, else the first other."""
    against, without = row["against"], row["dropped"].get(row["against"])
    if against not in ratios and without:
        return f"without {against}: {without}"
    name = against if against in ratios else next(iter(ratios), None)
    return f"{report.number(ratios.pop(name))} {name}" if name else "-"
