"""The sizes of Llama's family that were published: ``LlamaConfig.llama3("8B")`` and its siblings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minilm.ops import checks

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LlamaSizes"]

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


class LlamaSizes:
    """The part of `minilm.models.LlamaConfig` that makes configurations of published models."""

    if TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None: ...

    @classmethod
    def llama2(cls, size: str = "7B", **changes: Any) -> Self:
        """Llama 2: "7B", "13B" or "70B" (H. Touvron et al., arXiv:2307.09288). `changes` are any settings."""
        same = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
        return cls(**{**same, **_sized(LLAMA2, size), **changes})

    @classmethod
    def llama3(cls, size: str = "8B", **changes: Any) -> Self:
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
    def smollm2(cls, size: str = "135M", **changes: Any) -> Self:
        """SmolLM2: "135M", "360M" or "1.7B" (L. Ben Allal et al., SmolLM2, arXiv:2502.02737)."""
        base = 130_000.0 if size == "1.7B" else 100_000.0
        same = {"vocab_size": 49_152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": base}
        return cls(**{**same, "tie_word_embeddings": True, **_sized(SMOLLM2, size), **changes})

    @classmethod
    def mistral(cls, **changes: Any) -> Self:
        """Mistral 7B, with its window of 4,096 tokens (A. Q. Jiang et al., Mistral 7B, arXiv:2310.06825)."""
        same = {"family": "mistral", "intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 32_768}
        return cls(**{**same, "sliding_window": 4096, "rms_norm_eps": 1e-5, **changes})

    @classmethod
    def mixtral(cls, size: str = "8x7B", **changes: Any) -> Self:
        """Mixtral: "8x7B" or "8x22B" (A. Q. Jiang et al., Mixtral of experts, arXiv:2401.04088): 2 of 8 experts a token."""
        same = {"family": "mixtral", "num_local_experts": 8, "rope_theta": 1e6, "rms_norm_eps": 1e-5}
        more = {
            "max_position_embeddings": 65_536 if size == "8x22B" else 32_768,
            "vocab_size": 32_768 if size == "8x22B" else 32_000,
        }
        return cls(**{**same, **more, **_sized(MIXTRAL, size), **changes})

    @classmethod
    def qwen2(cls, size: str = "0.5B", **changes: Any) -> Self:
        """Qwen2.5: "0.5B", "1.5B" or "7B" (Qwen Team, Qwen2.5 technical report, arXiv:2412.15115)."""
        same = {"family": "qwen2", "max_position_embeddings": 32_768 if size == "0.5B" else 131_072, "rope_theta": 1e6}
        tied = {"tie_word_embeddings": size != "7B", "vocab_size": 152_064 if size == "7B" else 151_936}
        return cls(**{**same, **tied, **_sized(QWEN2, size), **changes})

    @classmethod
    def qwen3(cls, size: str = "0.6B", **changes: Any) -> Self:
        """Qwen3: "0.6B", "1.7B" or "8B" (Qwen Team, Qwen3 technical report, arXiv:2505.09388)."""
        same = {"family": "qwen3", "vocab_size": 151_936, "max_position_embeddings": 40_960, "rope_theta": 1e6, "head_dim": 128}
        return cls(**{**same, "tie_word_embeddings": size != "8B", **_sized(QWEN3, size), **changes})

    @classmethod
    def gemma(cls, size: str = "2B", **changes: Any) -> Self:
        """Gemma: "2B" or "7B" (Gemma Team, arXiv:2403.08295)."""
        same = {"family": "gemma", "vocab_size": 256_000, "max_position_embeddings": 8192, "head_dim": 256}
        act = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True}
        return cls(**{**same, **act, **_sized(GEMMA, size), **changes})

    @classmethod
    def gemma2(cls, size: str = "2B", **changes: Any) -> Self:
        """Gemma 2: "2B" or "9B" (Gemma Team, arXiv:2408.00118): a window in every second layer, softcaps."""
        same = {"family": "gemma2", "vocab_size": 256_000, "max_position_embeddings": 8192, "head_dim": 256}
        caps = {"query_pre_attn_scalar": 256.0, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        more = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True, "sliding_window": 4096, "window_layers": "even"}
        return cls(**{**same, **caps, **more, **_sized(GEMMA2, size), **changes})
