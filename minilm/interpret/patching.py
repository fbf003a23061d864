"""Which part of a model a prediction depends on: by taking parts out, and by moving them from one text into another.

Attention maps and gradients show what could matter; to find what does, change it. F is one number that the model says: the
log-probability of an answer at one place, or how much the answer's logit is above another one's (the foil)::

    ablation            F - F(with part c of layer l replaced by zero, or by its mean over the text)
    activation patching F(corrupted text, with a_c[l, t] taken from the clean text)
    attribution patching   sum_d ∂F/∂a_c[l, t, d] (a_clean - a_corrupted)[l, t, d]            the first order of it

Patching is normalised: 0 is the corrupted run, 1 the clean one. A part that alone carries the answer brings back 1. One
activation patch needs a forward pass each, L T of them; attribution patching needs one forward and one backward pass for all,
and is wrong where F bends between the two texts.

References: P. Michel, O. Levy, G. Neubig, Are sixteen heads really better than one?, NeurIPS 2019 (ablation of heads); J. Vig et
al., Investigating gender bias in language models using causal mediation analysis, NeurIPS 2020; K. Meng et al., Locating and
editing factual associations in GPT, NeurIPS 2022 (activation patching); N. Nanda, Attribution patching, 2023; J. Kramár et al.,
AtP*, arXiv:2403.00745 (where it is wrong).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.components import Component, components_of
from minilm.interpret.probes import Explained, Probe, probe_of, untouched
from minilm.interpret.surprisal import chunks, log_probabilities
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
    component: str = "heads",
    value: str = "zero",
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Ablation:
    """Take out one part after another, at all places of the text.

    Parameters
    ----------
    model : GPT or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    component : {"stream", "attn", "mlp", "heads", "neurons"}
        See `minilm.interpret.components`.
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
    parts = components_of(probe, component)
    with hooks(probe.model, [part.hook for part in parts]) as seen:
        output = measure(ids[None])[0]
    effects = []
    for part in parts:
        slices = part.slices(part.of(seen).shape[-1])
        row = []
        for rows in chunks(probe, len(slices), len(ids)):
            ablated = slices[rows]

            def without(activation, ablated=ablated):  # (n, T, width): row r without its slice
                activation = activation.copy()
                for number, where in enumerate(ablated):
                    old = activation[number, :, where]  # (T, size)
                    activation[number, :, where] = 0 if value == "zero" else old.mean(axis=0)
                return activation

            with hooks(probe.model, [], **{part.side: {part.hook: without}}):
                row.append(output - measure(np.repeat(ids[None], len(ablated), axis=0)))
        effects.append(np.concatenate(row))
    return Ablation([part.hook for part in parts], np.stack(effects), float(output), measure.answer)


def patch(
    model: Explained,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    component: str = "stream",
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Patching:
    """Put each part of the clean run into the corrupted one, at each place by itself.

    Parameters
    ----------
    model : GPT or BERTForPreTraining, or the `Probe` of a model
    clean, corrupted : ndarray of integers, shape (T,)
        Two texts of the same length, such as one that names the answer and one that names another.
    component, place, answer, foil, tokenizer
        As in `ablate`; without an answer it is the clean text's most probable token, and without a foil the corrupted text's if
        that is another one.

    Returns
    -------
    Patching
    """
    probe, clean, corrupted, measure, ends, seen = _pair(model, clean, corrupted, component, place, answer, foil, tokenizer)
    T, values = len(clean), []
    for part in (parts := components_of(probe, component)):
        source = part.of(seen[0])[0]  # (T, width)
        where = [(t, columns) for t in range(T) for columns in part.slices(source.shape[-1])]
        row = []
        for rows in chunks(probe, len(where), T):

            def patched(activation, pairs=where[rows], source=source):  # (n, T, width)
                activation = activation.copy()
                for number, (t, columns) in enumerate(pairs):
                    activation[number, t, columns] = source[t, columns]
                return activation

            with hooks(probe.model, [], **{part.side: {part.hook: patched}}):
                row.append(measure(np.repeat(corrupted[None], len(where[rows]), axis=0)))
        values.append(_shaped(np.concatenate(row), T, part))
    return Patching([part.hook for part in parts], _normalised(np.stack(values), *ends), *ends, measure.answer, measure.foil)


def attribution_patching(
    model: Explained,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    component: str = "stream",
    place: int = -1,
    answer: int | None = None,
    foil: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Patching:
    """`patch` to the first order, by one backward pass of the corrupted run. Parameters and result are those of `patch`."""
    probe, clean, corrupted, measure, ends, seen = _pair(model, clean, corrupted, component, place, answer, foil, tokenizer)
    parts, values = components_of(probe, component), []
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
        return self._of(self.forward(rows)[0])

    def forward(self, rows):
        """Logits (n, V) at the place, and what `backward` needs."""
        h, body = self.probe.body(self.probe.embed(rows))  # (n, T, D)
        logits, head = self.probe.head.forward(np.ascontiguousarray(h[:, self.place]))  # (n, V)
        return logits, (h, body, head)

    def _of(self, logits) -> np.ndarray:
        if self.foil is None:
            return log_probabilities(logits)[:, self.answer]
        return logits[:, self.answer].astype(np.float64) - logits[:, self.foil]

    def with_gradient(self, rows) -> float:
        """F of one text; the layers' backward runs, for hooks to see."""
        logits, (h, body, head) = self.forward(rows)
        dlogits = np.zeros_like(logits) if self.foil is not None else -np.exp(log_probabilities(logits)).astype(logits.dtype)
        dlogits[:, self.answer] += 1
        if self.foil is not None:
            dlogits[:, self.foil] -= 1
        dh = np.zeros(h.shape, h.dtype)  # (1, T, D)
        dh[:, self.place] = self.probe.head.backward(dlogits, head)
        self.probe.body_backward(dh, body)
        return float(self._of(logits)[0])


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


def _pair(model, clean, corrupted, component, place, answer, foil, tokenizer):
    """The probe, both texts, F, its values for both, and what hooks saw of both: of the corrupted run with gradients."""
    probe, clean, measure = _measured(model, clean, place, answer, foil, tokenizer)
    corrupted = probe.checked(corrupted)
    if len(corrupted) != len(clean):
        raise ValueError(f"the two texts must have as many tokens, got {len(clean)} of the clean one and {len(corrupted)}")
    if foil is None:
        other = _most_probable(probe, corrupted, measure.place)
        measure.foil = None if other == measure.answer else other
    names = [part.hook for part in components_of(probe, component)]
    with hooks(probe.model, names) as seen_clean:
        of_clean = float(measure(clean[None])[0])
    with untouched(probe.model), hooks(probe.model, names) as seen_corrupted:
        of_corrupted = measure.with_gradient(corrupted[None])
    return probe, clean, corrupted, measure, (of_clean, of_corrupted), (seen_clean, seen_corrupted)


def _difference(clean: float, corrupted: float) -> float:
    if abs(clean - corrupted) < 1e-6:
        raise ValueError(f"the model says the same of both texts (F is {clean:.4g} of each): there is nothing to bring back")
    return clean - corrupted


def _normalised(values: np.ndarray, clean: float, corrupted: float) -> np.ndarray:
    return (values - corrupted) / _difference(clean, corrupted)


def _shaped(values: np.ndarray, T: int, part: Component) -> np.ndarray:
    """(T * parts,) as (T,) or (T, parts)."""
    return values if part.parts == 1 else values.reshape(T, part.parts)
