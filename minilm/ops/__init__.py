"""The operations. One folder an op: formulas in ``spec.py``, a module for each implementation, and test cases in ``cases.py``.

``registry()`` lists them all; the tests, `minilm gradcheck` and the benchmarks walk it. Only it imports the cases.
"""

from __future__ import annotations

import functools
import importlib

FOLDERS = (
    "linear",
    "embedding",
    "activations",
    "softmax",
    "cross_entropy",
    "negative_sampling",
    "dropout",
    "layer_norm",
    "residual_layer_norm",
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
    "clip",
)
_ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu_erf", "gelu_tanh")  # pairs that live together in one folder
__all__ = [*FOLDERS, *_ACTIVATIONS, "registry"]


@functools.cache
def registry() -> dict:
    """Every op by name: a dict of str to `minilm.ops.contract.Op`, in reading order."""
    ops = {}
    for folder in FOLDERS:
        for op in importlib.import_module(f"minilm.ops.{folder}.cases").OPS:
            if op.name in ops:
                raise ValueError(f"two ops are named {op.name!r}")
            ops[op.name] = op
    return ops


def __getattr__(name):
    if name in FOLDERS:
        return importlib.import_module(f"minilm.ops.{name}")
    if name in _ACTIVATIONS:
        return getattr(importlib.import_module("minilm.ops.activations"), name)
    raise AttributeError(f"module 'minilm.ops' has no attribute {name!r}")
