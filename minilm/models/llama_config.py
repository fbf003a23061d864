"""What a model of Llama's family is made of, by Hugging Face's names, and the sizes that were published."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from minilm.models.config import Config, choice, flag, number, rate, setting, size
from minilm.ops import checks, rotary

__all__ = ["LLAMA_FAMILIES", "LlamaConfig", "Traits"]

ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}  # Hugging Face's name -> the gate's


class Traits(NamedTuple):
    """What tells one family from the others."""

    qkv_bias: bool = False  # the maps to q, k and v have biases, the last one has none
    qk_norm: bool = False  # heads of q and k are normalised
    gemma: bool = False  # normalisations scale by 1 + weight, and the tokens' vectors are multiplied by sqrt(D)
    sandwich: bool = False  # what a half adds to the stream is normalised, too
    capped: bool = False  # softcaps, a scale of the scores of its own
    windowed: bool = False  # there may be a sliding window
    mixed: bool = False  # a mixture of experts stands in the gated network's place


LLAMA_FAMILIES = {
    "llama": Traits(),
    "mistral": Traits(windowed=True),
    "mixtral": Traits(windowed=True, mixed=True),
    "qwen2": Traits(qkv_bias=True, windowed=True),
    "qwen3": Traits(qk_norm=True, windowed=True),
    "gemma": Traits(gemma=True),
    "gemma2": Traits(gemma=True, sandwich=True, capped=True, windowed=True),
}


def _scaling(name: str, value: Any) -> None:
    """What `rotary.frequencies` takes; a smaller width than a head's shows the same errors."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a table such as {{'rope_type': 'linear', 'factor': 2.0}}, got {checks.describe(value)}")
    rotary.frequencies(2, scaling=value)


