"""The processor that Numba compiles for: this machine's, what MINILM_ISA says (`minilm.compiled.isa`), or Numba's own settings.

Of those, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, a name alone leaves the host's features on (so NUMBA_CPU_NAME=haswell still gives
AVX-512 where there is AVX-512), and features alone leave on what the host's name implies. So the width of a vector is not read
off a list: LLVM is shown a sum of two vectors, and the registers that it takes say how wide they are.
"""

from __future__ import annotations

import functools
import re

import llvmlite.binding
from numba.core import codegen, config

from minilm.compiled import isa

__all__ = ["chosen", "described", "features", "has_fma", "vector_bytes"]

isa.apply()

_SUM = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
"""
_MULTIPLY_ADD = """
declare float @llvm.fma.f32(float, float, float)
define float @multiply_add(float %a, float %b, float %c) {
  %d = call float @llvm.fma.f32(float %a, float %b, float %c)
  ret float %d
}
"""
_WIDTHS = {"zmm": 64, "ymm": 32, "xmm": 16}  # registers of x86; elsewhere (NEON) they have 16 bytes


def chosen() -> str:
    """LLVM's name of the processor, as ``"znver4"``."""
    return config.CPU_NAME or llvmlite.binding.get_host_cpu_name()


def features() -> str:
    """What it is said to have, as LLVM wants it: ``"+avx2,-avx512f,..."``."""
    return codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES


def described() -> str:
    """Its name and where its features come from, for a reader."""
    if isa.apply() is not None:
        return f"{chosen()}, as MINILM_ISA={isa.apply()} says"
    if config.CPU_FEATURES is not None:
        return f"{chosen()}, with the features {config.CPU_FEATURES or 'of its name alone'}"
    return chosen() if config.CPU_NAME is None else f"{chosen()}, with this processor's features (NUMBA_CPU_FEATURES is not set)"


@functools.cache
def _assembly(code: str) -> str:
    """What LLVM makes of some code for this processor."""
    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    machine = llvmlite.binding.Target.from_default_triple().create_target_machine(cpu=chosen(), features=features(), opt=2)
    return machine.emit_assembly(llvmlite.binding.parse_assembly(code))


@functools.cache
def vector_bytes() -> int:
    """Bytes of a vector register in the code that Numba makes."""
    used = re.findall(r"\b[xyz]mm", _assembly(_SUM))
    return max((_WIDTHS[name] for name in used), default=16)


@functools.cache
def has_fma() -> bool:
    """Whether there is an instruction that multiplies and adds with one rounding; where there is none, LLVM calls fmaf."""
    return re.search(r"\bfmaf\b", _assembly(_MULTIPLY_ADD)) is None
