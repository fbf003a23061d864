"""What the machine can do: the two roofs every case is held against, measured in the same run."""

from __future__ import annotations

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Machine:
    """The machine and the software of one run.

    Attributes
    ----------
    matmul : float
        FLOP a second of float32 ``np.matmul``, the best of several sizes.
    bandwidth : float
        Bytes a second read plus written by a copy of large arrays with all threads.
    threads : dict of str to int
        Threads of minilm's kernels, of NumPy's BLAS and of the peer.
    """

    cpu: str
    cores: int
    threads: dict
    blas: str
    versions: dict
    matmul: float
    bandwidth: float
    peer: str | None

    def roof_seconds(self, flops: float, moved: float) -> float:
        """Seconds the work needs at least on this machine: its arithmetic or its memory traffic, whichever takes longer."""
        return max(flops / self.matmul, moved / self.bandwidth)

    def better(self, other: Machine) -> Machine:
        """The same machine with the higher of two measurements of each roof."""
        return replace(self, matmul=max(self.matmul, other.matmul), bandwidth=max(self.bandwidth, other.bandwidth))

    def bound(self, flops: float, moved: float) -> str:
        """Which of the two roofs the work meets first."""
        return "matmul" if flops / self.matmul >= moved / self.bandwidth else "bandwidth"

    def lines(self) -> list[str]:
        """The machine in a few lines of text."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        threads = ", ".join(f"{name} {number}" for name, number in self.threads.items())
        return [
            f"{self.cpu}, {self.cores} cores; threads: {threads}",
            f"{versions}; BLAS {self.blas}",
            f"float32 matmul {self.matmul / 1e9:.0f} GFLOP/s, copy {self.bandwidth / 1e9:.1f} GB/s (read + written)",
            f"peer: {self.peer or 'none; torch is not installed (extra `peers`) or was left out'}",
        ]


def best_rate(work: float, run, seconds: float) -> float:
    """Units of work a second of the quickest call within `seconds`, after one that is not timed."""
    run()
    quickest, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        run()
        quickest = min(quickest, time.perf_counter() - start)
    return work / quickest


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


def measure(threads: int, torch=None, quick: bool = False) -> Machine:
    """Measure this machine, now."""
    import numba

    import minilm

    versions = {"Python": platform.python_version(), "minilm": minilm.__version__, "NumPy": np.__version__}
    versions["Numba"] = numba.__version__
    name, blas_threads = blas()
    counts = {"minilm": threads, **({"BLAS": blas_threads} if blas_threads else {})}
    if torch is not None:
        versions["torch"] = torch.__version__
        counts["torch"] = torch.get_num_threads()
    return Machine(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=counts,
        blas=name,
        versions=versions,
        matmul=matmul_rate((256,), 0.02) if quick else matmul_rate(),
        bandwidth=copy_bandwidth(threads, 8, 0.02) if quick else copy_bandwidth(threads),
        peer=f"torch {torch.__version__}" if torch is not None else None,
    )
