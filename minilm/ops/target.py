"""The processor that Numba compiles for: this machine's, what MINILM_ISA says (`minilm.compiled.isa`), or Numba's own settings.

Of those, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, a name alone leaves the host's features on (so NUMBA_CPU_NAME=haswell still gives
AVX-512 where there is AVX-512), and features alone leave on what the host's name implies. So the width of a vector is not read
off a list: LLVM is shown a sum of two vectors, and the registers that it takes say how wide they are.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys

import llvmlite
import llvmlite.binding
from numba.core import codegen, config

from minilm.compiled import isa, trial

__all__ = [
    "bfloat16_unit",
    "bfloat16_units",
    "chosen",
    "described",
    "features",
    "has_fma",
    "int8_instructions",
    "int8_tiles",
    "vector_bytes",
]

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


# --- bfloat16 ---------------------------------------------------------------------------------------------------------

UNITS = ("avx512_bf16", "amx")  # levels with products of bfloat16
_ROUNDED = """
define <16 x i16> @rounded(<16 x float> %a) {
  %b = fptrunc <16 x float> %a to <16 x bfloat>
  %c = bitcast <16 x bfloat> %b to <16 x i16>
  ret <16 x i16> %c
}
"""
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # Linux: system call, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA


def int8_instructions() -> str:
    """What multiplies vectors of bytes in `minilm.quantized`: ``"vnni"``, ``"maddubs"``, ``"madd"``, ``"sdot"`` or ``"plain"``.

    The numbers are the same.
    """
    has = set(features().split(","))
    if config.CPU_FEATURES is not None:  # a level that is forced has what its processor's name says
        has |= {"haswell": {"+avx2"}, "skylake-avx512": {"+avx2", "+avx512bw"}}.get(chosen(), set())
    if vector_bytes() == 64:
        return "vnni" if "+avx512vnni" in has else "madd" if "+avx512bw" in has else "plain"
    if vector_bytes() == 32:
        vnni = "+avxvnni" in has or has >= {"+avx512vnni", "+avx512vl"}
        return "vnni" if vnni else "maddubs" if "+avx2" in has and "-avx2" not in has else "plain"
    return "sdot" if "+dotprod" in has else "plain"  # of ARM


def int8_tiles() -> bool:
    """Whether AMX multiplies the bytes of many rows: the processor has it, and MINILM_ISA allows it. The numbers are the same."""
    if os.environ.get("MINILM_ISA") not in (None, "", "amx") or llvmlite.binding.llvm_version_info[0] < 20:
        return False
    has = {"+amx-tile", "+amx-int8"} <= set(features().split(",")) and vector_bytes() == 64
    return has and _tiles_are_permitted() and trial.passes("minilm.quantized.trial")


@functools.cache
def bfloat16_units() -> tuple[str, ...]:
    """Those of `UNITS` that compiled code may use here, MINILM_ISA aside."""
    if llvmlite.binding.llvm_version_info[0] < 20:  # llvmlite before 0.45
        return ()
    assembly = _assembly(_ROUNDED)
    if "vcvtneps2bf16" not in assembly or "zmm" not in assembly:
        return ()
    has = {feature for feature in features().split(",") if feature.startswith("+")}
    tiles = {"+amx-tile", "+amx-bf16"} <= has and _tiles_are_permitted() and trial.passes("minilm.ops.bfloat16.trial")
    return UNITS if tiles else UNITS[:1]


@functools.cache
def _tiles_are_permitted() -> bool:
    """Ask Linux, once for the process, for the registers of AMX: it saves their 8 KiB only for who has asked."""
    if not sys.platform.startswith("linux"):
        return True
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0


def bfloat16_unit() -> str:
    """What multiplies bfloat16 on this processor: the last of `UNITS` that it has and MINILM_ISA allows.

    Raises
    ------
    ValueError
        If there is none. Products are then not made in float32 in its place.
    """
    level, units = os.environ.get("MINILM_ISA"), bfloat16_units()
    if level not in (None, "", *isa.LEVELS):
        raise ValueError(f"MINILM_ISA must be one of {', '.join(isa.LEVELS)}, got {level!r}")
    if level in UNITS and units and level not in units:
        raise ValueError(f"MINILM_ISA={level}, but {chosen()} has no AMX that it may use")
    if level and level not in UNITS:
        raise ValueError(f"precision 'bf16' on a CPU wants AVX512-BF16 or AMX, which MINILM_ISA={level} leaves out")
    if units:
        return level or units[-1]
    if llvmlite.binding.llvm_version_info[0] < 20:
        raise ValueError(f"precision 'bf16' on a CPU wants llvmlite 0.45 or later, got {llvmlite.__version__}")
    has = f"{chosen()} with vectors of {vector_bytes()} bytes"
    raise ValueError(f"precision 'bf16' on a CPU wants AVX512-BF16 or AMX, got {has} and neither")
