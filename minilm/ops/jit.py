"""How the CPU kernels are compiled and where the compiled code is kept."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import sys
import tempfile

import numba
from numba.core import caching

from minilm import files

# Flags that let a sum be vectorised and a product-and-sum be fused, and nothing else: NaN and infinity keep their meaning.
REASSOC = frozenset({"reassoc", "contract"})
# Fusing a*b+c into one rounding only: results then do not depend on whether a loop was vectorised.
CONTRACT = frozenset({"contract"})


@functools.cache
def source_hash() -> str:
    """Hash of all of the package's Python sources.

    Numba's own cache looks at one file only and would run old machine code after a change in a shared helper.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(f"{sys.version}{numba.__version__}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> str:
    """Where compiled kernels are kept: below `minilm.files.cache_folder`, or in a private temporary folder."""
    folder = files.cache_folder("jit", source_hash())
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:  # a read-only home: compile anew in this process rather than fail
        folder = tempfile.mkdtemp(prefix="minilm-jit-")
    return folder


class _Locator:
    """Tells Numba's cache to keep its files in `cache_folder`, for any file of the package, writable or not."""

    def __init__(self, function, source_file):
        self._name = pathlib.Path(source_file).stem
        self._line = function.__code__.co_firstlineno

    def ensure_cache_path(self):
        os.makedirs(self.get_cache_path(), exist_ok=True)

    def get_cache_path(self):
        return cache_folder()

    def get_source_stamp(self):
        return source_hash()

    def get_disambiguator(self):
        return str(self._line)

    @classmethod
    def from_function(cls, function, source_file):
        return cls(function, source_file)


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Cache(caching.FunctionCache):
    _impl_class = _CacheImpl


def jit(function=None, *, fastmath=CONTRACT, inline="never", part=False, counted=True):
    """Compile a kernel at its first call, without the GIL, cached on disk by the hash of the package's sources.

    Parameters
    ----------
    fastmath : set of str
        `CONTRACT` or `REASSOC`. Never ``True``: a NaN must come out where one goes in.
    inline : {"never", "always"}
        ``"always"`` for small helpers that only kernels call.
    part : bool
        True for a function with arithmetic that other kernels call. It then becomes part of each of them. As a function of its
        own it would exist in several versions (compiled alone and inside its callers), which round differently where one was
        vectorised and another not, and which of them runs would depend on whether the code came from the cache.
    counted : bool
        False for kernels of many short calls that make no array: Numba then does not count references to their arguments. The
        counting is an atomic instruction for every array at every call, however small the function. What they call must be so
        too.
    """
    if function is None:
        return functools.partial(jit, fastmath=fastmath, inline=inline, part=part, counted=counted)
    options = {"fastmath": set(fastmath), "error_model": "numpy", "inline": inline, "forceinline": part}
    if not counted:
        options["_nrt"] = False  # NRT is Numba's run-time of counted references
    dispatcher = numba.njit(nogil=True, **options)(function)
    dispatcher._cache = _Cache(dispatcher.py_func)  # what cache=True does, with a folder of our own
    return dispatcher
