"""The peaks that nothing can exceed: arithmetic from registers alone, and traffic with each level of the memory.

A matrix product of BLAS is no roof: a better one exceeds it. So the peak of arithmetic is measured by a kernel that touches no
memory: chains of fused multiply-adds in vector registers, as many as hide the latency of one. Nor is a copy of large arrays the
roof of an op whose arrays stay in a cache: the rate is measured for working sets from the first cache to the main memory.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.compiled.jit import REASSOC, jit
from minilm.ops import target

CHAINS = 12  # independent sums: two units of four cycles' latency need 8, and AVX2 has 16 registers
LANES = target.vector_bytes() // 4  # float32 in a vector
SIZES = tuple(2**power for power in range(15, 29))  # bytes of a working set, of all threads together


def best_rate(work: float, run, seconds: float) -> float:
    """Units of work a second of the quickest call within `seconds`, after one that is not timed."""
    run()
    quickest, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        run()
        quickest = min(quickest, time.perf_counter() - start)
    return work / quickest


@intrinsic
def _multiply_add(typingctx, count):
    """`count` times one multiply-add in each of CHAINS vectors; the sum of the first lanes, so that none is left out."""

    def codegen(context, builder, signature, arguments):
        index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32"
        )  # one instruction where the processor has it, two elsewhere
        a, b = (ir.Constant(vector, [value] * LANES) for value in (0.999, 1e-3))
        before, loop, end = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        i, sums = builder.phi(index), [builder.phi(vector) for _ in range(CHAINS)]
        after = [builder.call(fma, [chain, a, b]) for chain in sums]
        following = builder.add(i, index(1))
        builder.cbranch(builder.icmp_signed("<", following, arguments[0]), loop, end)
        i.add_incoming(index(0), before)
        i.add_incoming(following, loop)
        for number, (chain, value) in enumerate(zip(sums, after, strict=True)):
            chain.add_incoming(ir.Constant(vector, [float(number)] * LANES), before)
            chain.add_incoming(value, loop)
        builder.position_at_end(end)
        total = ir.Constant(ir.FloatType(), 0.0)
        for value in after:
            total = builder.fadd(total, builder.extract_element(value, ir.IntType(32)(0)))
        return total

    return types.float32(types.int64), codegen


@jit
def multiply_add(count):
    """Arithmetic alone: 2 CHAINS LANES operations, `count` times."""
    return _multiply_add(count)


@jit
def update(x, passes):
    """x = 0.999 x: every number read and written."""
    for _ in range(passes):
        for i in range(len(x)):
            x[i] *= np.float32(0.999)


@jit(fastmath=REASSOC)
def read(x, passes):
    """The sum of x: every number read."""
    total = np.float32(0.0)
    for number in range(passes):
        part = np.float32(number)
        for i in range(len(x)):
            part += x[i]
        total = max(total, part)
    return total


def copy(x, passes):
    """The first half of x into its second, by the C library, whose stores need not read what they overwrite."""
    half = len(x) // 2
    for _ in range(passes):
        np.copyto(x[half : 2 * half], x[:half])


def peak(pool: ThreadPoolExecutor, threads: int, seconds: float = 0.3) -> float:
    """FLOP a second in float32 from registers, all threads at once: the most of calls of some milliseconds."""
    count = 500_000
    return best_rate(threads * 2.0 * CHAINS * LANES * count, lambda: list(pool.map(multiply_add, [count] * threads)), seconds)


def bandwidth(pool: ThreadPoolExecutor, threads: int, size: int, seconds: float = 0.03) -> float:
    """Bytes a second, read and written, of a working set of `size` bytes cut among the threads: the best of three patterns."""
    parts = [np.ones(max(size // 4 // threads, 64), np.float32) for _ in range(threads)]
    passes = max(1, (1 << 26) // size)
    moved = {update: 2, read: 1, copy: 1}  # times the bytes of the working set

    def run(kernel):
        return lambda: list(pool.map(kernel, parts, [passes] * threads))

    return max(
        best_rate(times * passes * sum(part.nbytes for part in parts), run(kernel), seconds) for kernel, times in moved.items()
    )


def levels(threads: int, quick: bool = False) -> tuple[float, list[tuple[int, float]]]:
    """The peak of arithmetic, and (bytes of a working set, bytes a second), the rates falling as the sets grow."""
    with ThreadPoolExecutor(threads) as pool:
        flops = peak(pool, threads, 0.02 if quick else 0.3)
        sizes = (SIZES[0], SIZES[-8]) if quick else SIZES
        rates = [bandwidth(pool, threads, size, 0.001 if quick else 0.03) for size in sizes]
    falling = np.maximum.accumulate(rates[::-1])[::-1]  # what a larger set reaches, a smaller one can
    return flops, [(size, float(rate)) for size, rate in zip(sizes, falling, strict=True)]
