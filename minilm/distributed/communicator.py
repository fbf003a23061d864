"""What ranks say to each other: one interface, whatever carries it.

Every rank calls the same methods in the same order. What takes long returns at once with a `Pending`: it goes on while the rank
computes, whenever somebody calls its ``done()``, and ``wait()`` sees it to its end. A waiting rank sleeps between two looks, so
that ranks which share a core do not take it from each other.
"""

from __future__ import annotations

import abc
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minilm.distributed.tree import Tree
from minilm.typing import Array

__all__ = ["Alone", "Communicator", "Pending", "wait_until"]

AWAKE = 0.05  # seconds of looks one after another, which only give the core to whoever waits for it
PAUSE = 100e-6  # seconds between the looks after that


_give_away = getattr(os, "sched_yield", lambda: time.sleep(0))  # Python's sleep(0) sleeps for 50 µs on Linux


def wait_until(done: Callable[[], bool]) -> None:
    """Look again and again until something is done, giving the core away in between.

    A look is also what moves a message on, by some tens of kilobytes: long pauses would make long messages crawl.

    Parameters
    ----------
    done : callable
        ``done() -> bool``.
    """
    end = time.perf_counter() + AWAKE
    while not done():
        if time.perf_counter() < end:
            _give_away()
        else:
            time.sleep(PAUSE)


class Pending:
    """Something that goes on beside the computation. This one is over already."""

    def done(self) -> bool:
        """Let it go on, without waiting; whether it is over."""
        return True

    def wait(self) -> None:
        """Return when it is over."""
        wait_until(self.done)


class Communicator(abc.ABC):
    """The ranks of a job, as one of them sees them.

    Attributes
    ----------
    rank, size : int
        0 <= rank < size.
    name : str
        Of what carries the arrays: "none", "mpi" or "nccl".
    exact : bool
        Whether sums have the bits of `Tree`, and so do not depend on the number of ranks.

    Notes
    -----
    Arrays are C-contiguous with one axis of float32 or float64. ``cuts`` (size + 1,) says where an array of n numbers is cut into
    one piece a rank, from 0 to n; the piece of a rank is the part of the array that it sums.
    """

    rank: int = 0
    size: int = 1
    name: str
    exact: bool = True
    _last: _Both | None = None  # all_reduce

    @abc.abstractmethod
    def reduce_scatter(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        """Sum over the tree, each rank its own piece.

        Parameters
        ----------
        partials : sequence of ndarray, shape (n,)
            The sums of this rank's ``tree.nodes(rank)``. They must stay as they are until this is over.
        out : ndarray, shape (n,)
            Its own piece becomes the sum of all ranks; the rest stays. It may be one of `partials`.
        cuts : sequence of int, (size + 1,)
        tree : Tree
        wire : {"float32", "bf16"}
            What travels: all bits, or the upper half of those of a float32, rounded to the nearest. Sums are of all bits always.

        Returns
        -------
        Pending

        Raises
        ------
        ValueError
            Of MPI: `partials` are not as many as the rank has subtrees.
        """

    @abc.abstractmethod
    def all_gather(self, out: Array, cuts: Sequence[int]) -> Pending:
        """Give every rank the pieces of all.

        Parameters
        ----------
        out : ndarray, shape (n,)
            Has this rank's own piece in place; those of the others are written into it.
        cuts : sequence of int, (size + 1,)

        Returns
        -------
        Pending
        """

    @abc.abstractmethod
    def exchange(self, numbers: Sequence[float]) -> np.ndarray:
        """The numbers of all ranks. Waits for all.

        Parameters
        ----------
        numbers : sequence of n floats
            Of this rank; n is the same on all.

        Returns
        -------
        ndarray of float64, shape (size, n)
            On the host.
        """

    @abc.abstractmethod
    def broadcast(self, content: bytes | None) -> bytes:
        """Give every rank the content that rank 0 has. Waits for it.

        Parameters
        ----------
        content : bytes or None
            Read on rank 0 alone.

        Returns
        -------
        bytes
            That of rank 0.
        """

    @abc.abstractmethod
    def abort(self, status: int) -> None:
        """End the processes of all ranks at once.

        Parameters
        ----------
        status : int
            Their exit status.
        """

    def all_reduce(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        """Sum over the tree; every rank has the whole sum.

        Parameters
        ----------
        partials, out, cuts, tree, wire
            Those of `reduce_scatter`, which comes first; `all_gather` then fills all of `out`.

        Returns
        -------
        Pending
        """
        scattered = self.reduce_scatter(partials, out, cuts, tree, wire)
        self._last = _Both(lambda: self.all_gather(out, cuts), scattered, self._last)
        return self._last

    def on(self, device: str) -> Communicator:
        """The same ranks for arrays of a device.

        Parameters
        ----------
        device : {"cpu", "cuda"}

        Returns
        -------
        Communicator

        Raises
        ------
        ValueError
            NCCL, which carries arrays of GPUs, is not there or does not connect the ranks.
        """
        return self

    def cores(self) -> int:
        """How many cores this rank may use, where those of a host share them."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.exchange([])

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what was taken; the ranks are alone then."""


class _Both(Pending):
    """An `all_gather` that begins when the `reduce_scatter` before it is over, and the one of the call `before` has begun.

    The latter since all ranks must begin in the same order.
    """

    def __init__(self, gather: Callable[[], Pending], scattered: Pending, before: _Both | None):
        self._gather, self._scattered, self._before = gather, scattered, before
        self._gathered: Pending | None = None

    def begun(self) -> bool:
        """Begin the second step if it is time; whether it has begun."""
        if self._gathered is None and (self._before is None or self._before.begun()) and self._scattered.done():
            self._before, self._gathered = None, self._gather()
        return self._gathered is not None

    def done(self) -> bool:
        return self.begun() and self._gathered.done()  # type: ignore[union-attr]


class Alone(Communicator):
    """One rank, which has nobody to talk to."""

    name = "none"

    def reduce_scatter(self, partials: Sequence[Array], out: Array, cuts: Sequence[int], tree: Tree, wire: str) -> Pending:
        (whole,) = partials  # of one rank the largest subtree is the tree
        if whole is not out:
            out[...] = whole
        return Pending()

    def all_gather(self, out: Array, cuts: Sequence[int]) -> Pending:
        return Pending()

    def exchange(self, numbers: Sequence[float]) -> np.ndarray:
        return np.array([numbers], float)

    def broadcast(self, content: bytes | None) -> bytes:
        assert content is not None
        return content

    def abort(self, status: int) -> Any:
        raise SystemExit(status)
