"""Direct logit attribution: what each part of a Transformer added to a logit by itself.

The residual stream at its end is a sum of what every part wrote into it::

    x_L = wte + wpe + sum_l ( sum_h head_lh W_o,hᵀ + b_o,l + mlp_l )                           (D,)
    F   = w · norm(x_L) + c        w = W_out[answer] - W_out[foil], or W_out[answer] alone     (D,)

With the scale σ of the last normalisation held at what it was in this run, the normalisation is linear, and F is the sum of one
number a part::

    norm(x) = (x - mean(x)) / σ * g + b
    F = sum_c w · ((c - mean(c)) / σ * g)  +  w · b + c

It says what a part tells the head directly; what it tells later parts, which then tell the head, counts as theirs.

Reference: N. Elhage et al., A mathematical framework for transformer circuits, 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.components import components_of
from minilm.interpret.probes import Explained, GPTProbe, probe_of
from minilm.layers.hooks import hooks
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["LogitAttribution", "logit_attribution"]


class LogitAttribution(NamedTuple):
    """What each of C parts added to F; the values sum to it."""

    names: list[str]  # "wte", "wpe", "h.0 head 0", ..., "h.0 attn bias", "h.0 mlp", ..., "constant"
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
    model : GPT with norm_first, or its `Probe`
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
    if not isinstance(probe, GPTProbe) or probe.model.ln_f is None:
        raise ValueError("logit attribution is for a GPT with norm_first, whose layers add to one residual stream up to its end")
    ids = probe.checked(ids)
    place = checks.whole("place", place, -len(ids), len(ids))
    net = probe.model
    heads, mlps = components_of(probe, "heads"), components_of(probe, "mlp")
    with hooks(net, ["ln_f", *(part.hook for part in heads + mlps)]) as seen:
        y = probe.body(probe.embed(ids[None]))[0][0, place]  # (D,)
    logits = net.lm_head(y[None])[0]  # (V,)
    answer = int(logits[: probe.named].argmax()) if answer is None else checks.whole("answer", answer, 0, probe.vocab_size)
    w = net.lm_head.weight.value[answer].astype(np.float64)  # (D,)
    output = float(logits[answer])
    if foil is not None:
        foil = checks.whole("foil", foil, 0, probe.vocab_size)
        w = w - net.lm_head.weight.value[foil]
        output -= float(logits[foil])

    x = seen.inputs["ln_f"][0, place].astype(np.float64)  # (D,) the stream at its end
    scale = net.ln_f.weight.value / np.sqrt(x.var() + net.ln_f.eps)  # (D,) g / σ
    t = place % len(ids)
    terms = {"wte": probe.table[ids[t]], "wpe": net.wpe.weight.value[t]}  # (D,) each
    for number, (block, head, mlp) in enumerate(zip(probe.blocks, heads, mlps, strict=True)):
        heads_output, W_o = head.of(seen)[0, place], block.attn.c_proj.weight.value  # (H K,), (D, H K)
        for h, columns in enumerate(head.slices(len(heads_output))):
            terms[f"h.{number} head {h}"] = W_o[:, columns].astype(np.float64) @ heads_output[columns]
        terms[f"h.{number} attn bias"] = block.attn.c_proj.bias.value
        terms[f"h.{number} mlp"] = mlp.of(seen)[0, place]
    values = {name: float(w @ ((term - term.mean()) * scale)) for name, term in terms.items()}
    values["constant"] = float(w @ net.ln_f.bias.value)
    L, H = len(heads), heads[0].parts
    return LogitAttribution(
        list(values),
        np.array(list(values.values())),
        output,
        np.array([[values[f"h.{layer} head {h}"] for h in range(H)] for layer in range(L)]),
        np.array([values[f"h.{layer} mlp"] for layer in range(L)]),
    )
