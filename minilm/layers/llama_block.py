"""One layer of a transformer of Llama's family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm.layers.recomputed_block import RecomputedBlock, Unsaved
from minilm.layers.residual import added
from minilm.ops import checks
from minilm.ops.workspace import empty, scratch
from minilm.random import Key, at
from minilm.typing import Array, DType

if TYPE_CHECKING:
    from minilm.layers.base import Layer
    from minilm.layers.cache import LayerCache
    from minilm.layers.rms_norm import RMSNorm
    from minilm.layers.rotary import Rotation

__all__ = ["LlamaBlock"]


class Halves(NamedTuple):
    """What the two halves saved, each of its normalisation, its inner layer and, of a sandwich, the normalisation after that."""

    attn: tuple
    mlp: tuple


class LlamaBlock(RecomputedBlock):
    """Attention and a gated network, each with a residual connection and normalisation by the root mean square.

    ::

        x = x + self_attn(input_layernorm(x))                                                     Llama, Mistral, Qwen, Gemma
        x = x + mlp(post_attention_layernorm(x))

        x = x + post_attention_layernorm(self_attn(input_layernorm(x)))                           `sandwich`: Gemma 2
        x = x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)))

    Parameters
    ----------
    self_attn : GroupedQueryAttention
    mlp : GatedFeedForward
        Or any layer of (..., D) to (..., D).
    norm : callable
        ``norm()`` makes one of the normalisations.
    sandwich : bool
        Normalise also what is added to x.
    recompute : bool
        Keep of forward only the input, and compute the rest again in backward: the same gradients, bit for bit, for the memory of
        one layer and a third more arithmetic.
    dtype : {float32, float64}

    Notes
    -----
    Sub-layers by Hugging Face's names, which are those of the formulas.

    References
    ----------
    H. Touvron et al., LLaMA: open and efficient foundation language models, arXiv:2302.13971; Gemma Team, Gemma 2: improving open
    language models at a practical size, arXiv:2408.00118.
    """

    def __init__(
        self,
        self_attn: Layer,
        mlp: Layer,
        norm: Callable[[], RMSNorm],
        *,
        sandwich: bool = False,
        recompute: bool = False,
        dtype: DType = np.float32,
    ):
        super().__init__(dtype=dtype)
        self.recompute = recompute
        self.input_layernorm = norm()
        self.self_attn = self_attn
        self.post_attention_layernorm = norm()
        self.pre_feedforward_layernorm = norm() if sandwich else None
        self.mlp = mlp
        self.post_feedforward_layernorm = norm() if sandwich else None

    def forward(
        self,
        x: Array,
        rotation: Rotation,
        *,
        key_mask: Array | None = None,
        cache: LayerCache | None = None,
        key: Key | None = None,
    ) -> tuple[Array, Halves | Unsaved]:
        """y (B, T, D) for x (B, T, D), and what `backward` needs.

        Parameters
        ----------
        x : ndarray, shape (B, T, D)
        rotation, key_mask, cache, key
            See `GroupedQueryAttention.forward`.
        """
        x = checks.floats("x", x, self.dtype)
        return self._run(x=x, rotation=rotation, key_mask=key_mask, cache=cache, key=key)

    def _halves(self):
        """(normalisation before, layer, normalisation after or None) of each half."""
        if self.pre_feedforward_layernorm is None:
            return (self.input_layernorm, self.self_attn, None), (self.post_attention_layernorm, self.mlp, None)
        first = self.input_layernorm, self.self_attn, self.post_attention_layernorm
        return first, (self.pre_feedforward_layernorm, self.mlp, self.post_feedforward_layernorm)

    def _forward(self, x, rotation, key_mask, cache, key):
        """y, and what the halves saved."""
        attn, mlp = self._halves()
        x, saved_attn = _half(*attn, x, rotation, key_mask=key_mask, cache=cache, key=at(key, "attn"))
        x, saved_mlp = _half(*mlp, x, key=at(key, "mlp"))
        return x, Halves(saved_attn, saved_mlp)

    def backward(self, dy: Array, saved: Halves | Unsaved) -> Array:
        """Returns dx (B, T, D) for dy (B, T, D)."""
        dx = empty(dy.shape, dy.dtype, like=dy)  # (B, T, D)
        with scratch():
            halves = self._saved_again(saved)
            attn, mlp = self._halves()
            dy = _half_backward(*mlp, dy, halves.mlp)
            dx[...] = _half_backward(*attn, dy, halves.attn)
        return dx

    def settings(self) -> str:
        parts = ["sandwich=True"] * (self.pre_feedforward_layernorm is not None) + ["recompute=True"] * self.recompute
        return ", ".join(parts)


def _half(norm, f, after, x, *inputs, **options):
    """x + after(f(norm(x))), and what was saved."""
    h, normed = norm.forward(x)  # (B, T, D)
    h, inner = f.forward(h, *inputs, **options)  # (B, T, D)
    h, normed_after = (h, None) if after is None else after.forward(h)
    return added(x, h, out=h), (normed, inner, normed_after)  # h is this block's own, and nothing saved it


def _half_backward(norm, f, after, dy, saved):
    """dx of a half."""
    normed, inner, normed_after = saved
    dh = dy if after is None else after.backward(dy, normed_after)  # (B, T, D)
    dh = norm.backward(f.backward(dh, inner), normed)  # (B, T, D)
    return added(dy, dh, out=dh)
