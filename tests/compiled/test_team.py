"""A kernel in many threads: every row once, whoever else calls, whatever was called before."""

import threading
import time

import numpy as np
import pytest

from minilm import devices, threads
from minilm.compiled import team
from minilm.compiled.jit import jit
from tests import clocks


@jit
def _halve_and_add(start, stop, a, b):
    for i in range(start, stop):
        b[i] = b[i] / 2 + a[i]


@jit
def _mark(start, stop, marks, places):
    # a kernel of other arguments, whose parts end at once
    marks[start:stop] += places[0]


@jit
def _mark_part(part, number, marks):
    marks[part] += 1


@pytest.mark.parametrize("callers", [1, 3])
def test_thousands_of_calls(callers):
    devices.set_threads(3)
    wrong = []

    def call(seed):
        rng = np.random.default_rng(seed)
        for turn in range(300):
            n = int(rng.integers(2, 3000))
            a, b = rng.standard_normal((2, n))
            expected, marks = b / 2 + a, np.zeros(n, np.int64)
            devices.parallel(_halve_and_add, n, a, b)
            for _ in range(3):
                devices.parallel(_mark, n, marks, (2, 0.5))
            if not np.array_equal(b, expected) or not (marks == 6).all():
                wrong.append(n)
            if turn % 50 == 0:
                time.sleep(2 * threads.AWAKE)  # the next call finds them asleep

    others = [threading.Thread(target=call, args=(seed,)) for seed in range(callers)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert not wrong


def test_a_caller_whose_threads_never_come_does_it_all():
    """No thread looks at this board: every part is the caller's."""
    rows = np.zeros(100)
    addresses = np.array([team.address(_mark, (rows, (2, 0.5)))])
    assert team.share(team.board(), addresses, 7, 100, rows, (2, 0.5)) == team.ENDED_WELL
    assert (rows == 2).all()


def test_a_board_with_a_call_on_it_takes_no_other():
    rows, board = np.zeros(100), team.board()
    addresses = np.array([team.address(_mark, (rows, (2, 0.5)))])
    board[team.OWNER] = 1
    assert team.share(board, addresses, 2, 100, rows, (2, 0.5)) == team.BUSY
    assert not rows.any()


def test_arguments_without_code_are_not_run():
    rows, ids = np.zeros(100), np.zeros(100, np.int64)
    addresses = np.array([team.address(_mark, (rows, (2, 0.5)))])
    assert team.share(team.board(), addresses, 2, 100, ids, (2, 0.5)) == team.UNKNOWN
    assert not ids.any()


def ended(call) -> bool:
    """Whether a call in a thread of its own comes to an end."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(clocks.PATIENCE)
    return not thread.is_alive()


def test_a_handler_of_signals_may_call_kernels_while_threads_are_started(monkeypatch):
    marks, start, workers = np.zeros(5000, np.int64), threading.Thread.start, threads._workers

    def interrupted(thread):
        start(thread)
        if thread.name.startswith("minilm"):
            devices.parallel(_mark, len(marks), marks, (2, 0.5))

    def call():
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        devices.parallel(_mark, len(marks), marks, (2, 0.5))

    devices.set_threads(workers + 2)
    assert ended(call) and (marks == 4).all() and threads._workers == workers + 1


def test_a_handler_of_signals_may_call_a_team_in_the_middle_of_another(monkeypatch):
    seen, share = [], threads._share

    def interrupted(*arguments):
        if not seen:
            seen.append(threads._needed)
            threads.together(_mark_part, np.zeros(9, np.int64))
        seen.append(threads._needed)  # else a thread that is needed may go to sleep
        return share(*arguments)

    monkeypatch.setattr(threads, "_cores", lambda: 2)
    monkeypatch.setattr(threads, "_share", interrupted)
    devices.set_threads(2)
    marks = np.zeros(9, np.int64)
    assert ended(lambda: threads.together(_mark_part, marks)) and marks[:2].tolist() == [1, 1]
    assert all(seen) and not threads._needed


def test_threads_that_the_system_does_not_start(monkeypatch):
    def refuses(thread):
        raise RuntimeError("can't start new thread")

    workers, marks = threads._workers, np.zeros(5000, np.int64)
    devices.set_threads(workers + 2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        with pytest.raises(OSError, match=f"starts no thread beside the {workers + 1} there are: wanted {workers + 2}"):
            devices.parallel(_mark, len(marks), marks, (2, 0.5))
    devices.parallel(_mark, len(marks), marks, (2, 0.5))
    assert (marks == 2).all() and threads._workers == workers + 1
