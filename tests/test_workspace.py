"""Buffers that one step after another reuses."""

import threading
import tracemalloc

import numpy as np
import pytest

from minilm import Workspace
from minilm.ops.workspace import empty, outside, release_after, scratch


def test_a_second_step_gets_the_same_memory():
    workspace = Workspace()
    first = [workspace.empty((3, 5), np.float32), workspace.empty(7, np.int64), workspace.empty((), np.float64)]
    held = workspace.nbytes
    workspace.reset()
    second = [workspace.empty((3, 5), np.float32), workspace.empty(7, np.int64), workspace.empty((), np.float64)]
    assert workspace.nbytes == held
    for a, b in zip(first, second, strict=True):
        assert a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.dtype == b.dtype


def test_arrays_of_one_step_do_not_overlap():
    workspace = Workspace()
    arrays = [workspace.empty((n, 3), dtype) for n in (0, 1, 5, 100) for dtype in (np.float32, np.float64, np.uint8)]
    for number, array in enumerate(arrays):
        array[...] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()


def test_alignment_and_layout():
    workspace = Workspace()
    for shape in (1, (3,), (5, 7), (2, 3, 4)):
        array = workspace.empty(shape, np.float32)
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned


def test_a_larger_step_grows_a_smaller_one_keeps():
    workspace = Workspace()
    workspace.empty(10, np.float64)
    workspace.reset()
    large = workspace.empty(1000, np.float64)
    large[...] = 1
    held = workspace.nbytes
    workspace.reset()
    small = workspace.empty(10, np.float32)
    assert workspace.nbytes == held and small.shape == (10,)


def test_poison():
    workspace = Workspace(poison=True)
    a = workspace.empty((4, 4), np.float32)
    assert np.isnan(a).all()
    a[...] = 1
    workspace.reset()
    assert np.isnan(workspace.empty((4, 4), np.float32)).all()
    assert np.isnan(workspace.empty(3, np.float64)).all()
    assert (workspace.empty(3, np.int64) == -1).all()


def test_scratch_is_given_back():
    workspace = Workspace()
    kept = workspace.empty(8, np.float32)
    with workspace.scratch():
        temporary = workspace.empty(16, np.float32)
    following = workspace.empty(16, np.float32)
    assert following.ctypes.data == temporary.ctypes.data != kept.ctypes.data
    with pytest.raises(RuntimeError), workspace.scratch():
        inner = workspace.empty(4, np.float32)
        raise RuntimeError
    assert workspace.empty(4, np.float32).ctypes.data == inner.ctypes.data


def within(workspace, array):
    return any(np.shares_memory(block, array) for block in workspace._blocks)


def test_the_active_workspace_gives_the_arrays():
    outer, inner = Workspace(), Workspace()
    assert empty((2, 3), np.float32).shape == (2, 3)
    with outer:
        assert within(outer, empty(4, np.float64))
        with inner:
            assert within(inner, empty((2, 3), np.float32)) and not within(outer, empty(5, np.int64))
        with outer:  # once more, as a function does that is called inside
            assert within(outer, empty(4, np.float64))
        with outside():
            assert not within(outer, empty(4, np.float64))
        with scratch():
            temporary = empty(8, np.float32)
        assert empty(8, np.float32).ctypes.data == temporary.ctypes.data
    assert not within(outer, empty(4, np.float64))
    with scratch():  # nothing to give back
        release_after(empty(4, np.float64))


def test_a_step_begins_anew_and_an_error_ends_it():
    workspace = Workspace()
    with workspace.step():
        first = empty(8, np.float32)
    with pytest.raises(RuntimeError), workspace.step():
        assert empty(8, np.float32).ctypes.data == first.ctypes.data
        raise RuntimeError
    assert not within(workspace, empty(8, np.float32))


def test_a_workspace_belongs_to_its_thread():
    workspace, arrays = Workspace(), []
    with workspace:
        thread = threading.Thread(target=lambda: arrays.append(empty(4, np.float64)))
        thread.start()
        thread.join()
    assert not within(workspace, arrays[0])


def test_nothing_large_is_allocated_after_the_first_step():
    workspace = Workspace()
    for step in range(3):
        workspace.reset()
        if step == 1:
            tracemalloc.start()
        for size in (1000, 100_000, 17):
            workspace.empty((size, 4), np.float32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


def test_arrays_larger_than_a_block_and_many_blocks(monkeypatch):
    monkeypatch.setattr("minilm.ops.workspace.BLOCK", 1 << 10)
    workspace = Workspace()
    for _ in range(2):
        workspace.reset()
        arrays = [workspace.empty(n, np.uint8) for n in (700, 600, 5000, 1, 900)]
        for number, array in enumerate(arrays):
            array[...] = number
        assert all((array == number).all() for number, array in enumerate(arrays))


def test_what_is_given_back_is_used_again():
    workspace = Workspace()
    kept = workspace.empty(10, np.float64)
    gone = workspace.empty(1000, np.float64)
    workspace.release_after(kept)
    held = workspace.nbytes
    again = workspace.empty(1000, np.float64)
    assert again.ctypes.data == gone.ctypes.data and workspace.nbytes == held
    assert not np.shares_memory(kept, again)
    workspace.release_after(np.ones(5))  # not from here: nothing happens
    assert not np.shares_memory(workspace.empty(10, np.float64), again)
    with workspace.scratch():
        inside = workspace.empty(10, np.float64)
    assert np.shares_memory(workspace.empty(10, np.float64), inside)


def test_a_step_inside_its_own_step_is_refused():
    workspace = Workspace()
    with workspace.step():
        kept = empty(4, np.float64)
        kept[:] = 1
        with pytest.raises(RuntimeError, match="in a step already"), workspace.step():
            empty(4, np.float64)[:] = 2
        with Workspace().step():  # another one is no matter
            empty(4, np.float64)[:] = 3
        assert (kept == 1).all()
    with workspace.step():
        pass


def test_two_threads_cannot_share_a_workspace():
    workspace, errors = Workspace(), []

    def enter():
        for way in (workspace, workspace.step()):
            try:
                with way:
                    pass
            except RuntimeError as error:
                errors.append(str(error))

    with workspace:
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(errors) == 2
    assert all("another thread" in error for error in errors)
