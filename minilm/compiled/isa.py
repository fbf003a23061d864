"""The instructions that kernels are compiled for: this processor's, or those of a lower level that MINILM_ISA names.

===========  =======================  ================  ================================================================
level        as LLVM's processor      numbers a vector  multiply-add rounded once
===========  =======================  ================  ================================================================
baseline     x86-64                   4 float32         no
avx          sandybridge              8                 no
avx2         haswell                  8                 yes
avx512       skylake-avx512           16                yes
avx512_bf16  this processor           16                yes; and products of bfloat16
amx          this processor           16                yes; and products of bfloat16, and of bytes, by a matrix unit
===========  =======================  ================  ================================================================

A level has what those before it have. Up to avx512 it is the same code on every machine that can run it, so a run on one machine
can be gone on with on another and have the same bits. Between levels the last bits differ: with a multiply-add that is rounded
once (FMA) and without, and in sums that a compiler cuts into as many parts as a vector holds. On other processors than x86 the
only level is baseline, their plain one (of ARM: with NEON, which has FMA).
"""

from __future__ import annotations

import functools
import os
import platform

import llvmlite.binding
from numba.core import config
from numba.core.registry import cpu_target

LEVELS = ("baseline", "avx", "avx2", "avx512", "avx512_bf16", "amx")
NAMES = {"baseline": "x86-64", "avx": "sandybridge", "avx2": "haswell", "avx512": "skylake-avx512"}  # LLVM's
FEATURES = {"avx512": "-prefer-256-bit"}  # LLVM would use half of its vectors
NEEDED = {
    "avx": ("avx",),
    "avx2": ("avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"),
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "avx512_bf16": ("avx512bf16",),
    "amx": ("amx-tile", "amx-bf16"),
}
X86 = ("x86_64", "AMD64")


@functools.cache
def apply() -> str | None:
    """Have Numba compile for the level that MINILM_ISA names; the level, or None where it names none.

    Raises
    ------
    ValueError
        If there is no such level, if this processor has not got it, if NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say what to compile
        for as well, or if Numba has begun to compile for something else.
    """
    level = os.environ.get("MINILM_ISA")
    if not level:
        return None
    if level not in LEVELS:
        raise ValueError(f"MINILM_ISA must be one of {', '.join(LEVELS)}, got {level!r}")
    if level not in possible():
        raise ValueError(f"MINILM_ISA={level} wants a processor that has it, got one with {', '.join(possible())}")
    also = [name for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if name in os.environ]
    if also:
        raise ValueError(f"MINILM_ISA={level} and {also[0]} both say what to compile for: set one of them")
    if level in NAMES:
        if "_toplevel_target_context" in vars(cpu_target):
            raise ValueError(
                f"MINILM_ISA={level} comes too late: another package has had Numba compile; import minilm.ops before it"
            )
        config.CPU_NAME = NAMES[level] if platform.machine() in X86 else "generic"
        config.CPU_FEATURES = FEATURES.get(level, "")
    return level


def possible() -> tuple[str, ...]:
    """The levels that this processor has."""
    has, levels = llvmlite.binding.get_host_cpu_features(), ["baseline"]
    for level in LEVELS[1:] if platform.machine() in X86 else ():
        if not all(has.get(feature) for feature in NEEDED[level]):
            break
        levels.append(level)
    return tuple(levels)
