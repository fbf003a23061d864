"""Where the time of a step goes, by op: ``python -m benchmarks models --profile "gpt B 4"``.

The public functions of every op are wrapped from outside while minilm's own contestant runs: how often each is called, how long
it takes, and how much arithmetic and traffic the op's own account says it is, held against the machine's roofs. What is left over
is Python between the ops: layers, checks, the optimizer's bookkeeping.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import machine, report
from benchmarks.case import Case, Unavailable
from benchmarks.peers import none
from minilm import devices, ops
from minilm.ops.contract import Pair

Dims = dict[str, int]


def _rows(x) -> int:
    return int(np.prod(x.shape[:-1]))


def _recurrent(a) -> Dims:
    return {"T": a["x"].shape[0], "B": a["x"].shape[1], "D": a["x"].shape[2], "H": a["W_hh"].shape[1]}


def _cell(a) -> Dims:
    return {"B": a["x"].shape[0], "D": a["x"].shape[1], "H": a["W_hh"].shape[1]}


def _norm(a) -> Dims:
    return {"N": _rows(a["x"]), "D": a["x"].shape[-1]}


def _attention(a) -> Dims:
    q, k, v = a["query"], a["key"], a["value"]
    return {"B": q.shape[0], "Tq": q.shape[1], "Tk": k.shape[1], "H": q.shape[2], "K": q.shape[3], "Kv": v.shape[3]}


SIZES: dict[str, Callable[[dict], Dims]] = {  # op -> its letters, of the arguments of forward by name
    "linear": lambda a: {"N": _rows(a["x"]), "I": a["W"].shape[1], "O": a["W"].shape[0]},
    "embedding": lambda a: {"N": a["ids"].size, "V": a["W"].shape[0], "D": a["W"].shape[1]},
    "softmax": lambda a: {"N": _rows(a["x"]), "V": a["x"].shape[-1]},
    "log_softmax": lambda a: {"N": _rows(a["x"]), "V": a["x"].shape[-1]},
    "cross_entropy": lambda a: {"N": _rows(a["logits"]), "V": a["logits"].shape[-1]},
    "layer_norm": _norm,
    "rms_norm": _norm,
    "residual_layer_norm": _norm,
    "attention": _attention,
    **dict.fromkeys(("rnn", "lstm", "gru"), _recurrent),
    **dict.fromkeys(("rnn_cell", "lstm_cell", "gru_cell"), _cell),
    **dict.fromkeys(("sigmoid", "tanh", "relu", "silu", "gelu_erf", "gelu_tanh"), lambda a: {"N": a["x"].size}),
    **dict.fromkeys(("swiglu", "geglu"), lambda a: {"N": a["a"].size}),
    **dict.fromkeys(("sgd", "adam"), lambda a: {"N": a["param"].size}),
    "clip": lambda a: {"N": a["grad"].size},
}
FORWARD = 1 / 3  # of the work of forward and backward together, as products count


@dataclasses.dataclass
class Spent:
    """What went into one function of an op."""

    calls: int = 0
    seconds: float = 0.0  # without the ops that it called
    flops: float = 0.0
    moved: float = 0.0


class Profile:
    """Collects what the ops take; `wrapped` puts it in place."""

    def __init__(self):
        self.spent: dict[str, Spent] = {}
        self._inner: list[float] = []  # of the ops that are running: seconds that ops within them took
        self._work: dict[int, tuple[float, float]] = {}  # of what a forward saved, until its backward

    def timed(self, op, direction: str, function: Callable) -> Callable:
        """The function, and what it takes noted under the op's name."""
        names = inspect.signature(function).parameters

        @functools.wraps(function)
        def call(*args, **kwargs):
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                returned = function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - start
                inside = self._inner.pop()
                if self._inner:
                    self._inner[-1] += seconds
            spent = self.spent.setdefault(f"{op.name} {direction}".strip(), Spent())
            spent.calls += 1
            spent.seconds += seconds - inside
            if direction == "backward":
                saved = args[1] if len(args) > 1 else kwargs["saved"]
                flops, moved = self._work.pop(id(saved), (0.0, 0.0))
                part = 1 - FORWARD
            else:
                flops, moved = work(op, dict(zip(names, args, strict=False)) | kwargs)
                part = FORWARD if op.backward else 1.0
                if op.backward and isinstance(returned, tuple):
                    self._work[id(returned[1])] = (flops, moved)
            spent.flops += part * flops
            spent.moved += part * moved
            return returned

        return call


