"""Checks on a GPU: what is checked computes there, and the finite differences move numbers on the host."""

from __future__ import annotations

import copy

from minilm import devices

__all__ = ["of_functions", "of_module"]


def of_functions(subject) -> None:
    """Let an op compute on the GPU."""
    subject.through(_there_and_back)


def of_module(subject) -> None:
    """Let a copy of a layer or model compute on the GPU, with the parameters and gradients that the host has at each call."""
    twin = copy.deepcopy(subject.thing).to("cuda")
    mine, its = subject.thing.parameters, twin.parameters

    def with_the_host_s(function):
        def call(*arguments, **options):
            devices.copy_into(its.flat, mine.flat)
            devices.copy_into(its.gradient_flat, mine.gradient_flat)
            found = function(*arguments, **options)
            devices.copy_into(mine.gradient_flat, its.gradient_flat)
            return found

        return call

    functions = iter((twin.forward, twin.backward))
    subject.through(lambda _: with_the_host_s(_there_and_back(next(functions))))


def _there_and_back(function):
    """A function of arrays on the GPU for arrays on the host."""

    def call(*arguments, **options):
        arguments, options = devices.to_device((arguments, options))
        return devices.to_host(function(*arguments, **options))

    return call
