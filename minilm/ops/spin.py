"""Waiting without sleeping, and without the GIL, for `minilm.threads`."""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.ops.jit import jit

LOOKS = 16000  # looks at a counter before giving up: about 0.4 ms where a pause takes 65 cycles

_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i386", "i686"))


@intrinsic
def _look(typingctx, counter):
    """counter[0], read from memory at every call: a compiler would read it once before a loop that does not change it."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "monotonic", 8)

    return types.int64(counter), codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this is a waiting loop: it then leaves the core to its other half."""

    def codegen(context, builder, signature, arguments):
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@jit
def watch(counter, value, grace):
    """Return `grace` looks after counter[0] >= value, or after `LOOKS` in vain; counter (1,) int64."""
    for _ in range(LOOKS):
        if _look(counter) >= value:
            for _ in range(grace):
                _pause()
            return
        _pause()
