"""Elementwise activations: sigmoid, tanh, relu, and the two forms of GELU.

``activations.relu.forward(x)`` and ``activations.relu.backward(dy, saved)``, or `minilm.ops.relu` for short; all five alike.
The formulas stand in `minilm.ops.activations.spec`.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.activations.spec import SavedInput, SavedOutput
from minilm.ops.contract import Pair, call

__all__ = ["SavedInput", "SavedOutput", "gelu_erf", "gelu_tanh", "relu", "sigmoid", "tanh"]

_FORWARD = """{title} of every element.

.. math:: {formula}

Parameters
----------
x : ndarray, shape (...), float32 or float64
    Inputs.

Returns
-------
y : ndarray, shape (...)
saved : {saved}
    For `{name}_backward`.

Raises
------
TypeError
    If `x` is no array of float32 or float64.
"""

_BACKWARD = """Gradient of `{name}_forward`.

Parameters
----------
dy : ndarray, shape (...)
    Gradient of the loss by y.
saved : {saved}
    From `{name}_forward`.

Returns
-------
dx : ndarray, shape (...)

Raises
------
TypeError, ValueError
    If `dy` does not have y's shape and dtype.
"""


def _pair(name, title, formula, saved_type):
    """The public functions of one activation: they differ by name and formula only."""

    def forward(x):
        return call(__name__, f"{name}_forward", checks.floating("x", x))

    def backward(dy, saved):
        (kept,) = saved
        dy = checks.floating("dy", dy, kept.shape, kept.dtype, "(...)")
        return call(__name__, f"{name}_backward", dy, saved)

    for function, suffix, text in ((forward, "forward", _FORWARD), (backward, "backward", _BACKWARD)):
        function.__name__ = function.__qualname__ = f"{name}_{suffix}"
        function.__doc__ = text.format(name=name, title=title, formula=formula, saved=saved_type.__name__)
    return Pair(forward, backward)


sigmoid = _pair("sigmoid", "Logistic sigmoid", r"y = \sigma(x) = 1 / (1 + e^{-x})", SavedOutput)
tanh = _pair("tanh", "Hyperbolic tangent", r"y = \tanh x", SavedOutput)
relu = _pair("relu", "Rectified linear unit", r"y = \max(x, 0)", SavedOutput)
gelu_erf = _pair("gelu_erf", "Gaussian error linear unit", r"y = x\,\Phi(x) = x\,(1 + \mathrm{erf}(x / \sqrt 2)) / 2", SavedInput)
gelu_tanh = _pair(
    "gelu_tanh",
    "Gaussian error linear unit in its tanh form",
    r"y = x\,(1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715 x^3))) / 2",
    SavedInput,
)

sigmoid_forward, sigmoid_backward = sigmoid
tanh_forward, tanh_backward = tanh
relu_forward, relu_backward = relu
gelu_erf_forward, gelu_erf_backward = gelu_erf
gelu_tanh_forward, gelu_tanh_backward = gelu_tanh
