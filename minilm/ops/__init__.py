"""The operations. One folder an op: formulas in ``spec.py``, a module for each implementation, and test cases in ``cases.py``.

``registry()`` lists them all; the tests, `minilm gradcheck` and the benchmarks walk it. Only it imports the cases.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what an editor reads; Python comes by `__getattr__`
    from types import ModuleType

    from minilm.ops import (
        activations,
        adam,
        additive_attention,
        attention,
        clip,
        crf,
        cross_entropy,
        dropout,
        embedding,
        gated,
        gru,
        layer_norm,
        linear,
        lion,
        lstm,
        muon,
        negative_sampling,
        philox,
        residual_layer_norm,
        rms_norm,
        rmsprop,
        rnn,
        rotary,
        sampling,
        sgd,
        softmax,
    )
    from minilm.ops.activations import gelu_erf, gelu_tanh, relu, sigmoid, silu, tanh
    from minilm.ops.contract import Op, Pair
    from minilm.ops.gated import geglu, swiglu

__all__ = [
    "activations",
    "adam",
    "additive_attention",
    "attention",
    "clip",
    "crf",
    "cross_entropy",
    "dropout",
    "embedding",
    "gated",
    "geglu",
    "gelu_erf",
    "gelu_tanh",
    "gru",
    "layer_norm",
    "linear",
    "lion",
    "lstm",
    "muon",
    "negative_sampling",
    "philox",
    "registry",
    "relu",
    "residual_layer_norm",
    "rms_norm",
    "rmsprop",
    "rnn",
    "rotary",
    "sampling",
    "sgd",
    "sigmoid",
    "silu",
    "softmax",
    "swiglu",
    "tanh",
]
FOLDERS = (
    "linear",
    "embedding",
    "activations",
    "gated",
    "softmax",
    "cross_entropy",
    "negative_sampling",
    "dropout",
    "layer_norm",
    "residual_layer_norm",
    "rms_norm",
    "rotary",
    "rnn",
    "lstm",
    "gru",
    "attention",
    "additive_attention",
    "crf",
    "philox",
    "sampling",
    "sgd",
    "adam",
    "rmsprop",
    "lion",
    "muon",
    "clip",
)
_PAIRS = {  # pairs that live together in one folder
    **dict.fromkeys(("sigmoid", "tanh", "relu", "silu", "gelu_erf", "gelu_tanh"), "activations"),
    **dict.fromkeys(("swiglu", "geglu"), "gated"),
}


@functools.cache
def registry() -> dict[str, Op]:
    """Every op by name: a dict of str to `minilm.ops.contract.Op`, in reading order."""
    ops = {}
    for folder in FOLDERS:
        for op in importlib.import_module(f"minilm.ops.{folder}.cases").OPS:
            if op.name in ops:
                raise ValueError(f"two ops are named {op.name!r}")
            ops[op.name] = op
    return ops


def __getattr__(name: str) -> ModuleType | Pair:
    if name in FOLDERS:
        return importlib.import_module(f"minilm.ops.{name}")
    if name in _PAIRS:
        return getattr(importlib.import_module(f"minilm.ops.{_PAIRS[name]}"), name)
    raise AttributeError(f"module 'minilm.ops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
