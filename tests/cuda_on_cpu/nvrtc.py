"""NVRTC by ctypes: compiles CUDA C to machine code for a GPU that is not there. From the wheel nvidia-cuda-nvrtc."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple


class Compiled(NamedTuple):
    """What became of a source."""

    cubin: bytes
    log: str
    registers: dict[str, int]  # by kernel
    spills: dict[str, int]  # bytes, by kernel


class CompileError(RuntimeError):
    """The compiler's words."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """NVRTC, or None where the wheel is not installed."""
    for package in ("nvidia.cu13", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
                return ctypes.CDLL(str(path))
    return None


def _text(size_of, read, program) -> bytes:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    read(program, buffer)
    return buffer.raw


def compile(text: str, architecture: str, options=()) -> Compiled:
    """Machine code for an architecture such as ``"sm_90"``; CompileError with what the compiler says if there is none."""
    nvrtc = library()
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    flags = [f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v", *options]
    failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*(f.encode() for f in flags)))
    log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).rstrip(b"\0").decode()
    try:
        if failed:
            raise CompileError(log)
        cubin = _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    registers, spills, kernel = {}, {}, ""
    for line in log.splitlines():
        match = re.search(r"Compiling entry function '(\w+)'", line)
        kernel = match[1] if match else kernel
        if "bytes spill stores" in line:
            spills[kernel] = sum(map(int, re.findall(r"(\d+) bytes spill", line)))
        used = re.search(r"Used (\d+) registers", line)
        if used:
            registers[kernel] = int(used[1])
    return Compiled(cubin, log, registers, spills)
