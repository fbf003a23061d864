"""The command ``python -m benchmarks``.

::

    python -m benchmarks                        every op and every model
    python -m benchmarks ops lstm gru           two ops
    python -m benchmarks models --json run.json
    python -m benchmarks memory                 peak memory of training steps
    python -m benchmarks beside                 does importing PyTorch beside minilm slow either
    python -m benchmarks tokenizers             encoding and training, beside tiktoken and tokenizers
    python -m benchmarks gpu                    the kernels on a GPU, beside its roofs, the CPU and PyTorch
    python -m benchmarks --list                 the names
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from benchmarks.names import SUITES, choose
from minilm.cli import Parser  # which brings no NumPy: the pools are set before it is imported

POOLS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "MINILM_THREADS")


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """A positive number of seconds, for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return seconds


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = Parser(prog="python -m benchmarks", description="minilm beside its oracle and PyTorch, in one run.")
    p.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="ops, models, memory, beside, tokenizers, gpu or all, then names out of it (see --list)",
    )
    p.add_argument("--list", action="store_true", help="list the cases and stop")
    p.add_argument("--quick", action="store_true", help="tiny sizes, few rounds: does it run at all; no target is judged")
    p.add_argument("--seconds", type=duration, default=3.0, metavar="S", help="time for the rounds of one case (3)")
    p.add_argument("--threads", type=positive, metavar="N", help="threads of minilm, BLAS and torch alike (the cores there are)")
    p.add_argument("--no-peers", action="store_true", help="leave torch out even where it is installed")
    p.add_argument("--json", metavar="FILE", help="write the results as JSON")
    p.add_argument("--csv", metavar="FILE", help="write the results as CSV")
    p.add_argument("--plot", metavar="PATH", help="draw the ratios; a file, or a folder (extra `plots`)")
    return p


def writable(*paths: str | None) -> None:
    """Find out before the measuring, not after it, that a file cannot be written."""
    for path in filter(None, paths):
        folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
        if not os.access(folder, os.W_OK):
            raise ValueError(f"cannot write {path}: {folder} is " + ("not writable" if os.path.isdir(folder) else "no folder"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status: 0, 1 if a result was wrong, 2 for a wrong argument."""
    command = parser()
    args = command.parse_args(arguments)
    if args.threads:
        for pool in POOLS:  # thread pools read these when their library is loaded, so before the imports below
            os.environ[pool] = str(args.threads)
    suite, names = (args.names[0], args.names[1:]) if args.names and args.names[0] in SUITES else ("all", args.names)
    try:
        writable(args.json, args.csv, args.plot)
        if suite in ("memory", "beside"):
            module = importlib.import_module(f"benchmarks.{suite}")
            return module.report(names, quick=args.quick, peers=not args.no_peers, threads=args.threads, json_path=args.json)
        if suite == "tokenizers":
            from benchmarks import cases_tokenizers

            if args.list:
                print("\n".join(case.name for case in cases_tokenizers.every(args.quick)))
                return 0
            return cases_tokenizers.report(
                names, quick=args.quick, peers=not args.no_peers, seconds=args.seconds, json_path=args.json
            )
        if suite == "gpu":
            return on_gpu(args, names)
        return speed(args, suite, names)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def on_gpu(args, names: list[str]) -> int:
    """The GPU's kernels; where there is none, the CPU's implementations in their place, and the reason why."""
    from minilm import devices

    status = devices.gpu_status()
    if not status.available:
        print(f"no GPU can be used: {status.reason}; these are the implementations on the CPU\n")
        return speed(args, "ops", names)
    from benchmarks import gpu

    return gpu.run(
        names,
        quick=args.quick,
        peers=not args.no_peers,
        json_path=args.json,
        csv_path=args.csv,
        plot_path=args.plot,
        listing=args.list,
    )


def speed(args, suite: str, names: list[str]) -> int:
    """Time the chosen cases and report."""
    from benchmarks import cases_models, cases_ops, machine, peers, report
    from benchmarks.case import measure
    from minilm import devices

    if args.threads:
        devices.set_threads(args.threads)
    cases = cases_ops.cases(args.quick) if suite in ("ops", "all") else []
    cases += cases_models.cases(args.quick) if suite in ("models", "all") else []
    cases = choose(cases, names)
    if args.list:
        for case in cases:
            target = f"   target: {case.target:g} x torch" if case.target else ""
            print(f"{case.suite:7} {case.name}{target}")
        return 0
    torch = None if args.no_peers else peers.load(devices.threads())
    host = machine.measure(devices.threads(), torch, args.quick)
    results = []
    for index, case in enumerate(cases, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{index}/{len(cases)} {case.name}", end="", file=sys.stderr, flush=True)
        results.append(measure(case, torch, seconds=args.seconds, quick=args.quick))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    host = host.better(machine.measure(devices.threads(), torch, args.quick))  # a busy minute must not lower the roof
    for result in results:
        result.hold_against(host)
    print("\n".join(host.lines()) + "\n")
    print("\n".join(report.table(results)))
    print(f"\n{report.NOTE}\n{report.summary(results)}")
    if args.json:
        report.write_json(args.json, host, results)
    if args.csv:
        report.write_csv(args.csv, results)
    if args.plot:
        try:
            print(f"plot: {report.plot(args.plot, host, results)}")
        except ImportError:
            print("no plot: matplotlib is not installed (extra `plots`)", file=sys.stderr)
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
