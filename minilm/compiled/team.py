"""How a compiled kernel is shared out to threads without the interpreter: for `minilm.threads`.

A call is put on a **board**, an array of int64 that all threads look at, a line of the cache for each of its numbers:

==========  ======================================================================================================
OWNER       1 while a call is on the board; who finds it so runs its kernel alone
OPEN        the parts that no thread has begun, and above them the number of the call: ``call << PARTS | parts``
ENDED       parts that have ended
FAILED      parts that raised an error
CODE        where the function is that runs a part (`_frame` makes it)
FRAME       where the arguments are: on the stack of the caller, who leaves only when all parts have ended
==========  ======================================================================================================

A thread takes a part by counting OPEN down, in one atomic instruction that fails if any other thread was there first, or if the
call is over. The caller runs part 0 and then takes parts as the others do: on a busy machine, where another thread is not
running just then, the caller does its work too, and waits for nothing but parts that have begun.

The threads look at the board without the interpreter and are called without it, so a call costs 1 µs or 2, where a queue of
Python's took 12: both threads had to have the interpreter in turn.
"""

from __future__ import annotations

import time
import zlib

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.compiled.jit import jit
from minilm.compiled.waiting import LINE, PATIENCE, let_others_run, pause, peek, put

OWNER, OPEN, ENDED, FAILED, CODE, FRAME = (LINE * place for place in range(6))
SIZE = 6 * LINE  # numbers of a board
PARTS = 16  # bits of OPEN that count parts
SHORT = 64  # turns of a thread that looks out after which it lets others have its core
LONG = 20_000  # turns of waiting, some 10 ms, after which a caller sleeps now and then
ENDED_WELL, RAISED, UNKNOWN, BUSY = range(4)  # what `share` returns
WORD = ir.IntType(64)


def board() -> np.ndarray:
    """A board without a call, each of its numbers in a line of the cache of its own."""
    room = np.zeros(SIZE + LINE, np.int64)
    begin = -room.ctypes.data % (LINE * 8) // 8
    return room[begin : begin + SIZE]


def tag(kinds: tuple) -> int:
    """A number for Numba's types of a kernel's arguments."""
    return zlib.crc32(" ".join(map(str, kinds)).encode()) + 1


def address(kernel, arguments: tuple) -> tuple[int, int]:
    """(`tag`, address) of a kernel's code for ``(start, stop, *arguments)``, which is compiled where it is not yet."""
    kinds = tuple(numba.typeof(argument) for argument in arguments)
    every = (types.int64, types.int64, *kinds)
    kernel.compile(every)
    compiled = kernel.overloads[every]
    if compiled.signature.return_type != types.none:
        raise TypeError(f"a kernel returns nothing, {kernel.__name__} returns {compiled.signature.return_type}")
    return tag(kinds), compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@intrinsic
def _tag(typingctx, arguments):
    """`tag` of a tuple's types, a constant."""
    number = tag(tuple(arguments))
    return types.int64(arguments), lambda context, builder, signature, values: WORD(number)


def _place(context, builder, kind, array, place):
    """Where number `place` of an array is."""
    return builder.gep(make_array(kind)(context, builder, array).data, [place])


@intrinsic
def _swap(typingctx, array, place, expected, new):
    """Write `new` where `expected` stands, in one step; whether it stood there."""

    def codegen(context, builder, signature, arguments):
        array, place, expected, new = arguments
        where = _place(context, builder, signature.args[0], array, place)
        return builder.extract_value(builder.cmpxchg(where, expected, new, "seq_cst", "seq_cst"), 1)

    return types.boolean(array, types.intp, types.int64, types.int64), codegen


@intrinsic
def _add(typingctx, array, place, number):
    """Add to a number of an array, in one step."""

    def codegen(context, builder, signature, arguments):
        where = _place(context, builder, signature.args[0], *arguments[:2])
        builder.atomic_rmw("add", where, arguments[2], "seq_cst")
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def _frame(typingctx, board, address, number, count, arguments):
    """Keep a kernel's arguments on this function's stack, and put on the board where they are and what runs a part of it."""

    def codegen(context, builder, signature, values):
        kinds = tuple(signature.args[4])
        fields = [context.get_value_type(kind) for kind in kinds]
        frame = cgutils.alloca_once(builder, ir.LiteralStructType([WORD, WORD, WORD, *fields]))
        numbers = [*values[1:4], *(builder.extract_value(values[4], i) for i in range(len(kinds)))]
        for i, value in enumerate(numbers):
            builder.store(value, cgutils.gep_inbounds(builder, frame, 0, i))
        code = _part_function(context, builder.module, kinds, frame.type)
        for place, pointer in ((CODE, code), (FRAME, frame)):
            where = _place(context, builder, signature.args[0], values[0], WORD(place))
            builder.store(builder.ptrtoint(pointer, WORD), where)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.intp, types.intp, arguments), codegen


