"""What the parts of a Transformer did for one prediction of a text: the causes that `explain` gathers for its page."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.direct import logit_attribution
from minilm.interpret.patching import ablate, patch
from minilm.interpret.probes import GPTProbe, Probe

__all__ = ["Causes", "causes"]


class Causes(NamedTuple):
    """Of the text's last prediction, in L layers of H heads over T tokens."""

    place: int  # where it is read
    answer: int  # id of the token
    foil: int | None  # id of the other one, where F is a difference of logits
    output: float  # F: log p(answer), or logit(answer) - logit(foil)
    ablation: np.ndarray  # (L, H + 1) nats that F loses without each head, and without the network in the last column
    direct: np.ndarray | None  # (L, H + 1) of the logit, what each head and network adds; None where the stream is normalised
    corrupted: np.ndarray | None  # (T,) the other text's ids
    patching: np.ndarray | None  # (L, T) share of F that each place of the stream brings back into the other text's run


def causes(
    probe: Probe, ids: np.ndarray, *, answer: int | None = None, foil: int | None = None, corrupted: ArrayLike | None = None
) -> Causes:
    """The causes of the last prediction.

    Parameters
    ----------
    probe : Probe
        Of a Transformer.
    ids : ndarray of integers, shape (T,)
    answer, foil : int, optional
        See `minilm.interpret.patching`. Without an answer it is the token in the place of a BERT's mask, and of a GPT the most
        probable next one.
    corrupted : ndarray of integers, shape (T,), optional
        Another text of the same length, to patch from this one into.
    """
    queries = probe.queries(ids)
    row, place = queries.rows[queries.row[-1]].copy(), int(queries.read[-1])  # (T,)
    if answer is None and not probe.causal:
        answer = int(ids[queries.places[-1]])
    patched = None
    if corrupted is not None:
        corrupted = probe.checked(corrupted)
        other = probe.queries(corrupted)
        run = patch(probe, row, other.rows[other.row[-1]], place=place, answer=answer, foil=foil)
        patched, answer, foil = run.values, run.answer, run.foil
    options: dict[str, Any] = {"place": place, "answer": answer, "foil": foil}
    heads = ablate(probe, row, component="heads", **options)
    options["answer"] = heads.answer
    networks = ablate(probe, row, component="mlp", **options)
    direct = None
    if isinstance(probe, GPTProbe) and probe.model.ln_f is not None:
        attribution = logit_attribution(probe, row, **options)
        direct = np.column_stack([attribution.heads, attribution.mlps])
    return Causes(
        place, heads.answer, foil, heads.output, np.column_stack([heads.effects, networks.effects]), direct, corrupted, patched
    )
