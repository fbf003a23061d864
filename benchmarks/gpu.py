"""The kernels on a GPU: against its own roofs, the CPU's kernels, and PyTorch on the same GPU.

Times are taken by CUDA events around many calls. The roofs are measured in the same run: a copy of large arrays, and matrix
products in each precision.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import statistics
import sys
import time
from typing import Any

import numpy as np

from benchmarks import gpu_cases, report
from minilm import devices

SECONDS = 0.2  # of calls that make a sample
ROUNDS = 5
VERSIONS = ("version ", "rung ", "gpu ")  # how contestants of ours beside the fastest begin; "rung" in records of before 2026-12


@dataclasses.dataclass
class Device:
    """The GPU and the software of one run, and its roofs."""

    name: str
    driver: str
    versions: dict[str, str]
    bandwidth: float  # bytes a second, read and written
    matmul: dict[str, float]  # FLOP a second by precision
    date: str

    def lines(self) -> list[str]:
        """In a few lines of text."""
        rates = ", ".join(f"{name} {rate / 1e12:.2f}" for name, rate in self.matmul.items())
        return [
            f"{self.name}, driver {self.driver}, {self.date}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"copy {self.bandwidth / 1e9:,.0f} GB/s (read + written); matmul in TFLOP/s: {rates}",
        ]


@dataclasses.dataclass
class Row:
    """What a case gave: seconds a call by contestant, and the share of the roof that the GPU's last version reaches."""

    name: str
    subject: str
    seconds: dict[str, float]
    roof: float | None
    bound: str
    target: float | None = None
    error: str = ""

    def ratio(self, other: str) -> float | None:
        """How many times as fast as another contestant minilm's GPU code is."""
        return self.seconds[other] / self.seconds["gpu"] if other in self.seconds else None


