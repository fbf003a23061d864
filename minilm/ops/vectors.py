"""Code on vectors of numbers, for intrinsics that build kernels of LLVM's instructions: `minilm.ops.tile`, `panels`, `row`.

A loop leaves it to the compiler to make vectors; here a vector is a value, and what stays in a register is what the code says.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.ops import target

VECTOR = target.vector_bytes()
INDEX, PLACE = ir.IntType(64), ir.IntType(32)  # an address or a number of bytes; the number of a lane


def kind(dtype) -> tuple:
    """LLVM's type of a number, its bytes, and how many of them a vector holds, for Numba's float32 or float64."""
    real, size = (ir.FloatType(), 4) if dtype == types.float32 else (ir.DoubleType(), 8)
    return real, size, VECTOR // size


def emit_multiply_add(builder, x, y, z):
    """x y + z of vectors or numbers, rounded once; twice on a processor without such an instruction.

    There LLVM's ``fma`` would be a call of the C library for each number, 30 times slower than the two instructions. So the last
    bits of a product differ between processors with and without fused multiply-adds; they are the same on all of each kind.
    """
    if not target.has_fma():
        return builder.fadd(builder.fmul(x, y), z)
    real, count = (x.type.element, f"v{x.type.count}") if isinstance(x.type, ir.VectorType) else (x.type, "")
    name = f"llvm.fma.{count}f{32 if isinstance(real, ir.FloatType) else 64}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name), [x, y, z])


@intrinsic
def multiply_add(typingctx, x, y, z):
    """`emit_multiply_add` of three numbers of one dtype."""
    return x(x, y, z), lambda context, builder, signature, arguments: emit_multiply_add(builder, *arguments)


def emit_copies(builder, number, vector):
    """A vector of copies of a number."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, PLACE(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(PLACE, vector.count), [0] * vector.count))


def emit_fetch(builder, address, cache: int | None = 2):
    """Code that tells the processor that what stands at an address will be read soon, into the first cache or the second.

    None: once and no more, so that no cache keeps it. Nothing need stand there.
    """
    byte = ir.IntType(8).as_pointer()
    fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte] + [PLACE] * 3))
    locality = 0 if cache is None else 4 - cache
    builder.call(fetch, [builder.inttoptr(address, byte), PLACE(0), PLACE(locality), PLACE(1)])  # 0: to read, 1: data


def emit_transposed(builder, block):
    """Code that transposes a square block, W vectors of W numbers, in registers; returns the W vectors.

    In stage d = 1, 2, 4, ... a pair of vectors d apart swaps the numbers that lie d off the diagonal of each 2d by 2d block.
    """
    block, lanes, d = list(block), len(block), 1
    while d < lanes:
        places = ir.VectorType(PLACE, lanes)
        low = ir.Constant(places, [i if not i & d else lanes + i - d for i in range(lanes)])
        high = ir.Constant(places, [i + d if not i & d else lanes + i for i in range(lanes)])
        for i in range(lanes):
            if not i & d:
                pair = block[i], block[i + d]
                block[i], block[i + d] = builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)
        d *= 2
    return block
