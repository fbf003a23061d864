"""What the explanations need from a model: one interface for recurrent models, GPT and BERT.

A language model is cut in two places, where explanations look into it::

    x      = probe.embed(ids)                  (B, T, E)      the tokens' vectors alone: no positions, no segments
    h      = body(x)                           (B, T, D)      everything between
    logits = head(h[b, t])                     (N, V)         only at the places that are asked for

and the gradient with respect to x is that of any function of the logits, through the same layers' `backward`. The parameters'
gradients, which those add to their buffer on the way, are taken out again (`untouched`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from minilm import models
from minilm.interpret.components import Component
from minilm.layers.base import Layer
from minilm.ops import checks

__all__ = ["Explained", "Probe", "Queries", "untouched"]

MOST = 1024  # tokens: maps of T by T numbers grow beyond what a page can show


LanguageModel: TypeAlias = (
    models.RNNLanguageModel | models.WindowLanguageModel | models.GPT | models.Llama | models.BERTForPreTraining
)
Explained: TypeAlias = "LanguageModel | Probe"  # what every explanation takes


class Queries(NamedTuple):
    """Which token each reading of a text predicts: N of them."""

    places: np.ndarray  # (N,) of the token that is predicted, in the text; T is the one after the end
    read: np.ndarray  # (N,) at which place the model gives its prediction
    rows: np.ndarray  # (R, T) what it reads; one row for all where none sees what it predicts
    row: np.ndarray  # (N,) which of them


class Probe:
    """What the explanations ask of a model; the base of one class a family.

    Attributes
    ----------
    model : Layer
    causal : bool
        Whether a token is predicted from those before it, or from all others.
    context : int or None
        Most tokens that the model sees at once.
    vocab_size : int
    named : int
        Ids that the tokenizer has a token for, all there are where no tokenizer is given: only these are named as predictions.
    lacks : dict of str to str
        The explanations that this model cannot have, and why.
    kinds : tuple of str
        Of its components: see `minilm.interpret.components`.
    ablated, patched : str
        The kinds that `ablate` and `patch` take without one.
    """

    causal = True
    attends = False
    recurs = False
    kinds: tuple[str, ...] = ()
    ablated = patched = ""

    def __init__(self, model: LanguageModel):
        self.model = model
        self.context = model.context
        self.vocab_size = self.named = model.config.vocab_size

    @property
    def lacks(self) -> dict[str, str]:
        reasons = {}
        if not self.attends:
            reason = "it is recurrent: what it knows of the tokens before, it carries in its state"
            reasons["attention"] = reasons["rollout"] = f"this model has no attention; {reason}"
            reasons["lens"] = "the logit lens is for Transformers, whose layers all write into one residual stream"
        if not self.recurs:
            reasons["traces"] = "this model has no gates and no cells: it has no state that goes from token to token"
        return reasons

    @property
    def table(self) -> np.ndarray:
        """The tokens' vectors, (V, E)."""
        raise NotImplementedError

    def checked(self, ids: ArrayLike) -> np.ndarray:
        """ids (T,) as integers, T at least 1 and no more than the model sees; ValueError says what is wrong."""
        ids = checks.ids("ids", np.asarray(ids), self.vocab_size, (None,), "(T,)")
        if not ids.size:
            raise ValueError("the text has no token: there is nothing to explain")
        most = MOST if self.context is None else min(MOST, self.context)
        if ids.size > most:
            why = "the model's context" if most == self.context else "what a page can show"
            raise ValueError(f"the text has {ids.size:,} tokens, more than {most:,}, {why}: give a shorter one")
        return ids

    def queries(self, ids: np.ndarray) -> Queries:
        """One for each token but the first, and one for the token after the end."""
        T = len(ids)
        return Queries(np.arange(1, T + 1), np.arange(T), ids[None], np.zeros(T, np.int64))

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """x (B, T, E) of ids (B, T)."""
        return self.table[ids]

    def body(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """h (B, T, D) of x (B, T, E), and what `body_backward` needs."""
        raise NotImplementedError

    def body_backward(self, dh: np.ndarray, saved: Any) -> np.ndarray:
        """dx (B, T, E)."""
        raise NotImplementedError

    @property
    def head(self) -> Layer:
        """The layer from h (N, D) to the logits (N, V)."""
        raise NotImplementedError

    def stream(self, ids: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The residual stream (T, D) at its beginning and after each layer, with names: Transformers."""
        raise NotImplementedError

    def lens(self, x: np.ndarray) -> np.ndarray:
        """Logits (T, V) as if the residual stream x (T, D) were its end."""
        raise NotImplementedError

    def attention(self, ids: np.ndarray) -> np.ndarray:
        """Weights (L, H, T, T) of a text (T,)."""
        raise NotImplementedError

    def traces(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Gates and states (L, T, H) by name: recurrent models."""
        raise NotImplementedError

    def components(self, kind: str) -> list[Component]:
        """One for each of L layers, of one of `kinds`."""
        raise NotImplementedError


@contextlib.contextmanager
def untouched(model: Layer) -> Iterator[None]:
    """Leaves the parameters' gradients as they were."""
    flat = model.parameters.gradient_flat  # (P,)
    kept = flat.copy()
    try:
        yield
    finally:
        model.parameters.gradient_flat[...] = kept
