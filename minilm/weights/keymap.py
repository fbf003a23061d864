"""What each family's published checkpoints call their weights, and what we call them.

A name goes through the same steps on both sides: a checkpoint's on the one, our parameter's on the other. What is equal in the
end belongs together. So it matters neither whether a file was saved with or without "transformer.", nor by which version. ::

    bert.encoder.layer.0.output.LayerNorm.gamma     without the prefix          encoder.layer.0.output.LayerNorm.gamma
                                                    its older name renewed      encoder.layer.0.output.LayerNorm.weight

**Orientation.** Our linear weights are (out, in), y = x W' + b, as in torch.nn.Linear. GPT's authors wrote a 1x1 convolution,
whose weight is (in, out); what `transposed` matches is transposed when it is loaded, and again when it is saved. The two
shapes of a square one are equal, so no check of shapes would notice the mistake.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WRAPPED = r"^((module|_orig_mod)\.)+|(?<![^.])_orig_mod\."  # of PyTorch's DataParallel, and of torch.compile


class KeyMap(NamedTuple):
    """The names of one family's weights.

    Attributes
    ----------
    family : str
        What config.json calls it ("model_type").
    prefix : str
        What stands before the names of the body, not of the heads, where a model has both.
    renewed : tuple of (str, str)
        Regular expressions and what stands in their place: older or other names of weights, and the names used here.
    spelled : tuple of (str, str)
        The way back, to the names to save under.
    ignored : str
        Regular expression of what checkpoints hold beside weights: masks, positions.
    tied : dict of str to str
        Weights that are another one under a further name: they may be missing, and must be equal to it if they are there.
    transposed : str
        Regular expression of the weights that are stored (in, out).
    heads : str
        Regular expression of the weights outside the body.
    """

    family: str
    prefix: str
    renewed: tuple[tuple[str, str], ...] = ()
    spelled: tuple[tuple[str, str], ...] = ()
    ignored: str = r"(?!)"
    tied: dict[str, str] = {}
    transposed: str = r"(?!)"
    heads: str = r"(?!)"

    def canonical(self, name: str) -> str:
        """The name by which both sides are compared."""
        name = re.sub(WRAPPED, "", name).removeprefix(self.prefix)
        for pattern, new in self.renewed:
            name = re.sub(pattern, new, name)
        return name

    def is_ignored(self, name: str) -> bool:
        """Whether a canonical name is of no weight."""
        return re.fullmatch(self.ignored, name) is not None

    def is_transposed(self, name: str) -> bool:
        """Whether the weight with this canonical name is stored (in, out)."""
        return re.fullmatch(self.transposed, name) is not None

    def untied(self) -> KeyMap:
        """The map where the output layer has a table of its own, for which no other may stand in."""
        return self._replace(tied={name: main for name, main in self.tied.items() if not name.endswith(".weight")})

    def saved(self, name: str, with_prefix: bool = True) -> str:
        """What a weight with this canonical name is called in a file."""
        is_head = re.match(self.heads, name)
        for pattern, new in self.spelled:
            name = re.sub(pattern, new, name)
        return name if is_head or not with_prefix else self.prefix + name


# Conv1D's of GPT and GPT-2: query, key and value in one, the output projection, the two of the feed-forward part.
CONVOLUTIONS = r"h\.\d+\.(attn\.(c_attn|c_proj)|mlp\.(c_fc|c_proj))\.weight"
GPT_HEADS = r"(lm_head|multiple_choice_head|score)\."

GPT2 = KeyMap(
    family="gpt2",
    prefix="transformer.",
    ignored=r"h\.\d+\.attn\.(bias|masked_bias)",  # the triangular mask, and what stood for minus infinity
    tied={"lm_head.weight": "wte.weight"},
    transposed=CONVOLUTIONS,
    heads=GPT_HEADS,
)

OPENAI_GPT = KeyMap(
    family="openai-gpt",
    prefix="transformer.",
    # Our GPT has one set of names for the whole family, GPT-2's.
    renewed=((r"^tokens_embed\.", "wte."), (r"^positions_embed\.", "wpe.")),
    spelled=((r"^wte\.", "tokens_embed."), (r"^wpe\.", "positions_embed.")),
    ignored=r"h\.\d+\.attn\.bias|position_ids",
    tied={"lm_head.weight": "wte.weight"},
    transposed=CONVOLUTIONS,
    heads=GPT_HEADS,
)

BERT = KeyMap(
    family="bert",
    prefix="bert.",
    renewed=(
        (r"\.gamma$", ".weight"),  # LayerNorm's names in TensorFlow, until 2019 also in PyTorch
        (r"\.beta$", ".bias"),
        # Our blocks have one set of names for encoders and decoders, GPT-2's.
        (r"^(encoder\.layer\.\d+)\.attn\.(query|key|value)\.", r"\1.attention.self.\2."),
        (r"^(encoder\.layer\.\d+)\.attn\.c_proj\.", r"\1.attention.output.dense."),
        (r"^(encoder\.layer\.\d+)\.ln_1\.", r"\1.attention.output.LayerNorm."),
        (r"^(encoder\.layer\.\d+)\.mlp\.c_fc\.", r"\1.intermediate.dense."),
        (r"^(encoder\.layer\.\d+)\.mlp\.c_proj\.", r"\1.output.dense."),
        (r"^(encoder\.layer\.\d+)\.ln_2\.", r"\1.output.LayerNorm."),
    ),
    ignored=r"embeddings\.(position_ids|token_type_ids)",
    tied={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    heads=r"(cls|qa_outputs|classifier)\.",
)

LLAMA = KeyMap(
    family="llama",
    prefix="model.",
    ignored=r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",  # of files of 2023
    tied={"lm_head.weight": "embed_tokens.weight"},
    heads=r"lm_head\.",
)
# Relatives of Llama's, whose weights are called alike.
LLAMAS = tuple(LLAMA._replace(family=family) for family in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"))

MIXTRAL = LLAMA._replace(
    family="mixtral",
    # The experts are Llama's networks by other names.
    renewed=(
        (r"^(layers\.\d+)\.block_sparse_moe\.", r"\1.mlp."),
        (r"(\.experts\.\d+)\.w1\.", r"\1.gate_proj."),
        (r"(\.experts\.\d+)\.w2\.", r"\1.down_proj."),
        (r"(\.experts\.\d+)\.w3\.", r"\1.up_proj."),
    ),
    spelled=(
        (r"^(layers\.\d+)\.mlp\.", r"\1.block_sparse_moe."),
        (r"(\.experts\.\d+)\.gate_proj\.", r"\1.w1."),
        (r"(\.experts\.\d+)\.down_proj\.", r"\1.w2."),
        (r"(\.experts\.\d+)\.up_proj\.", r"\1.w3."),
    ),
)

KEYMAPS = {each.family: each for each in (GPT2, OPENAI_GPT, BERT, *LLAMAS, MIXTRAL)}
