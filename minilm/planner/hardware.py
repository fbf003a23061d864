"""What this machine can do: six rates, measured in a few seconds and kept.

Everything that training does is one of these: products of matrices, passes over memory, exponential functions, the steps of a
recurrent layer, and calls, of which each costs some microseconds whatever it does. `minilm.planner.rates` measures them by
minilm's own ops, so that a rate includes what these lose.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import platform
import time
from collections.abc import Callable

import numpy as np

import minilm
from minilm import devices
from minilm.cache_folders import cache_folder
from minilm.files import read_json, written_whole
from minilm.ops import checks
from minilm.planner import rates
from minilm.typing import PathLike

__all__ = ["Machine", "machine"]

FILE = "machine.json"
BUSY = 0.1  # part of the time that a measurement may wait for the processor


@dataclasses.dataclass(frozen=True)
class Machine:
    """Rates of a machine.

    Parameters
    ----------
    matmul : float
        Operations a second of large products of matrices; an addition and a multiplication are two.
    recurrent : float
        The same of an LSTM layer, its gates included.
    bandwidth : float
        Bytes a second of a pass over memory that reads and writes.
    exponentials : float
        Numbers a second through softmax and cross-entropy.
    call : float
        Seconds that an op takes however little it does.
    questions : float
        Dot products of word2vec a second, by one thread, for vectors of 64 numbers.
    threads : int
    memory : int
        Bytes of main memory.
    name : str
    measured : str
        When, or where the numbers come from.
    overlaps : int
        1 where a product's bytes come while it multiplies, as on a GPU. A processor's rate of products has their bytes within
        caches only: 0.
    """

    matmul: float
    recurrent: float
    bandwidth: float
    exponentials: float
    call: float
    questions: float
    threads: int
    memory: int
    name: str = ""
    measured: str = ""
    overlaps: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "overlaps":
                checks.whole(field.name, value, 0, 2)
            elif field.type in ("float", "int"):
                checks.number(field.name, value, 0, float("inf"), low_open=True, high_open=True)
            elif not isinstance(value, str):
                raise TypeError(f"{field.name} must be a text, got {value!r}")

    def summary(self) -> str:
        """In one line."""
        return (
            f"{self.matmul / 1e9:.0f} GFLOP/s in matrix products, {self.recurrent / 1e9:.0f} in an LSTM, "
            f"{self.bandwidth / 1e9:.1f} GB/s, {self.exponentials / 1e6:.0f} M exponentials/s, {self.call * 1e6:.0f} µs a call, "
            f"{self.threads} thread{'s' * (self.threads > 1)}, {self.memory / 2**30:.1f} GiB of memory"
        )

    def save(self, path: PathLike) -> None:
        """Write the numbers as JSON."""
        with written_whole(path) as file:
            file.write((json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: PathLike) -> Machine:
        """Read what `save` wrote, or what was written by hand; ValueError says what is missing or wrong."""
        fields = {key: value for key, value in read_json(path).items() if key not in ("minilm_version", "node")}
        known = {field.name: field for field in dataclasses.fields(cls)}
        problems = [f"unknown {key}" for key in fields if key not in known]
        problems += [f"missing {key}" for key, f in known.items() if f.default is dataclasses.MISSING and key not in fields]
        if problems:
            raise ValueError(f"{os.fspath(path)}: {'; '.join(problems)}; wanted the numbers of a machine: {', '.join(known)}")
        try:
            return cls(**fields)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def measure(cls) -> Machine:
        """Time this machine; some seconds."""
        rng = np.random.default_rng(0)
        return cls(
            matmul=rates.matmul(rng),
            recurrent=rates.recurrent(rng),
            bandwidth=rates.bandwidth(),
            exponentials=rates.exponentials(rng),
            call=rates.call(rng),
            questions=rates.questions(rng),
            threads=devices.threads(),
            memory=_memory(),
            name=_processor(),
            measured=time.strftime("%Y-%m-%d"),
        )


def _memory() -> int:
    """Bytes of main memory, or of what this process's group may have, if that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                limit = file.read().strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class _Contention:
    """Inside this block, what part of the time in which this process could have run it waited for a processor."""

    def __enter__(self):
        self._before = self._times()
        return self

    def __exit__(self, *_):
        (ran, waited), (ran_before, waited_before) = self._times(), self._before
        self.share = (waited - waited_before) / max(1, ran - ran_before + waited - waited_before)

    @staticmethod
    def _times() -> tuple[int, int]:
        """Nanoseconds that the threads have run, and waited to run; zeros where the system does not say."""
        times = []
        for path in glob.glob("/proc/self/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path) as file:  # a thread may have ended
                times.append([int(number) for number in file.read().split()[:2]])
        return (sum(ran for ran, _ in times), sum(waited for _, waited in times)) if times else (0, 0)


def machine(again: bool = False, note: Callable[[], None] | None = None) -> tuple[Machine, bool]:
    """This machine's rates, and whether they were measured just now. Kept ones are good for one processor, threads and version.

    Rates of a machine that was busy with other work are not kept, and ``measured`` says so.

    Parameters
    ----------
    again : bool
        Measure, whatever is kept.
    note : callable, optional
        Called before a measurement.
    """
    path = cache_folder(FILE)
    key = {"minilm_version": minilm.__version__, "node": platform.node()}
    if not again:
        try:
            kept = read_json(path)
            result = Machine.load(path)
        except (OSError, ValueError):
            pass
        else:
            same = all(kept.get(name) == value for name, value in key.items())
            if same and result.threads == devices.threads() and result.name == _processor():
                return result, False
    if note is not None:
        note()
    with _Contention() as contention:
        result = Machine.measure()
    if contention.share > BUSY:
        measured = f"{result.measured} beside other work, which took {contention.share:.0%} of the time: not kept"
        return dataclasses.replace(result, measured=measured), True
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with written_whole(path) as file:
            file.write((json.dumps({**dataclasses.asdict(result), **key}, indent=2) + "\n").encode())
    except OSError:  # a folder that cannot be written: measure again next time
        pass
    return result, True
