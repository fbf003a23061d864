"""Which model should I choose? For a task, an amount of data, a machine and a time.

The choice is between sizes and families whose cost is known (`minilm.planner.cost`) and whose quality is guessed by a
scaling law::

    loss - what cannot be learned = A / N^a + B / D^b

N is a candidate's number of parameters without tables, D the tokens that it reads in the time there is, where text that is read
again counts less each time::

    D = U + U r (1 - e^(-R / r))           U tokens of the data, R repetitions beyond the first reading, r = 15.4

so that a model can be too small for the data, or so large that the time does not suffice to train it. Parameters beyond the
number of the data's tokens count less and less likewise, with r = 5.3. The constants were
measured on transformers far larger than these: they order candidates, and predict no loss. Families differ by three rules
besides, which are rules of thumb: beyond a million parameters recurrent layers gain less from growing (a = 0.30 from there on);
transformers want a little more data to begin with (their B is a twentieth larger); and a model that cannot see the order of words
has that held against it.

Sources: J. Hoffmann et al., Training compute-optimal large language models, NeurIPS 2022 (A, B, a, b); N. Muennighoff et al.,
Scaling data-constrained language models, NeurIPS 2023 (r); J. Kaplan et al., Scaling laws for neural language models, 2020
(figure 7: LSTMs keep up with transformers while both are small).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minilm.mistaken import did_you_mean
from minilm.ops import checks
from minilm.planner.candidates import TASKS, Candidate, Data, candidates
from minilm.planner.hardware import Machine

__all__ = ["Advice", "Estimate", "choose", "estimate", "require_task"]

A, B, ALPHA, BETA = 406.4, 410.7, 0.34, 0.28
ALPHA_RECURRENT, LEVEL = 0.30, 1e6  # beyond so many parameters
HUNGER = 1.05  # of transformers
WORTH = 15.4  # repetitions after which text that is read again is worth nothing more, about
USABLE = 0.5  # of the machine's memory
SPARE = 5.3  # the same of parameters beyond the number of tokens


class Estimate(NamedTuple):
    """What a candidate would do."""

    model: str
    settings: dict
    parameters: int
    memory: float  # bytes while it trains
    step: float  # seconds
    tokens_per_second: float
    passes: float  # over the data, in the time there is
    minutes: float  # for the passes that training usually takes
    score: float  # lower is better; see the module
    fits: bool  # into memory, and the time suffices for at least one pass
    why_not: str
    remark: str
    command: str


class Advice(NamedTuple):
    """The answer."""

    task: str
    data: Data
    minutes: float
    best: Estimate | None  # None where nothing fits
    others: list[Estimate]  # the best size of each family first, then the rest, by score
    assumed: list[str]


def choose(
    task: str, data: Data, machine: Machine, *, minutes: float = 30.0, memory: float | None = None, where: str = "PATH"
) -> Advice:
    """Choose a model.

    Parameters
    ----------
    task : str
        One of `TASKS`: language-model, or the name of a recipe that several models suit.
    data : Data
    machine : Machine
    minutes : float
        For training.
    memory : float, optional
        Bytes that training may use; half of the machine's without it.
    where : str
        What the command says of the data's place.

    Returns
    -------
    Advice
    """
    require_task(task)
    minutes, memory = check_limits(data, minutes, memory)
    limited = memory is not None
    memory = USABLE * machine.memory if memory is None else memory
    estimates = [estimate(each, data, machine, minutes, memory, TASKS[task].passes) for each in candidates(task, data, where)]
    orders = {id(e): each.order for e, each in zip(estimates, candidates(task, data, where), strict=True)}
    # a difference of a hundredth does not count: then the preferred family, and within a family the smaller model
    ranked = sorted(estimates, key=lambda e: (not e.fits, round(e.score, 2), orders[id(e)], e.parameters))
    heads, rest, seen = [], [], set()
    for each in ranked:
        (rest if each.model in seen else heads).append(each)
        seen.add(each.model)
    best = heads[0] if heads and heads[0].fits else None
    assumed = [
        data.source or f"{data.examples:,} {TASKS[task].unit}s of {data.length} tokens, {data.vocabulary:,} different ones",
        f"{minutes:g} minutes of training, {memory / 2**30:.1f} GiB of memory{'' if limited else ' (half of what there is)'}",
        f"rates of {machine.name or 'the machine'}, {machine.measured or 'not dated'}: {machine.summary()}",
        f"{TASKS[task].passes} passes over the data are what training usually takes; float32, Adam",
        "a scaling law orders the candidates (see minilm.planner.choose): a guess, to be checked by a short run",
    ]
    if task in ("sentiment", "answer"):
        folder = "encoder" if task == "sentiment" else "weights"
        assumed.append(
            f"not among the candidates: a BERT that was trained before, --set model=bert --set {folder}=FOLDER, which is the "
            "most accurate where there is one, with little data above all"
        )
    return Advice(task, data, minutes, best, [each for each in [*heads, *rest] if each is not best], assumed)


def require_task(task: str) -> None:
    """ValueError with the nearest name if there is no such task."""
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; {did_you_mean(task, TASKS)}")


def check_limits(data: Data, minutes: float, memory: float | None = None) -> tuple[float, float | None]:
    """Minutes and memory as `choose` takes them; ValueError or TypeError names which of its numbers is wrong."""
    for name in ("examples", "tokens", "vocabulary"):
        checks.whole(name, getattr(data, name), 1, 2**62)
    minutes = checks.number("minutes", minutes, 0, math.inf, low_open=True, high_open=True)
    return minutes, None if memory is None else checks.number("memory", memory, 0, math.inf, low_open=True)


def estimate(candidate: Candidate, data: Data, machine: Machine, minutes: float, memory: float, passes: int) -> Estimate:
    """What a candidate costs, and what it may reach.

    Parameters
    ----------
    candidate : Candidate
    data : Data
    machine : Machine
    minutes : float
        Of training.
    memory : float
        Bytes that training may take.
    passes : int
        Passes over the data that training usually takes; its time is estimated from this.
    """
    step, needed = candidate.cost.seconds(machine), candidate.cost.memory()
    rate = candidate.tokens / step
    read = rate * 60 * minutes
    done = read / data.tokens
    useful = data.tokens * _worth(done, WORTH)
    kind, N = candidate.model.split()[0], max(1.0, data.tokens * _worth(candidate.body / data.tokens, SPARE))
    size = A / N**ALPHA
    if kind in ("lstm", "gru") and N > LEVEL:
        size = A / LEVEL**ALPHA * (LEVEL / N) ** ALPHA_RECURRENT
    score = size + (HUNGER if kind in ("gpt", "transformer") else 1) * B / max(1.0, useful) ** BETA
    why = []
    if needed > memory:
        why.append(f"needs {needed / 2**30:.1f} GiB")
    if done < 1:
        why.append(f"reads {done:.0%} of the data in the time")
    return Estimate(
        model=candidate.model,
        settings=candidate.settings,
        parameters=int(candidate.cost.parameters),
        memory=needed,
        step=step,
        tokens_per_second=rate,
        passes=done,
        minutes=passes * data.tokens / rate / 60,
        score=score + candidate.blind,
        fits=not why,
        why_not=", ".join(why),
        remark=candidate.remark,
        command=f"{candidate.command} --minutes {minutes:g}",
    )


def _worth(times: float, r: float) -> float:
    """What `times` the data's tokens are worth, in the same unit: all up to once, and less and less beyond."""
    return times if times <= 1 else 1 + r * (1 - math.exp(-(times - 1) / r))
