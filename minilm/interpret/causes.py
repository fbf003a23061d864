"""What the parts of a model did for one prediction of a text: the causes that `explain` gathers for its page."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.direct import logit_attribution
from minilm.interpret.patching import ablate, patch
from minilm.interpret.probes import Probe, TransformerProbe

__all__ = ["Causes", "causes"]

TITLES = {"g": "candidate g", "n": "candidate n", "c": "cell c", "h": "state h"}  # of what is no gate


class Causes(NamedTuple):
    """Causes of the last prediction of a text of T tokens, in L layers with C columns."""

    place: int  # where it is read
    answer: int  # id of the token
    foil: int | None  # id of the other one, where F is a difference of logits
    output: float  # F: log p(answer), or logit(answer) - logit(foil)
    columns: list[str]  # "head 1", ..., "network"; of a recurrent model "gate i", "gate f", ..., "cell c", "state h"
    ablation: np.ndarray  # (L, C) nats that F loses without each: a head or network set to zero, a gate to its mean over the text
    direct: np.ndarray | None  # (L, C) of the logit, what each head and network adds; None where there is no such sum
    corrupted: np.ndarray | None  # (T,) the other text's ids
    patched: str  # what is patched: "stream", "c" or "h"
    patching: np.ndarray | None  # (L, T) share of F that each place of it brings back into the other text's run


def causes(
    probe: Probe, ids: np.ndarray, *, answer: int | None = None, foil: int | None = None, corrupted: ArrayLike | None = None
) -> Causes:
    """The causes of the last prediction.

    Parameters
    ----------
    probe : Probe
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
    if isinstance(probe, TransformerProbe):
        columns, ablation, direct, (answer, output) = _of_heads(probe, row, options)
    else:
        columns, direct = [TITLES.get(gate, f"gate {gate}") for gate in probe.gates], None
        gates = [ablate(probe, row, component=gate, value="mean", **options) for gate in probe.gates]
        ablation, answer, output = np.column_stack([each.effects for each in gates]), gates[0].answer, gates[0].output
    return Causes(place, answer, foil, output, columns, ablation, direct, corrupted, probe.patched, patched)


def _of_heads(probe: TransformerProbe, row, options):
    """Columns, ablation and direct of `Causes`; the answer and F."""
    heads = ablate(probe, row, component="heads", **options)
    options = {**options, "answer": heads.answer}
    networks = ablate(probe, row, component="mlp", **options)
    columns = [*(f"head {number}" for number in range(1, 1 + heads.effects.shape[1])), "network"]
    direct = None
    if probe.no_sum is None:
        attribution = logit_attribution(probe, row, **options)
        direct = np.column_stack([attribution.heads, attribution.mlps])
    return columns, np.column_stack([heads.effects, networks.effects]), direct, (heads.answer, heads.output)
