"""Transformers as the explanations see them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.interpret.components import Component
from minilm.interpret.probes.base import Probe, Queries
from minilm.layers.base import Layer
from minilm.layers.residual import added
from minilm.ops import checks

__all__ = ["BERTProbe", "GPTProbe", "LlamaProbe", "TransformerProbe"]


class Parts(NamedTuple):
    """The layers of a block that its components are read from."""

    attn: Layer  # whose output is what attention adds to the stream
    heads: Layer  # the map that reads the heads, side by side
    num_heads: int
    mlp: Layer  # whose output is what the network adds
    neurons: Layer | None  # the map that reads the hidden units; None in a mixture of experts


class TransformerProbe(Probe):
    """What GPT, Llama and BERT share."""

    attends = True
    kinds = ("stream", "attn", "mlp", "heads", "neurons")
    ablated, patched = "heads", "stream"

    @property
    def blocks(self) -> list[Any]:
        """The L blocks."""
        raise NotImplementedError

    def parts(self, block: Any) -> Parts:
        """The layers inside of a block.

        Parameters
        ----------
        block : Layer
            One of `blocks`.

        Returns
        -------
        Parts
        """
        return Parts(block.attn, block.attn.c_proj, block.attn.num_heads, block.mlp, block.mlp.c_proj)

    def components(self, kind: str) -> list[Component]:
        names = {id(layer): name for name, layer in self.model.named_layers()}
        components = []
        for block in self.blocks:
            parts = self.parts(block)
            if kind == "neurons" and parts.neurons is None:
                raise ValueError(
                    "neurons are of a network that every token passes; this model has a mixture of experts in its place"
                )
            layer, side, count = {
                "stream": (block, "outputs", 1),
                "attn": (parts.attn, "outputs", 1),
                "mlp": (parts.mlp, "outputs", 1),
                "heads": (parts.heads, "inputs", parts.num_heads),
                "neurons": (parts.neurons, "inputs", getattr(parts.neurons, "in_features", 0)),
            }[kind]
            components.append(Component(names[id(layer)], side, count, False))
        return components

    # --- the stream as a sum, for logit attribution ------------------------------------------------------------------

    @property
    def no_sum(self) -> str | None:
        """Why the stream's end is no sum of what the parts wrote into it, and the logits are not linear in it; None if so."""
        return "its layers normalise the residual stream on the way"

    def starts(self, ids: np.ndarray, t: int) -> dict[str, np.ndarray]:
        """What the embeddings write into the residual stream.

        Parameters
        ----------
        ids : ndarray of integers, shape (T,)
        t : int
            The place in the text.

        Returns
        -------
        dict of str to ndarray of shape (D,)
            By the embeddings' names.
        """
        raise NotImplementedError

    @property
    def last_norm(self) -> Layer:
        """The normalisation at the stream's end."""
        raise NotImplementedError

    @property
    def unembedding(self) -> np.ndarray:
        """W_out (V, D) of the logits."""
        return self.model.lm_head.weight.value

    def begin(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """What the first block reads.

        Parameters
        ----------
        x : ndarray, shape (B, T, E)
            The tokens' vectors.

        Returns
        -------
        x : ndarray, shape (B, T, D)
        saved
            What `body_backward` needs of it; of a Llama the rotation of its positions, which all blocks read.
        """
        raise NotImplementedError

    def attention(self, ids: np.ndarray) -> np.ndarray:
        x, weights = self.begin(self.embed(ids[None]))[0], []
        for block in self.blocks:
            h = block.ln_1(x) if block.norm_first else x  # (1, T, D)
            weights.append(block.attn(h, return_weights=True).weights[0])  # (H, T, T)
            x = block(x)
        return np.stack(weights)  # (L, H, T, T)

    def stream(self, ids: np.ndarray) -> list[tuple[str, np.ndarray]]:
        x = self.begin(self.embed(ids[None]))[0]
        stream = [("embedding", x[0].copy())]
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            stream.append((f"layer {number}", x[0].copy()))
        return stream


class GPTProbe(TransformerProbe):
    """The probe of `minilm.models.GPT`."""

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

    @property
    def no_sum(self):
        return super().no_sum if self.model.ln_f is None else None

    def starts(self, ids, t):
        return {"wte": self.table[ids[t]], "wpe": self.model.wpe.weight.value[t]}

    @property
    def last_norm(self):
        return self.model.ln_f


class LlamaProbe(TransformerProbe):
    """The probe of `minilm.models.Llama`. Gemma multiplies the tokens' vectors, here as part of what follows them."""

    @property
    def table(self):
        return self.model.embed_tokens.weight.value

    @property
    def blocks(self):
        return self.model.layers

    def parts(self, block):
        attention, down = block.self_attn, getattr(block.mlp, "down_proj", None)
        sandwich = block.pre_feedforward_layernorm is not None
        added_by = (block.post_attention_layernorm, block.post_feedforward_layernorm) if sandwich else (attention, block.mlp)
        return Parts(added_by[0], attention.o_proj, attention.num_heads, added_by[1], down)

    @property
    def no_sum(self):
        traits = self.model.config.traits
        return "it normalises what its layers write, and caps its logits" if traits.sandwich or traits.capped else None

    def starts(self, ids, t):
        return {"embed_tokens": self.table[ids[t]] * self.model.embedding_scale}

    @property
    def last_norm(self):
        return self.model.norm

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


class BERTProbe(TransformerProbe):
    """The probe of `minilm.models.BERTForPreTraining`, which predicts a token where there is a mask."""

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
        x, norm = inner.LayerNorm.forward(added(x, np.ascontiguousarray(segment), out=np.empty_like(x)))
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
