"""The command ``python -m benchmarks``.

::

    python -m benchmarks                          kernels, training steps and generation, beside peers and roofs
    python -m benchmarks ops lstm gru             two ops
    python -m benchmarks models --filter "V 65" --json run.json
    python -m benchmarks all --list               the names of every suite
    python -m benchmarks gpu --minutes 10         in order of worth, the record written after every case
    python -m benchmarks --profile "gpt B 4"      where a step's time goes, by op
    python -m benchmarks compare OLD NEW          what changed beyond noise; 1 if something became slower
    python -m benchmarks readme [--write]         README's tables from the newest records
    python -m benchmarks board                    tasks of 3, 15 and 60 minutes (benchmarks/board.md)
    python -m benchmarks results                  published tables and ours (benchmarks/results.md)
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from minilm.cli import Parser, exit_status  # which brings no NumPy: the pools are set before it is imported

POOLS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "MINILM_THREADS")
COMMANDS = ("compare", "readme", "board", "results")  # the module of that name has main(arguments) -> exit status


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """A positive number, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return number


def parser() -> argparse.ArgumentParser:
    """The command's options, the same for every suite."""
    p = Parser(
        prog="python -m benchmarks",
        description=__doc__.partition("::")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("names", nargs="*", metavar="NAME", help="a suite (or several, or all), then names out of it (see --list)")
    p.add_argument("--filter", action="append", default=[], metavar="TEXT", help="only cases whose name holds TEXT; repeatable")
    p.add_argument("--list", action="store_true", help="list the cases and stop")
    p.add_argument(
        "--profile", metavar="CASE", help="where the time of minilm's step goes, by op, for the cases whose name holds CASE"
    )
    p.add_argument("--quick", action="store_true", help="tiny sizes, few rounds: does it run at all; no target is judged")
    p.add_argument("--seconds", type=duration, default=3.0, metavar="S", help="time for the rounds of one case (3)")
    p.add_argument("--minutes", type=duration, metavar="M", help="begin no case that would not end within M minutes")
    p.add_argument("--threads", type=positive, metavar="N", help="threads of minilm, BLAS and peers alike (the cores there are)")
    p.add_argument("--without", action="append", default=[], metavar="PEER", help="leave a peer out, or all; repeatable")
    p.add_argument("--with", action="append", default=[], metavar="PEER", dest="including", help="one that wants to be named")
    p.add_argument("--no-peers", action="store_true", help="the same as --without all")
    p.add_argument("--json", metavar="FILE", help="the record, written after every row")
    p.add_argument("--resume", action="store_true", help="go on with the record of --json: what it has is not timed again")
    p.add_argument("--csv", metavar="FILE", help="a line a contestant, written after every row")
    p.add_argument("--plot", metavar="FOLDER", help="draw ratios, roofline and scaling (extra `plots`)")
    return p


def writable(*paths: str | None) -> None:
    """Find out before the measuring, not after it, that a file cannot be written."""
    for path in filter(None, paths):
        folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
        if not os.access(folder, os.W_OK):
            raise ValueError(f"cannot write {path}: {folder} is " + ("not writable" if os.path.isdir(folder) else "no folder"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status: 0, 1 if a result was wrong or a comparison found a loss, 2 for a wrong argument."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_status("benchmarks", lambda: _run(words), interrupted="interrupted; the record holds the rows that were printed")


def _run(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return importlib.import_module(f"benchmarks.{words[0]}").main(words[1:])
    return suites_command(parser().parse_args(words))


def no_gpu() -> str | None:
    """Why there is no GPU; None where there is one."""
    from minilm import devices

    status = devices.gpu_status()
    return None if status.available else status.reason


def suites_command(args) -> int:
    """List, profile or time the chosen cases."""
    for pool in (
        POOLS if args.threads else ()
    ):  # thread pools read these when their library is loaded, so before the imports below
        os.environ[pool] = str(args.threads)
    from benchmarks import peers, suites

    writable(args.json, args.csv, args.plot)
    if args.plot and (args.plot.endswith(".png") or os.path.isfile(args.plot)):
        raise ValueError(f"--plot draws several pictures, so it wants a folder, got {args.plot}")
    if args.resume and not args.json:
        raise ValueError("--resume goes on with a record: it needs --json FILE")
    rivals = peers.Peers(("all",) if args.no_peers else args.without, args.including, args.threads)
    chosen, names = [], list(args.names)
    while names and names[0] in (*suites.SUITES, "all"):
        chosen += list(suites.SUITES) if names[0] == "all" else [names[0]]
        names.pop(0)
    chosen = list(dict.fromkeys(chosen or suites.USUAL))
    if "gpu" in chosen and not args.list and (reason := no_gpu()):
        print(f"gpu: no GPU can be used: {reason}; its cases are left out")
        chosen.remove("gpu")
        if not chosen:
            return 0
    cases = suites.cases(chosen, args.quick)
    cases = suites.choose(cases, names, args.filter)
    if args.list:
        for case in cases:
            targets = {case.against: case.target, **case.also} if case.target else {}
            target = "   target: " + ", ".join(f"{least:.3g} x {name}" for name, least in targets.items()) if targets else ""
            print(f"{case.suite:10} {case.name}{target}")
        return 0
    from minilm import devices

    if args.threads:
        devices.set_threads(args.threads)
    if args.profile:
        from benchmarks import profiling

        return profiling.run(suites.choose(cases, [], [args.profile]), quick=args.quick, seconds=args.seconds)
    rivals.threads = devices.threads()
    from benchmarks.run import run

    return run(cases, rivals, args)


if __name__ == "__main__":
    sys.exit(main())
