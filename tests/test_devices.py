"""Choice of implementation, and the threads."""

import contextvars
import gc
import math
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest

import minilm
from minilm import devices, ops, threads
from minilm.compiled.jit import jit


def test_the_array_chooses_and_a_context_forces():
    x = np.zeros(3)
    assert devices.implementation_for(x) == "cpu"
    with minilm.implementation("oracle"):
        assert devices.implementation_for(x) == "oracle"
        with minilm.implementation("cpu"):
            assert devices.implementation_for(x) == "cpu"
        assert devices.implementation_for(x) == "oracle"
    assert devices.implementation_for(x) == "cpu"


def test_an_error_inside_restores_the_choice():
    with pytest.raises(RuntimeError), minilm.implementation("oracle"):
        raise RuntimeError
    assert devices.implementation_for(np.zeros(1)) == "cpu"


def test_unknown_implementation():
    with pytest.raises(ValueError, match="oracle, cpu.*'numba'"), minilm.implementation("numba"):
        pass


def test_only_arrays_have_a_device():
    with pytest.raises(TypeError, match="list"):
        devices.implementation_for([1.0])


def test_the_choice_belongs_to_one_thread():
    seen = []
    with minilm.implementation("oracle"):
        threads = [
            threading.Thread(target=lambda: seen.append(devices.implementation_for(np.zeros(1)))),
            threading.Thread(
                target=contextvars.copy_context().run, args=(lambda: seen.append(devices.implementation_for(np.zeros(1))),)
            ),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen == ["cpu", "oracle"]


def test_no_fall_back(monkeypatch):
    """An implementation that fails is not replaced by the oracle."""

    def broken(*arguments, **options):
        raise RuntimeError("the kernel failed")

    monkeypatch.setattr(devices.load("minilm.ops.linear", "cpu"), "forward", broken)
    with pytest.raises(RuntimeError, match="the kernel failed"):
        ops.linear.forward(np.ones((2, 3)), np.ones((4, 3)))


# --- threads ---------------------------------------------------------------------------------------------------------


@jit
def add(start, stop, rows, amount):
    rows[start:stop] += amount


@jit
def present(part, number, rows):
    rows[part] += 1


@jit
def begun_at(start, stop, seen):
    seen[start:stop] = start


@jit
def take_a_while(start, stop, turns, rows):
    # every row, one after the other, written all over: what still runs after the call is seen in them
    for i in range(start, stop):
        for turn in range(turns):
            rows[i] += math.sqrt(turn)


@jit
def refuse_one(start, stop, which, rows):
    for i in range(start, stop):
        if i == which:
            raise ZeroDivisionError("here")
        rows[i] += 1


def test_as_many_parts_as_the_caller_has_room_for():
    """Also where the number of threads has changed since."""
    devices.set_threads(2)
    number = devices.parts(12)
    devices.set_threads(4)
    seen = np.zeros(12, np.int64)
    devices.parallel(begun_at, 12, seen, number=number)
    assert seen.tolist() == [0] * 6 + [6] * 6


def test_parallel_covers_every_row_once():
    for number in (1, 2, 3, 5):
        devices.set_threads(number)
        for count in (0, 1, 2, 3, 7, 64, 101):
            rows = np.zeros(count, np.int64)
            devices.parallel(add, count, rows, 3)
            assert (rows == 3).all()


def test_arguments_of_other_types_call_other_code():
    devices.set_threads(2)
    for dtype, amount in ((np.int64, 3), (np.float32, 0.5), (np.float64, np.float32(2)), (np.int64, 4)):
        rows = np.zeros(10, dtype)
        devices.parallel(add, 10, rows, amount)
        assert (rows == amount).all()


def test_grain_cuts_the_work():
    devices.set_threads(4)
    for count, cuts in ((10, [0]), (19, [0]), (30, [0, 10, 20]), (80, [0, 20, 40, 60])):
        seen = np.full(count, -1)
        devices.parallel(begun_at, count, seen, grain=10)
        assert np.unique(seen).tolist() == cuts


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_an_error_in_any_part_is_raised(fails):
    devices.set_threads(3)
    rows = np.zeros(3)
    with pytest.raises(ZeroDivisionError, match="here"):
        devices.parallel(refuse_one, 3, fails, rows)
    rows = np.zeros(3)
    devices.parallel(refuse_one, 3, -1, rows)  # the threads live on
    assert (rows == 1).all()


def test_a_kernel_returns_nothing():
    devices.set_threads(2)
    with pytest.raises(TypeError, match="returns"):
        devices.parallel(jit(lambda start, stop: stop), 4)


def test_many_callers_at_once():
    """Numba's workqueue layer would abort the process here."""
    devices.set_threads(3)
    x, W = np.random.default_rng(0).standard_normal((257, 64)), np.random.default_rng(1).standard_normal((33, 64))
    expected, _ = ops.linear.forward(x, W)
    wrong = []

    def caller():
        for _ in range(20):
            y, saved = ops.linear.forward(x, W, np.zeros(33))
            _, _, db = ops.linear.backward(y, saved)
            if not np.array_equal(y, expected) or not np.allclose(db, expected.sum(axis=0)):
                wrong.append(1)

    threads = [threading.Thread(target=caller) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_set_threads_refuses(wrong):
    with pytest.raises(ValueError, match="number of threads"):
        devices.set_threads(wrong)


def test_number_of_threads(monkeypatch):
    monkeypatch.delenv("MINILM_THREADS", raising=False)
    assert devices.threads() >= 1
    monkeypatch.setenv("MINILM_THREADS", "3")
    assert devices.threads() == 3
    devices.set_threads(2)
    assert devices.threads() == 2
    devices.set_threads(None)
    for wrong in ("0", "two", "-1", "1.5"):
        monkeypatch.setenv("MINILM_THREADS", wrong)
        with pytest.raises(ValueError, match="MINILM_THREADS"):
            devices.threads()


def test_kernels_see_another_number_of_threads_soon(monkeypatch):
    """Kernels ask neither the environment nor the system at every call, but `set_threads` holds at once."""
    devices.set_threads(None)
    monkeypatch.setenv("MINILM_THREADS", "3")
    assert devices.parts(10) == 3
    monkeypatch.setenv("MINILM_THREADS", "5")
    deadline = time.monotonic() + 10
    while devices.parts(10) != 5:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for number, parts in ((2, 2), (None, 5)):
        devices.set_threads(number)
        assert devices.parts(10) == parts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_after_a_fork():
    """A forked child has none of its parent's threads and must start its own."""
    devices.set_threads(2)
    rows = np.zeros(8)
    devices.parallel(add, 8, rows, 0)
    pid = os.fork()
    if pid == 0:
        devices.parallel(add, 8, rows, 1)
        os._exit(0 if (rows == 1).all() else 1)
    for _ in range(100):  # 10 s
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0


def child_returns(action):
    """Fork; whether the child ends within some seconds, after what `action` does there."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    for _ in range(100):  # 10 s
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_compiles():
    """Numba's and LLVM's locks, which that thread holds, are not left locked in the child."""
    import numba

    ops.linear.forward(np.ones((2, 2)), np.ones((2, 2)))  # who has kernels is who forks with care
    compiling = threading.Event()

    def compile_one():
        source = "def f(x):\n" + "".join(f"    x = x * {k}.5 if x > {k} else x + {k}.25\n" for k in range(60)) + "    return x\n"
        scope = {}
        exec(source, scope)
        compiling.set()
        numba.njit(scope["f"])(1.0)

    thread = threading.Thread(target=compile_one)
    thread.start()
    compiling.wait()
    time.sleep(0.05)
    assert child_returns(lambda: numba.njit(lambda x: x + 1)(1))
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_imports_kernels(tmp_path, monkeypatch):
    name = "slow_to_import"
    (tmp_path / f"{name}_package").mkdir()
    (tmp_path / f"{name}_package" / "cpu.py").write_text("import time\ntime.sleep(0.4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    thread = threading.Thread(target=devices.load, args=(f"{name}_package", "cpu"))
    thread.start()
    time.sleep(0.1)
    assert child_returns(lambda: devices.load(f"{name}_package", "cpu"))
    thread.join()


# --- interrupts ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers with signals on this system")
def test_nothing_is_written_after_an_interrupt():
    """Signals at all times, each of which raises once: in the calling, in the kernel, in the waiting."""
    devices.set_threads(3)
    armed, raised, rows = [0], 0, np.zeros(3)

    def handler(*_):
        if armed[0]:
            armed[0] = 0
            raise InterruptedError

    devices.parallel(take_a_while, 3, 1, rows)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 3.7e-4)
    try:
        for turn in range(300):
            try:
                armed[0] = 1
                devices.parallel(take_a_while, 3, 1000 * (turn % 100), rows)
                armed[0] = 0
            except InterruptedError:
                raised += 1
            written = rows.copy()
            time.sleep(1e-3)
            assert (rows == written).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised > 30
    rows[:] = 0
    devices.parallel(add, 3, rows, 1)  # the threads live on
    threads.together(present, rows)  # and none sleeps for ever: here all are waited for
    assert set(rows) <= {1, 2}


def test_idle_threads_hold_no_arrays():
    devices.set_threads(2)
    array = np.zeros(100)
    gone = weakref.ref(array)
    devices.parallel(add, 100, array, 1)
    del array
    gc.collect()
    assert gone() is None
