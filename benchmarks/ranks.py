"""Data parallel training of one global batch on more and more ranks: ``python -m benchmarks.ranks``.

::

    python -m benchmarks.ranks                         1, 2 and 4 ranks of a GPT, a thread each
    python -m benchmarks.ranks --ranks 2 --threads 1 2
    python -m benchmarks.ranks --bandwidth 10          and what a network of 10 GB/s would make of it, up to 1,024 ranks

A row has, of the slowest rank, the medians over the steps of: the whole step; the part from the first forward to the end of the
last backward; the wait for sums that followed it; and how much of the gradients was under way before backward had ended. The
efficiency is the speed a core, beside one rank's on one thread. More ranks than cores only share them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fresh import surroundings

SHARDS, ROWS, TIME = 4, 8, 128  # of the global batch
MODEL = {"n_layer": 4, "n_head": 8, "n_embd": 256, "vocab_size": 2048, "n_positions": TIME}
MOST = 1024  # ranks of the modelled curve
LATENCY = 20e-6  # seconds that a message between hosts takes besides its bytes


class Row(NamedTuple):
    """Of the slowest rank, seconds a step."""

    ranks: int
    threads: int
    step: float
    compute: float
    wait: float
    sent_early: float  # part of the gradients
    parameters: int


def train(steps: int, out: str) -> None:
    """What each rank does: steps of a GPT on one batch. Rank 0 writes what they took."""
    from minilm import devices, distributed, models, optimizers
    from minilm.random import Key
    from minilm.training.agreement import Agreement
    from minilm.training.parallel import ParallelStep
    from minilm.training.step import counts

    with distributed.job() as ranks:
        model = models.GPT(models.GPTConfig(**MODEL), seed=0)
        step = ParallelStep(model, optimizers.AdamW(model.parameters), None, Agreement(ranks), batch=ROWS, shards=SHARDS)
        drawn = np.random.default_rng(0)
        batch = tuple(drawn.integers(0, MODEL["vocab_size"], (ROWS, TIME)) for _ in range(2))
        targets = counts(model, batch, SHARDS)
        rows = []
        for number in range(-2, steps):
            reduction = step.shared.reduction
            reduction.trace = []
            begin = time.perf_counter()
            step(batch, None, [Key(0, number + 2)] * SHARDS, targets, 1e-3)
            end = time.perf_counter()
            if number >= 0:
                rows.append(_times(reduction, begin, end))
        medians = ranks.exchange(np.median(rows, axis=0))  # (ranks, 4)
        slowest = medians[medians[:, 0].argmax()].tolist()
        if ranks.rank == 0:
            with open(out, "w", encoding="utf-8") as file:
                json.dump(Row(ranks.size, devices.threads(), *slowest, parameters=model.parameters.count), file)


def _times(reduction: Any, begin: float, end: float) -> tuple[float, float, float, float]:
    """(step, compute, wait, part of the gradients sent before backward had ended) of a step, from its trace."""
    at = {what: second for what, _, second in reduction.trace}
    sizes = [where.stop - where.start for where in reduction.buckets]
    early = sum(sizes[bucket] for what, bucket, second in reduction.trace if what == "sent" and second < at["backward over"])
    return end - begin, at["backward over"] - begin, at["finished"] - at["backward over"], early / sum(sizes)


def launcher() -> str | None:
    """The mpiexec of the path, or of this environment."""
    return shutil.which("mpiexec") or shutil.which("mpiexec", path=os.path.dirname(sys.executable))


def measured(ranks: int, threads: int, steps: int) -> Row:
    """Start so many ranks and take what they measured."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "row.json")
        command = [sys.executable, "-m", "benchmarks.ranks", "--child", out, "--steps", str(steps)]
        if ranks > 1:
            program = launcher()
            if program is None:
                raise SystemExit("there is no mpiexec: pip install 'minilm[mpi]'")
            command = [program, "-n", str(ranks), *command]
        pools = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MINILM_THREADS"), str(threads))
        subprocess.run(command, env={**surroundings(), **pools}, stdin=subprocess.DEVNULL, check=True)
        with open(out, encoding="utf-8") as file:
            return Row(*json.load(file))


def modelled(row: Row, ranks: int, bandwidth: float) -> float:
    """Seconds a step of so many ranks, each a host with one core as this one, and a micro-shard for each.

    The sums of a step, 2 (R - 1) / R times 4 bytes a parameter, travel beside backward, two thirds of the compute, but for a
    tenth that becomes final at its end; what does not fit beside it is waited for.
    """
    sent = 2 * (ranks - 1) / ranks * 4 * row.parameters / bandwidth + 2 * (ranks - 1) * LATENCY
    beside = row.compute / SHARDS * 2 / 3  # backward of one micro-shard
    return row.compute / SHARDS + max(sent - beside, sent * 0.1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description="One global batch on more and more ranks.")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], metavar="R")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], metavar="N", help="of each rank")
    parser.add_argument("--steps", type=int, default=10, metavar="N")
    parser.add_argument("--bandwidth", type=float, metavar="GB/S", help="of a network, for a modelled curve")
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        train(options.steps, options.child)
        return
    print(
        f"{'ranks':>5} {'threads':>8} {'step ms':>9} {'compute':>9} {'wait':>7} {'wait %':>7} {'early %':>8} {'efficiency':>11}"
    )
    base = None
    for threads in options.threads:
        for ranks in options.ranks:
            row = measured(ranks, threads, options.steps)
            base = base or row
            share = base.step * base.ranks * base.threads / (row.step * ranks * threads)
            print(
                f"{ranks:>5} {threads:>8} {1e3 * row.step:>9.1f} {1e3 * row.compute:>9.1f} {1e3 * row.wait:>7.1f} "
                f"{row.wait / row.step:>7.1%} {row.sent_early:>8.0%} {share:>11.2f}"
            )
    if options.bandwidth is not None and base is not None:
        network = f"{options.bandwidth:g} GB/s, {LATENCY * 1e6:.0f} µs a message"
        print(f"\nmodelled: a micro-shard of {ROWS // SHARDS} rows a rank, {network}")
        alone = base.compute / SHARDS
        for power in range(MOST.bit_length()):
            seconds = modelled(base, 2**power, options.bandwidth * 1e9)
            print(f"{2**power:>5} ranks {1e3 * seconds:>9.1f} ms a step, efficiency {alone / seconds:.2f}")


if __name__ == "__main__":
    main()
