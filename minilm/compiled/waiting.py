"""Waiting for another thread without going to sleep: for `minilm.threads`.

A thread that sleeps is woken by the operating system within some 20 µs, on a virtual machine 50, and a kernel of a small model
takes less. So a thread that has just worked looks at a counter for a while, in compiled code that lets go of the interpreter,
before it sleeps: the next kernel then begins within some 10 µs.
"""

from __future__ import annotations

import os
import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.compiled.jit import jit


@intrinsic
def _peek(typingctx, counter):
    """The first number of an int64 array, read from memory every time."""

    def codegen(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(counter), codegen


@intrinsic
def _pause(typingctx):
    """Tells an x86 processor that this loop waits; elsewhere nothing."""

    def codegen(context, builder, signature, arguments):
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), codegen


@jit
def _turns(counter, seen, limit, after):
    turns = 0
    while turns < limit and _peek(counter) == seen:
        _pause()
        turns += 1
    if turns < limit:
        for _ in range(after):
            _peek(counter)
            _pause()
    return turns < limit


RUNNING, ABANDONED = 1, 3  # of a part of a call, in `threads.parallel`; the second stands in the first part's place
PATIENCE = 1000  # turns of a loop after which a waiting part lets others have its core
LINE = 8  # numbers of int64 in a cache line


@intrinsic
def _put(typingctx, counter, number):
    """Write the first number of an int64 array; whoever reads it also sees what this thread wrote before."""

    def codegen(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        builder.store_atomic(arguments[1], array.data, "release", 8)
        return context.get_dummy_value()

    return types.void(counter, types.int64), codegen


@intrinsic
def _let_others_run(typingctx):
    """Give the core to another thread that wants it, where the system has POSIX's call for that."""

    def codegen(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@jit
def meet(reached, part, number, turn, states):
    """Wait until all parts of a team (`threads.together`) have reached this turn; False where the caller has given up.

    reached : ndarray of int64, shape (number * LINE,), zeros at first; turn counts up from 1.
    """
    _put(reached[part * LINE :], turn)
    for other in range(number):
        turns = 0
        while _peek(reached[other * LINE :]) < turn:
            if _peek(states) == ABANDONED:
                return False
            turns += 1
            if turns > PATIENCE:
                _let_others_run()
            _pause()
    return True


@jit
def until_none_runs(states):
    """Wait until no part is running; the interpreter gets no chance to raise anything meanwhile."""
    for part in range(1, len(states)):
        while _peek(states[part:]) == RUNNING:
            _pause()


class Waiting:
    """How to wait on this machine: a turn of the loop takes 5 to 40 ns, which is measured once."""

    def __init__(self):
        counter = np.zeros(1, np.int64)
        until_none_runs(counter)  # compiled before it is wanted
        _turns(counter, 0, 10, 1)
        start = time.perf_counter()
        _turns(counter, 0, 2000, 0)
        self._turn = max(1e-9, (time.perf_counter() - start) / 2000)  # seconds

    def __call__(self, counter, seen: int, longest: float, after: float) -> bool:
        """Wait until `counter` holds another number than `seen`, `longest` seconds at most; then `after` seconds more, in
        which the thread that changed it lets go of the interpreter. Returns whether it has changed."""
        return _turns(counter, seen, int(longest / self._turn), int(after / self._turn))
