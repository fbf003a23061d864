"""How well a model predicts a text of tokens x_0 ... x_N, of which x_1 ... x_N stand for C characters.

::

    loss               L = -1/N sum_t log p(x_t | tokens before it)    t = 1 ... N, in nats a token
    perplexity         exp(L)                                          a choice among so many equally probable tokens has loss L
    bits a character   N L / (C log 2)                                 compares models of different tokens

A recurrent model has read all tokens before x_t; a GPT or a Llama has read those in its window. A BERT predicts tokens that are
masked: L is the mean over these, and beside it stands the accuracy, the share of them that it finds most probable.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm import data, devices
from minilm.data.texts import Text
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.tokenizers import Tokenizer

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["Evaluation", "evaluate", "evaluate_masked", "evaluate_text"]

ROWS = 16  # parts of the text that are read at once
CONTEXT = 256  # tokens that each part but the first reads before its own
LOGITS = 1 << 22  # largest number of logits at once: 16 MiB
MASKED_ROWS = 32
PAIRS = ("bert.pooler.", "cls.seq_relationship.")  # what judges next sentences: a published model may lack it


class Evaluation(NamedTuple):
    """How well a model predicts a text."""

    loss: float  # mean negative log likelihood, nats a token
    tokens: int  # targets: every token but the first
    characters: int | None  # that these stand for
    accuracy: float | None = None  # of masked tokens, for models that predict those
    next_sentence_accuracy: float | None = None  # likewise

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """Bits a character of the text. Unknown words count as the token <unk>."""
        return self.loss * self.tokens / math.log(2) / self.characters if self.characters else None

    def to_dict(self) -> dict:
        """Plain values by name."""
        measures = {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "tokens": self.tokens,
            "characters": self.characters,
        }
        if self.accuracy is not None:
            measures |= {"accuracy": self.accuracy, "next_sentence_accuracy": self.next_sentence_accuracy}
        return measures

    def summary(self, unit: str) -> str:
        """In one line; `unit` is what a token is called."""
        if self.accuracy is not None:
            pairs = self.next_sentence_accuracy
            line = f"loss {self.loss:.4f} nats a masked token, {self.accuracy:.1%} of them guessed"
            return line if pairs is None else f"{line}, {pairs:.1%} of next sentences"
        line = f"loss {self.loss:.4f} nats a {unit}, perplexity {self.perplexity:.2f}"
        return line if self.bits_per_character is None else f"{line}, {self.bits_per_character:.4f} bits a character"


def evaluate(
    model: LanguageModel,
    tokens: ArrayLike,
    *,
    rows: int | None = None,
    time: int | None = None,
    context: int = CONTEXT,
    tokenizer: Tokenizer | None = None,
) -> Evaluation:
    """Mean loss of a model over a stream of tokens.

    A recurrent model's state is carried from the first token to the last. A GPT or a Llama reads the stream in windows of its
    context, one after another, each by itself: the first tokens of a window are predicted from few before them.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining
        The last is measured by what it says of masked tokens: see `evaluate_masked`.
    tokens : array_like of int, shape (N,), N >= 2
    rows, time : int, optional
        B parts of the stream are read side by side, T tokens at a time. Without them, what suits the length of the stream and the
        size of the vocabulary: so the same text always gives the same number.
    context : int
        Every part but the first begins with the state after so many tokens before it, which do not count. For recurrent models.
    tokenizer : Tokenizer, optional
        Knows the special tokens, for models that predict masked ones.

    Returns
    -------
    Evaluation
        Every token but the first was predicted once. ``characters`` is None: see `evaluate_text`.

    Raises
    ------
    TypeError, ValueError
        If the model has no ``objective``, `tokens` holds no integers or fewer than two, or `rows` or `time` is out of range.

    Notes
    -----
    One row alone would be the plain definition, and would take B times as long. What the rows lose is what the model remembers
    from more than `context` tokens ago at B - 1 places, which is less than float32's rounding shows for the models here.
    """
    tokens = checks.integers("tokens", np.asarray(tokens), (None,), "(N,)")
    if tokens.size < 2:
        raise ValueError(f"tokens must hold two at least, of which the second is predicted, got {tokens.size}")
    if not hasattr(model, "objective"):
        raise TypeError(f"model must be a minilm.training.LanguageModel, which has an objective, got {checks.describe(model)}")
    if model.objective == "masked":
        return evaluate_masked(model, tokens, tokenizer, time=time)
    if not model.carries_state:
        return _evaluate_windows(model, tokens, rows, time)
    return _evaluate_carried(model, tokens, rows, time, context)


def _evaluate_carried(model, tokens, rows: int | None, time: int | None, context: int) -> Evaluation:
    """The mean loss of a model whose state is carried from one batch to the next."""
    M = tokens.size - 1  # targets
    rows = max(1, min(ROWS, M // 512)) if rows is None else checks.whole("rows", rows, 1, 2**31)
    time = max(1, min(128, LOGITS // (rows * model.config.vocab_size))) if time is None else checks.whole("time", time, 1, 2**31)
    workspace = Workspace()
    state = _read_context(model, tokens, rows, time, context, workspace)
    batches = data.EvaluationBatches(tokens, rows, time)
    total = 0.0
    for ids, targets in batches:  # (B, T) each
        with workspace.step():
            loss, state = model.loss(*on_device(model, ids, targets), state)
        total += float(loss) * int((targets != data.IGNORE).sum())
    return Evaluation(total / batches.total_targets, batches.total_targets, None)


def _evaluate_windows(model, tokens, rows: int | None, time: int | None) -> Evaluation:
    """The mean loss over disjoint windows, each of them read by itself."""
    time = model.context if time is None else checks.whole("time", time, 1, model.context + 1)
    time = min(time, tokens.size - 1)
    rows = max(1, min(ROWS, LOGITS // (time * model.config.vocab_size))) if rows is None else checks.whole("rows", rows, 1, 2**31)
    batches = data.EvaluationBatches(tokens, rows, time, carried=False)
    workspace, total = Workspace(), 0.0
    for ids, targets in batches:  # (B, T) each
        with workspace.step():
            loss = model.loss(*on_device(model, ids, targets))
        total += float(loss) * int((targets != data.IGNORE).sum())
    return Evaluation(total / batches.total_targets, batches.total_targets, None)


def _read_context(model, tokens, rows: int, time: int, context: int, workspace: Workspace):
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
            _, state = model.logits(*on_device(model, ids), state, last=True)
    for part in state if isinstance(state, tuple) else (state,):
        part[:, 0] = 0  # (layers, B, H): nothing stands before the first row
    return state


def on_device(model, *arrays):
    """The arrays on the model's device."""
    return devices.to_device(arrays) if model.device == "cuda" else arrays


