"""Scaled dot-product attention of several heads. Formulas: `minilm.ops.attention.spec`."""

from __future__ import annotations

import math

from minilm import devices
from minilm.ops import checks
from minilm.ops.attention.spec import Output, Saved
from minilm.ops.contract import call
from minilm.ops.philox.spec import MOST
from minilm.random import Key
from minilm.typing import Array

__all__ = ["Output", "Saved", "backward", "forward"]


def forward(
    query: Array,
    key: Array,
    value: Array,
    *,
    causal: bool = False,
    band: int | None = None,
    key_mask: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
    rng: Key | None = None,
    return_weights: bool = False,
) -> tuple[Array | Output, Saved]:
    """For every query a mean of the values, weighted by how well their keys fit it.

    .. math:: y_i = \\sum_j P_{i,j} value_j, \\qquad P_i = \\mathrm{softmax}_j(scale \\; query_i \\cdot key_j)

    for every batch row and head, over the keys j that query i sees. The weights are never stored: memory grows with Tq + Tk.

    Parameters
    ----------
    query : ndarray, shape (B, Tq, H, K), float32 or float64
        Any view whose last axis is contiguous is read in place: a slice of a projection to (B, T, 3, H, K), for one.
    key : ndarray, shape (B, Tk, G, K)
        Likewise. G divides H: each head of keys and values serves H / G heads of queries that follow one another.
    value : ndarray, shape (B, Tk, G, Kv)
        Likewise; Kv is K as a rule.
    causal : bool
        Query i sees only the keys j <= i + Tk - Tq. The ends are aligned, so that it holds for a few new queries and the keys
        of all positions so far.
    band : int, optional
        With `causal`, only the last `band` keys of those; without, only the keys with abs(i - j) < `band`. At least 1.
    key_mask : ndarray of bool, shape (B, Tk), optional
        True where a key may be attended: Hugging Face's attention_mask. A query that sees no key gives zeros.
    scale : float, optional
        Of the scores; 1 / sqrt(K) without it.
    softcap : float, optional
        Above 0: a score s becomes softcap tanh(s / softcap).
    dropout : float
        In [0, 1]: probability for a weight to be dropped; the others are divided by 1 - dropout.
    rng : minilm.random.Key, optional
        Which random numbers dropout uses: what `minilm.ops.dropout` calls ``key``, a name that is taken here.
    return_weights : bool
        True to have the weights too, for study.

    Returns
    -------
    y : ndarray, shape (B, Tq, H, Kv)
        With `return_weights` an `Output` of y and the weights, (B, H, Tq, Tk), as they are before dropout.
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If an array is none of float32 or float64, the dtypes differ, or an option is of a wrong kind.
    ValueError
        If the shapes do not fit, an option is out of range, or there is dropout and no `rng`.
    """
    query = _heads("query", query, (None, None, None, None), letters="(B, Tq, H, K)")
    B, Tq, H, K = query.shape
    if K == 0:
        raise ValueError(f"query must have heads of a width K of at least 1, got {checks.describe(query)}")
    key = _heads("key", key, (B, None, None, K), query.dtype, "(B, Tk, G, K)")
    Tk, G = key.shape[1:3]
    if H % G if G else H:
        raise ValueError(f"key must have heads whose number divides the {H} of query, got {checks.describe(key)}")
    value = _heads("value", value, (B, Tk, G, None), query.dtype, "(B, Tk, G, Kv)")
    options = {
        "causal": checks.flag("causal", causal),
        "band": None if band is None else checks.whole("band", band, 1, 2**62),
        "key_mask": None if key_mask is None else checks.booleans("key_mask", key_mask, (B, Tk), "(B, Tk)"),
        "scale": 1 / math.sqrt(K) if scale is None else _finite("scale", scale),
        "softcap": None if softcap is None else checks.number("softcap", softcap, 0, math.inf, low_open=True, high_open=True),
        "dropout": checks.number("dropout", dropout, 0, 1),
        "rng": None if rng is None else checks.random_key(rng),
        "return_weights": checks.flag("return_weights", return_weights),
    }
    if options["dropout"] > 0:
        if rng is None:
            raise ValueError(f"rng must be a minilm.random.Key where dropout is {dropout}, got None")
        if B * H * Tq * Tk > MOST:
            raise ValueError(f"query and key must have at most {MOST} weights with dropout, got {(B, H, Tq, Tk)}")
    return call(__name__, "forward", query, key, value, **options)


def backward(dy: Array, saved: Saved, *, out: tuple[Array, Array, Array] | None = None) -> tuple[Array, Array, Array]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (B, Tq, H, Kv)
        Gradient of the loss by y. The weights, if they were asked for, are for study and carry no gradient.
    saved : Saved
        From `forward`.
    out : tuple of three ndarray, optional
        Where to write the gradients, and what is returned: any views whose last axis is contiguous, such as slices of one array
        (B, T, 3, H, K), which then goes back through a projection without a copy.

    Returns
    -------
    dquery : ndarray, shape (B, Tq, H, K)
    dkey : ndarray, shape (B, Tk, G, K)
    dvalue : ndarray, shape (B, Tk, G, Kv)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype, or an array of `out` those of its input.
    """
    dy = _heads("dy", dy, saved.y.shape, saved.y.dtype, "(B, Tq, H, Kv)")
    for place, of in () if out is None else zip(out, saved[:3], strict=True):
        if place.dtype != of.dtype or devices.on_gpu(place) != devices.on_gpu(of):
            raise TypeError(f"out must hold {checks.describe(of)} on the device of the inputs, got {checks.describe(place)}")
        if place.shape != of.shape or place.strides[-1] != place.itemsize:
            raise ValueError(f"out must hold {checks.describe(of)}, its last axis contiguous, got {checks.describe(place)}")
    return call(__name__, "backward", dy, saved, out=out)


def _heads(name, array, shape, dtype=None, letters=""):
    """An array of four axes, of which the last must be contiguous; copied where it is not, or not aligned."""
    array = checks.floats(name, array, dtype)
    checks.check_shape(name, array, shape, letters)
    ready = devices.on_gpu(array) or array.flags.aligned
    return array if ready and (array.strides[-1] == array.itemsize or array.shape[-1] == 1) else checks.kernel_ready(array)


def _finite(name, value) -> float:
    return checks.number(name, value, -math.inf, math.inf, low_open=True, high_open=True)


def __dir__() -> list[str]:
    return sorted(__all__)
