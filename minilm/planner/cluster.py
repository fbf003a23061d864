"""Machines that a plan is made for: several devices of a kind and what joins them.

Rates of named devices are what their makers print, times the part of it that large kernels reach: 0.65 of products (published
runs reach 0.4 to 0.74 with all that is between the products), 0.8 of memory and of links. minilm was not timed on them.

Printed rates of products are those of dense matrices: data sheets of the H100 and H200 print twice as much, "with sparsity". The
exponentials are 16 a clock and multiprocessor: 108 at 1.41 GHz, 132 at 1.83 GHz (3.9e12: J. Shah et al., FlashAttention-3,
2024). A network is that of a DGX of each kind, an adapter a GPU: 200 Gbit/s of a DGX A100, 400 Gbit/s of a DGX H100.
"""

from __future__ import annotations

from typing import NamedTuple

from minilm.mistaken import did_you_mean
from minilm.planner.hardware import Machine

__all__ = ["DEVICES", "Cluster", "cluster", "of_machine"]

PRODUCTS, STREAMS = 0.65, 0.8  # of a printed rate, reached
HOST = 8  # devices of a host, which fast links join


class Device(NamedTuple):
    """What a maker prints; sizes in bytes, rates a second."""

    products: dict[str, float]  # precision -> operations
    exponentials: float
    bandwidth: float
    memory: float
    link: float  # between two devices of a host, one way
    network: float  # of a device to other hosts, one way
    source: str


HOPPER = {"float32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}
DEVICES = {
    "a100": Device(
        {"float32": 19.5e12, "tf32": 156e12, "bf16": 312e12},
        2.4e12,
        2.039e12,
        80e9,
        300e9,
        25e9,
        "NVIDIA A100 80GB SXM, data sheet 1758950, 2021",
    ),
    "h100": Device(HOPPER, 3.9e12, 3.35e12, 80e9, 450e9, 50e9, "NVIDIA H100 SXM, data sheet and architecture white paper, 2023"),
    "h200": Device(HOPPER, 3.9e12, 4.8e12, 141e9, 450e9, 50e9, "NVIDIA H200 SXM, data sheet, 2024"),
}


class Cluster(NamedTuple):
    """Devices that train one model together."""

    machine: Machine  # the rates of each
    count: int
    link: float  # bytes a second, one way, of the slowest link on the way round
    source: str


def cluster(name: str, count: int, precision: str = "float32") -> Cluster:
    """Some devices of a name; ValueError with the nearest name if there is none."""
    if name not in DEVICES:
        raise ValueError(f"there is no device {name!r}; {did_you_mean(name, (*DEVICES, 'cpu'))}")
    device = DEVICES[name]
    if precision not in device.products:
        raise ValueError(f"precision of {name} must be one of {', '.join(device.products)}, got {precision!r}")
    machine = Machine(
        matmul=PRODUCTS * device.products[precision],
        recurrent=0.3 * device.products["float32"],  # a recurrent step's products are small
        bandwidth=STREAMS * device.bandwidth,
        exponentials=PRODUCTS * device.exponentials,
        call=5e-6,
        questions=1e9,
        threads=1,
        memory=int(device.memory),
        name=name,
        measured=f"printed rates in {precision}: {device.source}",
        overlaps=1,
    )
    return Cluster(machine, count, STREAMS * (device.link if count <= HOST else device.network), device.source)


def of_machine(machine: Machine, count: int) -> Cluster:
    """Processes on one measured machine: what they send goes through its memory, in and out on both sides."""
    return Cluster(machine, count, machine.bandwidth / 4, machine.measured or "measured")
