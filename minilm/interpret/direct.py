"""Direct logit attribution: what each part of a Transformer added to a logit by itself.

The residual stream at its end is a sum of what every part wrote into it::

    x_L = embedding + sum_l ( sum_h head_lh W_o,hᵀ + b_o,l + mlp_l )                           (D,)
    F   = w · norm(x_L) + c        w = W_out[answer] - W_out[foil], or W_out[answer] alone     (D,)

With the scale σ of the last normalisation held at what it was in this run, the normalisation is linear, and F is the sum of one
number a part::

    norm(x) = (x - mean(x)) / σ * g + b          a Llama's takes no mean off, and has no b
    F = sum_c w · ((c - mean(c)) / σ * g)  +  w · b + c

It says what a part tells the head directly; what it tells later parts, which then tell the head, counts as theirs.

Reference: N. Elhage et al., A mathematical framework for transformer circuits, 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.components import components_of
from minilm.interpret.probes import Explained, TransformerProbe, probe_of
from minilm.layers import Layer, RMSNorm
from minilm.layers.hooks import hooks
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["LogitAttribution", "logit_attribution"]


class LogitAttribution(NamedTuple):
    """What each of C parts added to F; the values sum to it."""

    names: list[str]  # "wte", "wpe", "h.0 head 0", ..., "h.0 attn bias", "h.0 mlp", ..., "constant"; by a Llama's own names
    values: np.ndarray  # (C,)
    output: float  # F, as the model computes it
    heads: np.ndarray  # (L, H) the heads' alone
    mlps: np.ndarray  # (L,)


def logit_attribution(
    model: Explained,
    ids: ArrayLike,
    *,
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> LogitAttribution:
    """Take a logit, or a difference of two, apart.

    Parameters
    ----------
    model : GPT with norm_first, or Llama (no Gemma 2), or its `Probe`
    ids : ndarray of integers, shape (T,)
    place : int
        Where the prediction is read.
    answer, foil : int, optional
        F = logit(answer), less logit(foil). Without an answer it is the most probable token.
    tokenizer : Tokenizer, optional

    Returns
    -------
    LogitAttribution

    Raises
    ------
    ValueError
        For a model whose stream is normalised on its way: its parts are no terms of a sum.
    """
    probe = probe_of(model, tokenizer)
    reason = probe.no_sum if isinstance(probe, TransformerProbe) else "it has no residual stream"
    if reason is not None:
        raise ValueError(
            f"logit attribution is for a GPT with norm_first or a Llama, whose parts add to one stream; of this model: {reason}"
        )
    ids = probe.checked(ids)
    place = checks.whole("place", place, -len(ids), len(ids)) % len(ids)
    names = {id(layer): name for name, layer in probe.model.named_layers()}
    heads, mlps, norm = components_of(probe, "heads"), components_of(probe, "mlp"), names[id(probe.last_norm)]
    with hooks(probe.model, [norm, *(part.hook for part in heads + mlps)]) as seen:
        y = probe.body(probe.embed(ids[None]))[0][0, place]  # (D,)
    logits, W_out = probe.head(y[None])[0], probe.unembedding  # (V,), (V, D)
    answer = int(logits[: probe.named].argmax()) if answer is None else checks.whole("answer", answer, 0, probe.vocab_size)
    w, output = W_out[answer].astype(np.float64), float(logits[answer])  # (D,)
    if foil is not None:
        foil = checks.whole("foil", foil, 0, probe.vocab_size)
        w, output = w - W_out[foil], output - float(logits[foil])

    terms, labels = probe.starts(ids, place), [names[id(block)] for block in probe.blocks]  # (D,) each
    for label, block, head, mlp in zip(labels, probe.blocks, heads, mlps, strict=True):
        projection, heads_output = probe.parts(block).heads, head.of(seen)[0, place]  # (H K,)
        for h, columns in enumerate(head.slices(len(heads_output))):
            terms[f"{label} head {h}"] = projection.weight.value[:, columns].astype(np.float64) @ heads_output[columns]
        if projection.bias is not None:
            terms[f"{label} attn bias"] = projection.bias.value
        terms[f"{label} mlp"] = mlp.of(seen)[0, place]
    scaled, constant = _linear(probe.last_norm, seen.inputs[norm][0, place])
    values = {name: float(w @ scaled(term)) for name, term in terms.items()}
    values["constant"] = float(w @ constant)
    return LogitAttribution(
        list(values),
        np.array(list(values.values())),
        output,
        np.array([[values[f"{label} head {h}"] for h in range(heads[0].parts)] for label in labels]),
        np.array([values[f"{label} mlp"] for label in labels]),
    )


def _linear(norm: Layer, x: np.ndarray):
    """What a normalisation makes of each term of a sum, with the scale that it has for x (D,), and its constant (D,)."""
    x, weight = x.astype(np.float64), norm.weight.value
    if isinstance(norm, RMSNorm):
        scale = (1 + weight if norm.unit_offset else weight) / np.sqrt((x**2).mean() + norm.eps)  # (D,) g / σ
        return lambda term: term * scale, np.zeros_like(x)
    scale = weight / np.sqrt(x.var() + norm.eps)  # (D,)
    return lambda term: (term - term.mean()) * scale, norm.bias.value
