"""cupy.RawModule: kernels by g++ and the shim."""

from __future__ import annotations

import numpy as np

from minilm.ops.cuda.emulated import loader
from minilm.ops.cuda.emulated.arrays import forbidden, ndarray, perform

SETTINGS = {"order": "ascending", "sanitizer": "none"}
PLAIN_SHARED = 48 * 1024  # bytes: for more a kernel must ask, as on a device
MULTIPROCESSORS = 6  # few, so that small shapes make blocks of several units, and one that has fewer
WHOLE_SHARED = 228 * 1024  # bytes of a multiprocessor
launches: list[str] = []  # names, in order


class RawModule:
    """Compiles at the first `get_function`."""

    def __init__(self, code: str, options=(), enable_cooperative_groups=False):
        forbidden("loading a module")
        definitions = tuple(option for option in options if option.startswith("-D"))
        self._library = loader.compiled(code, definitions, SETTINGS["sanitizer"])
        self._cooperative = enable_cooperative_groups

    def get_function(self, name: str):
        return Function(self._library, name, self._cooperative)


class Function:
    """A kernel."""

    def __init__(self, library, name, cooperative=False):
        self._library, self.name, self.enable_cooperative_groups = library, name, cooperative
        self.max_dynamic_shared_size_bytes = PLAIN_SHARED

    def __call__(self, grid, block, arguments, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self.name}: {shared_mem} bytes of shared memory, {self.max_dynamic_shared_size_bytes} requested")
        if self.enable_cooperative_groups:
            at_once = MULTIPROCESSORS * min(2048 // np.prod(block), WHOLE_SHARED // (shared_mem + 1024))  # 1 KiB is the system's
            if np.prod(grid) > at_once:
                raise RuntimeError(f"{self.name}: too many blocks in cooperative launch: {grid}, at once {at_once}")
        for array in arguments:
            if isinstance(array, np.ndarray) and array.dtype.names is None:  # a record goes by value
                raise TypeError(f"{self.name}: an array of the host")
        plain = [a._memory if isinstance(a, ndarray) else a for a in arguments]
        perform(lambda: self._launch(grid, block, plain, shared_mem))

    def _launch(self, grid, block, plain, shared_mem):
        launches.append(self.name)
        loader.launch(self._library, self.name, grid, block, plain, shared_mem, SETTINGS["order"], self.enable_cooperative_groups)
