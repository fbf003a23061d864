"""Was the machine quiet while a row was timed? What the system says of it, and a kernel whose quiet time is known.

Quartiles do not tell: a busy neighbour slows each contestant by a factor of its own, evenly, and the ratio is wrong with tight
quartiles around it. So around every row

- the system's account of its processors is read: time that other processes had, and time that the host of a virtual machine took
  away ("steal");
- two control kernels run before and after, the same each time: arithmetic in registers on all threads, and an array beyond the
  caches that is read and written. Their quickest times, on this processor, ever, are what they take when the machine is quiet,
  and are kept in the cache folder.

`Watch` makes of these the `Conditions` of a row, and of them a verdict.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from benchmarks import kept
from benchmarks.timing import SETTLE

OTHERS = 0.15  # processors that others may keep busy on average
STEAL = 0.02  # share of the processors' time that the host may take
SLOWER = {
    "arithmetic": 1.15,
    "memory": 1.4,
}  # times its quiet time that a control kernel may take: a host shares its memory's bus
COUNT, NUMBERS = 2_000_000, 1 << 24  # multiply-adds of a call, float32 of its array: some 3 ms and 2 ms
CALLS = 7  # of which the median counts


@dataclass
class Conditions:
    """What went on beside a row. None is what the system does not tell."""

    load: float | None = None  # average of the last minute, of running processes
    others: float | None = None  # processors that other processes kept busy
    steal: float | None = None  # share of the processors' time that the host of the virtual machine took
    control: dict[str, float] = field(default_factory=dict)  # times its quiet time that each took, the worse of before and after
    reasons: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``"quiet"``, or ``"disturbed: ..."`` with the reasons."""
        return f"disturbed: {', '.join(self.reasons)}" if self.reasons else "quiet"

    def judge(self) -> Conditions:
        """Fill in the reasons; the same object."""
        if self.others is not None and self.others > OTHERS:
            self.reasons.append(f"others on {self.others:.1f} processors")
        if self.steal is not None and self.steal > STEAL:
            self.reasons.append(f"host took {self.steal:.0%}")
        for kind, times in self.control.items():
            if times > SLOWER[kind]:
                self.reasons.append(f"{kind} took {times:.2f} x its quiet time")
        return self


@dataclass
class Clocks:
    """Seconds since some start: of this process and its children that ended, and of all processors, by what they did."""

    wall: float
    own: float
    busy: float | None = None
    stolen: float | None = None


def clocks() -> Clocks:
    """The clocks, now."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq, steal = (
                int(number) / os.sysconf("SC_CLK_TCK") for number in file.readline().split()[1:9]
            )
    except (OSError, ValueError):
        return Clocks(time.perf_counter(), own)
    return Clocks(time.perf_counter(), own, user + nice + system + irq + softirq, steal)


class Watch:
    """Conditions of one row after another; one object for a run.

    Parameters
    ----------
    threads : int
        That the control kernel runs on.
    processor : str
        Whose quiet time is meant.
    quick : bool
        Without the control kernels.
    """

    def __init__(self, threads: int, processor: str, quick: bool = False):
        self._quick, self._threads, self._arrays = quick, threads, []
        self._key = f"{processor}, {threads} threads, {COUNT}, {NUMBERS}"
        before = {} if quick else kept.read("control")
        self._quiet = {kind: float(before.get(f"{kind}, {self._key}", "inf")) for kind in SLOWER}
        self._start, self._before = clocks(), dict.fromkeys(SLOWER, 0.0)

    def begin(self) -> None:
        """Before a row."""
        if not self._quick:
            self._before = self._control()
        self._start = clocks()

    def end(self) -> Conditions:
        """After the row."""
        end, start = clocks(), self._start
        wall = max(end.wall - start.wall, 1e-9)
        conditions = Conditions()
        if hasattr(os, "getloadavg"):
            conditions.load = round(os.getloadavg()[0], 2)
        if end.busy is not None and start.busy is not None:
            # the system counts in hundredths of a second, and a row may last not much longer
            coarse = 0.02 * (os.cpu_count() or 1) / wall
            others = (end.busy - start.busy - (end.own - start.own)) / wall
            conditions.others = round(max(0.0, others - coarse), 3)
            conditions.steal = round(max(0.0, end.stolen - start.stolen) / wall / (os.cpu_count() or 1), 4)
        if not self._quick:
            after = self._control()
            conditions.control = {kind: round(max(self._before[kind], after[kind]) / self._quiet[kind], 3) for kind in SLOWER}
        return conditions.judge()

    def _control(self) -> dict[str, float]:
        """Seconds of each control kernel: the median of some calls. A new least time is kept."""
        from benchmarks.roofs import multiply_add, update

        time.sleep(SETTLE)
        if not self._arrays:
            self._arrays = [np.ones(NUMBERS // self._threads, np.float32) for _ in range(self._threads)]
        calls = {"arithmetic": (multiply_add, [COUNT] * self._threads), "memory": (update, self._arrays, [1] * self._threads)}
        medians = {}
        with ThreadPoolExecutor(self._threads) as pool:
            for kind, (kernel, *arguments) in calls.items():
                seconds = []
                for _ in range(1 + CALLS):
                    start = time.perf_counter()
                    list(pool.map(kernel, *arguments))
                    seconds.append(time.perf_counter() - start)
                medians[kind] = statistics.median(seconds[1:])
                if min(seconds[1:]) < self._quiet[kind]:
                    self._quiet[kind] = min(seconds[1:])
                    kept.write("control", f"{kind}, {self._key}", self._quiet[kind])
        return medians
