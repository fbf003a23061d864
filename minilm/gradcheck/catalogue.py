"""All that `minilm gradcheck` checks: every op of the registry in every combination of its options, every layer, every model."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.gradcheck import on_device
from minilm.gradcheck.cases import LAYERS, MODELS
from minilm.gradcheck.check import check
from minilm.gradcheck.report import Report
from minilm.gradcheck.subjects import Subject, subject_of
from minilm.mistaken import did_you_mean

EMULATED = "emulated"  # the GPU's implementation, on a CPU that plays a GPU


class Task(NamedTuple):
    """One thing to check, bound to its arguments."""

    label: str  # the options, as "bias=True,lead=1"
    subject: Subject
    method: str | None


@dataclass(frozen=True)
class Row:
    """What `minilm gradcheck` prints of one op, layer or model under one implementation.

    Attributes
    ----------
    name, kind, implementation : str
    checks : int
        Combinations of options and sizes.
    worst : float
        The largest relative error of any gradient among them.
    where : str
        The options and the gradient that have it.
    problems : tuple of str
        Everything that failed, one line each.
    seconds : float
    """

    name: str
    kind: str
    implementation: str
    checks: int
    worst: float
    where: str
    problems: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.problems


def _op_tasks(op) -> Iterator[Task]:
    package = importlib.import_module(op.package)
    forward, backward = getattr(package, op.forward), getattr(package, op.backward)
    middle = {letter: sorted(sizes)[len(sizes) // 2] for letter, sizes in op.dims.items()}
    for values in itertools.product(*op.options.values()):
        options = dict(zip(op.options, values, strict=True))
        label = ",".join(f"{k}={v}" for k, v in options.items())
        for dims, method in ((op.tiny(), "jacobian"), (middle, "directions")):
            rng = np.random.default_rng(zlib.crc32(f"{op.name} {label}".encode()))
            case = op.draw(rng, np.dtype(np.float64), dims, **options)
            subject = Subject(op.name, forward, backward, dict(case.arguments), case.differentiable)
            subject.scalar = False
            yield Task(label, subject, method)


def _module_tasks(cases: dict[str, Callable]) -> Iterator[Task]:
    for label, build in cases.items():
        module, inputs, options = build()
        yield Task(label, subject_of(module, inputs, options), None)


def catalogue() -> dict[str, tuple[str, Callable[[], Iterator[Task]]]]:
    """name -> (kind, function that yields its tasks), in reading order."""
    from minilm.ops import registry

    tasks: dict = {op.name: ("op", lambda op=op: _op_tasks(op)) for op in registry().values() if op.backward}
    for kind, things in (("layer", LAYERS), ("model", MODELS)):
        tasks.update({name: (kind, lambda cases=cases: _module_tasks(cases)) for name, cases in things.items()})
    return tasks


def select(names) -> list[str]:
    """`names` if they are in the catalogue, all of it if there are none.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest one.
    """
    known = list(catalogue())
    for name in names:
        if name not in known:
            raise ValueError(f"there is no op, layer or model {name!r}; {did_you_mean(name, known)}")
    return list(dict.fromkeys(names)) or known


def run(name: str, implementation: str, tolerance: float = 1e-8) -> Row:
    """Check one op, layer or model in all its cases; by "gpu" on a copy of it there, by "emulated" where the CPU plays one."""
    kind, tasks = catalogue()[name]
    start, count, worst, where, problems = time.perf_counter(), 0, 0.0, "", []
    with _computing_by(implementation, kind):
        for task in tasks():
            count += 1
            report = _report(task, kind, implementation, tolerance)
            for argument, error in report.errors.items():
                if not error <= worst:
                    worst, where = error, f"d{argument} {task.label}".strip()
                if not error <= tolerance:
                    problems.append(f"{task.label} ({report.method}): d{argument} has error {error:.1e}")
            problems += [f"{task.label} ({report.method}): {problem}" for problem in report.problems]
            if report.problems and not where:
                where = task.label
    return Row(name, kind, implementation, count, worst, where, tuple(problems), time.perf_counter() - start)


@contextlib.contextmanager
def _computing_by(implementation: str, kind: str):
    """Inside this block ops are served by `implementation`."""
    with contextlib.ExitStack() as stack:
        if implementation == EMULATED:
            from minilm.ops.cuda import emulated

            stack.enter_context(emulated.installed())
        if implementation in devices.HOST or kind == "op":  # a layer's arrays on the GPU choose by themselves
            stack.enter_context(devices.implementation("gpu" if implementation == EMULATED else implementation))
        yield


def _report(task: Task, kind: str, implementation: str, tolerance: float) -> Report:
    """The check of one task. A kernel that g++ refuses, or whose threads deadlock, is a problem that it reports."""
    failures: tuple = ()
    if implementation == EMULATED:
        from minilm.ops.cuda import emulated

        failures = (emulated.CompileError, emulated.LaunchError)
    try:
        if implementation in ("gpu", EMULATED):
            (on_device.run_functions if kind == "op" else on_device.run_module)(task.subject)
        return check(task.subject, tolerance, task.method)
    except failures as error:
        return Report(task.subject.name, "no result", tolerance=tolerance, problems=(str(error),))
