"""Gated activations in plain NumPy, a line of code a line of formula. Every array has the shape (...) of a and b."""

from __future__ import annotations

import math

import numpy as np

from minilm.ops.gated.spec import Saved


def sigmoid(a):
    e = np.exp(-np.abs(a))  # (...) never overflows
    return np.where(a < 0, e, 1) / (1 + e)  # (...)


def swiglu_forward(a, b):
    return np.asarray(a * sigmoid(a) * b), Saved(a, b)  # (...)


def swiglu_backward(dy, saved):
    a, b = saved
    s = sigmoid(a)  # (...)
    da = np.asarray(dy * b * (s + a * s * (1 - s)))  # (...)
    db = np.asarray(dy * a * s)  # (...)
    return da, db


def geglu_forward(a, b):
    u = math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)  # (...)
    return np.asarray(a * (1 + np.tanh(u)) / 2 * b), Saved(a, b)  # (...)


def geglu_backward(dy, saved):
    a, b = saved
    u = math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)  # (...)
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * a**2)  # (...)
    t = np.tanh(u)  # (...)
    da = np.asarray(dy * b * ((1 + t) / 2 + a * (1 - t**2) * du / 2))  # (...)
    db = np.asarray(dy * a * (1 + t) / 2)  # (...)
    return da, db
