"""The halves of a transformer's block in a kernel: what each thread of a team does, for N rows at a time.

::

    pre-norm    u = norm(x)                                   every thread for itself
                a = u Wᵀ + b                                  shared out by outputs: `enter`
                y = what the half makes of a
                x = x + y W_projᵀ + b                         shared out by outputs: `leave`

    post-norm   u = norm(x) of the half before                every thread for itself; x itself in the first half of all
                x = u + y W_projᵀ + b

So one kernel serves both. Of post-norm each norm stands one half later in the table of addresses, 0 at the first place, and the
last one where pre-norm has the norm behind the blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.compiled.waiting import arrive, meet
from minilm.compiled.waiting import wait as wait_for
from minilm.ops.activations.cpu import gelu_erf, gelu_tanh, relu
from minilm.ops.layer_norm.cpu import normalise_rows
from minilm.ops.memory import numbers
from minilm.quantized.rooms import Own, Team
from minilm.quantized.token_products import BIAS, fetch_share, head_product, product

GELU_TANH, GELU_ERF, RELU = range(3)  # what follows a product
FOLLOWS = {"gelu_tanh": GELU_TANH, "gelu_erf": GELU_ERF, "relu": RELU}
# columns of the table of addresses, a row for each block: of a normalisation gamma and beta, of a product weights, scales (0
# without) and bias
LN_1, C_ATTN, C_PROJ, LN_2, MLP_C_FC, MLP_C_PROJ = 0, 2, 5, 8, 10, 13
_REAL = np.float32(0)


class Thread(NamedTuple):
    """What a thread of a team needs at every step."""

    part: int
    number: int
    tag: np.generic  # of the weights' form, see `minilm.quantized.token_products`
    sizes: NamedTuple  # the kernel's
    near: int | None  # whether weights lie in a cache, see `minilm.quantized.token_products`
    eps: float
    post: bool  # post-norm
    team: Team
    own: Own


@jit(inline="always")
def wait(thread, turn):
    """Until all threads of the team are here."""
    meet(thread.team.reached, thread.part, thread.number, turn)


@jit(inline="always")
def wait_fetching(thread, turn, weights, O, K):
    """The same, and meanwhile fetch what this thread reads first of the next product, of a (N, K) by W (O, K)."""
    team, sizes = thread.team, thread.sizes
    arrive(team.reached, thread.part, turn)
    fetch_share(thread.tag, thread.part, thread.number, weights, O, K, sizes.group)
    wait_for(team.reached, thread.number, turn)


@jit(inline="always")
def _normalise(x, weights, eps, own):
    (B, D), moments = x.shape, own.moments
    gamma, beta = numbers(weights[0], D, _REAL), numbers(weights[1], D, _REAL)
    normalise_rows(0, B, x, gamma, beta, eps, moments[0], moments[1], own.u)


@jit
def _copy(x, y):
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            y[n, d] = x[n, d]


@jit(inline="always")
def normalised(thread, norm):
    """norm(x) (N, D), or x where the norm's address is 0."""
    if norm[0] == 0:
        _copy(thread.team.x, thread.own.u)
    else:
        _normalise(thread.team.x, norm, thread.eps, thread.own)
    return thread.own.u


@jit(inline="always")
def multiplied(thread, u, weights, out):
    """This part's columns [first, last) of out (N, O) = u Wᵀ + b; returns the two."""
    raw, first, last = _raw(thread, u, weights, out)
    _shifted(raw, first, last, weights[BIAS], out)
    return first, last


@jit(inline="always")
def _raw(thread, u, weights, out):
    """u Wᵀ in an array like out (N, O), of which this part's columns [first, last) are there."""
    N, O = out.shape
    raw = thread.team.raw[: N * O].reshape(N, O)
    first, last = product(thread.tag, thread.part, thread.number, u, weights, O, thread.sizes.group, thread.near, thread.own, raw)
    return raw, first, last


@jit(inline="always")
def logits_of(thread, u, weights, out):
    """The same by the table of logits (V, D), whose bias there may not be."""
    first, last = head_product(
        thread.tag, thread.part, thread.number, u, weights, out.shape[1], thread.sizes.group, thread.near, thread.own, out
    )
    if weights[BIAS] != 0:
        _shifted(out, first, last, weights[BIAS], out)
    return first, last


@jit(inline="always")
def enter(thread, norm, weights, out):
    """This part's columns of out (N, O) = norm(x) Wᵀ + b; returns what the half's result is added to, (N, D)."""
    u = normalised(thread, norm)
    multiplied(thread, u, weights, out)
    return u if thread.post else thread.team.x


@jit(inline="always")
def enter_activated(thread, norm, weights, out):
    """The same of out (N, F) = f(norm(x) Wᵀ + b), f being the activation that the kernel's sizes name."""
    u = normalised(thread, norm)
    raw, first, last = _raw(thread, u, weights, out)
    _activated(raw, first, last, weights[BIAS], thread.sizes.activation, out)
    return u if thread.post else thread.team.x


@jit(inline="always")
def leave(thread, y, weights, base):
    """This part's columns of x = base + y Wᵀ + b."""
    raw, first, last = _raw(thread, y, weights, thread.team.x)
    _added_to(base, raw, first, last, weights[BIAS], thread.team.x)


@jit
def _shifted(raw, first, last, bias, out):
    # columns [first, last) of out (B, O) = raw + bias
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        for o in range(first, last):
            out[n, o] = raw[n, o] + shift[o]


@jit
def _activated(raw, first, last, bias, activation, out):
    # columns [first, last) of out (B, O) = f(raw + bias). Not in place: a compiler makes no vectors of what may overlap
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        x, y = raw[n, first:last], out[n, first:last]
        for o in range(len(x)):
            x[o] += shift[first + o]
        if activation == GELU_TANH:
            gelu_tanh(0, len(x), x, y)
        elif activation == GELU_ERF:
            gelu_erf(0, len(x), x, y)
        else:
            relu(0, len(x), x, y)


@jit
def _added_to(base, raw, first, last, bias, out):
    # columns [first, last) of out (N, O) = base + (raw + bias)
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        for o in range(first, last):
            out[n, o] = base[n, o] + (raw[n, o] + shift[o])
