"""Which part of a model a prediction depends on: by taking parts out, and by moving them from one text into another.

Attention maps and gradients show what could matter; to find what does, change it. F is one number that the model says
(`minilm.interpret.prediction`): the log-probability of an answer at one place, or by how much the answer's logit is above that of
another token, the foil::

    ablation            F - F(with part c of layer l replaced, at all places, by zero, or by its mean over the text)
    activation patching F(corrupted text, with a_c[l, t] taken from the clean text)
    attribution patching   sum_d ∂F/∂a_c[l, t, d] (a_clean - a_corrupted)[l, t, d]            the first order of it

Patching is normalised: 0 is the corrupted run, 1 the clean one. A part that alone carries the answer brings back 1. One
activation patch needs a forward pass each, L T of them; attribution patching needs one forward and one backward pass for all,
and is wrong where F bends between the two texts. A recurrent model's gate is such a part, too: patched at step t it acts on all
steps after, which run with their own gates, as `minilm.layers.gates` has it.

References: P. Michel, O. Levy, G. Neubig, Are sixteen heads really better than one?, NeurIPS 2019 (ablation of heads); J. Vig et
al., Investigating gender bias in language models using causal mediation analysis, NeurIPS 2020; K. Meng et al., Locating and
editing factual associations in GPT, NeurIPS 2022 (activation patching); N. Nanda, Attribution patching, 2023; J. Kramár et al.,
AtP*, arXiv:2403.00745 (where it is wrong).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret import prediction
from minilm.interpret.components import Component, Edit, components_of
from minilm.interpret.probes import Explained, Probe, probe_of, untouched
from minilm.interpret.surprisal import chunks
from minilm.layers.hooks import hooks
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["Ablation", "Patching", "ablate", "attribution_patching", "patch"]

VALUES = ("zero", "mean")


class Ablation(NamedTuple):
    """What a prediction loses without each part."""

    names: list[str]  # of the L layers hooked
    effects: np.ndarray  # (L, parts) F - F without it, in nats
    output: float  # F
    answer: int  # the token's id


class Patching(NamedTuple):
    """How much of a clean run each part brings back into a corrupted one."""

    names: list[str]  # of the L layers hooked
    values: np.ndarray  # (L, T), of heads and neurons (L, T, parts): 0 as corrupted, 1 as clean
    clean: float  # F of the clean text
    corrupted: float  # F of the other
    answer: int  # the token's id
    foil: int | None


def ablate(
    model: Explained,
    ids: ArrayLike,
    *,
    component: str | None = None,
    value: str = "zero",
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Ablation:
    """Take out one part after another, at all places of the text.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    component : str, optional
        Of a Transformer "stream", "attn", "mlp", "heads" or "neurons"; of an LSTM "i", "f", "g", "o", "c" or "h", of a GRU "r",
        "z", "n" or "h", of an RNN "h", and with ".units" behind it each of the units: see `minilm.interpret.components`. Without
        it heads, or units of h.
    value : {"zero", "mean"}
        What stands in its place: zero, or its own mean over the text, which takes away what it says of one token and leaves what
        it says of all.
    place : int
        Where the model's prediction is read: the last place predicts the token after the text; for a BERT the place of a mask.
    answer, foil : int, optional
        F is log p(answer), or logit(answer) - logit(foil). Without an answer it is the most probable token.
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    Ablation
    """
    checks.option("value", value, VALUES)
    probe, ids, measure = _measured(model, ids, place, answer, foil, tokenizer)
    parts = components_of(probe, component or probe.ablated)
    with hooks(probe.model, [part.hook for part in parts]) as seen:
        output = measure(ids[None])[0]
    effects = []
    for part in parts:
        source = part.of(seen)[0]  # (T, width)
        stand_in = np.zeros_like(source[0]) if value == "zero" else source.mean(axis=0)  # (width,)
        edits = [Edit(None, columns, stand_in[columns]) for columns in part.slices(source.shape[-1])]
        effects.append(output - _with_edits(probe, measure, part, edits, ids))
    return Ablation([part.hook for part in parts], np.stack(effects), float(output), measure.answer)


def patch(
    model: Explained,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    component: str | None = None,
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Patching:
    """Put each part of the clean run into the corrupted one, at each place by itself.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    clean, corrupted : ndarray of integers, shape (T,)
        Two texts of the same length, such as one that names the answer and one that names another.
    component, place, answer, foil, tokenizer
        As in `ablate`; without a component the stream, or an LSTM's cell and the state of the others; without an answer it is
        the clean text's most probable token, and without a foil the corrupted text's if that is another one.

    Returns
    -------
    Patching
    """
    probe, clean, corrupted, measure = _pair(model, clean, corrupted, place, answer, foil, tokenizer)
    parts = components_of(probe, component or probe.patched)
    ends, seen = _both_runs(measure, parts, clean, corrupted)
    T, values = len(clean), []
    for part in parts:
        source = part.of(seen[0])[0]  # (T, width)
        edits = [Edit(t, columns, source[t, columns]) for t in range(T) for columns in part.slices(source.shape[-1])]
        values.append(_shaped(_with_edits(probe, measure, part, edits, corrupted), T, part))
    return Patching([part.hook for part in parts], _normalised(np.stack(values), *ends), *ends, measure.answer, measure.foil)


def attribution_patching(
    model: Explained,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    component: str | None = None,
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Patching:
    """`patch` to the first order, by one backward pass of the corrupted run. Parameters and result are those of `patch`."""
    probe, clean, corrupted, measure = _pair(model, clean, corrupted, place, answer, foil, tokenizer)
    parts = components_of(probe, component or probe.patched)
    ends, seen = _both_runs(measure, parts, clean, corrupted)
    values = []
    for part in parts:
        gradient, change = part.gradient(seen[1])[0], part.of(seen[0])[0] - part.of(seen[1])[0]  # (T, width) each
        product = gradient.astype(np.float64) * change
        values.append(_shaped(product.reshape(len(clean), part.parts, -1).sum(axis=2).ravel(), len(clean), part))
    return Patching([part.hook for part in parts], np.stack(values) / _difference(*ends), *ends, measure.answer, measure.foil)


# --- pieces ----------------------------------------------------------------------------------------------------------


class _Measure:
    """F of each of n texts (n, T), read at one place of each."""

    def __init__(self, probe: Probe, place: int, answer: int, foil: int | None):
        self.probe, self.place, self.answer, self.foil = probe, place, answer, foil

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self._of(self.forward(rows)[0])[0]

    def forward(self, rows):
        """Logits (n, V) at the place, and what `backward` needs."""
        h, body = self.probe.body(self.probe.embed(rows))  # (n, T, D)
        logits, head = self.probe.head.forward(np.ascontiguousarray(h[:, self.place]))  # (n, V)
        return logits, (h, body, head)

    def _of(self, logits):
        """F (n,) of logits (n, V), and what its backward needs."""
        return prediction.forward(logits, self.answer, self.foil)

    def with_gradient(self, rows) -> float:
        """F of one text; the layers' backward runs, for hooks to see."""
        logits, (h, body, head) = self.forward(rows)
        F, saved = self._of(logits)  # (1,)
        dh = np.zeros(h.shape, h.dtype)  # (1, T, D)
        dh[:, self.place] = self.probe.head.backward(prediction.backward(saved), head)
        self.probe.body_backward(dh, body)
        return float(F[0])


