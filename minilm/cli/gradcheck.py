"""`minilm gradcheck`: finite differences against every op, layer and model."""

from __future__ import annotations

import dataclasses
import json
import sys

from minilm import devices
from minilm.cli.device import require


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "gradcheck",
        help="compare every gradient with finite differences",
        description="Compare the gradients of every op (in every combination of its options), layer and model with finite "
        "differences in float64: the full Jacobian on tiny shapes, random directions on larger ones. Exit status 1 if one fails.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops, layers or models; all without any")
    parser.add_argument(
        "--implementation",
        choices=(*devices.IMPLEMENTATIONS, *devices.VERSIONS, "emulated"),
        help="only this one; without: oracle and cpu. cpu_1 is the plain version of cpu where an op has one; emulated is gpu's, "
        "the CUDA kernels, run on the CPU (needs g++ on Linux)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Check, print a table, and return 1 if anything failed."""
    from minilm.gradcheck import catalogue

    if args.list:
        known = catalogue.catalogue()
        entries = {name: known[name][0] for name in catalogue.select(args.names)}
        print(json.dumps(entries, indent=2) if args.json else "\n".join(f"{name:<28} {kind}" for name, kind in entries.items()))
        return 0
    names = catalogue.select(args.names)
    if args.implementation == "gpu":
        require("cuda", "--implementation gpu")
    if args.implementation == catalogue.EMULATED:
        _require_emulator()
    implementations = [args.implementation] if args.implementation else list(devices.HOST)
    rows = []
    if not args.json:
        print(f"{'name':<28} {'kind':<6} {'by':<8} {'checks':>6} {'worst error':>12}   {'time':>6}  result")
    for name, implementation in _progress([(name, i) for name in names for i in implementations]):
        row = catalogue.run(name, implementation)
        rows.append(row)
        if not args.json:
            verdict = "ok" if row.passed else f"FAILED at {row.where}"
            line = f"{row.name:<28} {row.kind:<6} {row.implementation:<8} {row.checks:>6} {row.worst:>12.1e}"
            line += f"   {row.seconds:>5.1f}s  {verdict}"
            _write("\n".join([line, *(f"    {problem}" for problem in row.problems[:10])]))
    failed = [row for row in rows if not row.passed]
    if args.json:
        print(
            json.dumps([{**dataclasses.asdict(row), "worst": _finite(row.worst), "passed": row.passed} for row in rows], indent=2)
        )
    else:
        worst = max(rows, key=lambda row: row.worst)
        print(
            f"{len(rows) - len(failed)} of {len(rows)} passed, {sum(row.checks for row in rows)} checks; "
            f"worst relative error {worst.worst:.1e} ({worst.name}: {worst.where})"
        )
    return 1 if failed else 0


def _require_emulator() -> None:
    """ValueError in one line that says what is missing, unless CUDA kernels can run on this CPU."""
    from minilm.ops.cuda import emulated

    if reason := emulated.missing():
        raise ValueError(f"--implementation emulated: {reason}")


def _finite(number: float):
    """JSON has no infinity."""
    return number if number < float("inf") else None


def _progress(tasks):
    """The tasks, with a bar on a terminal."""
    if not sys.stderr.isatty():
        return tasks
    import tqdm

    return tqdm.tqdm(tasks, unit="check", leave=False)


def _write(text: str) -> None:
    """Print without tearing the bar."""
    if sys.stderr.isatty():
        import tqdm

        tqdm.tqdm.write(text)
    else:
        print(text, flush=True)