def evaluate_masked(model: LanguageModel, tokens: ArrayLike, tokenizer: Tokenizer, *, time: int | None = None) -> Evaluation:
    """Measure a model on pairs of segments of a stream, masked as in pretraining.

    Parameters
    ----------
    model : BERTForPreTraining
    tokens : ndarray of integers, shape (N,)
    tokenizer : Tokenizer
        With the special tokens.
    time : int, optional
        T; the model's context without it.

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
    batches = data.PretrainingBatches(tokens, MASKED_ROWS, time, data.MaskingIds.of(tokenizer), seed=0)
    workspace, scores = Workspace(), []
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
    return Evaluation(loss, count, None, hits / count, next_hits / (MASKED_ROWS * len(scores)) if judges else None)


def evaluate_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: Text,
    tokens: ArrayLike | None = None,
    *,
    by: Callable[[LanguageModel, ArrayLike], Evaluation] | None = None,
) -> Evaluation:
    """Mean loss of a model over a text.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining
    tokenizer : Tokenizer
    text : Text
        From `minilm.data.text`, or a part of it from ``split``.
    tokens : ndarray, shape (N,), optional
        Its ids, where they are at hand.
    by : callable, optional
        ``by(model, tokens)``: another measure than `evaluate`, such as `evaluate_dynamic`.

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
    evaluation = evaluate(model, tokens, tokenizer=tokenizer) if by is None else by(model, tokens)
    return evaluation if model.objective == "masked" else evaluation._replace(characters=characters)
