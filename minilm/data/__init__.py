"""Data: from a text's name to batches of ids.

::

    text = data.text("stories")                                  # or a file's path, a list of texts, a column of a table
    train, validation = text.split(0.1)                          # by characters: the last tenth is for validation
    tokens = data.tokens(train, tokenizer)                       # (N,), memory-mapped if the text is large
    for ids, targets in data.batches(tokens, batch=12, time=64, seed=0):    # (B, T) int64 each; without end
        ...

Every batch is a function of the tokens, the seed and the step alone, so a resumed run asks for ``.batch(step)`` and goes on.
"""

from minilm.data.batching import IGNORE, ContiguousBatches, EvaluationBatches, RandomBatches, batches
from minilm.data.download import fetch
from minilm.data.manifest import Corpus, corpora, corpus
from minilm.data.masking import MaskingIds, PretrainingBatches, mask_tokens, masked_places
from minilm.data.mixtures import MixtureBatches, mixture
from minilm.data.shards import Shards, shards
from minilm.data.texts import Text, text
from minilm.data.token_files import load_tokens, tokens

__all__ = [
    "IGNORE",
    "ContiguousBatches",
    "Corpus",
    "EvaluationBatches",
    "MaskingIds",
    "MixtureBatches",
    "PretrainingBatches",
    "RandomBatches",
    "Shards",
    "Text",
    "batches",
    "corpora",
    "corpus",
    "fetch",
    "load_tokens",
    "mask_tokens",
    "masked_places",
    "mixture",
    "shards",
    "text",
    "tokens",
]


def __dir__() -> list[str]:
    return sorted(__all__)
