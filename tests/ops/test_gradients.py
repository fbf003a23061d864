"""The oracle's backward is the derivative of its forward: finite differences, every op, every combination of options."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm import devices
from tests.ops.properties import OPS, PAIRS, draw, gradients, label, pytest_combinations


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_full_jacobian(name, options):
    report = gradients(OPS[name], options)
    assert report.method == "full Jacobian"


@pytest.mark.parametrize("name", PAIRS)
def test_the_check_is_alive(name):
    """In the usual case no gradient vanishes, else agreement with it would prove nothing."""
    report = gradients(OPS[name])
    assert set(report.scales) == set(draw(OPS[name]).differentiable)
    assert all(scale > 1e-6 for scale in report.scales.values()), report.scales


@pytest.mark.parametrize("name", PAIRS)
@given(data=st.data())
def test_directions_on_other_sizes(name, data):
    op = OPS[name]
    dims = sizes(data, op, limit=20_000)
    options = {k: data.draw(st.sampled_from(v), label=k) for k, v in op.options.items()}
    gradients(op, options, dims=dims, seed=data.draw(st.integers(0, 3), label="seed"))


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_kernels_in_float64(name, options):
    """The same through every version of the CPU's kernels: a derivative by themselves, not only near the oracle's."""
    for version in devices.versions(OPS[name].package):
        gradients(OPS[name], options, implementation=version)


def sizes(data, op, limit) -> dict[str, int]:
    """Sizes of every letter, their product bounded: large ones are replaced by the tiny one."""
    dims = {}
    for letter, choices in op.dims.items():
        size = data.draw(st.sampled_from(choices), label=letter)
        dims[letter] = size if np.prod(list(dims.values()), initial=1) * size <= limit else choices[0]
    return dims
