"""The table of a file's kernels, and the one way to launch them.

A table says of each kernel how many blocks, how many threads a block, and how many bytes of shared memory, as functions of the
numbers it is called with. The same table drives CuPy, the compilation of all kernels without a GPU, and their execution on the
CPU in the tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from minilm.ops.cuda import source
from minilm.ops.cuda.arguments import Packed, assertions, layout, pack, prepared, real_of
from minilm.typing import DType

__all__ = ["Kernel", "Kernels", "TABLES", "blocks", "whole_warps"]

TABLES: list[Kernels] = []  # of all files that have been imported
OPTIONS = ("--std=c++17",)
THREADS = 256  # of a block, where nothing says otherwise
PLENTY = 1 << 20  # blocks of an elementwise kernel: further elements are the loop's
STATIC_SHARED = 48 * 1024  # bytes that a kernel may have without asking


def blocks(elements: int, threads: int = THREADS) -> int:
    """Blocks of an elementwise kernel with a grid-stride loop."""
    return max(1, min(-(-elements // threads), PLENTY))


def whole_warps(threads: int, most: int = 1024) -> int:
    """`threads` rounded up to whole warps."""
    return max(32, min(-(-threads // 32) * 32, most))


class Kernel(NamedTuple):
    """A kernel and the form of its launch; functions take an object whose attributes are the kernel's numbers."""

    name: str
    grid: Callable  # -> int or tuple of int
    block: Callable | int = THREADS
    shared: Callable | int = 0  # bytes of dynamic shared memory
    cooperative: bool = False  # all blocks are on the device at once, so that they may wait for one another


class Kernels:
    """The kernels of one .cu file.

    Parameters
    ----------
    python_file : str
        ``__file__`` of the gpu.py; the kernels stand in the .cu file of the same name.
    *entries : Kernel
        One for every kernel of that file.
    defines : dict of str to str, optional
        Further definitions for the compiler: the sizes of tiles and blocks that the kernels and this table share.
    """

    def __init__(self, python_file: str, *entries: Kernel, defines: Any = None):
        self.path = Path(python_file).with_suffix(".cu")
        self.entries = {entry.name: entry for entry in entries}
        self.defines = dict(defines or {})
        self.signatures = source.kernels(self.path)
        self.structs = {p.type: p for signature in self.signatures.values() for p in signature if p.fields}
        if set(self.entries) != set(self.signatures):
            different = sorted(set(self.entries) ^ set(self.signatures))
            raise ValueError(f"{self.path.name} and the table beside it differ in {', '.join(different)}")
        TABLES.append(self)

    def definitions(self, dtype: DType | None) -> dict[str, str]:
        """What is defined for the compiler."""
        return {"REAL": {"float32": "float", "float64": "double"}[str(np.dtype(dtype))], **self.defines}

    @functools.cached_property
    def text(self) -> str:
        """The file's source with its includes put in."""
        return source.flatten(self.path)

    def code(self, real: str) -> str:
        """The text to compile, with what the compiler must find true of its structs."""
        return f'{self.text}\n#line 1 "structs"\n{assertions(self.structs.values(), str(np.dtype(real)))}'

    @functools.cache  # noqa: B019  tables live as long as the program
    def function(self, name: str, dtype: str):
        """CuPy's function of a kernel, compiled for the current device at its first launch."""
        import cupy

        options = (*OPTIONS, *(f"-D{key}={value}" for key, value in self.definitions(dtype).items()))
        together = self.entries[name].cooperative
        module = cupy.RawModule(code=self.code(dtype), options=options, enable_cooperative_groups=together)
        return module.get_function(name)

    @functools.cache  # noqa: B019
    def _layout(self, struct: str, real: str | None) -> np.dtype:
        return layout(self.structs[struct], real)

    def pack(self, struct: str, **values: Any) -> Packed:
        """The value of a struct that kernels of this file take, from its fields by name: see `minilm.ops.cuda.arguments.pack`."""
        kind = self.structs[struct]
        real = real_of(kind.fields, [values.get(field.name) for field in kind.fields])
        return pack(kind, self._layout(struct, real), values, real)

    def launch(self, name: str, *arguments: Any, dtype: DType | None = None) -> None:
        """Run a kernel.

        Parameters
        ----------
        name : str
            The kernel.
        *arguments
            One for each parameter: device arrays, None where the signature says "or null", numbers, which are converted to the
            parameter's type, and structs, as `pack` returns them or as dicts of their fields.
        dtype : dtype, optional
            What REAL is; that of the first REAL array without it.

        Raises
        ------
        TypeError, ValueError
            An argument does not fit the kernel's signature. A mistake in minilm, not in its use.
        """
        parameters = self.signatures[name]
        if len(arguments) != len(parameters):
            raise TypeError(f"{name} takes {len(parameters)} arguments, got {len(arguments)}")
        real = str(np.dtype(dtype)) if dtype else real_of(parameters, arguments)
        arguments = [self.pack(p.type, **a) if isinstance(a, dict) else a for p, a in zip(parameters, arguments, strict=True)]
        numbers, passed = prepared(name, parameters, arguments, real)
        entry, shape = self.entries[name], SimpleNamespace(**numbers, itemsize=np.dtype(real).itemsize)
        grid, block, shared = (form(shape) if callable(form) else form for form in entry[1:4])
        grid, block = (value if isinstance(value, tuple) else (value,) for value in (grid, block))
        if 0 in grid:
            return
        function = self.function(name, real)
        if shared > STATIC_SHARED:
            function.max_dynamic_shared_size_bytes = shared
        function(grid, block, tuple(passed), shared_mem=shared)
