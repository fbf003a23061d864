"""How well a model predicts lines, each by itself: names, titles, sentences that it was trained on one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from minilm import data, devices
from minilm.data.texts import Text
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.tokenizers import Tokenizer
from minilm.training.evaluation import Evaluation

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["evaluate_lines"]

LOGITS = 1 << 22  # largest number of logits at once: 16 MiB
NEW_LINE = "\n"


def evaluate_lines(model: LanguageModel, tokenizer: Tokenizer, text: Text, boundary: str = NEW_LINE) -> Evaluation:
    """Mean loss of a model over the lines of a text, none of which sees another.

    A line w_1 ... w_n is read between two boundaries: b predicts w_1, and w_n the b behind it, n + 1 predictions.
    What does not fit into the model's context is read on in a window of its own.

    Parameters
    ----------
    model : RNNLanguageModel, GPT, Llama, WindowLanguageModel
    tokenizer : Tokenizer
    text : Text
        Empty lines do not count.
    boundary : str
        The token before and after a line: a new line, or one of the tokenizer's by name, such as "<s>".

    Returns
    -------
    Evaluation
        Of `characters` a line has one more than it is long, its end.

    Raises
    ------
    ValueError
        The tokenizer lacks `boundary`, the text holds no line, or what the tokenizer does not know.
    """
    if model.objective == "masked":
        raise ValueError("a model of masked tokens is measured on pairs of segments, not on lines")
    b = tokenizer.token_to_id(boundary)
    if b is None and boundary == NEW_LINE:
        b = tokenizer.eos_token_id  # which stands for the end of a line among words
    if b is None:
        raise ValueError(f"the tokenizer has no token {boundary!r} to stand before and after a line")
    context = getattr(model, "context", None)  # None: a recurrent state, which has no end
    total, tokens, characters, workspace = 0.0, 0, 0, Workspace()
    rows: list[np.ndarray] = []
    for line in _lines(text):
        ids = np.concatenate([[b], tokenizer.encode(line, add_special_tokens=False), [b]]).astype(np.int64)  # (n + 2,)
        rows += _windows(ids, context)
        characters += len(line) + 1
    if not rows:
        raise ValueError(f"{text}: there is no line that is not empty")
    for ids, targets in _batches(sorted(rows, key=len), model.config.vocab_size):  # (B, T) each
        count = int((targets != data.IGNORE).sum())
        with workspace.step():
            loss = model.loss(*(devices.to_device((ids, targets)) if model.device == "cuda" else (ids, targets)))
        total += float(loss[0] if isinstance(loss, tuple) else loss) * count
        tokens += count
    return Evaluation(total / tokens, tokens, characters)


def _lines(text: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without their ends; no empty ones."""
    rest = ""
    for piece in text:
        *whole, rest = (rest + piece).split("\n")
        yield from (line.removesuffix("\r") for line in whole if line.removesuffix("\r"))
    if rest.removesuffix("\r"):
        yield rest.removesuffix("\r")


def _windows(ids: np.ndarray, context: int | None) -> list[np.ndarray]:
    """A line's tokens, (n + 2,), in parts of at most `context` predictions; each begins with the last token of the one before."""
    step = len(ids) - 1 if context is None else checks.whole("context", context, 1, 2**31)
    return [ids[start : start + step + 1] for start in range(0, len(ids) - 1, step)]


def _batches(rows: list[np.ndarray], vocab_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """ids and targets, (B, T) each, of rows of nearly one length; what fills a row up predicts nothing."""
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and (end + 1 - start) * (len(rows[end]) - 1) * vocab_size <= LOGITS:
            end += 1
        part, start = rows[start:end], end
        shape = (len(part), len(part[-1]) - 1)
        ids, targets = np.zeros(shape, np.int64), np.full(shape, data.IGNORE)
        for row, each in enumerate(part):
            ids[row, : len(each) - 1], targets[row, : len(each) - 1] = each[:-1], each[1:]
        yield ids, targets
