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
from minilm.layers import GRU, LSTM
from minilm.layers.base import Layer
from minilm.layers.residual import added
from minilm.ops import checks
from minilm.ops.recurrence import states_after
from minilm.tokenizers import Tokenizer

__all__ = ["Explained", "Probe", "Queries", "probe_of", "untouched"]

GATES = {
    LSTM: ("input gate i", "forget gate f", "candidate g", "output gate o"),
    GRU: ("reset gate r", "update gate z", "candidate n"),
}
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
    """

    causal = True
    attends = False
    recurs = False

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
            reasons["causes"] = "heads and a residual stream to take out and to patch are a Transformer's"
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


class RecurrentProbe(Probe):
    """Of `minilm.models.RNNLanguageModel`."""

    recurs = True

    @property
    def table(self):
        return self.model.embedding.weight.value

    def body(self, x):
        model = self.model
        out, recurrent = model.recurrent.forward(np.ascontiguousarray(x.transpose(1, 0, 2)))  # (T, B, H)
        y, norm, projection = out.y, None, None
        if model.norm is not None:
            y, norm = model.norm.forward(y)
        if model.projection is not None:
            y, projection = model.projection.forward(y)  # (T, B, E)
        return y.transpose(1, 0, 2), (recurrent, norm, projection)

    def body_backward(self, dh, saved):
        model, (recurrent, norm, projection) = self.model, saved
        dy = np.ascontiguousarray(dh.transpose(1, 0, 2))  # (T, B, E or H)
        if projection is not None:
            dy = model.projection.backward(dy, projection)
        if norm is not None:
            dy = model.norm.backward(dy, norm)
        return model.recurrent.backward(dy, recurrent)[0].transpose(1, 0, 2)  # (B, T, E)

    @property
    def head(self):
        return self.model.output

    def traces(self, ids):
        x = np.ascontiguousarray(self.embed(ids)[:, None])  # (T, 1, E)
        recurrent = self.model.recurrent
        runs = recurrent.forward(x)[1].runs
        names = GATES.get(type(recurrent), ())
        H, traces = recurrent.hidden_size, {}
        for number, name in enumerate(names):
            traces[name] = np.stack([run.gates[:, 0, number * H : (number + 1) * H] for run in runs])  # (L, T, H)
        if type(recurrent) is LSTM:
            traces["cell c"] = np.stack([states_after(run.c, False)[:, 0] for run in runs])
        traces["state h"] = np.stack([states_after(run.h, False)[:, 0] for run in runs])
        return traces


class WindowProbe(Probe):
    """Of `minilm.models.WindowLanguageModel`, whose windows begin with the padding's vector."""

    @property
    def lacks(self):
        reason = "this model reads a window of tokens anew for each prediction: its states are of a window, not of the text"
        return {**super().lacks, "traces": reason}

    @property
    def table(self):
        return self.model.embedding.weight.value

    def body(self, x):
        before = np.full((len(x), self.model.config.window - 1), self.model.config.pad_token_id)  # (B, W - 1)
        return self.model.pooled(np.concatenate([self.table[before], x], axis=1))

    def body_backward(self, dh, saved):
        return self.model.pooled_backward(dh, saved)[:, self.model.config.window - 1 :]

    @property
    def head(self):
        return self.model.output


class _Transformer(Probe):
    """What GPT and BERT share."""

    attends = True

    @property
    def blocks(self):
        raise NotImplementedError

    def begin(self, x):
        """What the first block reads, of x (B, T, E), and what is needed to go back."""
        raise NotImplementedError

    def attention(self, ids):
        x, weights = self.begin(self.embed(ids[None]))[0], []
        for block in self.blocks:
            h = block.ln_1(x) if block.norm_first else x  # (1, T, D)
            weights.append(block.attn(h, return_weights=True).weights[0])  # (H, T, T)
            x = block(x)
        return np.stack(weights)  # (L, H, T, T)

    def stream(self, ids):
        x = self.begin(self.embed(ids[None]))[0]
        stream = [("embedding", x[0].copy())]
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            stream.append((f"layer {number}", x[0].copy()))
        return stream


class GPTProbe(_Transformer):
    """Of `minilm.models.GPT`."""

    @property
    def table(self):
        return self.model.wte.weight.value

    @property
    def blocks(self):
        return self.model.h

    def begin(self, x):
        return self.model.wpe.forward(np.ascontiguousarray(x))

    def body(self, x):
        x, wpe = self.begin(x)
        kept, norm = [], None
        for block in self.model.h:
            x, saved = block.forward(x)
            kept.append(saved)
        if self.model.ln_f is not None:
            x, norm = self.model.ln_f.forward(x)
        return x, (wpe, kept, norm)

    def body_backward(self, dh, saved):
        wpe, kept, norm = saved
        dx = dh if norm is None else self.model.ln_f.backward(dh, norm)
        for block, saved_block in zip(self.model.h[::-1], kept[::-1], strict=True):
            dx = block.backward(dx, saved_block)
        return self.model.wpe.backward(dx, wpe)

    @property
    def head(self):
        return self.model.lm_head

    def lens(self, x):
        return self.model.lm_head(x if self.model.ln_f is None else self.model.ln_f(x))


