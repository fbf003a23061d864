"""What a model of masked tokens puts in the place of a mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.models import BERTForPreTraining
from minilm.ops import checks, softmax
from minilm.tokenizers import WordPiece

__all__ = ["Filling", "fill_mask"]


class Filling(NamedTuple):
    """One token that may stand at a mask."""

    token: str
    id: int
    probability: float


def fill_mask(model: BERTForPreTraining, tokenizer: WordPiece, text: str, top: int = 5) -> list[list[Filling]]:
    """The most probable tokens at each mask of a text.

    Parameters
    ----------
    model : BERTForPreTraining
        Or another with ``objective`` "masked".
    tokenizer : WordPiece
    text : str
        With the mask token, such as "[MASK]", at least once.
    top : int
        How many tokens a mask.

    Returns
    -------
    list of list of Filling
        One list for each mask, in the order of the text, the most probable token first; none of ids that the tokenizer lacks.

    Raises
    ------
    TypeError, ValueError
        If the model guesses no masked tokens, the text holds no mask or is longer than the context, or `top` is out of range.
    """
    checks.whole("top", top, 1, 2**31)
    if getattr(model, "objective", None) != "masked":
        raise ValueError(f"fill-mask needs a model of masked tokens such as BERT, got {type(model).__name__}")
    ids = tokenizer.encode_pair(text).input_ids.astype(np.int64)  # (T,) [CLS] ... [SEP]
    places = np.flatnonzero(ids == tokenizer.mask_token_id)  # (masks,)
    if not len(places):
        raise ValueError(f"text must hold {tokenizer.mask_token} at least once, got {text!r:.60}")
    if len(ids) > model.context:
        raise ValueError(f"text has {len(ids)} tokens with [CLS] and [SEP], more than the model's context of {model.context}")
    with devices.ids_are_checked():  # the tokenizer's ids are, and places are below T
        logits, _ = model.logits(devices.to_device_of(model, checks.ids("ids", ids[None], model.config.vocab_size)))  # (1, T, V)
        p, _ = softmax.forward(logits[0, devices.to_device_of(model, places)].astype(np.float64))  # (masks, V)
    p = devices.to_host(p)[:, : tokenizer.vocab_size]  # ids from there on stand for nothing
    best = np.argsort(-p, axis=1, kind="stable")[:, :top]  # (masks, top)
    return [[Filling(tokenizer.id_to_token(id), int(id), float(row[id])) for id in ids] for row, ids in zip(p, best, strict=True)]
