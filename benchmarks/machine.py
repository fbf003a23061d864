"""What the machine can do: the roofs every case is held against, measured in the same run, and what kind of machine it is."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks import kept
from benchmarks.roofs import best_rate, levels

RATES = ("matmul", "bandwidth", "peak", "levels")  # fields of a machine that a busy minute lowers
REUSED = 4  # an op's arrays are read and written up to so many times: its working set is at least a quarter of its traffic


@dataclass(frozen=True)
class Machine:
    """The machine and the software of one run.

    Attributes
    ----------
    kind : str
        What kernels are compiled for, of what the processor has: see `kind`.
    matmul : float
        FLOP a second of float32 ``np.matmul``, the best of several sizes: what BLAS makes of it, not a roof.
    peak : float
        FLOP a second of multiply-adds in registers, all threads.
    levels : list of (bytes, rate)
        Bytes a second read plus written, all threads, by the size of the working set.
    bandwidth : float
        Bytes a second read plus written by a copy of large arrays with all threads.
    threads : dict of str to int
        Threads of minilm's kernels and of NumPy's BLAS.
    """

    cpu: str
    cores: int
    threads: dict
    blas: str
    versions: dict
    matmul: float
    bandwidth: float
    peak: float
    levels: list
    kind: str = ""

    def roof(self, flops: float, moved: float, precision: str = "float32", working: float | None = None) -> tuple[float, str]:
        """Seconds the work needs at least on this machine, by arithmetic or by traffic, and which of them that is.

        The traffic goes at the rate of the smallest memory that can hold its arrays. No peak of arithmetic is measured below
        float32, so of such work the traffic alone is held against the machine.
        """
        label, rate = self._level(moved / REUSED if working is None else working)
        by = {label: moved / rate} if precision != "float32" else {"arithmetic": flops / self.peak, label: moved / rate}
        bound = max(by, key=by.get)
        return by[bound], bound

    def _level(self, size: float) -> tuple[str, float]:
        for held, rate in self.levels:
            if size <= held and rate > 1.5 * self.bandwidth:
                return "cache", rate
        return "memory", self.bandwidth

    def better(self, other: Machine) -> Machine:
        """The same machine with the higher of two measurements of each roof."""
        pairs = zip(self.levels, other.levels, strict=True)
        return replace(
            self,
            matmul=max(self.matmul, other.matmul),
            bandwidth=max(self.bandwidth, other.bandwidth),
            peak=max(self.peak, other.peak),
            levels=[(size, max(rate, again)) for (size, rate), (_, again) in pairs],
        )

    def lines(self) -> list[str]:
        """The machine in a few lines of text."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        threads = ", ".join(f"{name} {number}" for name, number in self.threads.items())
        return [
            f"{identity(vars(self))}, {self.cores} cores; threads: {threads}",
            f"{versions}; BLAS {self.blas}",
            f"float32: {self.peak / 1e9:.0f} GFLOP/s in registers, {self.matmul / 1e9:.0f} by BLAS; "
            f"{self.levels[0][1] / 1e9:.0f} GB/s in the first cache, {self.bandwidth / 1e9:.1f} in memory (read + written)",
        ]


def matmul_rate(sizes=(512, 1024, 1536, 2048), seconds: float = 0.4) -> float:
    """FLOP a second of float32 products of square matrices, the best of several sizes."""
    rng = np.random.default_rng(0)
    rates = []
    for n in sizes:
        a, b, c = (rng.random((n, n), np.float32) for _ in range(3))  # (n, n)
        rates.append(best_rate(2 * n**3, lambda a=a, b=b, c=c: np.matmul(a, b, out=c), seconds))
    return max(rates)


def copy_bandwidth(threads: int, megabytes: int = 192, seconds: float = 0.8) -> float:
    """Bytes a second read plus written by copying an array far larger than the caches, all threads at once."""
    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.zeros_like(source)
    cuts = [part * len(source) // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:

        def copy():
            list(pool.map(lambda i: np.copyto(target[cuts[i] : cuts[i + 1]], source[cuts[i] : cuts[i + 1]]), range(threads)))

        return best_rate(2 * source.nbytes, copy, seconds)


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.lower().startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def identity(machine: dict[str, Any]) -> str:
    """What a record's times are of: the processor by the system's name of it, and what kernels were compiled for.

    A virtual machine may call many processors by one name: "AMD EPYC" was a Zen 3 with AVX2 and a Zen 5 with AVX-512.
    """
    kind = machine.get("kind")
    return f"{machine.get('cpu') or 'unknown processor'}{f' ({kind})' if kind else ''}"


def threads(machine: dict[str, Any]) -> int | None:
    """On how many threads a record's rows were timed, where it says so."""
    return (machine.get("threads") or {}).get("minilm")


def processor() -> str:
    """The processor's name, and LLVM's, whatever kernels are compiled for: systems call many processors by one name."""
    import llvmlite.binding

    return f"{cpu_name()} ({llvmlite.binding.get_host_cpu_name()})"


def blas() -> tuple[str, int | None]:
    """Name and version of NumPy's BLAS, and the number of its threads where threadpoolctl can tell."""
    config = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    name = f"{config.get('name', 'unknown')} {config.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return name, None
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    return name, pools[0]["num_threads"] if pools else None


def kind() -> str:
    """What minilm is held to: the name and the vectors' width that kernels are compiled for, their units, and MINILM_ISA."""
    from minilm.compiled import isa
    from minilm.ops import target

    try:
        matrices = target.bfloat16_unit()
    except ValueError:  # there is none, or MINILM_ISA leaves it out
        matrices = None
    units = {
        "FMA": target.has_fma(),
        "bf16": matrices is not None,
        "VNNI": target.int8_instructions() == "vnni",
        "AMX": matrices == "amx" or target.int8_tiles(),
        f"MINILM_ISA={isa.apply()}": isa.apply() is not None,
    }
    used = [unit for unit, is_used in units.items() if is_used]
    return ", ".join([target.chosen(), f"{8 * target.vector_bytes()}-bit vectors", *used])


def measure(threads: int, quick: bool = False) -> Machine:
    """Measure this machine, now."""
    import numba

    import minilm

    versions = {"Python": platform.python_version(), "minilm": minilm.__version__, "NumPy": np.__version__}
    versions["Numba"] = numba.__version__
    name, blas_threads = blas()
    peak, rates = levels(threads, quick)
    bandwidth = copy_bandwidth(threads, 8, 0.02) if quick else copy_bandwidth(threads)
    now = Machine(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads={"minilm": threads, **({"BLAS": blas_threads} if blas_threads else {})},
        blas=name,
        versions=versions,
        matmul=matmul_rate((256,), 0.02) if quick else matmul_rate(),
        bandwidth=max(bandwidth, rates[-1][1]),
        peak=peak,
        levels=rates,
        kind=kind(),
    )
    return now if quick else best_ever(now)


def best_ever(now: Machine) -> Machine:
    """The machine with the best rates that its processor showed in any run, which are kept."""
    key = f"{identity(vars(now))}, {now.threads['minilm']} threads, {now.blas}"
    before = kept.read("roofs").get(key)
    if before and len(before["levels"]) == len(now.levels):
        now = now.better(replace(now, **{name: before[name] for name in RATES}))
    kept.write("roofs", key, {name: getattr(now, name) for name in RATES})
    return now
