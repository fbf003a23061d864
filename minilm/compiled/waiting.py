"""Waiting for another thread without going to sleep: for `minilm.compiled.team` and for kernels whose parts wait for one another.

A thread that sleeps is woken by the operating system within some 20 µs, on a virtual machine 50, and a kernel of a small model
takes less. So a thread looks at a counter for a while, in compiled code that lets go of the interpreter, before it sleeps.
"""

from __future__ import annotations

import os

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.compiled.jit import jit


@intrinsic
def peek(typingctx, counter):
    """The first number of an int64 array, read from memory every time."""

    def codegen(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(counter), codegen


@intrinsic
def pause(typingctx):
    """Tells an x86 processor that this loop waits; elsewhere nothing."""

    def codegen(context, builder, signature, arguments):
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), codegen


PATIENCE = 1000  # turns of a loop after which a waiting part lets others have its core
LINE = 8  # numbers of int64 in a cache line
NAP = 50  # µs that a thread sleeps which has waited for long


@intrinsic
def put(typingctx, counter, number):
    """Write the first number of an int64 array; whoever reads it also sees what this thread wrote before."""

    def codegen(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        builder.store_atomic(arguments[1], array.data, "release", 8)
        return context.get_dummy_value()

    return types.void(counter, types.int64), codegen


@intrinsic
def _yield(typingctx):
    """Give the core to another thread that wants it, where the system has POSIX's call for that."""

    def codegen(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _sleep(typingctx, microseconds):
    """Sleep, where the system has POSIX's call for that: whoever waits for a core may have this one."""

    def codegen(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "usleep"), arguments)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


@jit(counted=False)
def let_others_run(for_long):
    """Give the core to others once, or for `NAP`."""
    if for_long:
        _sleep(NAP)
    else:
        _yield()


@jit
def arrive(reached, part, turn):
    """Say that a part has reached a turn; see `wait`."""
    put(reached[part * LINE :], turn)


@jit
def wait(reached, number, turn):
    """Wait until all parts of a team (`threads.together`) have reached this turn.

    reached : ndarray of int64, shape (number * LINE,), zeros at first; turn counts up from 1.
    """
    for other in range(number):
        turns = 0
        while peek(reached[other * LINE :]) < turn:
            turns += 1
            if turns > PATIENCE:
                _yield()
            pause()


@jit
def meet(reached, part, number, turn):
    """`arrive` and `wait`."""
    arrive(reached, part, turn)
    wait(reached, number, turn)
