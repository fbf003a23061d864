"""Runs ops by their GPU implementation: on CuPy where there is a device, else on the emulator."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck.trees import leaves
from minilm.ops.cuda import at_version
from tests.cuda_on_cpu import fake_cupy
from tests.ops.properties import Result, cotangent, functions


@contextlib.contextmanager
def emulated(order: str = "ascending", sanitizer: str = "none"):
    """The device that the CPU plays."""
    with fake_cupy.installed(order, sanitizer):
        yield


def on_a_real_one(test):
    """Decorates a test that runs on a real GPU, by `pytest -m gpu`, and says elsewhere why it does not."""
    status = devices.gpu_status()
    return pytest.mark.gpu(pytest.mark.skipif(not status.available, reason=f"no GPU can be used: {status.reason}")(test))


def version(op, number: int):
    """Inside this block the op's functions take version `number`, or their highest if they have not so many."""
    return at_version(devices.load(op.package, "gpu"), number)


def versions(op) -> list[int]:
    """Numbers of the versions of an op, but for one that rounds its operands: tests/ops/test_tensor_cores.py has that."""
    module = devices.load(op.package, "gpu")
    numbers = range(1, max(getattr(module, "VERSIONS", {"": 1}).values()) + 1)
    return [number for number in numbers if number != getattr(module, "TENSOR_CORES", None)]


def arrays(tree) -> dict:
    """Leaves of a tree that lies on the host, as arrays, by path."""
    return {path or "y": np.asarray(leaf) for path, leaf in leaves(tree) if leaf is not None}


def forward(op, arguments):
    """(y on the host, y, saved) of a pair, (everything returned and written, None, None) of an update."""
    arguments = devices.to_device(arguments)
    with devices.implementation("gpu"):
        if op.backward:
            y, saved = functions(op)[0](**arguments)
            return devices.to_host(y), y, saved
        arguments = {k: v.copy() if k in op.updates and v is not None else v for k, v in arguments.items()}
        returned = functions(op)[0](**arguments)
        return devices.to_host({"returned": returned, **{k: arguments[k] for k in op.updates}}), None, None


def backward(op, y, saved, differentiable, seed=1) -> dict:
    """Gradients by name, on the host, for the same random cotangent that the other implementations get."""
    dy = devices.to_device(cotangent(devices.to_host(y), seed))
    if not devices.on_gpu(dy) and isinstance(dy, np.generic):
        dy = float(dy)
    with devices.implementation("gpu"):
        returned = devices.to_host(functions(op)[1](dy, saved))
    gradients = [g for _, g in leaves(returned) if g is not None]
    assert len(gradients) == len(differentiable), f"{op.name}: {len(gradients)} gradients for {differentiable}"
    return dict(zip(differentiable, gradients, strict=True))


def run(op, case) -> Result:
    """Forward and backward."""
    on_host, y, saved = forward(op, case.arguments)
    return Result(arrays(on_host), backward(op, y, saved, case.differentiable) if op.backward else {})
