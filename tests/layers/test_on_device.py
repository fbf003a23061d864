"""Every layer of the gradient checks on a GPU, which the CPU plays here: the CPU's outputs and gradients, and nothing waits."""

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck.cases import LAYERS
from minilm.gradcheck.trees import cotangents, flatten
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

CASES = {f"{name}, {label}": build for name, cases in LAYERS.items() for label, build in cases.items()}


def run(build, device):
    """Outputs and gradients of a layer; and what waited for the GPU meanwhile."""
    layer, inputs, options = build()
    layer.to(device)
    inputs, options = devices.to(device, (inputs, options))
    fake_cupy.waits.clear()
    with devices.ids_are_checked():
        y, saved = layer.forward(*inputs, **options)
        waits = list(fake_cupy.waits)
        there = devices.to_host(y)
        dy = cotangents(there, np.random.default_rng(0).standard_normal(flatten(there).size))
        dy = devices.to(device, dy)
        fake_cupy.waits.clear()
        dx = layer.backward(dy, saved)
        waits += fake_cupy.waits
    gradients = {name: np.array(devices.to_host(array)) for name, array in layer.parameters.gradients.items()}
    return devices.to_host((y, dx)), gradients, waits


def compared(case):
    *on_host, _ = run(CASES[case], "cpu")
    *on_device, waits = run(CASES[case], "cuda")
    for (path, x), (_, y) in zip(gpu.leaves(on_host), gpu.leaves(on_device), strict=True):
        if x is not None:
            np.testing.assert_allclose(y, x, rtol=1e-8, atol=1e-11, err_msg=path)
    return waits


@pytest.mark.parametrize("case", CASES)
def test_layers(case):
    with gpu.emulated():
        assert compared(case) == []


@gpu.on_a_real_one
@pytest.mark.parametrize("case", CASES)
def test_layers_on_a_real_one(case):
    compared(case)
