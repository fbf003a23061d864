"""Records: a run as JSON, written anew after every row, so that a kill loses one row; and how older ones are read.

=============  ======================================================================================================
``machine``    processor, cores, threads, versions, roofs
``commit``     of minilm, with ``changed`` true where files differed from it
``date``       when the run began (UTC); each row has its own
``peers``      name to version of those that took part; ``missing``: name to reason of those that did not
``results``    a row a case: ``ratios`` (times as fast as each contestant), ``samples`` (seconds a run), ``rates``, ``roof``,
               ``facts`` (what else the samples showed: numbers by name), ``conditions`` (load, other processes, the host,
               control kernels, and the verdict)
=============  ======================================================================================================

Records of before format 2 hold ratios and roofs only; `read` fills in what they lack.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from typing import Any

from benchmarks.case import Result, utc
from benchmarks.machine import identity, threads
from benchmarks.timing import Spread, spread
from minilm import files

FORMAT = 2
LACKING = {
    "suite": "", "subject": "", "unit": "s", "ratios": {}, "samples": {}, "rates": {}, "roof": None, "bound": None, "rounds": 0,
    "target": None, "against": "torch", "reached": None, "dropped": {}, "error": None, "note": None, "conditions": {}, "date": "",
    "facts": {}, "also": {},
}  # fmt: skip


def row(result: Result) -> dict[str, Any]:
    """A result as plain data."""
    case, samples = result.case, {name: spread(values) for name, values in result.samples.items() if values}
    return {
        "name": case.name,
        "suite": case.suite,
        "subject": case.subject,
        "unit": case.unit,
        "date": result.date,
        "ratios": {name: rounded(ratio) for name, ratio in result.ratios.items()},
        "samples": {name: {**rounded(each), "rounds": len(result.samples[name])} for name, each in samples.items()},
        "rates": rates(result),
        "roof": rounded(result.roof) if result.roof else None,
        "bound": result.bound or None,
        "rounds": len(result.own),
        "target": result.target,
        "against": case.against,
        "also": case.also,
        "reached": result.reached,
        "dropped": result.dropped,
        "error": result.error or None,
        "note": result.note or None,
        "facts": result.facts,
        "conditions": {**dataclasses.asdict(result.conditions), "verdict": result.conditions.verdict},
    }


def rates(result: Result) -> dict[str, float]:
    """Work a second, of minilm's median."""
    case = result.case
    if not result.own or case.unit != "s":
        return {}
    median = spread(result.own).median
    work = {"GFLOP/s": case.flops / 1e9, "GB/s": case.moved / 1e9, "tokens/s": case.tokens, "MB/s": case.text_bytes / 1e6}
    return {name: float(f"{each / median:.4g}") for name, each in work.items() if each}


def rounded(ratio: Spread) -> dict[str, float]:
    """A spread with four digits."""
    return {name: float(f"{value:.4g}") for name, value in ratio._asdict().items()}


def commit() -> dict[str, Any]:
    """The commit of minilm's sources, and whether files differ from it; empty where there is no git."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        output = [
            subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=20, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "--", "minilm"))
        ]
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None}
    return {"commit": output[0], "changed": bool(output[1])}


class Writer:
    """The record of a run, on disk after every row.

    Parameters
    ----------
    path : str or None
        None keeps it in memory alone.
    machine : dataclass
        Of the run.
    resume : bool
        Keep the rows of the record that is there; rows of the same name are replaced.
    """

    def __init__(self, path: str | None, machine, resume: bool = False):
        self.path = path
        begun = {"format": FORMAT, "date": utc(), **commit(), "command": " ".join(["python -m benchmarks", *sys.argv[1:]])}
        self.content: dict[str, Any] = {
            **begun,
            "machine": dataclasses.asdict(machine),
            "peers": {},
            "missing": {},
            "results": [],
        }
        if resume and path and os.path.exists(path):
            before = read(path)
            if identity(before["machine"]) != identity(self.content["machine"]):
                raise ValueError(
                    f"{path} is of another processor, {identity(before['machine'])}: --resume adds to this one's alone"
                )
            if threads(before["machine"]) != threads(self.content["machine"]):
                number = threads(before["machine"]) or "an unknown number of"
                raise ValueError(f"{path} is of {number} threads: --resume adds to rows of as many alone")
            if before.get("commit") != self.content["commit"]:
                raise ValueError(f"{path} is of another commit, {before.get('commit')}: --resume adds to this one's alone")
            self.content |= {name: before.get(name) or {} for name in ("peers", "missing")} | {"results": before["results"]}
            self.content["changed"] = before.get("changed") or self.content["changed"]
            self.content["date"] = before.get("date") or self.content["date"]

    @property
    def names(self) -> set[str]:
        """Of the rows that were timed."""
        return {each["name"] for each in self.content["results"] if not each["error"]}

    def add(self, new: dict[str, Any], peers=None) -> None:
        """Take a row in, in place of one of the same name, and write."""
        results = [each for each in self.content["results"] if each["name"] != new["name"]]
        self.content["results"] = [*results, new]
        if peers is not None:
            self.content["peers"] |= peers.versions
            self.content["missing"] |= peers.missing
        self.write()

    def write(self) -> None:
        """Write the whole, or leave what was there."""
        if self.path:
            with files.written_whole(self.path) as file:
                file.write((json.dumps(self.content, indent=1) + "\n").encode())


def read(path: str) -> dict[str, Any]:
    """A record, with all that rows of today have.

    Raises
    ------
    ValueError
        If the file is no record.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path} is no record: it is not JSON") from None
    if isinstance(content, list):  # of tokenizers and of memory, before format 2
        content = {"machine": {}, "results": content}
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise ValueError(f"{path} is no record: it has no list of results")
    content.setdefault("machine", {})
    content.setdefault("format", 1)
    content.setdefault("date", (re.findall(r"\d{4}-\d{2}-\d{2}", os.path.basename(path)) or [""])[0])
    content["results"] = [_filled(each) for each in content["results"] if isinstance(each, dict) and "name" in each]
    return content


def _filled(each: dict[str, Any]) -> dict[str, Any]:
    """A row with the fields that it lacks, and spreads as dicts."""
    filled = {**LACKING, **each}
    ratios = filled["ratios"] or {}
    filled["ratios"] = {
        name: dict(zip(Spread._fields, ratio, strict=True)) if isinstance(ratio, list) else ratio
        for name, ratio in ratios.items()
    }
    return filled


def verdict(each: dict[str, Any]) -> str:
    """Whether the machine was quiet while a row was timed; "" where nothing is known of it."""
    return each["conditions"].get("verdict", "")
