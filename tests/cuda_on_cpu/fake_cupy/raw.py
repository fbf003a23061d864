"""cupy.RawModule: kernels by g++ and the shim."""

from __future__ import annotations

import numpy as np

from tests.cuda_on_cpu import loader
from tests.cuda_on_cpu.fake_cupy.arrays import forbidden, ndarray, perform

SETTINGS = {"order": "ascending", "sanitizer": "none"}
PLAIN_SHARED = 48 * 1024  # bytes: for more a kernel must ask, as on a device
launches: list[str] = []  # names, in order


class RawModule:
    """Compiles at the first `get_function`."""

    def __init__(self, code: str, options=()):
        forbidden("loading a module")
        definitions = tuple(option for option in options if option.startswith("-D"))
        self._library = loader.compiled(code, definitions, SETTINGS["sanitizer"])

    def get_function(self, name: str):
        return Function(self._library, name)


class Function:
    """A kernel."""

    def __init__(self, library, name):
        self._library, self.name = library, name
        self.max_dynamic_shared_size_bytes = PLAIN_SHARED

    def __call__(self, grid, block, arguments, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self.name}: {shared_mem} bytes of shared memory, {self.max_dynamic_shared_size_bytes} asked for")
        for array in arguments:
            if isinstance(array, np.ndarray):
                raise TypeError(f"{self.name}: an array of the host")
        plain = [a._memory if isinstance(a, ndarray) else a for a in arguments]
        perform(lambda: self._launch(grid, block, plain, shared_mem))

    def _launch(self, grid, block, plain, shared_mem):
        launches.append(self.name)
        loader.launch(self._library, self.name, grid, block, plain, shared_mem, SETTINGS["order"])
