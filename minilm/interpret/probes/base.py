"""What the explanations need from a model: one interface for all families of language models.

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
        """The explanations that this model cannot have, and why."""
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
        """Ids of a text as integers.

        Parameters
        ----------
        ids : array_like of integers, shape (T,)

        Returns
        -------
        ids : ndarray of integers, shape (T,)

        Raises
        ------
        TypeError, ValueError
            They are no such array, T is 0 or more than the model sees or a page can show, or an id is out of range.
        """
        ids = checks.ids("ids", np.asarray(ids), self.vocab_size, (None,), "(T,)")
        if not ids.size:
            raise ValueError("the text has no token: there is nothing to explain")
        most = MOST if self.context is None else min(MOST, self.context)
        if ids.size > most:
            why = "the model's context" if most == self.context else "what a page can show"
            raise ValueError(f"the text has {ids.size:,} tokens, more than {most:,}, {why}: give a shorter one")
        return ids

    def queries(self, ids: np.ndarray) -> Queries:
        """What the model is to predict of a text: each token but the first, and the token after the end.

        Parameters
        ----------
        ids : ndarray of integers, shape (T,)

        Returns
        -------
        Queries
        """
        T = len(ids)
        return Queries(np.arange(1, T + 1), np.arange(T), ids[None], np.zeros(T, np.int64))

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """The tokens' vectors.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T), or (T,)

        Returns
        -------
        x : ndarray, shape (B, T, E), or (T, E)
        """
        return self.table[ids]

    def body(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Everything between the tokens' vectors and the head.

        Parameters
        ----------
        x : ndarray, shape (B, T, E)

        Returns
        -------
        h : ndarray, shape (B, T, D)
        saved
            What `body_backward` needs.
        """
        raise NotImplementedError

    def body_backward(self, dh: np.ndarray, saved: Any) -> np.ndarray:
        """The gradient by x; those by the parameters are added to their buffer.

        Parameters
        ----------
        dh : ndarray, shape (B, T, D)
        saved
            From `body`.

        Returns
        -------
        dx : ndarray, shape (B, T, E)
        """
        raise NotImplementedError

    @property
    def head(self) -> Layer:
        """The layer from h (N, D) to the logits (N, V)."""
        raise NotImplementedError

    def stream(self, ids: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The residual stream of a Transformer.

        Parameters
        ----------
        ids : ndarray of integers, shape (T,)

        Returns
        -------
        list of (name, ndarray of shape (T, D))
            At its beginning, and after each of the L layers.
        """
        raise NotImplementedError

    def lens(self, x: np.ndarray) -> np.ndarray:
        """The logits as if the residual stream ended here.

        Parameters
        ----------
        x : ndarray, shape (T, D)
            Of `stream`.

        Returns
        -------
        logits : ndarray, shape (T, V)
        """
        raise NotImplementedError

    def attention(self, ids: np.ndarray) -> np.ndarray:
        """The weights of a Transformer's attention.

        Parameters
        ----------
        ids : ndarray of integers, shape (T,)

        Returns
        -------
        weights : ndarray, shape (L, H, T, T)
            Of each layer and head, how much the token of a row reads from that of a column.
        """
        raise NotImplementedError

    def traces(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Gates and states of a recurrent model.

        Parameters
        ----------
        ids : ndarray of integers, shape (T,)

        Returns
        -------
        dict of str to ndarray of shape (L, T, H)
            By names such as "forget gate f" and "cell c".
        """
        raise NotImplementedError

    def components(self, kind: str) -> list[Component]:
        """Where in the model the components of a kind are computed.

        Parameters
        ----------
        kind : str
            One of `kinds`.

        Returns
        -------
        list of Component
            One for each of the L layers.

        Raises
        ------
        ValueError
            The model has none of this kind.
        """
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
