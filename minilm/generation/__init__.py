"""Text from a language model: the distribution to draw from, the draw, and the loop around them.

::

    text = generation.generate(model, tokenizer, "The ", tokens=200, temperature=0.8, top_p=0.95, seed=1)
    for piece in generation.stream(model, tokenizer, "The "):                  # as soon as it is known
        print(piece, end="", flush=True)

For any model with ``initial_state(B)``, ``logits(ids, state, last=True)`` and ``step(ids, state)``; `fill_mask` is for models of
masked tokens.
"""

from minilm.generation.beam import Hypothesis, beam_search
from minilm.generation.fill import Filling, fill_mask
from minilm.generation.loop import stream_ids
from minilm.generation.padding import left_padded
from minilm.generation.protocol import CausalLanguageModel
from minilm.generation.sampling import greedy_ids, keep_top_k, keep_top_p, probabilities, sample_ids
from minilm.generation.sequences import beam_targets, greedy_targets
from minilm.generation.text import generate, generate_many, stream

__all__ = [
    "Filling",
    "Hypothesis",
    "CausalLanguageModel",
    "beam_search",
    "beam_targets",
    "fill_mask",
    "generate",
    "generate_many",
    "greedy_ids",
    "greedy_targets",
    "keep_top_k",
    "keep_top_p",
    "left_padded",
    "probabilities",
    "sample_ids",
    "stream",
    "stream_ids",
]


def __dir__() -> list[str]:
    return sorted(__all__)