@dataclasses.dataclass(frozen=True)
class LlamaConfig(Config):
    """Configuration of a `Llama`.

    Parameters
    ----------
    family : {"llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2"}
        Hugging Face's ``model_type``. What differs between them stands in `Traits`. SmolLM2 is of "llama".
    vocab_size : int
        V.
    hidden_size, intermediate_size : int
        D and F.
    num_hidden_layers, num_attention_heads : int
        Layers; heads H of queries.
    num_key_value_heads : int, optional
        G, a divisor of H; H without it.
    head_dim : int, optional
        K; D / H without it.
    hidden_act : {"silu", "gelu_pytorch_tanh"}
        Of the gate: SwiGLU or GeGLU.
    max_position_embeddings : int
        Most tokens a text may have: the context.
    rms_norm_eps, initializer_range : float
        Of the normalisations; the standard deviation of the first weights.
    tie_word_embeddings : bool
        Let the output layer use the tokens' table.
    rope_theta : float
    rope_scaling : mapping, optional
        See `minilm.ops.rotary.frequencies`.
    attention_bias, mlp_bias : bool
        Biases of all four maps of the attention, of all three of the network.
    attention_dropout : float
    sliding_window : int, optional
        A position sees only so many last ones, itself among them, in the layers of `window_layers`.
    window_layers : {"all", "even", "upper"}
        In all layers; in the first, third, ... (numbers 0, 2, ...); in those from number `max_window_layers` on.
    max_window_layers : int
    query_pre_attn_scalar : float, optional
        The scores are divided by its square root; by that of K without it.
    attn_logit_softcapping, final_logit_softcapping : float, optional
        Softcaps of the scores and of the logits.
    num_local_experts : int, optional
        E, of a Mixtral: gated networks side by side; 8 without it.
    num_experts_per_tok : int
        k, of a Mixtral: how many of them compute a position. See `minilm.layers.MixtureOfExperts`.
    recompute : bool
        See `minilm.layers.LlamaBlock`.

    Examples
    --------
    >>> from minilm import models
    >>> models.LlamaConfig.llama3("8B").parameter_count
    8030261248
    >>> models.LlamaConfig.qwen3("0.6B", num_hidden_layers=2).family
    'qwen3'
    """

    model_type: ClassVar[str] = "llama"

    vocab_size: int = size(32000)
    family: str = choice("llama", *LLAMA_FAMILIES, minilm_only=True)
    hidden_size: int = size(4096)
    intermediate_size: int = size(11008)
    num_hidden_layers: int = size(32)
    num_attention_heads: int = size(32)
    num_key_value_heads: int | None = size(None)
    head_dim: int | None = size(None)
    hidden_act: str = choice("silu", *ACTIVATIONS)
    max_position_embeddings: int = size(2048)
    rms_norm_eps: float = number(1e-6, 0, 1)
    initializer_range: float = number(0.02, 0, 100, low_open=True)
    tie_word_embeddings: bool = flag(False)
    rope_theta: float = number(10_000.0, 0, 1e30, low_open=True)
    rope_scaling: Mapping[str, Any] | None = setting(None, _scaling)
    attention_bias: bool = flag(False)
    mlp_bias: bool = flag(False)
    attention_dropout: float = rate(0.0)
    sliding_window: int | None = size(None)
    window_layers: str = choice("all", "all", "even", "upper", minilm_only=True)
    max_window_layers: int = setting(0, lambda name, value: checks.whole(name, value, 0, 2**31))
    query_pre_attn_scalar: float | None = number(None, 0, 1e30, low_open=True)
    attn_logit_softcapping: float | None = number(None, 0, 1e30, low_open=True)
    final_logit_softcapping: float | None = number(None, 0, 1e30, low_open=True)
    num_local_experts: int | None = size(None)
    num_experts_per_tok: int = size(2)
    recompute: bool = flag(False, minilm_only=True)

    def check(self) -> None:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} and {self.num_attention_heads}"
            )
        if self.num_attention_heads % self.groups:
            raise ValueError(
                f"num_attention_heads must be a multiple of num_key_value_heads, got {self.num_attention_heads} and {self.groups}"
            )
        if self.width % 2:
            raise ValueError(f"heads must have an even width for their rotation, got {self.width}")
        wants = {"capped": ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping")}
        wants |= {"windowed": ("sliding_window",), "mixed": ("num_local_experts",)}
        for trait, names in wants.items():
            chosen = [name for name in names if getattr(self, name) is not None]
            if chosen and not getattr(self.traits, trait):
                families = ", ".join(repr(family) for family, traits in LLAMA_FAMILIES.items() if getattr(traits, trait))
                raise ValueError(f"{chosen[0]} is for family {families}, got it with {self.family!r}")

        if self.traits.mixed and self.num_experts_per_tok > self.experts:
            raise ValueError(
                f"num_experts_per_tok must be at most num_local_experts = {self.experts}, got {self.num_experts_per_tok}"
            )
        if self.traits.mixed and self.mlp_bias:
            raise ValueError("mlp_bias is for a network that is no mixture of experts, got it with 'mixtral'")

    # --- published models --------------------------------------------------------------------------------------------

    @classmethod
    def llama2(cls, size: str = "7B", **changes: Any) -> LlamaConfig:
        """Llama 2: "7B", "13B" or "70B" (H. Touvron et al., arXiv:2307.09288). `changes` are any settings."""
        same = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
        return cls(**{**same, **_sized(LLAMA2, size), **changes})

    @classmethod
    def llama3(cls, size: str = "8B", **changes: Any) -> LlamaConfig:
        """Llama 3.1 and 3.2: "1B", "3B", "8B" or "70B" (A. Dubey et al., The Llama 3 herd of models, arXiv:2407.21783)."""
        scaling = {
            "rope_type": "llama3",
            "factor": 32.0 if size in ("1B", "3B") else 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        same = {"vocab_size": 128_256, "max_position_embeddings": 131_072, "rope_theta": 500_000.0, "rope_scaling": scaling}
        tied = {"rms_norm_eps": 1e-5, "tie_word_embeddings": size in ("1B", "3B")}
        return cls(**{**same, **tied, **_sized(LLAMA3, size), **changes})

    @classmethod
    def smollm2(cls, size: str = "135M", **changes: Any) -> LlamaConfig:
        """SmolLM2: "135M", "360M" or "1.7B" (L. Ben Allal et al., SmolLM2, arXiv:2502.02737)."""
        base = 130_000.0 if size == "1.7B" else 100_000.0
        same = {"vocab_size": 49_152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": base}
        return cls(**{**same, "tie_word_embeddings": True, **_sized(SMOLLM2, size), **changes})

    @classmethod
    def mistral(cls, **changes: Any) -> LlamaConfig:
        """Mistral 7B, with its window of 4,096 tokens (A. Q. Jiang et al., Mistral 7B, arXiv:2310.06825)."""
        same = {"family": "mistral", "intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 32_768}
        return cls(**{**same, "sliding_window": 4096, "rms_norm_eps": 1e-5, **changes})

    @classmethod
    def mixtral(cls, size: str = "8x7B", **changes: Any) -> LlamaConfig:
        """Mixtral: "8x7B" or "8x22B" (A. Q. Jiang et al., Mixtral of experts, arXiv:2401.04088): 2 of 8 experts a token."""
        same = {"family": "mixtral", "num_local_experts": 8, "rope_theta": 1e6, "rms_norm_eps": 1e-5}
        more = {
            "max_position_embeddings": 65_536 if size == "8x22B" else 32_768,
            "vocab_size": 32_768 if size == "8x22B" else 32_000,
        }
        return cls(**{**same, **more, **_sized(MIXTRAL, size), **changes})

    @classmethod
    def qwen2(cls, size: str = "0.5B", **changes: Any) -> LlamaConfig:
        """Qwen2.5: "0.5B", "1.5B" or "7B" (Qwen Team, Qwen2.5 technical report, arXiv:2412.15115)."""
        same = {"family": "qwen2", "max_position_embeddings": 32_768 if size == "0.5B" else 131_072, "rope_theta": 1e6}
        tied = {"tie_word_embeddings": size != "7B", "vocab_size": 152_064 if size == "7B" else 151_936}
        return cls(**{**same, **tied, **_sized(QWEN2, size), **changes})

    @classmethod
    def qwen3(cls, size: str = "0.6B", **changes: Any) -> LlamaConfig:
        """Qwen3: "0.6B", "1.7B" or "8B" (Qwen Team, Qwen3 technical report, arXiv:2505.09388)."""
        same = {"family": "qwen3", "vocab_size": 151_936, "max_position_embeddings": 40_960, "rope_theta": 1e6, "head_dim": 128}
        return cls(**{**same, "tie_word_embeddings": size != "8B", **_sized(QWEN3, size), **changes})

    @classmethod
    def gemma(cls, size: str = "2B", **changes: Any) -> LlamaConfig:
        """Gemma: "2B" or "7B" (Gemma Team, arXiv:2403.08295)."""
        same = {"family": "gemma", "vocab_size": 256_000, "max_position_embeddings": 8192, "head_dim": 256}
        act = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True}
        return cls(**{**same, **act, **_sized(GEMMA, size), **changes})

    @classmethod
    def gemma2(cls, size: str = "2B", **changes: Any) -> LlamaConfig:
        """Gemma 2: "2B" or "9B" (Gemma Team, arXiv:2408.00118): a window in every second layer, softcaps."""
        same = {"family": "gemma2", "vocab_size": 256_000, "max_position_embeddings": 8192, "head_dim": 256}
        caps = {"query_pre_attn_scalar": 256.0, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        more = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True, "sliding_window": 4096, "window_layers": "even"}
        return cls(**{**same, **caps, **more, **_sized(GEMMA2, size), **changes})

    # --- what follows from it ----------------------------------------------------------------------------------------

    @property
    def traits(self) -> Traits:
        """What the family has."""
        return LLAMA_FAMILIES[self.family]

    @property
    def experts(self) -> int:
        """E, of a mixture; 0 without one."""
        return (self.num_local_experts or 8) if self.traits.mixed else 0

    @property
    def groups(self) -> int:
        """G, heads of keys and values."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def width(self) -> int:
        """K, of a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def activation(self) -> str:
        """The gate's activation, as `minilm.layers.GatedFeedForward` calls it."""
        return ACTIVATIONS[self.hidden_act]

    @property
    def scale(self) -> float:
        """What the scores of attention are multiplied by."""
        return 1 / math.sqrt(self.query_pre_attn_scalar or self.width)

    @property
    def band(self) -> int | None:
        """The window, if some layer has one."""
        return self.sliding_window

    def window_of(self, layer: int) -> int | None:
        """The window of a layer."""
        has = {"all": True, "even": layer % 2 == 0, "upper": layer >= self.max_window_layers}[self.window_layers]
        return self.sliding_window if has else None

    @property
    def parameter_count(self) -> int:
        """How many numbers the model has, without making it.

        ::

            V D                                             tokens
            + V D                                           output, where it does not share the tokens' table
            + num_hidden_layers (2 (H K) D + 2 (G K) D      q and the last map, k and v
                                 + 3 F D                    the gated network, or E times that + E D for the router
                                 + 2 D, or 4 D sandwiched)  normalisations
            + D                                             last normalisation

        and the biases, and 2 K a layer where heads are normalised.
        """
        V, D, F, K = self.vocab_size, self.hidden_size, self.intermediate_size, self.width
        H, G, traits = self.num_attention_heads, self.groups, self.traits
        network = 3 * F * D * (self.experts or 1) + self.experts * D
        layer = 2 * (H + G) * K * D + network + (4 if traits.sandwich else 2) * D + 2 * K * traits.qk_norm
        layer += (H + 2 * G) * K * (traits.qkv_bias or self.attention_bias) + D * self.attention_bias
        layer += (2 * F + D) * self.mlp_bias
        return V * D * (2 - self.tie_word_embeddings) + self.num_hidden_layers * layer + D


# size -> (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads)
LLAMA2 = {"7B": (4096, 11008, 32, 32, 32), "13B": (5120, 13824, 40, 40, 40), "70B": (8192, 28672, 80, 64, 8)}
LLAMA3 = {
    "1B": (2048, 8192, 16, 32, 8),
    "3B": (3072, 8192, 28, 24, 8),
    "8B": (4096, 14336, 32, 32, 8),
    "70B": (8192, 28672, 80, 64, 8),
}
MIXTRAL = {"8x7B": (4096, 14336, 32, 32, 8), "8x22B": (6144, 16384, 56, 48, 8)}
SMOLLM2 = {"135M": (576, 1536, 30, 9, 3), "360M": (960, 2560, 32, 15, 5), "1.7B": (2048, 8192, 24, 32, 32)}
QWEN2 = {"0.5B": (896, 4864, 24, 14, 2), "1.5B": (1536, 8960, 28, 12, 2), "7B": (3584, 18944, 28, 28, 4)}
QWEN3 = {"0.6B": (1024, 3072, 28, 16, 8), "1.7B": (2048, 6144, 28, 16, 8), "8B": (4096, 12288, 36, 32, 8)}
GEMMA = {"2B": (2048, 16384, 18, 8, 1), "7B": (3072, 24576, 28, 16, 16)}
GEMMA2 = {"2B": (2304, 9216, 26, 8, 4), "9B": (3584, 14336, 42, 16, 8)}
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


def _sized(table: Mapping[str, tuple[int, ...]], size: str) -> dict[str, int]:
    return dict(zip(SIZES, table[checks.option("size", size, tuple(table))], strict=True))
