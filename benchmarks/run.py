"""A run: the chosen cases one after the other, each printed, judged and written as it comes."""

from __future__ import annotations

import sys
import time
import warnings

from benchmarks import machine, record, report
from benchmarks.case import Case, Result, measure
from benchmarks.disturbance import Watch
from benchmarks.peers import Peers


def run(cases: list[Case], peers: Peers, options) -> int:
    """Time the cases and report; the exit status, 1 if a result was wrong.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``seconds``, ``minutes``, ``json``, ``csv``, ``plot``, ``resume``.
    """
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    host = measured_host(cases, peers, options.quick)
    writer = record.Writer(options.json, host, options.resume)
    left = [case for case in cases if not options.resume or case.name not in writer.names]
    watch = Watch(peers.threads or 1, machine.identity(vars(host)), options.quick)
    print("\n".join(host.lines()) + "\n")
    table = report.Table([case.name for case in left])
    print("\n".join(table.head()), flush=True)
    results: list[Result] = []
    longest = 0.0
    while left and time.monotonic() + longest < end:
        case, begun = left.pop(0), time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the peers' own, which would stand between the rows
            results.append(measure(case, peers, seconds=options.seconds, quick=options.quick, watch=watch))
        longest = max(longest, time.monotonic() - begun)
        results[-1].hold_against(host)
        row = record.row(results[-1])
        writer.add(row, peers)
        if options.csv:
            report.write_csv(options.csv, writer.content["results"])
        print(table.row(row), flush=True)
    if not options.minutes:
        better = host.better(measured_host(cases, peers, options.quick))  # a busy minute must not lower the roof
        for result in results:
            result.hold_against(better)
            writer.add(record.row(result), peers)
    finish(writer, left, options)
    return 1 if any(result.error for result in results) else 0


def measured_host(cases: list[Case], peers: Peers, quick: bool):
    """The machine that the cases run on: the GPU, if they are of that suite and there is one."""
    if cases and all(case.suite == "gpu" for case in cases):
        from minilm import devices

        if devices.gpu_status().available:
            from benchmarks import gpu

            return gpu.measure_device(quick)
    return machine.measure(peers.threads or 1, quick)


def finish(writer: record.Writer, left: list[Case], options) -> None:
    """What stands below the table, the picture, and what was not timed."""
    rows = writer.content["results"]
    print("\n" + "\n".join(report.peers(writer.content["peers"], writer.content["missing"])))
    print("\n".join([report.NOTE, *report.summary(rows)]))
    if left:
        print(f"time is up: {len(left)} cases were not timed, from {left[0].name!r} on; --resume goes on")
    if options.plot:
        from benchmarks import plots

        try:
            print("\n".join(f"plot: {path}" for path in plots.draw(options.plot, writer.content)))
        except ImportError:
            print("no plot: matplotlib is not installed (extra `plots`)", file=sys.stderr)
