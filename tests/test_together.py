"""Parts of a team run at the same time and wait for one another."""

import numpy as np
import pytest

from minilm import devices, threads
from minilm.compiled.jit import jit
from minilm.compiled.waiting import LINE, meet


@jit
def _sums(part, number, reached, rounds, numbers):
    # in every round each part writes the sum of what all wrote in the round before
    for turn in range(1, rounds + 1):
        total = 0
        for other in range(number):
            total += numbers[turn - 1, other]
        numbers[turn, part] = total + part
        meet(reached, part, number, turn)


def expected(number, rounds):
    rows = [[1] * number]
    for _ in range(rounds):
        rows.append([sum(rows[-1]) + part for part in range(number)])
    return rows


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_part_sees_what_the_others_wrote(count, monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: count)
    devices.set_threads(count)
    numbers = np.ones((21, count), np.int64)
    for _ in range(5):
        threads.together(_sums, np.zeros(count * LINE, np.int64), 20, numbers)
        assert numbers.tolist() == expected(count, 20)


def test_no_more_parts_than_cores(monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: 1)
    devices.set_threads(4)
    numbers = np.ones((3, 4), np.int64)
    threads.together(_sums, np.zeros(4 * LINE, np.int64), 2, numbers)
    assert numbers[:, 0].tolist() == [1, 1, 1]
