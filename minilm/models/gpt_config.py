"""What a GPT is made of, by Hugging Face's names, and every size of the papers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from minilm.models.config import Config, choice, flag, number, rate, size
from minilm.ops import checks

__all__ = ["ACTIVATIONS", "GPT2_SIZES", "GPT3_SIZES", "GPTConfig"]

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu": "gelu_erf", "relu": "relu"}  # Hugging Face's name -> the op

# size -> (n_layer, n_embd, n_head)
GPT2_SIZES = {"small": (12, 768, 12), "medium": (24, 1024, 16), "large": (36, 1280, 20), "xl": (48, 1600, 25)}
# Brown et al., table 2.1. Its 1.3B has 24 heads of 128, which are not its width of 2048, and its 13B a width of 5140,
# which no 40 heads of 128 have: here they are 16 heads, and 5120.
GPT3_SIZES = {
    "125M": (12, 768, 12),
    "350M": (24, 1024, 16),
    "760M": (24, 1536, 16),
    "1.3B": (24, 2048, 16),
    "2.7B": (32, 2560, 32),
    "6.7B": (32, 4096, 32),
    "13B": (40, 5120, 40),
    "175B": (96, 12288, 96),
}


@dataclasses.dataclass(frozen=True)
class GPTConfig(Config):
    """Configuration of a GPT.

    Parameters
    ----------
    vocab_size : int
        V.
    n_positions : int
        Most tokens a text may have: the context.
    n_embd, n_layer, n_head : int
        D, a multiple of n_head; number of blocks; heads of each.
    n_inner : int, optional
        Width of the position-wise networks; 4 D without it.
    activation_function : {"gelu_new", "gelu", "relu"}
        "gelu_new" is GELU's tanh form, which all GPTs have.
    resid_pdrop, embd_pdrop, attn_pdrop : float
        Dropout of what a block's parts add to the residual, of the embeddings, and of the attention's weights.
    layer_norm_epsilon : float
    initializer_range : float
        Standard deviation of the first weights; biases start at zero.
    norm_first : bool
        True as GPT-2 and GPT-3, False as GPT-1, which has no last normalisation either.
    scaled_residual : bool
        Let the last map of each residual part start smaller, by 1 / sqrt(2 n_layer).
    band : int, optional
        Let every second block, from the second on, see only so many last positions.
    recompute : bool
        See `minilm.layers.TransformerBlock`.
    tie_word_embeddings : bool
        Let the output layer use the tokens' table; else it has weights of its own.
    """

    model_type: ClassVar[str] = "gpt"

    vocab_size: int = size(50257)
    n_positions: int = size(1024)
    n_embd: int = size(768)
    n_layer: int = size(12)
    n_head: int = size(12)
    n_inner: int | None = size(None)
    activation_function: str = choice("gelu_new", *ACTIVATIONS, minilm_only=True)  # openai-gpt has another name for it
    resid_pdrop: float = rate(0.1)
    embd_pdrop: float = rate(0.1)
    attn_pdrop: float = rate(0.1)
    layer_norm_epsilon: float = number(1e-5, 0, 1)
    initializer_range: float = number(0.02, 0, 100, low_open=True)
    norm_first: bool = flag(True, minilm_only=True)
    scaled_residual: bool = flag(True, minilm_only=True)
    band: int | None = size(None, minilm_only=True)
    recompute: bool = flag(False, minilm_only=True)
    tie_word_embeddings: bool = flag(True)

    def check(self) -> None:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd must be a multiple of n_head, got {self.n_embd} and {self.n_head}")

    # --- the papers' models ------------------------------------------------------------------------------------------

    @classmethod
    def gpt1(cls, **changes: Any) -> GPTConfig:
        """GPT-1: post-norm, 12 layers of 768, 512 positions, 40,478 tokens; 116.5 million parameters.

        References
        ----------
        A. Radford, K. Narasimhan, T. Salimans, I. Sutskever, Improving language understanding by generative pre-training, 2018.
        """
        return cls(**{"vocab_size": 40478, "n_positions": 512, "norm_first": False, "scaled_residual": False, **changes})

    @classmethod
    def gpt2(cls, size: str = "small", **changes: Any) -> GPTConfig:
        """GPT-2: "small", "medium", "large" or "xl" (124, 355, 774 and 1,558 million parameters).

        Parameters
        ----------
        size : str
        **changes
            Any setting: ``gpt2(n_layer=4, n_embd=128, n_head=4)``.

        References
        ----------
        A. Radford et al., Language models are unsupervised multitask learners, 2019.
        """
        checks.option("size", size, tuple(GPT2_SIZES))
        return cls(**{**_sized(GPT2_SIZES[size]), **changes})

    @classmethod
    def gpt3(cls, size: str = "125M", **changes: Any) -> GPTConfig:
        """GPT-3: "125M", "350M", "760M", "1.3B", "2.7B", "6.7B", "13B" or "175B".

        As GPT-2, with 2,048 positions, no dropout, and dense and locally banded attention in turn. The paper does not say how
        wide the band is: here 256, which ``band`` changes.

        References
        ----------
        T. Brown et al., Language models are few-shot learners, NeurIPS 2020, table 2.1; R. Child et al., Generating long
        sequences with sparse transformers, arXiv:1904.10509.
        """
        checks.option("size", size, tuple(GPT3_SIZES))
        plain = {"n_positions": 2048, "band": 256, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return cls(**{**_sized(GPT3_SIZES[size]), **plain, **changes})

    # --- what follows from it ----------------------------------------------------------------------------------------

    @property
    def activation(self) -> str:
        """The op's name."""
        return ACTIVATIONS[self.activation_function]

    @property
    def parameter_count(self) -> int:
        """How many numbers the model has, without making it.

        ::

            V D + P D                                    tokens and positions
            + V D                                        output, where it does not share the tokens' table
            + n_layer (4 (D² + D)                        q, k, v, and the map after the attention
                       + 2 F D + F + D                   position-wise network of width F
                       + 4 D)                            two normalisations
            + 2 D                                        last normalisation, where norm_first
        """
        V, P, D = self.vocab_size, self.n_positions, self.n_embd
        F = 4 * D if self.n_inner is None else self.n_inner
        block = 4 * (D * D + D) + 2 * F * D + F + D + 4 * D
        return V * D * (2 - self.tie_word_embeddings) + P * D + self.n_layer * block + 2 * D * self.norm_first

    def band_of(self, layer: int) -> int | None:
        """The band of a block: none in the first, third, ... one."""
        return self.band if layer % 2 else None


def _sized(sizes) -> dict[str, int]:
    return dict(zip(("n_layer", "n_embd", "n_head"), sizes, strict=True))
