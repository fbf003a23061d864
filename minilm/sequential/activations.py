"""Activations by Keras's names: pairs of forward and backward."""

from __future__ import annotations

import difflib

from minilm.ops import activations, softmax

__all__ = ["activation_name", "backward", "forward"]

PAIRS = {
    "linear": None,
    "relu": activations.relu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "gelu": activations.gelu_erf,
    "softmax": softmax,
}


def activation_name(given) -> str:
    """The checked name; None is ``linear``."""
    if given is None:
        return "linear"
    if given not in PAIRS:
        near = difflib.get_close_matches(str(given), PAIRS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PAIRS)}"
        raise ValueError(f"activation must be an activation's name, got {given!r}; {hint}")
    return given


def forward(name: str, x, workspace=None):
    """Returns (y, saved), both of x's shape or None."""
    return (x, None) if PAIRS[name] is None else PAIRS[name].forward(x, workspace=workspace)


def backward(name: str, dy, saved, workspace=None):
    """Returns dx, of dy's shape."""
    return dy if PAIRS[name] is None else PAIRS[name].backward(dy, saved, workspace=workspace)
