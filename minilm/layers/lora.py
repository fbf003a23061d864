"""Low-rank adaptation: a trained affine map that stays as it is, and beside it a small one that learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.ops import checks, linear
from minilm.random import Key
from minilm.typing import Array, Seed

__all__ = ["LoRALinear", "adapters", "refuse_adapters"]


class LoRALinear(Layer):
    """y = x Wᵀ + b + s x Aᵀ Bᵀ, of which A and B alone learn; s = alpha / rank, or alpha / √rank.

    The change of W is s B A, a matrix of rank `rank`: for D = 4096 and a rank of 8 it has 256 times fewer numbers than W. B
    starts at zero, so that at first nothing is changed.

    Parameters
    ----------
    base : Linear
        Whose weight and bias are used, and get no gradient.
    rank : int
    alpha : float
    rslora : bool
        s = alpha / √rank, with which what a layer learns does not grow smaller as the rank grows.
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``weight`` and ``bias`` of the base, ``lora_A`` (rank, in_features), uniform in ±1/√in_features at first, and
    ``lora_B`` (out_features, rank), zeros. With z = x Aᵀ the gradients are those of two affine maps::

        dB = s dyᵀ z,    dz = s dy B,    dA = dzᵀ x,    dx = dy W + dz A

    References
    ----------
    E. J. Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022, arXiv:2106.09685; D. Kalajdzievski, A rank
    stabilization scaling factor for fine-tuning with LoRA, arXiv:2312.03732.
    """

    def __init__(self, base: Linear, rank: int = 8, alpha: float = 16.0, *, rslora: bool = False, seed: Seed = None):
        super().__init__(dtype=base.dtype, seed=seed)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.rank = checks.whole("rank", rank, 1, 2**31)
        self.alpha = checks.number("alpha", alpha, 0, 2**31, low_open=True)
        self.rslora = rslora
        self.weight, self.bias = base.weight, base.bias
        self.parameter("lora_A", (rank, self.in_features), initialisers.kaiming_uniform(self.in_features))
        self.parameter("lora_B", (self.out_features, rank), initialisers.constant(0))
        self._unmerged: np.ndarray | None = None  # the weight as it was before `merge`

    @property
    def scale(self) -> np.floating:
        """s."""
        return self.dtype.type(self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank))

    @property
    def change(self) -> Array:
        """s B A (out_features, in_features), what the small map adds to W."""
        return self.scale * (self.lora_B.value @ self.lora_A.value)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., out_features) for x (..., in_features), and what `backward` needs."""
        y, saved = linear.forward(x, self.weight.value, None if self.bias is None else self.bias.value)
        saved = saved._replace(x=None)  # W does not learn
        if self._unmerged is not None:
            return y, (saved, None, None)
        z, saved_A = linear.forward(x, self.lora_A.value)  # (..., rank)
        change, saved_B = linear.forward(z, self.lora_B.value)  # (..., O)
        return y + self.scale * change, (saved, saved_A, saved_B)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., in_features)."""
        saved, saved_A, saved_B = saved
        if saved_B is None:
            raise ValueError("a merged LoRALinear does not learn: unmerge it first")
        dx, _, _ = linear.backward(dy, saved)
        dz, dB, _ = linear.backward(self.scale * dy, saved_B)
        dx_A, dA, _ = linear.backward(dz, saved_A)
        self.lora_A.accumulate(dA)
        self.lora_B.accumulate(dB)
        return dx + dx_A

    def merge(self) -> None:
        """Let W be W + s B A: the layer is then as quick as its base, and does not learn."""
        if self._unmerged is None:
            self._unmerged = self.weight.value.copy()
            self.weight.value += self.change

    def unmerge(self) -> None:
        """Let W be what it was before `merge`, bit for bit."""
        if self._unmerged is not None:
            self.weight.value[...] = self._unmerged
            self._unmerged = None

    def plain(self) -> Linear:
        """The affine map of the merged weight, without the adapter."""
        self.merge()
        plain = Linear(self.in_features, self.out_features, self.bias is not None, weight=self.weight, dtype=self.dtype, seed=0)
        plain.bias = self.bias
        return plain

    def settings(self) -> str:
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, alpha={self.alpha:g}{', rslora' * self.rslora}"


def adapters(model: Layer) -> Iterator[tuple[str, LoRALinear]]:
    """All adapters of a model, with their dotted names."""
    return ((name, layer) for name, layer in model.named_layers() if isinstance(layer, LoRALinear))


def refuse_adapters(model: Layer) -> None:
    """ValueError if a model has adapters: for a form that knows the model without them."""
    if any(True for _ in adapters(model)):
        instead = "models.lora.merge_and_unload puts them into the weights, models.lora.save writes them alone"
        raise ValueError(f"this {type(model).__name__} has adapters of LoRA: {instead}")
