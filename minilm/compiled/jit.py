"""How the CPU kernels are compiled."""

from __future__ import annotations

import functools

import llvmlite.binding.ffi
import numba
from numba.core.compiler_lock import global_compiler_lock

from minilm import forks
from minilm.compiled import isa
from minilm.compiled.kernel_cache import KernelCache

isa.apply()

forks.wait_for(global_compiler_lock, llvmlite.binding.ffi.lib._lock)

# Flags that let a sum be vectorised and a product-and-sum be fused, and nothing else: NaN and infinity keep their meaning.
REASSOC = frozenset({"reassoc", "contract"})
# Fusing a*b+c into one rounding only: results then do not depend on whether a loop was vectorised.
CONTRACT = frozenset({"contract"})


def jit(function=None, *, fastmath=CONTRACT, inline="never", part=False, counted=True):
    """Compile a kernel at its first call, without the GIL, kept on disk (`minilm.compiled.kernel_cache`).

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
        False for kernels of many short calls that make no array, and for long ones that hand many arrays on: Numba then does not
        count references to their arguments. The counting is an atomic instruction for every array at every call, however small
        the function, and most of the code that has to be compiled where tuples of arrays are handed on. Of what they call, only
        kernels that are ``counted`` themselves make arrays.
    """
    if function is None:
        return functools.partial(jit, fastmath=fastmath, inline=inline, part=part, counted=counted)
    options = {"fastmath": set(fastmath), "error_model": "numpy", "inline": inline, "forceinline": part}
    options["_nrt"] = counted  # Numba's run-time of counted references; said also where it is on, since callers hand theirs down
    dispatcher = _dispatcher(function, options)

    @functools.cache
    def inside():
        return _dispatcher(function, {**options, "no_cpython_wrapper": True})

    dispatcher.get_call_template = lambda args, kws: inside().get_call_template(args, kws)
    dispatcher.get_overload = lambda signature: inside().get_overload(signature)
    return dispatcher


def _dispatcher(function, options):
    """Numba's dispatcher of a kernel, with a cache of our own in the place of what ``cache=True`` gives.

    Without what nobody uses: a version of the kernel to be called from C; and, of a kernel that other kernels call, the one that
    takes Python's objects, which for named tuples of arrays is longer than most kernels. So `jit` has such kernels compiled by a
    dispatcher of their own, which Python never calls. With both versions the first translation of a sentence waited 1.4 times as
    long.
    """
    dispatcher = numba.njit(nogil=True, no_cfunc_wrapper=True, **options)(function)
    dispatcher._cache = KernelCache(dispatcher)
    return dispatcher


def entry_point(kernel, *arguments):
    """The compiled code of a kernel for arguments of these arguments' types, to be called with such only.

    A kernel looks at the types of its arguments at every call, which for two tables of eight arrays takes longer than a sentence
    does. Its entry point does not: it reads an array of other numbers as if it were of these.
    """
    return kernel.compile(tuple(map(numba.typeof, arguments)))
