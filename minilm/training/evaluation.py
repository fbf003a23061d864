"""How well a model predicts a text: loss, perplexity, bits a character."""

from __future__ import annotations

import numpy as np

from minilm import data, devices
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.training.masked_evaluation import evaluate_masked
from minilm.training.measures import Evaluation

__all__ = ["Evaluation", "evaluate", "evaluate_text"]

ROWS = 16  # parts of the text that are read at once
CONTEXT = 256  # tokens that each part but the first reads before its own
LOGITS = 1 << 22  # largest number of logits at once: 16 MiB


def evaluate(
    model, tokens, *, rows: int | None = None, time: int | None = None, context: int = CONTEXT, tokenizer=None, workspace=None
):
    """Mean loss of a model over a stream of tokens.

    A recurrent model's state is carried from the first token to the last. A GPT reads the stream in windows of its context, one
    after another, each by itself: the first tokens of a window are predicted from few before them.

    Parameters
    ----------
    model : RNNLanguageModel, GPT or BERTForPreTraining
        The last is measured by what it says of masked tokens: see `minilm.training.masked_evaluation`.
    tokens : array_like of int, shape (N,), N >= 2
    rows, time : int, optional
        B parts of the stream are read side by side, T tokens at a time. Without them, what suits the length of the stream and the
        size of the vocabulary: so the same text always gives the same number.
    context : int
        Every part but the first begins with the state after so many tokens before it, which do not count. For recurrent models.
    tokenizer : Tokenizer, optional
        Knows the special tokens, for models that predict masked ones.
    workspace : Workspace, optional
        Where all arrays are taken from; one of its own without it.

    Returns
    -------
    Evaluation
        Every token but the first was predicted once. ``characters`` is None: see `evaluate_text`.

    Notes
    -----
    One row alone would be the plain definition, and would take B times as long. What the rows lose is what the model remembers
    from more than `context` tokens ago at B - 1 places, which is less than float32's rounding shows for the models here.
    """
    tokens = np.asarray(tokens)
    workspace = Workspace() if workspace is None else workspace
    if model.objective == "masked":
        return evaluate_masked(model, tokens, tokenizer, time=time, workspace=workspace)
    if not model.carries_state:
        return _evaluate_windows(model, tokens, rows, time, workspace)
    M = tokens.size - 1  # targets
    rows = max(1, min(ROWS, M // 512)) if rows is None else checks.whole("rows", rows, 1, 2**31)
    time = max(1, min(128, LOGITS // (rows * model.config.vocab_size))) if time is None else checks.whole("time", time, 1, 2**31)
    state = _read_context(model, tokens, rows, time, context, workspace)
    batches = data.EvaluationBatches(tokens, rows, time)
    total = 0.0
    for ids, targets in batches:  # (B, T) each
        with workspace.step():
            loss, state = model.loss(*_there(model, ids, targets), state)
        total += float(loss) * int((targets != data.IGNORE).sum())
    return Evaluation(total / batches.total_targets, batches.total_targets, None)


def _evaluate_windows(model, tokens, rows, time, workspace) -> Evaluation:
    """The mean loss over disjoint windows, each of them read by itself."""
    time = model.context if time is None else checks.whole("time", time, 1, model.context + 1)
    time = min(time, tokens.size - 1)
    rows = max(1, min(ROWS, LOGITS // (time * model.config.vocab_size))) if rows is None else checks.whole("rows", rows, 1, 2**31)
    batches = data.EvaluationBatches(tokens, rows, time, carried=False)
    total = 0.0
    for ids, targets in batches:  # (B, T) each
        with workspace.step():
            loss = model.loss(*_there(model, ids, targets))
        total += float(loss) * int((targets != data.IGNORE).sum())
    return Evaluation(total / batches.total_targets, batches.total_targets, None)


def _read_context(model, tokens, rows: int, time: int, context: int, workspace):
    """The state with which each row begins: zeros for the first, the state after `context` tokens for the others."""
    M = tokens.size - 1
    starts = [row * M // rows for row in range(rows)]  # as EvaluationBatches cuts
    context = min(context, starts[1]) if rows > 1 else 0
    if context <= 0:
        return None
    state = None
    for begin in range(0, context, time):
        stop = min(begin + time, context)
        ids = np.zeros((rows, stop - begin), np.int64)  # (B, up to T)
        for row, start in enumerate(starts[1:], 1):
            ids[row] = tokens[start - context + begin : start - context + stop]
        with workspace.step():
            _, state = model.logits(*_there(model, ids), state, last=True)
    for part in state if isinstance(state, tuple) else (state,):
        part[:, 0] = 0  # (layers, B, H): nothing stands before the first row
    return state


def _there(model, *arrays):
    """The arrays on the model's device."""
    return devices.to_device(arrays) if model.device == "cuda" else arrays


def evaluate_text(model, tokenizer, text, tokens=None) -> Evaluation:
    """Mean loss of a model over a text.

    Parameters
    ----------
    model : RNNLanguageModel, GPT or BERTForPreTraining
    tokenizer : Tokenizer
    text : Text
        From `minilm.data.text`, or a part of it from ``split``.
    tokens : ndarray, shape (N,), optional
        Its ids, where they are at hand.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        The text holds what the tokenizer does not know, or is shorter than two tokens.
    """
    tokens = data.tokens(text, tokenizer) if tokens is None else tokens
    if tokens.size < 2:
        raise ValueError(f"{text}: it has {tokens.size} token, and to predict one needs at least 2")
    characters = max(text.length - len(tokenizer.decode(tokens[:1])), 1)
    found = evaluate(model, tokens, tokenizer=tokenizer)
    return found if model.objective == "masked" else found._replace(characters=characters)
