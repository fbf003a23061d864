"""Cross-entropy and its gradient in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.cross_entropy.spec import Saved


def forward(logits, targets, weight=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean", gradient=True):
    V = logits.shape[-1]
    w = np.ones(V, logits.dtype) if weight is None else weight  # (V,)
    kept = targets != ignore_index  # (...)
    t = np.where(kept, targets, 0)  # (...)
    logits = np.where(kept[..., None], logits, 0)  # (..., V)

    z = logits - logits.max(axis=-1, keepdims=True)  # (..., V)
    log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))  # (..., V)
    a = (1 - label_smoothing) * w[t]  # (...) what the target class has for itself
    b = label_smoothing / V * w  # (V,) what every class has
    loss = -a * np.take_along_axis(log_p, t[..., None], axis=-1)[..., 0]  # (...)
    if label_smoothing > 0:  # else 0 * -inf would stand here
        loss = loss - (b * log_p).sum(axis=-1)  # (...)
    loss = np.where(kept, loss, 0)  # (...)

    q = a[..., None] * (np.arange(V) == t[..., None]) + b  # (..., V)
    dlogits = q.sum(axis=-1, keepdims=True) * np.exp(log_p) - q  # (..., V)
    dlogits = np.where(kept[..., None], dlogits, 0)  # (..., V)

    S = np.where(kept, w[t], 0).sum()  # () in the mean a row counts by the weight of its target
    if reduction != "none":
        loss = loss.sum(dtype=np.float64)  # ()
    if reduction == "mean":
        with np.errstate(invalid="ignore"):  # 0 / 0 where all rows are ignored
            loss = loss / S  # ()
        dlogits = dlogits / S if kept.any() else dlogits  # (..., V)
    saved = Saved(dlogits.astype(logits.dtype) if gradient else None, reduction)
    return np.asarray(loss, logits.dtype) if reduction == "none" else logits.dtype.type(loss), saved


def backward(dloss, saved):
    return dloss[..., None] * saved.dlogits  # (..., V); a dloss without axes gives one factor to all
