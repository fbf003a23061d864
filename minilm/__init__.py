"""minilm: neural language models written out in full, from the kernels to the models.

Everything that computes is a pair of functions::

    y, saved = thing.forward(x, ...)
    dx, ...  = thing.backward(dy, saved)

``saved`` holds exactly what the gradient needs, and the caller holds ``saved``.

The sub-packages are loaded on first use, so that ``import minilm`` is quick and compiles nothing.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
    "data",
    "devices",
    "generation",
    "gradcheck",
    "interpret",
    "layers",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "planner",
    "random",
    "recipes",
    "sequential",
    "tokenizers",
    "training",
    "weights",
)
_NAMES = {  # name -> the module that defines it
    "implementation": "minilm.devices",
    "Workspace": "minilm.ops.workspace",
}
__all__ = [*_SUBMODULES, *_NAMES]


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"minilm.{name}")
    else:
        raise AttributeError(f"module 'minilm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
