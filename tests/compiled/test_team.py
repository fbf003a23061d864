"""A kernel in many threads: every row once, whoever else calls, whatever was called before."""

import threading
import time

import numpy as np
import pytest

from minilm import devices, threads
from minilm.compiled import team
from minilm.compiled.jit import jit


@jit
def _halve_and_add(start, stop, a, b):
    for i in range(start, stop):
        b[i] = b[i] / 2 + a[i]


@jit
def _mark(start, stop, marks, places):
    # a kernel of other arguments, whose parts end at once
    marks[start:stop] += places[0]


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