def seconds_on_gpu(function, quick: bool = False) -> float:
    """Seconds of a call on the GPU's own clock: the least of a few samples, so that a pause of the host does not count."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    function()
    stream.synchronize()
    start = time.perf_counter()
    function()
    stream.synchronize()
    calls = 1 if quick else max(1, round(SECONDS / ROUNDS / max(time.perf_counter() - start, 1e-6)))
    samples = []
    for _ in range(1 if quick else ROUNDS):
        first, last = cupy.cuda.Event(), cupy.cuda.Event()
        first.record()
        for _ in range(calls):
            function()
        last.record()
        last.synchronize()
        samples.append(cupy.cuda.get_elapsed_time(first, last) / 1e3 / calls)
    return statistics.median(samples)


def seconds_on_host(function, quick: bool = False) -> float:
    """Seconds of a call that has ended when it returns."""
    function()
    samples = []
    for _ in range(1 if quick else ROUNDS):
        start = time.perf_counter()
        function()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def measure_device(torch, quick: bool) -> Device:
    """The roofs, and what runs here."""
    import cupy

    from minilm.ops.cuda import PRECISIONS, products

    numbers = 1 << (12 if quick else 27)  # 512 MiB: far beyond the cache
    x, y = cupy.zeros(numbers, "float32"), cupy.zeros(numbers, "float32")
    copy = seconds_on_gpu(lambda: copy_of(x, y), quick)
    size = 32 if quick else 4096
    a, b = (cupy.ones((size, size), "float32") for _ in range(2))
    rates = {}
    for name in PRECISIONS:
        with products.precision(name):
            rates[name] = 2 * size**3 / seconds_on_gpu(lambda: products.matmul(a, b), quick)
    versions = {"minilm": importlib.metadata.version("minilm"), "cupy": cupy.__version__, "numpy": np.__version__}
    if torch is not None:
        versions["torch"] = torch.__version__
    runtime = cupy.cuda.runtime
    versions["CUDA"] = f"{runtime.runtimeGetVersion() // 1000}.{runtime.runtimeGetVersion() % 1000 // 10}"
    driver = f"{runtime.driverGetVersion() // 1000}.{runtime.driverGetVersion() % 1000 // 10}"
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return Device(devices.gpu_status().reason, driver, versions, 8 * numbers / copy, rates, today)


def copy_of(x, y) -> None:
    """y = x, on the device."""
    y[...] = x


def measure(case: gpu_cases.Case, device: Device, torch, quick: bool) -> Row:
    """Time the contestants of a case."""
    seconds: dict[str, float] = {}
    error = ""
    try:
        for name, (where, function) in case.contestants(torch).items():
            seconds[name] = (seconds_on_gpu if where == "gpu" else seconds_on_host)(function, quick)
    except Exception as problem:  # one case that fails must not lose the others
        error = f"{type(problem).__name__}: {problem}".splitlines()[0][:200]
    row = Row(case.name, case.subject, seconds, None, "", case.target, error)
    if "gpu" in seconds and (case.flops or case.moved):
        by_product, by_copy = case.flops / device.matmul[case.precision], case.moved / device.bandwidth
        row.roof, row.bound = max(by_product, by_copy) / seconds["gpu"], "matmul" if by_product > by_copy else "bandwidth"
    return row


def table(rows: list[Row]) -> list[str]:
    """For people to read."""
    head = ["case", "gpu", "of the roof", "other versions", "cpu / gpu", "torch / gpu", "target"]
    lines = []
    for row in rows:
        if row.error:
            lines.append([row.name, f"FAILED: {row.error}", *[""] * 5])
            continue
        versions = ", ".join(
            f"{row.seconds[name] / row.seconds['gpu']:.1f}" for name in sorted(row.seconds) if name.startswith(VERSIONS)
        )
        roof = f"{row.roof:.0%} {row.bound}" if row.roof is not None else ""
        ratios = [f"{row.ratio(name):.2f}" if row.ratio(name) is not None else "-" for name in ("cpu", "torch")]
        target = "" if row.target is None else f"{row.target:g} of torch"
        lines.append([row.name, f"{row.seconds['gpu'] * 1e6:,.1f} us", roof, versions, *ratios, target])
    return report.aligned(head, lines)


def plot(path: str, device: Device, rows: list[Row]) -> str:
    """Shares of the roof, a bar a case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.roof is not None]
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.28 * len(shown)), layout="constrained")
    axes.barh(
        [row.name for row in shown],
        [row.roof for row in shown],
        color=["#4477aa" if r.bound == "matmul" else "#ee7733" for r in shown],
    )
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("share of the roof")
    figure.suptitle(f"{device.name}; blue: held against its matmul rate, orange: its copy bandwidth", fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def run(names: list[str], *, quick: bool, peers: bool, json_path=None, csv_path=None, plot_path=None, listing=False) -> int:
    """`python -m benchmarks gpu` on a machine that has one; the exit status, 1 if a case failed."""
    from benchmarks.names import known

    cases = gpu_cases.cases(quick)
    if names:
        known(names, [case.subject for case in cases])
        cases = [case for case in cases if case.subject in names]
    if listing:
        print("\n".join(case.name for case in cases))
        return 0
    torch = gpu_cases.torch_on_gpu() if peers else None
    device = measure_device(torch, quick)
    rows: list[Row] = []
    for number, case in enumerate(cases, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{number}/{len(cases)} {case.name}", end="", file=sys.stderr, flush=True)
        rows.append(measure(case, device, torch, quick))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print("\n".join(device.lines()) + "\n")
    print("\n".join(table(rows)))
    print(
        "\nthe last four columns: how many times as long the others take; torch on the same GPU"
        + ("" if torch else ", which is not here")
    )
    if json_path:
        record: dict[str, Any] = {"machine": dataclasses.asdict(device), "results": [dataclasses.asdict(row) for row in rows]}
        with open(json_path, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
    if csv_path:
        import csv

        with open(csv_path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "contestant", "seconds", "roof", "bound"])
            writer.writerows([row.name, name, value, row.roof, row.bound] for row in rows for name, value in row.seconds.items())
    if plot_path:
        try:
            print(f"plot: {plot(plot_path, device, rows)}")
        except ImportError:
            print("no plot: matplotlib is not installed (extra `plots`)", file=sys.stderr)
    return int(any(row.error for row in rows))
