"""Compiles .cu files by g++ and launches their kernels on memory of the CPU."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from minilm import cache_folders

INCLUDE = Path(__file__).parent / "include"
COMPILER = (
    "g++",
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-DMINILM_ON_CPU",
    f"-I{INCLUDE}",
    "-Wall",
    "-Wno-unused-function",
    "-Wno-unused-variable",
    "-Wno-unknown-pragmas",
)
SANITIZERS = {  # by name: flags of the compiler
    "none": ("-O2",),
    # not optimised, which would take the compiler twice as long as the kernels run; -g1 for the numbers of lines only
    "address": (
        "-O0",
        "-g1",
        "-fsanitize=address,undefined",
        "-fsanitize-sections=cuda_shared",
        "-fno-sanitize-recover=undefined",
    ),
    "thread": ("-O0", "-g1", "-fsanitize=thread"),
}
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(')


KEPT = 30 * 24 * 3600  # seconds that a compiled kernel stays in the cache after it was last used


class CompileError(RuntimeError):
    """What g++ says of a source that it refuses."""


class LaunchError(RuntimeError):
    """What the shim reports: threads at different barriers, a deadlock, or a launch that no device takes."""


def missing() -> str | None:
    """What is missing to run CUDA kernels on this machine's CPU, in one line, or None."""
    if not sys.platform.startswith("linux"):
        return f"the emulator of a GPU needs Linux, this is {sys.platform}"
    if not shutil.which("g++"):
        return "g++ is not installed (Debian and Ubuntu: apt install g++)"
    return None


@functools.cache
def cache() -> Path:
    """Where compiled kernels are kept between runs; by content, so nothing old is ever used."""
    return Path(cache_folders.own_cache_folder("emulated", write=True)[0])


def _prune() -> None:
    """Remove what nobody has used for a month: each edit of a kernel leaves a library, of the shim an object."""
    for path in (*cache().glob("*.so"), *cache().glob("*.o")):
        with contextlib.suppress(OSError):  # another process removed it first
            if time.time() - path.stat().st_mtime > KEPT:
                path.unlink()


def _is_own_file(path: Path) -> bool:
    """Whether a file is there and of this user's own making: what it holds is run."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and cache_folders.is_own(status)


@functools.cache
def _headers() -> str:
    """The shim's text: what is compiled depends on it."""
    return "".join(path.read_text() for path in sorted(INCLUDE.iterdir()))


def _built(suffix: str, command: list[str], source: str) -> Path:
    """The file that g++ makes of a source: from the cache, where it is kept under a name that tells all that it depends on."""
    key = hashlib.sha256("\0".join((source, _headers(), *command)).encode()).hexdigest()[:24]
    path = cache() / f"{key}{suffix}"
    if _is_own_file(path):
        os.utime(path)
        return path
    partial = path.with_suffix(f".{os.getpid()}.{os.urandom(4).hex()}")
    done = subprocess.run([*command, "-o", partial], input=source, text=True, capture_output=True, check=False)
    if done.returncode:
        raise CompileError(f"g++ refuses the kernels:\n{done.stderr[:4000]}")
    os.replace(partial, path)
    _prune()
    return path


@functools.cache
def compiled(text: str, definitions: tuple = (), sanitizer: str = "none") -> ctypes.CDLL:
    """The library of a flattened source's kernels; `CompileError` with the compiler's words if there is none."""
    if missing():
        raise CompileError(missing())
    exports = "".join(f"SHIM_EXPORT({name})\n" for name in KERNEL.findall(text))
    command = [*COMPILER, *SANITIZERS[sanitizer]]
    runtime = _built(".o", [*command, "-c", "-x", "c++", "-"], '#include "runtime.cpp"\n')
    command += [*definitions, "-shared", "-include", "shim.h", "-x", "c++", "-", "-x", "none", str(runtime)]
    return ctypes.CDLL(str(_built(".so", command, f'{text}\n#line 1 "exports"\n{exports}')))


def launch(
    library: ctypes.CDLL, name: str, grid, block, arguments, shared: int = 0, order: str = "ascending", cooperative: bool = False
) -> None:
    """Run a kernel. Arguments are NumPy arrays, NumPy numbers of the parameters' exact types, records for structs, None for null.

    In a cooperative launch all blocks are under way at once, so that one may wait for another.
    """
    signature = getattr(library, f"signature_{name}")
    signature.restype = ctypes.c_char_p
    letters = re.findall(r"S\d+|.", signature().decode())
    if len(letters) != len(arguments):
        raise TypeError(f"{name} takes {len(letters)} arguments, got {len(arguments)}")
    values = [_value(name, number, a, letter) for number, (a, letter) in enumerate(zip(arguments, letters, strict=True))]
    pointers = (ctypes.c_void_p * max(1, len(values)))(*(ctypes.addressof(value) for value in values))
    function = getattr(library, f"launch_{name}")
    function.restype = ctypes.c_char_p
    sizes = [(ctypes.c_uint * 3)(*(*map(int, size), 1, 1)[:3]) for size in (grid, block)]
    problem = function(*sizes, ctypes.c_size_t(shared), ORDERS[order], int(cooperative), pointers)
    if problem:
        raise LaunchError(f"{name}: {problem.decode()}")


def _value(kernel: str, number: int, argument, letter: str):
    if letter == "P":
        if argument is None or (isinstance(argument, np.uintp) and argument == 0):
            return ctypes.c_void_p(None)
        if not isinstance(argument, np.ndarray):
            raise TypeError(f"{kernel}: argument {number} must be an array, got {type(argument).__name__}")
        return ctypes.c_void_p(argument.ctypes.data)
    if letter.startswith("S"):
        size = int(letter[1:])
        if not isinstance(argument, np.ndarray) or argument.dtype.names is None or argument.nbytes != size:
            raise TypeError(f"{kernel}: argument {number} must be a struct of {size} bytes")
        return (ctypes.c_char * size).from_buffer_copy(argument.tobytes())
    expected = {"f": "float32", "d": "float64", "i": ("int32", "uint32"), "q": "int64"}[letter]
    if not isinstance(argument, np.generic) or str(argument.dtype) not in expected:
        received = argument.dtype if isinstance(argument, np.generic) else type(argument).__name__
        raise TypeError(f"{kernel}: argument {number} must be of {expected}, got {received}")
    return (ctypes.c_char * argument.nbytes).from_buffer_copy(argument.tobytes())