def work(op, arguments: dict) -> tuple[float, float]:
    """Arithmetic and bytes of an op's forward and backward at these arguments; zeros where `SIZES` does not know the op."""
    from benchmarks.cases_ops import share_seen

    if op.name not in SIZES:
        return 0.0, 0.0
    try:
        dims = SIZES[op.name](arguments)
    except (KeyError, AttributeError, IndexError):
        return 0.0, 0.0
    size = next((a.dtype.itemsize for a in arguments.values() if isinstance(a, np.ndarray) and a.dtype.kind == "f"), 4)
    seen = share_seen(dims, {"sees": "causal"} if arguments.get("causal") else {})
    return seen * op.flops(dims), op.bytes(dims, size)


@contextlib.contextmanager
def wrapped(profile: Profile) -> Iterator[None]:
    """Within this block every op's public functions are timed."""
    before = []
    try:
        for op in ops.registry().values():
            package = importlib.import_module(op.package)
            for direction, name in (("forward", op.forward), ("backward", op.backward)):
                if name is not None:
                    function = getattr(package, name)
                    before.append((package, name, function))
                    setattr(package, name, profile.timed(op, direction if op.backward else "", function))
            pair = vars(package).get(op.name)
            if isinstance(pair, Pair):  # of several that live together
                before.append((package, op.name, pair))
                setattr(package, op.name, Pair(getattr(package, op.forward), getattr(package, op.backward)))
        yield
    finally:
        for package, name, function in reversed(before):
            setattr(package, name, function)


def profile(case: Case, seconds: float) -> tuple[Profile, float, int]:
    """Run minilm's contestant for some seconds, wrapped: the profile, the seconds of all calls, and their number."""
    collected = Profile()
    with wrapped(collected):
        contestant = case.build(none())[0]  # within: layers keep functions that they were made with
        if contestant.sample is not None:
            raise ValueError(f"{case.name} runs in a process of its own, and cannot be profiled from here")
        with contestant.around():
            contestant.run()
            contestant.run()
            collected.spent.clear()
            begun, calls = time.perf_counter(), 0
            while calls < 3 or time.perf_counter() - begun < seconds:
                contestant.run()
                calls += 1
            total = time.perf_counter() - begun
    return collected, total, calls


def lines(collected: Profile, total: float, calls: int, host: machine.Machine) -> list[str]:
    """The table: share of a step, rates, and of the roof."""
    rows = []
    for name, spent in sorted(collected.spent.items(), key=lambda item: -item[1].seconds):
        roof = "-"
        if spent.flops or spent.moved:
            least, bound = host.roof(spent.flops / spent.calls, spent.moved / spent.calls)
            share = least * spent.calls / spent.seconds
            roof = f"{share:.0%} {bound}" if share <= 1 else f"over {bound}?"
        rates = [f"{work / spent.seconds / 1e9:.1f}" if work else "-" for work in (spent.flops, spent.moved)]
        each = report.amount(spent.seconds / spent.calls)
        rows.append([name, f"{spent.seconds / total:.1%}", f"{spent.calls / calls:.1f}", each, *rates, roof])
    between = total - sum(spent.seconds for spent in collected.spent.values())
    rows.append(["between the ops", f"{between / total:.1%}", "", report.amount(between / calls), "-", "-", "-"])
    return report.aligned(["op", "share", "calls a step", "a call", "GFLOP/s", "GB/s", "of roof"], rows)


def report_of(case: Case, seconds: float, host: machine.Machine) -> list[str]:
    """A case's profile as text."""
    collected, total, calls = profile(case, seconds)
    return [f"{case.name}: {report.amount(total / calls)} a step, {calls} steps", *lines(collected, total, calls, host), ""]


def run(cases: list[Case], *, quick: bool, seconds: float) -> int:
    """Print the profiles of some cases."""
    host = machine.measure(devices.threads(), quick)
    print("\n".join(host.lines()) + "\n")
    for case in cases:
        try:
            print("\n".join(report_of(case, 0.05 if quick else seconds, host)), flush=True)
        except Unavailable as reason:
            print(f"{case.name}: {reason}\n")
    print("work and its split between forward (a third) and backward are by the ops' own account")
    return 0
