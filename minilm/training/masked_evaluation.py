"""How well a model guesses masked tokens: loss and accuracy, and of next sentences the accuracy."""

from __future__ import annotations

import contextlib

import numpy as np

from minilm import data, devices
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.training.measures import Evaluation

__all__ = ["evaluate_masked"]

ROWS = 32
PAIRS = ("bert.pooler.", "cls.seq_relationship.")  # what judges next sentences: a published model may lack it


def evaluate_masked(model, tokens, tokenizer, *, time: int | None = None, workspace: Workspace) -> Evaluation:
    """Measure a model on pairs of segments of a stream, masked as in pretraining.

    Parameters
    ----------
    model : BERTForPreTraining
    tokens : ndarray of integers, shape (N,)
    tokenizer : Tokenizer
        With the special tokens.
    time : int, optional
        T; the model's context without it.
    workspace : Workspace
        Where all arrays are taken from.

    Returns
    -------
    Evaluation
        Of as many batches as read N tokens, always the same ones: those of seed 0. ``loss`` is that of masked tokens.

    Raises
    ------
    TypeError
        If there is no tokenizer.
    """
    if tokenizer is None:
        raise TypeError("a model of masked tokens is evaluated with its tokenizer, got None")
    time = min(model.context, tokens.size) if time is None else checks.whole("time", time, 8, model.context + 1)
    batches = data.PretrainingBatches(tokens, ROWS, time, data.MaskingIds.of(tokenizer), seed=0)
    scores = []
    with devices.ids_are_checked() if model.device == "cuda" else contextlib.nullcontext():  # batches are made of what was
        for step in range(batches.epoch_steps):
            batch = batches.batch(step)
            if model.device == "cuda":
                batch = devices.to_device((*batch, data.masked_places(batch[1])))
            with workspace.step():
                scores.append(model.score(*batch))
    count = sum(score.masked for score in scores)
    loss = float(np.dot([score.loss for score in scores], [score.masked for score in scores])) / count
    hits, next_hits = sum(score.hits for score in scores), sum(score.next_hits for score in scores)
    judges = not any(name.startswith(PAIRS) for name in model.new_parameters)
    return Evaluation(loss, count, None, hits / count, next_hits / (ROWS * len(scores)) if judges else None)
