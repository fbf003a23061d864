"""The result of a gradient check."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, repr=False)
class Report:
    """Result of one gradient check. True in a condition exactly if the check passed.

    Attributes
    ----------
    name : str
        What was checked.
    method : str
        ``"full Jacobian"`` or ``"directions"``.
    errors : dict of str to float
        For every differentiated argument and parameter, the largest relative error of its gradient.
    scales : dict of str to float
        The size of each of these gradients, by finite differences. Where it is zero the check proves little.
    tolerance : float
        The largest relative error that passes.
    problems : tuple of str
        Anything else that is wrong: a gradient missing or of the wrong shape, a value that is not finite, an input
        that was written, a second backward with other bits.
    """

    name: str
    method: str
    errors: dict[str, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    tolerance: float = 1e-8
    problems: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest relative error of any gradient; infinite if one is not a number, 0 if there are none."""
        return max((math.inf if math.isnan(error) else error for error in self.errors.values()), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every gradient is within the tolerance and nothing else is wrong."""
        return not self.problems and self.worst <= self.tolerance

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        lines = [f"gradcheck {self.name}: {verdict}, worst relative error {self.worst:.1e} ({self.method})"]
        width = max((len(name) for name in self.errors), default=0)
        for name, error in self.errors.items():
            mark = "" if error <= self.tolerance else f"   more than {self.tolerance:.0e}"
            lines.append(f"  d{name:<{width}}  error {error:.1e}   size {self.scales[name]:.1e}{mark}")
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])

    __repr__ = __str__  # a notebook and Python's prompt show it so