class LlamaProbe(_Transformer):
    """Of `minilm.models.Llama`. Gemma multiplies the tokens' vectors, here as part of what follows them."""

    @property
    def table(self):
        return self.model.embed_tokens.weight.value

    @property
    def blocks(self):
        return self.model.layers

    def begin(self, x):
        """x as the first block reads it, and the rotation of its positions."""
        x = np.array(x, order="C") * self.model.embedding_scale  # (B, T, D)
        return x, self.model.rotary.rotation(x, x.shape[1])

    def attention(self, ids):
        (x, rotation), weights = self.begin(self.embed(ids[None])), []
        for block in self.blocks:
            h = block.input_layernorm(x)  # (1, T, D)
            weights.append(block.self_attn(h, rotation, return_weights=True).weights[0])  # (H, T, T)
            x = block(x, rotation)
        return np.stack(weights)  # (L, H, T, T)

    def stream(self, ids):
        x, rotation = self.begin(self.embed(ids[None]))
        stream = [("embedding", x[0].copy())]
        for number, block in enumerate(self.blocks, 1):
            x = block(x, rotation)
            stream.append((f"layer {number}", x[0].copy()))
        return stream

    def body(self, x):
        x, rotation = self.begin(x)
        kept = []
        for block in self.blocks:
            x, saved = block.forward(x, rotation)
            kept.append(saved)
        x, norm = self.model.norm.forward(x)
        return x, (kept, norm)

    def body_backward(self, dh, saved):
        kept, norm = saved
        dx = self.model.norm.backward(dh, norm)
        for block, saved_block in zip(self.blocks[::-1], kept[::-1], strict=True):
            dx = block.backward(dx, saved_block)
        return dx * self.model.embedding_scale

    @property
    def head(self):
        return self.model.head

    def lens(self, x):
        return self.head(self.model.norm(x))


class BERTProbe(_Transformer):
    """Of `minilm.models.BERTForPreTraining`, which predicts a token where there is a mask."""

    causal = False

    def __init__(self, model, mask_id: int):
        super().__init__(model)
        self.mask_id = checks.whole("mask_id", mask_id, 0, self.vocab_size)

    @property
    def table(self):
        return self.model.bert.embeddings.word_embeddings.weight.value

    @property
    def blocks(self):
        return self.model.bert.encoder.layer

    def queries(self, ids):
        """One for each token between the first and the last, which are [CLS] and [SEP], with a mask in its place."""
        places = np.arange(1, len(ids) - 1)  # (N,)
        rows = np.repeat(ids[None], len(places), axis=0)  # (N, T)
        rows[np.arange(len(places)), places] = self.mask_id
        return Queries(places, places, rows, np.arange(len(places)))

    def begin(self, x):
        inner = self.model.bert.embeddings
        x, positions = inner.position_embeddings.forward(np.ascontiguousarray(x))  # (B, T, D)
        segment = np.broadcast_to(inner.token_type_embeddings.weight.value[0], x.shape)  # (B, T, D)
        x, norm = inner.LayerNorm.forward(added(x, np.ascontiguousarray(segment), np.empty_like(x)))
        return x, (positions, norm)

    def body(self, x):
        x, began = self.begin(x)
        y, kept = self.model.bert.encoder.forward(x)
        return y, (began, kept)

    def body_backward(self, dh, saved):
        (positions, norm), kept = saved
        inner = self.model.bert.embeddings
        dx = inner.LayerNorm.backward(self.model.bert.encoder.backward(dh, kept), norm)
        return inner.position_embeddings.backward(dx, positions)

    @property
    def head(self):
        return self.model.cls.predictions

    def lens(self, x):
        return self.model.cls.predictions(x)


def probe_of(model: Explained, tokenizer: Tokenizer | None = None) -> Probe:
    """The probe of a model.

    Parameters
    ----------
    model : RNNLanguageModel, GPT, Llama or BERTForPreTraining
    tokenizer : Tokenizer, optional
        Of a BERT, which must be told its mask. Ids of the model that it lacks are named nowhere.

    Raises
    ------
    TypeError
        For any other model.
    ValueError
        For one on a GPU: what is explained is computed on the CPU.
    """
    if isinstance(model, Probe):
        return model
    probe = _probe_of(model, tokenizer)
    if tokenizer is not None:
        probe.named = min(probe.vocab_size, tokenizer.vocab_size)
    return probe


def _probe_of(model, tokenizer) -> Probe:
    if getattr(model, "device", "cpu") != "cpu":
        raise ValueError(f"model must be on the CPU to be explained, got one on {model.device}: model.to('cpu') moves it")
    if isinstance(model, models.RNNLanguageModel):
        return RecurrentProbe(model)
    if isinstance(model, models.WindowLanguageModel):
        return WindowProbe(model)
    if isinstance(model, models.GPT):
        return GPTProbe(model)
    if isinstance(model, models.Llama):
        return LlamaProbe(model)
    if isinstance(model, models.BERTForPreTraining):
        mask = getattr(tokenizer, "mask_token_id", None)
        if mask is None:
            raise ValueError("tokenizer must have a mask token for a BERT, whose predictions are of masked tokens")
        return BERTProbe(model, mask)
    raise TypeError(f"model must be an RNNLanguageModel, a GPT, a Llama or a BERTForPreTraining, got {type(model).__name__}")


@contextlib.contextmanager
def untouched(model: Layer) -> Iterator[None]:
    """Leaves the parameters' gradients as they were."""
    flat = model.parameters.gradient_flat  # (P,)
    kept = flat.copy()
    try:
        yield
    finally:
        model.parameters.gradient_flat[...] = kept
