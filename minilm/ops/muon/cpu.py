"""Muon on the CPU: products of matrices by `minilm.ops.product`, and passes over memory around them."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import precision
from minilm.ops.clip.cpu import norm
from minilm.ops.muon.spec import COEFFICIENTS, step_size
from minilm.ops.product import product
from minilm.ops.workspace import empty, scratch

GRAIN = 2**16  # elements worth a thread
WIDE = 2  # I / O from which the iteration of squares has fewer operations


@jit
def _direction(start, stop, grad, buffer, first, numbers, G):
    # grad, buffer, G (N,); numbers (4,), of their dtype
    momentum, rest, look, scale = numbers
    grad, buffer, G = grad[start:stop], buffer[start:stop], G[start:stop]
    if first:  # whatever it holds, NaN too
        buffer[:] = 0
    for n in range(len(grad)):
        g = scale * grad[n]
        mean = momentum * buffer[n] + rest * g
        buffer[n] = mean
        G[n] = look * g + (grad.dtype.type(1) - look) * mean


@jit
def _combine(start, stop, x, y, a, b):
    # x = a x + b y, (N,) each
    x, y = x[start:stop], y[start:stop]
    for n in range(len(x)):
        x[n] = a * x[n] + b * y[n]


@jit
def _apply(start, stop, param, grad, u, numbers, clear):
    # param, grad, u (N,); numbers (3,), of their dtype
    lr, size, decay = numbers
    param, grad, u = param[start:stop], grad[start:stop], u[start:stop]
    zero = param.dtype.type(0)
    for n in range(len(param)):
        p = param[n]
        param[n] = p - lr * (decay * (zero if abs(p) == math.inf else p) + size * u[n])
        if clear:
            grad[n] = zero


def orthogonal(G, steps, coefficients, eps):
    """Near U Vᵀ of G (O, I) = U S Vᵀ, with O <= I; G is written over, and its place holds the result."""
    coefficients = tuple(G.dtype.type(each) for each in coefficients)
    G *= G.dtype.type(1 / max(norm(G), eps))
    wide = G.shape[1] >= WIDE * len(G) and steps and not precision.bfloat16(G.dtype)
    (_iterate_squares if wide else _iterate)(G, steps, *coefficients)


def _iterate(G, steps, a, b, c):
    """X = a X + (b A + c A²) X, as it is written: 4 O² I + 2 O³ operations an iteration."""
    O, one = len(G), G.dtype.type(1)
    A, square, change = empty((O, O), G.dtype), empty((O, O), G.dtype), empty(G.shape, G.dtype)
    for _ in range(steps):
        product(G, G, A, transposed=True)  # (O, O)
        product(A, A, square, transposed=False)  # (O, O)
        devices.parallel(_combine, A.size, A.reshape(-1), square.reshape(-1), b, c, grain=GRAIN)
        product(A, G, change, transposed=False)  # (O, I)
        devices.parallel(_combine, G.size, G.reshape(-1), change.reshape(-1), a, one, grain=GRAIN)


def _iterate_squares(G, steps, a, b, c):
    """The same of squares (O, O) alone: 8 O³ operations an iteration, and 4 O² I once.

    With p = a 1 + b A + c A² an iteration is X = p X, so A = X Xᵀ becomes p A p, and after all of them X = P G, where P is the
    product of the p's. All are polynomials of the first A, so their order is free. A has the squares of the singular values: of
    those below 1e-3 of the largest, float32 keeps fewer digits than X itself would; in bfloat16 nothing would be left of those
    below 1/16, and what is in their place makes the iteration diverge.
    """
    square = (len(G), len(G))  # of A, p, P
    A, p, P, spare = (empty(square, G.dtype) for _ in range(4))
    product(G, G, A, transposed=True)
    for iteration in range(steps):
        product(A, A, p, transposed=False)
        devices.parallel(_combine, p.size, p.reshape(-1), A.reshape(-1), c, b, grain=GRAIN)
        p.reshape(-1)[:: len(p) + 1] += a  # the diagonal
        if iteration == 0:
            P[...] = p
        else:
            product(p, P, spare, transposed=False)
            P, spare = spare, P
        if iteration + 1 < steps:
            product(A, p, spare, transposed=False)
            product(p, spare, A, transposed=False)
    result = empty(G.shape, G.dtype)
    product(P, G, result, transposed=False)  # (O, I)
    G[...] = result


def step(
    param,
    grad,
    momentum_buffer,
    *,
    step,
    lr,
    momentum=0.95,
    nesterov=True,
    weight_decay=0.0,
    size="match_rms_adamw",
    steps=5,
    coefficients=COEFFICIENTS,
    eps=1e-7,
    scale=1.0,
    clear=False,
):
    flat = [array.reshape(-1) for array in (param, grad, momentum_buffer)]  # (N,) each
    with scratch():
        G = empty(param.shape, param.dtype)  # (O, I)
        numbers = np.array((momentum, 1 - momentum, 1 - momentum if nesterov else 0, scale), param.dtype)
        devices.parallel(_direction, param.size, *flat[1:], step == 1, numbers, G.reshape(-1), grain=GRAIN)
        if len(G) <= G.shape[1]:
            orthogonal(G, steps, coefficients, eps)
        else:
            transposed = empty(G.shape[::-1], G.dtype)  # (I, O)
            transposed[...] = G.T
            orthogonal(transposed, steps, coefficients, eps)
            G[...] = transposed.T
        numbers = np.array((lr, step_size(size, *param.shape), weight_decay), param.dtype)
        devices.parallel(_apply, param.size, *flat[:2], G.reshape(-1), numbers, clear, grain=GRAIN)
    return param, grad, momentum_buffer