def _measured(model, ids, place, answer, foil, tokenizer) -> tuple[Probe, np.ndarray, _Measure]:
    probe = probe_of(model, tokenizer)
    ids = probe.checked(ids)
    place = checks.whole("place", place, -len(ids), len(ids))
    if answer is None:
        answer = _most_probable(probe, ids, place)
    for name, id in (("answer", answer), ("foil", foil)):
        if id is not None:
            checks.whole(name, id, 0, probe.vocab_size)
    if foil is not None and foil == answer:
        raise ValueError(f"foil must be another token than the answer, got {foil} for both")
    return probe, ids, _Measure(probe, place, answer, foil)


def _most_probable(probe: Probe, ids, place: int) -> int:
    return int(_Measure(probe, place, 0, None).forward(ids[None])[0][0, : probe.named].argmax())


def _pair(model, clean, corrupted, place, answer, foil, tokenizer):
    """The probe, both texts, and F."""
    probe, clean, measure = _measured(model, clean, place, answer, foil, tokenizer)
    corrupted = probe.checked(corrupted)
    if len(corrupted) != len(clean):
        raise ValueError(f"the two texts must have as many tokens, got {len(clean)} of the clean one and {len(corrupted)}")
    if foil is None:
        other = _most_probable(probe, corrupted, measure.place)
        measure.foil = None if other == measure.answer else other
    return probe, clean, corrupted, measure


def _both_runs(measure: _Measure, parts: list[Component], clean, corrupted):
    """F of both texts, and what hooks saw of both runs: of the corrupted one with gradients."""
    model, names = measure.probe.model, [part.hook for part in parts]
    with hooks(model, names) as seen_clean:
        of_clean = float(measure(clean[None])[0])
    with untouched(model), hooks(model, names) as seen_corrupted:
        of_corrupted = measure.with_gradient(corrupted[None])
    return (of_clean, of_corrupted), (seen_clean, seen_corrupted)


def _with_edits(probe: Probe, measure: _Measure, part: Component, edits: list[Edit], ids) -> np.ndarray:
    """F of one text, (N,), with each of N edits of a part by itself."""
    values = []
    for rows in chunks(probe, len(edits), len(ids)):
        with hooks(probe.model, [], **part.edited(edits[rows])):
            values.append(measure(np.repeat(ids[None], len(edits[rows]), axis=0)))
    return np.concatenate(values)


def _difference(clean: float, corrupted: float) -> float:
    if abs(clean - corrupted) < 1e-6:
        raise ValueError(f"the model says the same of both texts (F is {clean:.4g} of each): there is nothing to bring back")
    return clean - corrupted


def _normalised(values: np.ndarray, clean: float, corrupted: float) -> np.ndarray:
    return (values - corrupted) / _difference(clean, corrupted)


def _shaped(values: np.ndarray, T: int, part: Component) -> np.ndarray:
    """(T * parts,) as (T,) or (T, parts)."""
    return values if part.parts == 1 else values.reshape(T, part.parts)
