"""Why a memory network gave its answer: what each hop read from each sentence.

The last state is a sum, and the scores are linear in it, so that the parts are exact (`minilm.models.MemoryNetwork`)::

    u_K = H^K u_0 + sum_k H^(K-1-k) sum_i p_ki c_ki                H = 1 where tables are tied "adjacent"
    F   = w · u_K        w = W[answer] - W[foil]
        = w · H^K u_0    (the question)    + sum_i sum_k p_ki w · H^(K-1-k) c_ki    (sentence i, read by hop k)

Where a hop looks (p) depends on the question and on what the hops before it read: that counts as theirs here. An empty place
counts as one more sentence, which has no words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.interpret.surprisal import log_probabilities
from minilm.interpret.tasks.decisions import Decision, Decisions, check_device, most_probable
from minilm.layers.summary import in_a_line
from minilm.models import MemoryNetwork

__all__ = ["explain_story"]

ABOUT = "What each sentence added to the score of the answer, less that of the next best: blue speaks for it, red against it."


def explain_story(
    model: MemoryNetwork,
    story: np.ndarray,
    question: np.ndarray,
    sentences: Sequence[str],
    answers: Sequence[tuple[str, int]],
    *,
    text: str = "",
    answer: str | None = None,
    foil: str | None = None,
) -> Decisions:
    """Explain an answer to a question about a story.

    Parameters
    ----------
    model : MemoryNetwork
    story, question : ndarray of integers, shapes (M, J) and (Q,)
    sentences : list of str
        M.
    answers : list of (str, int)
        The words that are answers, with their ids.
    text : str
    answer, foil : str, optional
        The most probable and the next one without them.

    Raises
    ------
    ValueError
        If `foil` is the answer that is explained.
    """
    check_device(model)
    names, ids = [name for name, _ in answers], np.array([id for _, id in answers])  # (A,)
    _, saved = model.forward(story[None], question[None], ids[:1])
    hops = saved.hops
    log_p = log_probabilities(model.read(story[None], question[None]).logits[:, ids])[0]  # (A,)
    order = np.argsort(-log_p, kind="stable")  # (A,)
    chosen = order[0] if answer is None else _place_of(names, answer)
    rest = [number for number in order if number != chosen]
    other = rest[0] if foil is None else _place_of(names, foil)
    if chosen == other:
        raise ValueError(f"the foil must be another answer, got {names[other]!r} for both")
    W = model.output.weight.value  # (V, D)
    w = (W[ids[chosen]] - W[ids[other]]).astype(np.float64)  # (D,)
    H = None if model.hop is None else model.hop.weight.value.astype(np.float64)  # (D, D)
    looked = np.stack([hop.p[0] for hop in hops])  # (K, M), with an empty place (K, M + 1)
    read = np.zeros(looked.shape)  # likewise
    for k in reversed(range(len(hops))):
        read[k] = looked[k] * (hops[k].c[0].astype(np.float64) @ w)
        w = w if H is None else w @ H
    of_question = float(w @ hops[0].u[0])
    output = of_question + float(read.sum())
    looked, read, empty = looked[:, : len(sentences)], read[:, : len(sentences)], read[:, len(sentences) :]
    shares = [("the question", of_question), *((f"hop {k + 1}", float(row.sum())) for k, row in enumerate(read))]
    shares += [("the empty place", float(empty.sum()))] * model.empty_place
    choices = most_probable(np.exp(log_p), names.__getitem__)
    measure = f"score({names[chosen]}) − score({names[other]})"
    decision = Decision(
        "answer", names[chosen], names[other], measure, output, float("nan"), read.sum(axis=0), 0.0, 0, choices, shares
    )
    rows = [f"hop {k + 1}" for k in range(len(hops))]
    maps = {"where each hop looked": looked, "what each hop read adds": read}
    return Decisions(text, names[chosen], in_a_line(model), list(sentences), [decision], maps, rows, about=ABOUT)


def _place_of(names, name: str) -> int:
    if name not in names:
        raise ValueError(f"{name!r} is no answer that the model knows; it knows {', '.join(names)}")
    return names.index(name)
