"""Gradient checks on a GPU: forward and backward compute on the device, the finite differences move numbers on the host."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from minilm import devices

if TYPE_CHECKING:
    from minilm.gradcheck.subjects import Subject

__all__ = ["run_functions", "run_module"]


def run_functions(subject: Subject) -> None:
    """Let an op compute on the GPU."""
    subject.through(_on_device)


def run_module(subject: Subject) -> None:
    """Let a copy of a layer or model compute on the GPU, with the host's parameters and gradients at each call."""
    twin = copy.deepcopy(subject.module).to("cuda")
    on_host, on_gpu = subject.module.parameters, twin.parameters

    def with_parameters_of_host(function):
        def call(*arguments, **options):
            devices.copy_into(on_gpu.flat, on_host.flat)
            devices.copy_into(on_gpu.gradient_flat, on_host.gradient_flat)
            results = function(*arguments, **options)
            devices.copy_into(on_host.gradient_flat, on_gpu.gradient_flat)
            return results

        return call

    functions = iter((twin.forward, twin.backward))
    subject.through(lambda _: with_parameters_of_host(_on_device(next(functions))))


def _on_device(function):
    """A function of arrays on the host that calls one of arrays on the GPU."""

    def call(*arguments, **options):
        arguments, options = devices.to_device((arguments, options))
        return devices.to_host(function(*arguments, **options))

    return call
