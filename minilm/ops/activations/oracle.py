"""Activations in plain NumPy, a line of code a line of formula. Every array has x's shape (...).

np.asarray stands where NumPy would make a number of an array without axes.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.ops.activations.spec import SavedInput, SavedOutput


def sigmoid_forward(x):
    e = np.exp(-np.abs(x))  # (...) never overflows
    y = np.asarray(np.where(x < 0, e, 1) / (1 + e))  # (...)
    return y, SavedOutput(y)


def sigmoid_backward(dy, saved):
    (y,) = saved
    return np.asarray(dy * y * (1 - y))  # (...)


def tanh_forward(x):
    y = np.asarray(np.tanh(x))  # (...)
    return y, SavedOutput(y)


def tanh_backward(dy, saved):
    (y,) = saved
    return np.asarray(dy * (1 - y**2))  # (...)


def relu_forward(x):
    y = np.asarray(np.maximum(x, 0))  # (...)
    return y, SavedOutput(y)


def relu_backward(dy, saved):
    (y,) = saved
    return np.where(y <= 0, 0, dy).astype(dy.dtype)  # (...)


def silu_forward(x):
    s, _ = sigmoid_forward(x)  # (...)
    return np.asarray(x * s), SavedInput(x)  # (...)


def silu_backward(dy, saved):
    (x,) = saved
    s, _ = sigmoid_forward(x)  # (...)
    return np.asarray(dy * (s + x * s * (1 - s)))  # (...)


def normal_cdf(x):
    """Φ(x) by 1 + erf(a) = erfc(-a), which keeps its digits in the lower tail. NumPy has none, Python's takes one number."""
    return np.vectorize(lambda a: math.erfc(-a / math.sqrt(2)) / 2, otypes=[x.dtype])(x)  # (...)


def gelu_erf_forward(x):
    y = np.asarray(x * normal_cdf(x))  # (...)
    return y, SavedInput(x)


def gelu_erf_backward(dy, saved):
    (x,) = saved
    pdf = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # (...) Φ'(x)
    return np.asarray(dy * (normal_cdf(x) + x * pdf))  # (...)


def gelu_tanh_forward(x):
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)  # (...)
    y = np.asarray(x * (1 + np.tanh(u)) / 2)  # (...)
    return y, SavedInput(x)


def gelu_tanh_backward(dy, saved):
    (x,) = saved
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)  # (...)
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)  # (...)
    t = np.tanh(u)  # (...)
    return np.asarray(dy * ((1 + t) / 2 + x * (1 - t**2) * du / 2))  # (...)
