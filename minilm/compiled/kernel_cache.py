"""Compiled CPU kernels kept on disk: one file for a kernel and the types of its arguments.

A file's name is a hash of everything the machine code is made of (`ingredients`): the source files and the values that the
kernel reaches, the types, the processor, and the versions of the compilers. So a changed kernel has another name and is compiled
anew, and what does not reach the kernel (another op, an oracle, a model) compiles nothing.

What a file holds is unpickled, so it is read only if it belongs to this user, if nobody else may write to it, and if its
checksum holds. A file that fails is compiled anew and replaced, with one warning; so is a folder that cannot be written to.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pathlib
import pickle
import shutil
import stat
import sys
import time
import types
import warnings

import llvmlite
import numba
import numpy as np
from numba.core import serialize
from numba.core import types as numba_types
from numba.core.compiler import CompileResult
from numba.core.typing.templates import builtin_registry

from minilm import cache_folders

VERSIONS = f"{sys.version} numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__}"
DIGEST = 32  # bytes of the checksum that begins a file
UNUSED = 30 * 86400  # seconds after which a file that no process has read is removed


class KernelCache:
    """What a dispatcher of Numba asks for compiled code, in place of Numba's own cache.

    Numba's own looks at the source file of the kernel alone, so that it would run old machine code after a change in a helper
    of another file; and it trusts its files.
    """

    def __init__(self, dispatcher):
        self._function = function = dispatcher.py_func
        self._options = _options(dispatcher)
        module = function.__module__.rpartition("minilm.ops.")[2]
        self._name = "".join(c if c.isalnum() or c in "._" else "-" for c in f"{module}.{function.__qualname__}")

    @property
    def cache_path(self) -> str:
        return folder()

    def load_overload(self, signature, target_context):
        """The compiled function for these types of arguments, or None if there is none."""
        target_context.refresh()
        payload = read(self._path(signature, target_context.codegen()))
        return None if payload is None else CompileResult._rebuild(target_context, *payload)

    def save_overload(self, signature, compiled) -> None:
        """Keep a compiled function, unless its code holds addresses of this process."""
        if not compiled.library.has_dynamic_globals and not compiled.lifted:
            write(self._path(signature, compiled.codegen), serialize.dumps(compiled._reduce()))

    def flush(self) -> None:
        """Numba calls this before it compiles anew; every change has a name of its own here, so nothing is to be done."""

    def _path(self, signature, codegen) -> str:
        parts = [VERSIONS, _file_hash("minilm.compiled.jit"), repr(codegen.magic_tuple()), self._options]  # `jit` adds options
        parts += [ingredients(self._function), *_fields(signature)]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        return os.path.join(folder(), f"{self._name[-80:]}.{digest}")


def _options(dispatcher) -> str:
    """The options of a kernel, in one order: a set has another one in every process."""
    options = {name: sorted(value) if isinstance(value, set) else value for name, value in dispatcher.targetoptions.items()}
    return repr(sorted(options.items()))


def _fields(signature) -> list[str]:
    """The types of the arguments; of a named tuple also the names of its fields, whose order the machine code has in it, and
    the module of its class, where what a file holds looks for it."""
    arguments = signature.args if hasattr(signature, "args") else signature
    described = []
    for argument in arguments:
        described.append(f"{argument} {getattr(argument, 'fields', '')}")
        if isinstance(argument, numba_types.BaseNamedTuple):
            described.append(argument.instance_class.__module__)
        if isinstance(argument, numba_types.BaseTuple):
            described += _fields(tuple(argument))
    return described


# --- files ------------------------------------------------------------------------------------------------------------


@functools.cache
def folder() -> str:
    """Where compiled kernels are kept: ``jit`` in `minilm.cache_folders.cache_folder`, else a temporary folder of this process.

    The temporary one is taken where the other cannot be had, or belongs to another user. One that cannot be written to, as of a
    read-only disk, is still read.
    """
    path, reason = cache_folders.own_cache_folder("jit")
    if reason is not None:
        warn_once(f"compiled kernels are not kept, since {reason}")
    return path


def read(path: str):
    """What a file of the cache holds; None if it is not there, damaged, or not to be trusted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return warn_once(f"{path} cannot be read and is compiled anew ({error.strerror})")
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) and cache_folders.is_own(status)):
            return warn_once(f"{path} is not this user's own file: it is not read, and the kernel is compiled anew")
        content = file.read()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return warn_once(f"{path} is damaged: its kernel is compiled anew")
    if time.time() - status.st_mtime > 86400:
        with contextlib.suppress(OSError):
            os.utime(path)  # still in use: see `prune`
    return pickle.loads(content[DIGEST:])


