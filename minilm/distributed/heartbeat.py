"""Whether the other ranks are still there.

A launcher sees a process of its own end, and ends the others. It does not see a host that has lost its network, and srun lets
the others wait for ever unless it was told ``--kill-on-bad-exit``. So a thread of each rank sends an empty message each second:
rank 0 to all, all to rank 0. Who hears nothing from another `MISSES` times in a row says so and ends the job.

A rank that computes, compiles or waits for a disk still sends. A rank that was stopped (SIGSTOP, a debugger) does not. A whole
job that was stopped has missed nothing when it goes on, since it is looks that are counted, not seconds.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["BEAT", "MISSES", "Heartbeat", "say_and_abort"]

BEAT = 1.0  # seconds
MISSES = 8
TAG = 7


def say_and_abort(communicator: Any, what: str, status: int) -> None:
    """Say on stderr in one line why this rank ends, and end all.

    Parameters
    ----------
    communicator : Communicator
    what : str
        What is wrong.
    status : int
        The exit status of all processes.
    """
    who = f"rank {communicator.rank} of {communicator.size} on {socket.gethostname()}: " if communicator.size > 1 else ""
    with contextlib.suppress(OSError, ValueError):
        print(f"minilm: {who}{what}", file=sys.stderr, flush=True)
    communicator.abort(status)


class Heartbeat:
    """Watches the other ranks until `stop`.

    Parameters
    ----------
    communicator : MPICommunicator
        Whose MPI lets several threads call it; with another one nobody watches. MINILM_HEARTBEAT=0 has the same effect.
    """

    def __init__(self, communicator: Any):
        from mpi4py import MPI

        self._communicator, self._MPI = communicator, MPI
        self._over, self._thread = threading.Event(), None
        switched_on = os.environ.get("MINILM_HEARTBEAT", "1") not in ("", "0")
        if communicator.size > 1 and switched_on and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self._world = communicator.host().Dup()
            self._thread = threading.Thread(target=self._watch, name="minilm-heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer; all ranks are here, and call it together."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            self._communicator.barrier()  # nobody sends any more
            self._take(self._watched)

    @property
    def _watched(self) -> Sequence[int]:
        return range(1, self._communicator.size) if self._communicator.rank == 0 else [0]

    def _take(self, ranks: Iterable[int]) -> set[int]:
        """Receive all beats that have come; the ranks that they are of."""
        heard = set()
        for rank in ranks:
            while self._world.Iprobe(rank, TAG):
                self._world.Recv(np.zeros(0, np.int8), rank, TAG)
                heard.add(rank)
        return heard

    def _watch(self) -> None:
        missed, sent = dict.fromkeys(self._watched, 0), {}
        while not self._over.wait(BEAT):
            heard = self._take(missed)
            for rank in missed:
                if rank not in sent or sent[rank].Test():  # what was sent to a rank that is gone may never arrive
                    sent[rank] = self._world.Isend(np.zeros(0, np.int8), rank, TAG)
                missed[rank] = 0 if rank in heard else missed[rank] + 1
                if missed[rank] >= MISSES:
                    silence = f"nothing was heard of rank {rank} for {MISSES * BEAT:.0f} s"
                    say_and_abort(
                        self._communicator, f"{silence}; the job ends, and --resume goes on from the last checkpoint", 1
                    )
