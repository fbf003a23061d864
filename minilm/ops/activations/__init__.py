"""Elementwise activations: sigmoid, tanh, relu, SiLU, and the two forms of GELU.

``activations.relu.forward(x)`` and ``activations.relu.backward(dy, saved)``, or `minilm.ops.relu` for short; all six alike.
`minilm.ops.activations.from_output` holds those that save their output, `minilm.ops.activations.from_input` those that save their
input. Formulas: `minilm.ops.activations.spec`.
"""

from __future__ import annotations

from minilm.ops.activations.from_input import (
    gelu_erf_backward,
    gelu_erf_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    silu_backward,
    silu_forward,
)
from minilm.ops.activations.from_output import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from minilm.ops.activations.spec import SavedInput, SavedOutput
from minilm.ops.contract import Pair

__all__ = ["SavedInput", "SavedOutput", "gelu_erf", "gelu_tanh", "relu", "sigmoid", "silu", "tanh"]

sigmoid = Pair(sigmoid_forward, sigmoid_backward)
tanh = Pair(tanh_forward, tanh_backward)
relu = Pair(relu_forward, relu_backward)
silu = Pair(silu_forward, silu_backward)
gelu_erf = Pair(gelu_erf_forward, gelu_erf_backward)
gelu_tanh = Pair(gelu_tanh_forward, gelu_tanh_backward)


def __dir__() -> list[str]:
    return sorted(__all__)