def _part_function(context, module, kinds, frame_type):
    """A function (frame, part) that calls the kernel for a part of its rows and returns 1 if that raised an error.

    The kernel is known by its address: it stands in a library of its own, and one such function serves all kernels of the same
    types.
    """
    function = ir.Function(module, ir.FunctionType(WORD, [WORD, WORD]), module.get_unique_name("part"))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    frame, part = builder.inttoptr(function.args[0], frame_type), function.args[1]
    fields = [builder.load(cgutils.gep_inbounds(builder, frame, 0, i)) for i in range(3 + len(kinds))]
    address, number, count, *arguments = fields
    following = builder.add(part, WORD(1))
    start, stop = (builder.sdiv(builder.mul(p, count), number) for p in (part, following))
    together = builder.icmp_signed("<", count, WORD(0))  # such a kernel wants to know which part it is, of how many
    start, stop = builder.select(together, part, start), builder.select(together, number, stop)
    every = (types.int64, types.int64, *kinds)
    kernel = builder.inttoptr(address, context.call_conv.get_function_type(types.none, every).as_pointer())
    status, _ = context.call_conv.call_function(builder, kernel, types.none, every, [start, stop, *arguments])
    builder.ret(builder.zext(status.is_error, WORD))
    return function


@intrinsic
def _call(typingctx, board, part):
    """Run a part of the call that is on the board; 1 if it raised an error."""

    def codegen(context, builder, signature, values):
        array, part = values
        places = (_place(context, builder, signature.args[0], array, WORD(place)) for place in (CODE, FRAME))
        code, frame = (builder.load(place) for place in places)
        return builder.call(builder.inttoptr(code, ir.FunctionType(WORD, [WORD, WORD]).as_pointer()), [frame, part])

    return types.int64(board, types.int64), codegen


@jit(counted=False)
def _run(board, part):
    error = _call(board, part)
    if error:
        _add(board, FAILED, 1)
    _add(board, ENDED, 1)


@jit(counted=False)
def _take_one(board):
    """Run a part that no thread has begun; False if there is none."""
    seen = peek(board[OPEN:])
    part = seen & ((1 << PARTS) - 1)
    if part == 0 or not _swap(board, OPEN, seen, seen - 1):
        return part != 0
    _run(board, part)
    return True


@jit(counted=False)
def serve(board, turns):
    """Run parts of calls, until there was none for so many turns of a loop."""
    left = turns
    while True:
        if _take_one(board):
            left = turns
        if left <= 0:
            return
        left -= 1
        pause()
        if left % SHORT == 0:  # the caller may have to run on this core
            let_others_run(False)


def turns_in(seconds: float) -> int:
    """Turns of `serve` on this machine: one takes 5 to 40 ns, which is measured."""
    empty = board()
    serve(empty, 10)  # compiled before it is timed
    start = time.perf_counter()
    serve(empty, 2000)
    return int(2000 * seconds / max(2e-6, time.perf_counter() - start))


@jit(counted=False)
def share(board, addresses, number, count, *arguments):
    """Run a kernel in parts [p count / number, (p + 1) count / number); for count -1 in parts (p, number) that wait for others.

    addresses : ndarray of int64, shape (., 2)
        Of the kernel: `address` for each kind of arguments.

    Returns ENDED_WELL or RAISED; UNKNOWN where `addresses` has no row for these arguments; BUSY if a call is on the board.
    """
    address, own = 0, _tag(arguments)
    for i in range(len(addresses)):
        if addresses[i, 0] == own:
            address = addresses[i, 1]
    if address == 0:
        return UNKNOWN
    if not _swap(board, OWNER, 0, 1):
        return BUSY
    _frame(board, address, number, count, arguments)
    return _led(board, number, count)


@jit(counted=False)
def _led(board, number, count):
    """The caller's part of a call whose frame is on the board."""
    put(board[ENDED:], 0)
    put(board[FAILED:], 0)
    put(board[OPEN:], (((peek(board[OPEN:]) >> PARTS) + 1) << PARTS) + number - 1)
    _run(board, 0)
    while count >= 0 and _take_one(board):
        pass
    turns = 0
    while peek(board[ENDED:]) < number:
        turns += 1
        if turns > PATIENCE:
            let_others_run(turns > LONG)
        pause()
    failed = peek(board[FAILED:])
    put(board[OWNER:], 0)
    return ENDED_WELL if failed == 0 else RAISED
