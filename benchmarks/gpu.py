"""A GPU as the machine that cases run on: its roofs, its clock, and what runs there.

Times are taken by CUDA events around many calls. The roofs are measured in the same run: a copy of large arrays, and matrix
products in each precision.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
import time

import numpy as np

from benchmarks.timing import Contestant

SECONDS = 0.06  # of calls that make a sample
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Device:
    """The GPU and the software of one run, and its roofs."""

    cpu: str  # the GPU's name: what records are told apart by
    driver: str
    versions: dict[str, str]
    bandwidth: float  # bytes a second, read and written
    matmul: dict[str, float]  # FLOP a second by precision

    def roof(self, flops: float, moved: float, precision: str = "float32", working: float | None = None) -> tuple[float, str]:
        """Seconds the work needs at least: by products in its precision, or by traffic with the memory, and which it is."""
        by = {f"{precision} products": flops / self.matmul[precision], "memory": moved / self.bandwidth}
        bound = max(by, key=by.get)
        return by[bound], bound

    def better(self, other: Device) -> Device:
        """The same with the higher of two measurements of each roof."""
        rates = {name: max(rate, other.matmul[name]) for name, rate in self.matmul.items()}
        return dataclasses.replace(self, bandwidth=max(self.bandwidth, other.bandwidth), matmul=rates)

    def lines(self) -> list[str]:
        """In a few lines of text."""
        rates = ", ".join(f"{name} {rate / 1e12:.2f}" for name, rate in self.matmul.items())
        return [
            f"{self.cpu}, driver {self.driver}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"copy {self.bandwidth / 1e9:,.0f} GB/s (read + written); products in TFLOP/s: {rates}",
        ]


def measure_device(quick: bool = False) -> Device:
    """The roofs, and what runs here."""
    import cupy

    import minilm
    from minilm import devices
    from minilm.ops.cuda import PRECISIONS, products

    numbers = 1 << (12 if quick else 27)  # 512 MiB: far beyond the cache
    x, y = cupy.zeros(numbers, "float32"), cupy.zeros(numbers, "float32")
    copy = min(seconds_on_gpu(lambda: copy_of(x, y), quick) for _ in range(1 if quick else ROUNDS))
    size = 32 if quick else 4096
    a, b = (cupy.ones((size, size), "float32") for _ in range(2))
    rates = {}
    for name in PRECISIONS:
        with products.precision(name):
            samples = [seconds_on_gpu(lambda: products.matmul(a, b), quick) for _ in range(1 if quick else ROUNDS)]
        rates[name] = 2 * size**3 / min(samples)
    runtime = cupy.cuda.runtime
    versions = {"minilm": minilm.__version__, "cupy": cupy.__version__, "NumPy": np.__version__}
    versions["CUDA"] = f"{runtime.runtimeGetVersion() // 1000}.{runtime.runtimeGetVersion() % 1000 // 10}"
    driver = f"{runtime.driverGetVersion() // 1000}.{runtime.driverGetVersion() % 1000 // 10}"
    return Device(devices.gpu_status().reason, driver, versions, 8 * numbers / copy, rates)


def copy_of(x, y) -> None:
    """y = x, on the device."""
    y[...] = x


def seconds_on_gpu(function, quick: bool = False) -> float:
    """Seconds of a call on the GPU's own clock, over many calls."""
    return _Clock(function, quick)()


class _Clock:
    """Times a function by events of the GPU: what a `Contestant` wants as `sample`."""

    def __init__(self, function, quick: bool):
        self._function, self._calls = function, 1 if quick else None

    def __call__(self) -> float:
        import cupy

        stream = cupy.cuda.get_current_stream()
        if self._calls is None:
            self._function()
            stream.synchronize()
            start = time.perf_counter()
            self._function()
            stream.synchronize()
            self._calls = max(1, round(SECONDS / max(time.perf_counter() - start, 1e-6)))
        first, last = cupy.cuda.Event(), cupy.cuda.Event()
        first.record()
        for _ in range(self._calls):
            self._function()
        last.record()
        last.synchronize()
        return max(cupy.cuda.get_elapsed_time(first, last) / 1e3 / self._calls, 1e-9)


def _host_clock(function):
    def sample() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return sample


def contestant(name: str, function, quick: bool, *, host: bool = False, rounds: int = ROUNDS) -> Contestant:
    """One that is timed by the GPU's clock, or by the host's where the call has ended when it returns.

    It runs once before: what compiles, compiles there, and a peer or a version that cannot run is left out.
    """
    sample = _host_clock(function) if host else _Clock(function, quick)
    return Contestant(name, function, lambda output: [], sample=sample, rounds=1 if quick else rounds)


def torch_on_gpu(peers):
    """torch, if it takes part and sees the GPU."""
    torch = peers.get("torch")
    if torch is not None and not torch.cuda.is_available():
        peers.missing["torch"] = "sees no GPU"
        return None
    return torch


def give_back_memory() -> None:
    """What ended cases left in the pools of CuPy and PyTorch."""
    gc.collect()
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def on_our_stream(torch, device: str):
    """CuPy's stream as torch's, so that its events see what torch does; nothing to do on a CPU."""
    if device == "cpu":
        return contextlib.nullcontext()
    import cupy

    return torch.cuda.stream(torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr))
