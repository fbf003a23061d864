"""The job that a process belongs to: who else there is, and that all of them end together.

``mpiexec -n 4 minilm train ...`` starts four processes that know nothing of each other but what is in their environment. `job`
connects them, and is over for all of them at once::

    with distributed.job():                 # once in a program, around all that ranks do together
        training.train(config, out="runs/four")

A process that is not one of several is a job of its own, and needs no MPI.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minilm import threads
from minilm.distributed.communicator import Alone, Communicator
from minilm.distributed.heartbeat import Heartbeat, say_and_abort

__all__ = ["current", "first_alone", "job", "launched", "require_same"]

# What launchers tell a process of their number: Hydra (MPICH, Intel MPI), Open MPI, Slurm's srun.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
GRACE = 1.0  # seconds in which rank 0 may say first what is wrong with all ranks alike

_alone = Alone()
_current: Communicator = _alone


def launched() -> int:
    """How many processes a launcher says that it started; 0 where none did."""
    return max((int(os.environ[name]) for name in SIZES if os.environ.get(name, "").isdigit()), default=0)


def current() -> Communicator:
    """The ranks of the job that goes on; `Alone` outside of one."""
    return _current


@contextlib.contextmanager
def job() -> Iterator[Communicator]:
    """Inside this block the ranks of a job are connected.

    Yields
    ------
    Communicator

    Raises
    ------
    ValueError
        The process was started as one of several, and MPI is not there or knows nothing of the others.

    Notes
    -----
    An exception that leaves the block on any rank ends the processes of all, with one line. A KeyboardInterrupt such as
    `minilm.training.Stopped`, which all ranks raise at the same step, is passed on.
    """
    global _current
    if _current is not _alone or launched() == 0:
        yield _current
        return
    communicator = _connected()
    heartbeat, threads_before = Heartbeat(communicator), _share_cores(communicator)
    _current = communicator
    try:
        yield communicator
        communicator.barrier()  # rank 0 may have more to do than the others
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if communicator.size > 1 and not hasattr(error, "step"):  # Stopped has one, and all ranks have raised it
            _end_all(communicator, error)
        raise
    finally:
        _current = _alone
        threads.set_threads(threads_before)
        heartbeat.stop()
        communicator.close()


def _end_all(communicator: Communicator, error: BaseException) -> None:
    """Say what is wrong, and end all ranks."""
    if os.environ.get("MINILM_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    if communicator.rank:
        time.sleep(GRACE)
    interrupted = isinstance(error, KeyboardInterrupt)
    what = "interrupted" if interrupted else " ".join(str(error).split()) or type(error).__name__
    say_and_abort(communicator, what, 130 if interrupted else 2)


def first_alone(function: Callable[[], Any]) -> Any:
    """What a function returns on rank 0, which alone calls it. All ranks call this together.

    Parameters
    ----------
    function : callable
        ``function() -> value``, which JSON can write, or a number of NumPy's. What it raises ends the job, see `job`.

    Returns
    -------
    value
        The same on all ranks.
    """
    if _current.size == 1:
        return function()
    content = json.dumps(function(), default=float).encode() if _current.rank == 0 else None
    return json.loads(_current.broadcast(content))


def require_same(values: Mapping[str, Any]) -> None:
    """Refuse a job whose ranks were not given the same: they would train different things. All call it together.

    Parameters
    ----------
    values : mapping of str to value
        What JSON can hold, such as settings, by its name.

    Raises
    ------
    ValueError
        On all ranks, naming a rank that has another value than rank 0, and which.
    """
    first = first_alone(lambda: dict(values))
    if _current.size == 1:
        return
    own, names = json.loads(json.dumps(dict(values), default=float)), [*first]
    differing = next((place for place, name in enumerate(names) if own.get(name) != first[name]), -1)
    for rank, (place,) in enumerate(_current.exchange([differing])):
        if place >= 0:
            name = names[int(place)]
            raise ValueError(f"all ranks of a job train the same: rank {rank} has another {name} than rank 0, {first[name]!r}")


def _connected() -> Communicator:
    from minilm.distributed.mpi import MPICommunicator

    communicator = MPICommunicator()
    if communicator.size == 1 < launched():
        raise ValueError(
            f"the launcher started {launched()} processes, and MPI knows of 1: use the mpiexec of the same MPI, "
            "or under Slurm srun --mpi=pmi2 or --mpi=pmix, whichever it speaks"
        )
    return communicator


def _share_cores(communicator: Communicator) -> int | None:
    """Give each rank of a host its share of the cores that they may all use; what threads were set to before."""
    before = threads._threads
    if before is None and not os.environ.get("MINILM_THREADS"):
        threads.set_threads(communicator.cores())
    return before
