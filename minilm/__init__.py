"""minilm: neural language models written out in full, from the kernels to the models.

Everything that computes is a pair of functions::

    y, saved = layer.forward(x, ...)
    dx, ...  = layer.backward(dy, saved)

``saved`` holds exactly what the gradient needs, and the caller holds ``saved``.

The sub-packages are loaded on first use, so that ``import minilm`` is quick and compiles nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what an editor reads; Python comes by `__getattr__`
    from minilm import (
        book,
        cli,
        data,
        devices,
        examples,
        generation,
        interpret,
        layers,
        metrics,
        models,
        ops,
        optimizers,
        pages,
        planner,
        quantized,
        random,
        recipes,
        sequential,
        tokenizers,
        training,
        typing,
        weights,
    )
    from minilm.devices import implementation
    from minilm.gradcheck import gradcheck
    from minilm.layers.hooks import hooks
    from minilm.ops.precision import precision
    from minilm.ops.workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "Workspace",
    "book",
    "cli",
    "data",
    "devices",
    "examples",
    "generation",
    "gradcheck",
    "hooks",
    "implementation",
    "interpret",
    "layers",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "pages",
    "planner",
    "precision",
    "quantized",
    "random",
    "recipes",
    "sequential",
    "tokenizers",
    "training",
    "typing",
    "weights",
]
_NAMES = {  # name -> the module that defines it; the other names are modules themselves
    "implementation": "minilm.devices",
    "Workspace": "minilm.ops.workspace",
    "hooks": "minilm.layers.hooks",
    "precision": "minilm.ops.precision",
}


def __getattr__(name: str) -> object:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in __all__:
        value = importlib.import_module(f"minilm.{name}")
    else:
        raise AttributeError(f"module 'minilm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
