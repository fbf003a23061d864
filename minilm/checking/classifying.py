"""The cases of `minilm gradcheck` for what labels texts and words; as `minilm.checking.modules`, which has the others."""

from __future__ import annotations

import functools

import numpy as np

from minilm.layers import CRF, AttentionPooling, MeanPooling

__all__ = ["LAYERS", "MODELS"]

F64 = np.float64


def _moved(thing, rng):
    """`thing` with all parameters drawn anew, of either sign and none near zero."""
    for value in thing.parameters.values():
        value[...] = rng.uniform(0.2, 0.8, value.shape) * rng.choice([-1.0, 1.0], value.shape)
    return thing


def _mask(rows):
    """Rows of "1" and "0" as an array of bool."""
    return None if rows is None else np.array([[c == "1" for c in row] for row in rows])


def _crf(*, B=2, T=4, K=3, lengths=None):
    rng = np.random.default_rng(21)
    layer = _moved(CRF(K, dtype=F64), rng)
    given = {} if lengths is None else {"lengths": np.array(lengths)}
    return layer, (rng.standard_normal((B, T, K)), rng.integers(0, K, (B, T))), given


def _pooling(kind, *, B=2, T=3, D=4, mask=None, **options):
    rng = np.random.default_rng(22)
    layer = kind() if kind is MeanPooling else _moved(kind(D, dtype=F64, **options), rng)
    return layer, (rng.standard_normal((B, T, D)),), {"mask": _mask(mask)}


def _cases(build, cases, **more):
    return {label: functools.partial(build, **{**more, **options}) for label, options in cases.items()}


_POOLS = {"whole": {}, "padded": {"mask": ("110", "111")}, "nothing counts": {"mask": ("101", "000")}}

LAYERS = {
    "CRF": _cases(
        _crf,
        {
            "whole": {},
            "lengths": {"lengths": (3, 1)},
            "one step": {"T": 1},
            "one tag": {"K": 1},
            "larger": {"B": 5, "T": 9, "K": 7, "lengths": (9, 1, 4, 8, 2)},
        },
    ),
    "MeanPooling": _cases(_pooling, _POOLS, kind=MeanPooling),
    "AttentionPooling": _cases(_pooling, {**_POOLS, "narrow": {"attention_size": 2, "D": 5}}, kind=AttentionPooling),
}
MODELS = {}
