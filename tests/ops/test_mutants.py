"""One sign, one factor, one term of a backward broken: every such mutant of every oracle is caught by finite differences.

The source of each backward is changed at every operator in turn. A mutant that passes is either a hole in the checks or
no fault; those of the second kind are listed below with the reason.
"""

import warnings

import numpy as np
import pytest

from minilm import devices
from tests.ops import faults, mutants
from tests.ops.properties import OPS, PAIRS, backward_gradients, combinations

# op: {(statement, change): why it computes the same}
EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "linear": {
        (
            "dW = None if x is None else fold(dy).T @ fold(x)",
            "None if x is None else fold(dy).T @ fold(x) -> fold(dy).T @ fold(x)",
        ): "x is None for weights that do not learn alone, which tests/layers/test_freezing.py looks at",
    },
}


def survives(op, module, mutant) -> bool:
    """Whether no combination of options shows the mutant."""
    function = mutants.compiled(mutant, module, op.backward)
    with faults.replaced(op, "oracle", backward=lambda right, *arguments: function(*arguments)):
        for options in combinations(op):
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    backward_gradients(op, options)
            except Exception:  # whatever a broken formula runs into
                return False
    return True


@pytest.mark.parametrize("name", PAIRS)
def test_every_mutant_is_caught(name):
    op = OPS[name]
    module = devices.load(op.package, "oracle")
    tried, survivors = 0, set()
    for mutant in mutants.mutants(module, op.backward, op.forward):
        tried += 1
        if survives(op, module, mutant):
            survivors.add((mutant.line, mutant.change))
    assert tried, "no operator in the backward to change"
    listed = set(EQUIVALENT.get(name, {}))
    assert survivors <= listed, "not caught:\n" + "\n".join(
        f"{line!r}: {change!r}" for line, change in sorted(survivors - listed)
    )
    assert listed <= survivors, f"caught or gone, take them off the list: {sorted(listed - survivors)}"
