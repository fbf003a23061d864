"""Which model should I choose? Costs measured on this machine, and a choice among minilm's models; see `minilm choose`.

::

    from minilm import planner

    machine, _ = planner.machine()                                   # measured once, some seconds
    advice = planner.choose("sentiment", planner.Data(67_000, 640_000, 14_000), machine, minutes=10)
    advice.best.model, advice.best.command
"""

from minilm.planner.candidates import TASKS, Candidate, Data, candidates
from minilm.planner.cost import Cost
from minilm.planner.dataset import data_of
from minilm.planner.hardware import Machine, machine
from minilm.planner.selection import Advice, Estimate, check_limits, choose, estimate, require_task

__all__ = [
    "TASKS",
    "Advice",
    "Candidate",
    "Cost",
    "Data",
    "Estimate",
    "Machine",
    "candidates",
    "check_limits",
    "choose",
    "data_of",
    "estimate",
    "machine",
    "require_task",
]


def __dir__() -> list[str]:
    return sorted(__all__)
