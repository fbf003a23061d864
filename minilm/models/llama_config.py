"""What a model of Llama's family is made of, by Hugging Face's names; published sizes are `minilm.models.llama_sizes`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from minilm.models.config import Config, choice, flag, number, rate, setting, size
from minilm.models.llama_sizes import LlamaSizes
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
class LlamaConfig(LlamaSizes, Config):
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
