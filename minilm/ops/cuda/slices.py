"""How recurrent weights are spread over the multiprocessors of a device, for the kernels that keep them there for all steps.

A block has one multiprocessor to itself and a slice of the hidden units: forward all gates' rows of ``units`` units, backward
their columns, in its shared memory. The rows of the batch may be divided into parts, for rows never meet: the blocks of a part
have all slices between them and wait for one another only. So there are slices x parts blocks, at most as many as
multiprocessors.

Many parts are good: a block reads the states of fewer rows from other blocks, and waits for fewer of them. But the more parts,
the fewer blocks there are for the weights. So `plan` takes the most parts, of about 16 rows or more, with which the slices fit:

- a block's shared memory holds a slice, a chunk of the states, and the partial sums (`shared_bytes`); on an H200 (132
  multiprocessors, 227 KiB each) it does to about H = 1,050 in float32;
- a block's threads have an element of a tile each: with tiles of 16 rows, at most 16 units to a slice.

It answers None where no division fits, or the device has no cooperative launch, which promises that all blocks run at once.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from minilm.ops.cuda.table import Kernel, whole_warps

__all__ = ["Plan", "kernel", "plan"]

GROUPS = 2  # of threads, at most, so that a tile has up to GROUPS times the rows that a thread has
AHEAD = 2  # columns of a chunk to a thread
THREADS = 256  # of a block, at most
OUTPUTS = 4  # of a thread backward, where the slice's outputs are units
ROW_BYTES = 32  # of a column of the states, to a thread: so many rows that sums and what is fetched ahead fit its registers
PAD = 4  # numbers between two rows in shared memory, which moves each by four banks: vectors of eight rows do not collide
DEFINES = {"GROUPS": GROUPS, "AHEAD": AHEAD, "THREADS": THREADS, "OUTPUTS": OUTPUTS, "ROW_BYTES": ROW_BYTES, "PAD": PAD}


class Plan(NamedTuple):
    """A division that fits."""

    units: int  # of a slice
    rows: int  # of a part
    parts: int


class Device(NamedTuple):
    """What a division must fit."""

    multiprocessors: int
    shared: int  # bytes that a block may have
    cooperative: bool


def plan(H: int, B: int, gates: int, itemsize: int) -> Plan | None:
    """Slices and parts for H units, B rows of the batch and a number of gates, on the current device."""
    return _plan(_device(), H, B, gates, itemsize)


@functools.lru_cache(maxsize=256)
def _plan(device: Device, H: int, B: int, gates: int, itemsize: int) -> Plan | None:
    if not device.cooperative or 0 in (H, B):
        return None
    most = min(device.multiprocessors, -(-B // (_each(itemsize) * GROUPS)))
    for parts in range(most, 0, -1):
        units, rows = -(-H // (device.multiprocessors // parts)), -(-B // parts)
        fits = _tile(rows, itemsize) * units <= THREADS
        if fits and max(shared_bytes(H, units, rows, gates, back, itemsize) for back in (False, True)) <= device.shared:
            return Plan(units, rows, -(-B // rows))
    return None


def shared_bytes(H: int, units: int, rows: int, gates: int, backward: bool, itemsize: int) -> int:
    """Of a block: the slice, a chunk of a tile's rows, and the copies' sums; laid out as in the kernels."""
    wide = threads(H, units, rows, gates, itemsize)
    outputs, per_thread, columns = (_up(units, OUTPUTS), OUTPUTS, gates * H) if backward else (gates * units, gates, H)
    tile = _tile(rows, itemsize) * (AHEAD * wide + PAD)
    return (outputs * (_up(columns, 4) + PAD) + tile + wide * _each(itemsize) * per_thread) * itemsize


def threads(H: int, units: int, rows: int, gates: int, itemsize: int) -> int:
    """Of a block: one for each element of a tile, and as many as there are fours of columns to share, up to 256."""
    groups = _tile(rows, itemsize) // _each(itemsize)
    forward = groups * units * -(-H // 4)
    backward = groups * -(-units // OUTPUTS) * -(-gates * H // 4)
    return whole_warps(max(_tile(rows, itemsize) * units, min(max(forward, backward), THREADS)))


def kernel(name: str, gates: int, backward: bool) -> Kernel:
    """The entry of a table for a kernel with the numbers H, B, U (units of a slice) and R (rows of a part)."""
    return Kernel(
        name,
        grid=lambda s: (-(-s.H // s.U), -(-s.B // s.R)),
        block=lambda s: threads(s.H, s.U, s.R, gates, s.itemsize),
        shared=lambda s: shared_bytes(s.H, s.U, s.R, gates, backward, s.itemsize),
        cooperative=True,
    )


def _each(itemsize: int) -> int:
    """Rows to a thread."""
    return ROW_BYTES // itemsize


def _tile(rows: int, itemsize: int) -> int:
    """Rows of a tile."""
    return _each(itemsize) * (1 if rows <= _each(itemsize) else GROUPS)


def _up(number: int, to: int) -> int:
    return -(-number // to) * to


def _device() -> Device:
    import cupy

    return _facts(cupy, cupy.cuda.Device().id)


@functools.lru_cache(maxsize=8)
def _facts(cupy, number: int) -> Device:
    facts = cupy.cuda.runtime.getDeviceProperties(number)  # asks the driver for a hundred numbers
    return Device(facts["multiProcessorCount"], facts["sharedMemPerBlockOptin"], bool(facts["cooperativeLaunch"]))
