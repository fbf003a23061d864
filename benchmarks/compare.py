"""``python -m benchmarks compare OLD NEW``: which rows of two records changed beyond noise.

A row is held against itself by two measures, as far as both records have them: minilm's own time, where they are of one
processor and as many threads, and its ratio to a contestant that both timed. It has changed if every measure says so, by more
than `LEAST` and with quartiles that do not overlap. A row that was disturbed in either record is shown and not judged. A row has
failed if NEW has an error in its place and OLD has none. The status is 1 if one became slower or failed.
"""

from __future__ import annotations

from typing import Any

from benchmarks import record, report
from benchmarks.machine import identity, threads

LEAST = 1.05  # a change of less is none
Row = dict[str, Any]
Spread = dict[str, float]


def main(arguments: list[str]) -> int:
    """Run the command."""
    from minilm.cli import Parser

    parser = Parser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("old", metavar="OLD", help="a record, as --json writes it")
    parser.add_argument("new", metavar="NEW", help="another")
    parser.add_argument("--all", action="store_true", help="also rows that did not change")
    args = parser.parse_args(arguments)
    old, new = record.read(args.old), record.read(args.new)
    lines, worse = compared(old, new, args.all)
    print("\n".join(lines))
    return int(worse)


def compared(old: dict, new: dict, everything: bool = False) -> tuple[list[str], bool]:
    """What is to be said, and whether a row became slower or failed."""
    differs = difference(old["machine"], new["machine"])
    lines = heads(old, new, differs)
    before = {row["name"]: row for row in old["results"]}
    rows, verdicts = [], []
    for row in new["results"]:
        if row["name"] not in before:
            continue
        verdict, shown = changed(before[row["name"]], row, not differs)
        verdicts.append(verdict)
        if everything or verdict not in ("same", "not timed"):
            rows.append([row["name"], *shown, verdict])
    if not verdicts:
        raise ValueError("the two records have no row in common")
    lines += report.aligned(["case", "old", "new", "new / old", "by", ""], rows) if rows else []
    counts = {verdict: verdicts.count(verdict) for verdict in ("failed", "slower", "faster", "same", "disturbed", "not timed")}
    worse = counts["failed"] + counts["slower"] > 0
    counts |= {"in OLD alone": len(before) - len(verdicts), "in NEW alone": len(new["results"]) - len(verdicts)}
    lines.append("\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return lines, worse


def difference(old: dict, new: dict) -> str:
    """What makes times of two machines say nothing of each other; "" where they are of one."""
    if identity(old) != identity(new):
        return "processors"
    return "" if threads(old) == threads(new) else "numbers of threads"


def heads(old: dict, new: dict, differs: str) -> list[str]:
    """Of what the records are: first of all, whether of one processor and as many threads."""
    lines = [
        f"{name}: {identity(content['machine'])}, threads: {threads(content['machine']) or 'unknown'}, "
        f"{content.get('date') or 'no date'}, commit {(content.get('commit') or 'unknown')[:12]}"
        f"{' and changes' if content.get('changed') else ''}"
        for name, content in (("old", old), ("new", new))
    ]
    return [f"different {differs}: times say nothing of each other, only ratios are compared", *lines] if differs else lines


def changed(old: Row, new: Row, same: bool) -> tuple[str, list[str]]:
    """A verdict (failed, faster, slower, same, disturbed, not timed), and the cells old, new, new / old, by."""
    if new["error"] and not old["error"]:
        return "failed", ["-", "-", "-", "-"]
    measures = dict(measured(old, new, same))
    if not measures:
        return "not timed", ["-", "-", "-", "-"]
    verdicts = {judged(*pair) for pair in measures.values()}
    verdict = verdicts.pop() if len(verdicts) == 1 else "same"
    if verdict != "same" and any(record.verdict(row).startswith("disturbed") for row in (old, new)):
        verdict = "disturbed"
    by, (a, b) = next(iter(measures.items()))
    return verdict, [report.show(a), report.show(b), f"{b['median'] / a['median']:.2f}", by]


def measured(old: Row, new: Row, same: bool):
    """The measures that two rows have in common, as (name, (old, new)) of speeds: more is faster."""
    candidates = [new["against"], *new["ratios"]]
    peer = next((name for name in candidates if name in old["ratios"] and name in new["ratios"]), None)
    if peer is not None:
        yield f"ratio to {peer}", (old["ratios"][peer], new["ratios"][peer])
    times = [next(iter(row["samples"].values()), None) for row in (old, new)]
    if same and all(times):
        yield f"runs a {old['unit']}", tuple(inverse(time) for time in times)


def inverse(time: Spread) -> Spread:
    """Speeds of times."""
    return {"median": 1 / time["median"], "low": 1 / time["high"], "high": 1 / time["low"]}


def judged(old: Spread, new: Spread) -> str:
    """Whether one speed is beyond the noise of the other."""
    if new["median"] > LEAST * old["median"] and new["low"] > old["high"]:
        return "faster"
    if old["median"] > LEAST * new["median"] and old["low"] > new["high"]:
        return "slower"
    return "same"
