"""Clipping is by the norm of all gradients together, however many groups an optimizer makes of them."""

import numpy as np
import pytest

from minilm import optimizers
from tests.optimizers.test_optimizers import RULES, Net, give

GROUPS = {"all": "all", "matrices": "matrices", "by name": lambda name: name.startswith("second")}


@pytest.mark.parametrize("decay", GROUPS)
@pytest.mark.parametrize("rule", [rule for rule, (_, _, ours) in RULES.items() if not ours])
def test_clipping_in_the_step_is_clipping_before_it(rule, decay):
    kind, settings, _ = RULES[rule]
    settings = {**settings, "weight_decay": 0.1, "decay": GROUPS[decay]}
    clipped, plain = Net(), Net()
    one = getattr(optimizers, kind)(clipped.parameters, 0.05, clip_norm=0.7, **settings)
    other = getattr(optimizers, kind)(plain.parameters, 0.05, **settings)
    assert len(one._groups) == (1 if decay == "all" else 2 if decay == "by name" else 4)
    for step in range(3):
        for parameters in (clipped.parameters, plain.parameters):
            give(parameters, step)
        norm = one.step()
        assert optimizers.clip_gradients(plain.parameters, 0.7) == pytest.approx(norm)
        other.step()
        np.testing.assert_allclose(clipped.parameters.flat, plain.parameters.flat, rtol=1e-12, atol=1e-14)
    assert norm > 0.7


def test_a_step_of_plain_descent_is_as_long_as_the_clipping_says():
    """The length of all groups' steps together is rate times clip_norm."""
    model = Net()
    sgd = optimizers.SGD(model.parameters, 0.5, clip_norm=0.7, weight_decay=1e-300, decay="matrices")
    before = model.parameters.flat.copy()
    give(model.parameters, 0)
    sgd.step()
    assert np.linalg.norm(model.parameters.flat - before) == pytest.approx(0.5 * 0.7, rel=1e-5)
