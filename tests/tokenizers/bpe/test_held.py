"""Tuples of arrays that kernels find at an address."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest

from minilm.compiled.jit import entry_point, jit
from minilm.tokenizers.bpe.held import WORDS, Kept, values_of


class Inner(NamedTuple):
    numbers: np.ndarray
    scale: np.uint64


class Outer(NamedTuple):
    inner: Inner
    rows: np.ndarray


class Swapped(NamedTuple):
    rows: np.ndarray
    inner: Inner


@jit(counted=False)
def add(kept, k):
    """rows[k, 1] = numbers[k] * scale; returns how many rows there are."""
    values = values_of(kept)
    values.rows[k, 1] = values.inner.numbers[k] * values.inner.scale
    return values.rows.shape[0]


@pytest.mark.parametrize("outer", [Outer, Swapped])
def test_a_kernel_reads_and_writes_the_arrays_themselves(outer):
    inner, rows = Inner(np.arange(5, dtype=np.uint64), np.uint64(7)), np.zeros((4, 2), np.uint64)
    kept = Kept(outer(inner=inner, rows=rows))
    other = Kept(outer(inner=inner, rows=np.zeros((3, 2), np.uint64)))
    call = entry_point(add, kept, 0)
    assert [call(kept, 2), call(other, 1)] == [4, 3]
    assert rows.tolist() == [[0, 0], [0, 0], [0, 14], [0, 0]]
    assert other.values.rows.tolist() == [[0, 0], [0, 7], [0, 0]]
    assert kept.values.inner is inner and kept.values.rows is rows


def test_classes_of_one_name_are_told_apart_by_their_fields():
    def named(fields):
        return NamedTuple("Pair", [(field, np.ndarray) for field in fields])

    @jit(counted=False)
    def first(kept):
        return values_of(kept).first[0]

    one, other = np.array([1]), np.array([2])
    assert first(Kept(named(["first", "second"])(one, other))) == 1
    assert first(Kept(named(["second", "first"])(one, other))) == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_address_is_not_copied(copied):
    with pytest.raises(TypeError, match="copy or pickle its values"):
        copied(Kept(Inner(np.arange(5), np.uint64(7))))


def test_a_tuple_that_is_too_large_is_refused():
    class Many(NamedTuple):
        arrays: tuple

    with pytest.raises(Exception, match=f"takes more than {WORDS} words"):
        Kept(Many((np.zeros(1),) * WORDS))