def write(path: str, payload: bytes) -> None:
    """Put a file into the cache, whole or not at all; where that fails the process goes on with what it has compiled."""
    prune(os.path.dirname(path))
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with open(descriptor, "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        warn_once(f"compiled kernels are not kept: {error.strerror} ({os.path.dirname(path)})")


@functools.cache
def prune(path: str) -> None:
    """Remove what no process has read for 30 days, folders of older versions included; once in a process."""
    for entry in os.scandir(path) if os.path.isdir(path) else ():
        with contextlib.suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > UNUSED:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.remove(entry.path)


_warned = False


def warn_once(message: str) -> None:
    """One warning a process about the cache: the next kernel would say the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=2)


# --- what a kernel is made of -----------------------------------------------------------------------------------------


@functools.cache
def ingredients(function) -> str:
    """Hash of all that decides a kernel's code: every source file, constant and helper that it reaches, and these reach."""
    home = function.__module__.partition(".")[0]
    reached, parts, waiting = set(), set(), [function]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            described, helpers = _one(current, home)
            parts.update(described)
            waiting += helpers
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()


@functools.cache
def _one(function, home: str) -> tuple[list[str], list]:
    """Of one function: its file, its code and the values it names, as text; and the functions it names."""
    described, helpers = [_file_hash(function.__module__), function.__qualname__], []
    helpers += [each for each in _overloads(len(builtin_registry.globals)).get(function, ()) if _belongs(each.__module__, home)]
    names = set()
    for code in _codes(function.__code__):
        described.append(code.co_code.hex())
        described += [repr(constant) for constant in code.co_consts if not isinstance(constant, (types.CodeType, frozenset))]
        names.update(code.co_names)
    values = {name: function.__globals__[name] for name in names if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    values |= {name: cell.cell_contents for name, cell in cells}
    values |= {f"default {place}": value for place, value in enumerate(function.__defaults__ or ())}
    for name, value in sorted(values.items()):
        if isinstance(value, types.ModuleType):
            if _belongs(value.__name__, home):  # simd.exp: the name and the attribute both stand among the code's names
                members = {f"{name}.{member}": getattr(value, member) for member in names if hasattr(value, member)}
            else:
                members = {}
        else:
            members = {name: value}
        for member, content in sorted(members.items()):
            _describe(member, content, home, described, helpers)
    return described, helpers


@functools.lru_cache(maxsize=1)
def _overloads(count: int) -> dict:
    """Of each function that is only a name in kernels, those that say what stands for it (`numba.extending.overload`); `count`
    are Numba's names, which become more as modules are imported."""
    named: dict = {}
    for value, kind in builtin_registry.globals[:count]:
        if isinstance(value, types.FunctionType):
            chosen = (getattr(each, "_overload_func", None) for each in getattr(kind, "templates", ()))
            named.setdefault(value, []).extend(filter(None, chosen))
    return named


def _describe(name: str, value, home: str, described: list, helpers: list) -> None:
    """Add a value that a function names to the descriptions, or to the functions that are to be looked at."""
    # a kernel, an intrinsic, a function whose results are kept, or the value itself
    python = next((each for key in ("py_func", "_defn", "__wrapped__") if (each := getattr(value, key, None))), value)
    if isinstance(python, types.FunctionType):
        if _belongs(python.__module__, home):
            helpers.append(python)
            described.append(f"{name} = {_options(value) if hasattr(value, 'targetoptions') else ''}")
    elif isinstance(value, (tuple, list)):
        for place, part in enumerate(value):
            _describe(f"{name}[{place}]", part, home, described, helpers)
    elif isinstance(value, dict):
        for key, part in value.items():
            _describe(f"{name}[{key!r}]", part, home, described, helpers)
    elif isinstance(value, (set, frozenset)):
        described.append(f"{name} = {sorted(map(repr, value))}")
    elif isinstance(value, type):
        described.append(f"{name} = {value.__module__}.{value.__qualname__}")
        if _belongs(value.__module__, home):
            described.append(_file_hash(value.__module__))
    elif isinstance(value, np.ndarray):
        described.append(f"{name} = {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}")
    elif " at 0x" not in (text := repr(value)):  # an address tells nothing, and differs between processes
        described.append(f"{name} = {text}")


def _codes(code):
    """A function's code object and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _belongs(module: str | None, home: str) -> bool:
    """Whether a module is one of minilm's or of the package that the kernel stands in, and not a library's."""
    return (module or "").partition(".")[0] in ("minilm", home)


@functools.cache
def _file_hash(module: str) -> str:
    """Hash of a module's source file; empty where there is none, as in an interactive session."""
    source = getattr(sys.modules.get(module), "__file__", None)
    if source is None or not os.path.isfile(source):
        return ""
    return hashlib.sha256(pathlib.Path(source).read_bytes()).hexdigest()
