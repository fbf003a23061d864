"""The products of `minilm.quantized.token_step` and its siblings: a part's share of the outputs, by weights of any form.

The way follows from types, so that a kernel holds and compiles its own products alone: that of a tag is the weights' form; and
float32 weights of a kernel that passes None for ``near`` lie in memory, those of one that passes a number there may lie in a
cache that all cores share (1) or not (0).
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from minilm.compiled.jit import jit
from minilm.ops.memory import fetch, numbers
from minilm.ops.panels import pack_transposed
from minilm.ops.product import DEPTH
from minilm.ops.row import CACHE, LANES32, multiply_streamed, multiply_transposed
from minilm.ops.tile import ROWS, WIDTH32, multiply_panel
from minilm.quantized.codes import quantize_rows
from minilm.quantized.cpu import multiply_bfloat16, multiply_int4, multiply_int8

TAGS = {"float32": np.float32(0), "bf16": np.uint16(0), "int8": np.uint8(0), "int4": np.int8(0)}
_REAL, _HALF, _CODE = np.float32(0), np.uint16(0), np.uint8(0)
_WORD = np.uint32(0)
BIAS = 2  # of an address of weights, the one of their scales, and of their bias
AHEAD = 2**15  # bytes of the next product's weights that a part fetches while it waits
RECENT = 32  # positions whose keys and values are fetched; of more, the processor guesses the order


@jit(inline="always")
def nothing_dropped():
    """``drop`` of a `Task` of attention without dropout, whose key is not read: an array without numbers need not be made."""
    return numbers(0, 0, _WORD), _WORD, np.float32(1)


@jit(inline="always")
def _share(part, number, O):
    """This part's panels [start, stop) of O outputs."""
    panels = -(-O // WIDTH32)
    return part * panels // number, (part + 1) * panels // number


@jit
def _multiply_panels(start, stop, a, W, out):
    # panels [start, stop) of columns of out (B, O) = a (B, K) Wᵀ, W (O, K)
    K = a.shape[1]
    panel, edge = np.empty((DEPTH, WIDTH32), np.float32), np.empty((ROWS, WIDTH32), np.float32)
    for p in range(start, stop):
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            pack_transposed(W, p * WIDTH32, k, depth, panel)
            multiply_panel(a[:, k : k + depth], panel[:depth], edge, out, p * WIDTH32, k > 0)


@jit
def _by_float32(start, stop, a, weights, O, group, own, out):
    B, K = a.shape
    W = numbers(weights[0], O * K, _REAL).reshape(O, K)
    if B == 1:
        multiply_streamed(2 * start, min(2 * stop, -(-2 * O // WIDTH32)), a[0], W, out[0])
    else:
        _multiply_panels(start, stop, a, W, out)


@jit
def _by_near_float32(start, stop, a, weights, O, own, out):
    # of one row: the pieces of W are no larger than the second cache and are multiplied two strips at a time, and nothing is
    # fetched: one thread read (8000, 256) so at 82 GB/s, and at 60 as from the memory
    K, first, last = a.shape[1], start * WIDTH32, min(O, stop * WIDTH32)
    rows = max(1, CACHE // (K * 4) // (2 * LANES32)) * 2 * LANES32
    for n in range(first, last, rows):
        count = min(rows, last - n)
        W = numbers(weights[0] + n * K * 4, count * K, _REAL).reshape(count, K)
        multiply_transposed(0, -(-count // LANES32), a[0], W, out[0, n : n + count])


@jit
def _by_bfloat16(start, stop, a, weights, O, group, own, out):
    K, panels = a.shape[1], -(-O // WIDTH32)
    packed = numbers(weights[0], panels * K * WIDTH32, _HALF).reshape(panels, K, WIDTH32)
    multiply_bfloat16(start, stop, a, packed, own.scales[0, :0], out)


@jit(inline="always")
def _codes(a, group, own):
    """Where codes, scales and the beginnings of sums of a (B, K) stand: (B, K'), (G, B), (G, B)."""
    B, K = a.shape
    group = min(group, -(-K // 4) * 4)
    G = -(-K // group)
    codes = own.codes[: B * G * group].reshape(B, G * group)
    return codes, own.scales[0, : G * B].reshape(G, B), own.scales[1].view(np.int32)[: G * B].reshape(G, B), group


@jit
def _quantize(a, group, own):
    codes, scales, begin, group = _codes(a, group, own)
    quantize_rows(0, len(a), a, group, codes, scales, begin)


@jit
def _by_int8(start, stop, a, weights, O, group, own, out):
    codes, scales, begin, _ = _codes(a, group, own)
    panels, G, length = -(-O // WIDTH32), len(scales), codes.shape[1]
    packed = numbers(weights[0], panels * length * WIDTH32, _CODE).reshape(panels, length // 4, WIDTH32, 4)
    factors = numbers(weights[1], panels * G * WIDTH32, _REAL).reshape(panels, G, WIDTH32)
    multiply_int8(start, stop, codes, scales, begin, packed, factors, own.scales[0, :0], out)


@jit
def _by_int4(start, stop, a, weights, O, group, own, out):
    codes, scales, begin, _ = _codes(a, group, own)
    panels, G, length = -(-O // WIDTH32), len(scales), codes.shape[1]
    packed = numbers(weights[0], panels * length // 2 * WIDTH32, _CODE).reshape(panels, length // 8, WIDTH32, 4)
    factors = numbers(weights[1], panels * G * WIDTH32, _WORD).reshape(panels, G, WIDTH32)
    multiply_int4(start, stop, codes, scales, begin, packed, factors, own.scales[0, :0], out)


BITS = {types.float32: 32, types.uint16: 16, types.uint8: 8, types.int8: 4}  # of a weight
WAYS = {types.float32: _by_float32, types.uint16: _by_bfloat16, types.uint8: _by_int8, types.int8: _by_int4}


def prepare(tag, a, group, own):
    """Codes of a (B, K), where weights are codes too: for one `multiply` by it, or several."""
    raise NotImplementedError("for kernels only")


@overload(prepare)
def _prepare(tag, a, group, own):
    if BITS[tag] <= 8:
        return lambda tag, a, group, own: _quantize(a, group, own)
    return lambda tag, a, group, own: None


def multiply(tag, part, number, a, weights, O, group, near, own, out):
    """This part's columns [first, last) of out (B, O) = a (B, K) Wᵀ, by the addresses of W and its scales; returns the two.

    `a` is what `prepare` was called with last.
    """
    raise NotImplementedError("for kernels only")


@overload(multiply)
def _multiply(tag, part, number, a, weights, O, group, near, own, out):
    by = WAYS[tag]

    def way(tag, part, number, a, weights, O, group, near, own, out):
        start, stop = _share(part, number, O)
        by(start, stop, a, weights, O, group, own, out)
        return start * WIDTH32, min(O, stop * WIDTH32)

    def near_or_far(tag, part, number, a, weights, O, group, near, own, out):
        start, stop = _share(part, number, O)
        if near and len(a) == 1:
            _by_near_float32(start, stop, a, weights, O, own, out)
        else:
            by(start, stop, a, weights, O, group, own, out)
        return start * WIDTH32, min(O, stop * WIDTH32)

    return near_or_far if tag == types.float32 and isinstance(near, types.Integer) else way


def _head_tag(tag):
    """The tag of the table of logits: `minilm.quantized.spec.form_of` says how it is stored."""
    raise NotImplementedError("for kernels only")


@overload(_head_tag)
def _head_tag_of(tag):
    return (lambda tag: _CODE) if tag == types.int8 else (lambda tag: tag)


@jit(inline="always")
def product(tag, part, number, a, weights, O, group, near, own, out):
    """`prepare` and `multiply`."""
    prepare(tag, a, group, own)
    return multiply(tag, part, number, a, weights, O, group, near, own, out)


@jit(inline="always")
def head_product(tag, part, number, a, weights, O, group, near, own, out):
    """`product` by the table of logits."""
    head = _head_tag(tag)
    prepare(head, a, group, own)
    return multiply(head, part, number, a, weights, O, group, near, own, out)


def panel_size(tag, K, group):
    """Bytes of a panel of weights that are multiplied by rows of K numbers."""
    raise NotImplementedError("for kernels only")


@overload(panel_size)
def _panel_size(tag, K, group):
    bits = BITS[tag]
    if bits > 8:
        return lambda tag, K, group: K * WIDTH32 * bits // 8
    return lambda tag, K, group: _groups(K, group) * min(group, -(-K // 4) * 4) * WIDTH32 * bits // 8


@jit(inline="always")
def _groups(K, group):
    return -(-K // min(group, -(-K // 4) * 4))


@jit
def fetch_share(tag, part, number, weights, O, K, group):
    # into the second cache: this part's numbers of the bias, and what `product` by a (B, K) will read first
    start, stop = _share(part, number, O)
    size = panel_size(tag, K, group)
    if weights[BIAS] != 0:
        fetch(weights[BIAS] + start * WIDTH32 * 4, (stop - start) * WIDTH32 * 4)
    if weights[1] != 0:
        scales = _groups(K, group) * WIDTH32 * 4  # bytes of a panel's
        fetch(weights[1] + start * scales, scales)
    fetch(weights[0] + start * size, min(AHEAD, (stop - start) * size))


@jit
def fetch_cached(part, number, keys, values, heads, sizes, K):
    # into the second cache: of the newest positions' keys and values what this part's heads will read; addresses of both
    first = max(0, sizes.Tk - 1 - RECENT)
    for n in range(part * sizes.B * heads // number, (part + 1) * sizes.B * heads // number):
        offset = n // heads * sizes.text + n % heads * K * 4
        for t in range(first, sizes.Tk - 1):
            fetch(keys + offset + t * sizes.row, K * 4)
            fetch(values + offset + t * sizes.row, K * 4)
