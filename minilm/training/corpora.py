"""The texts of a run: one file, or several, mixed in proportions of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from minilm import data, distributed
from minilm.data.joined import Joined, joined
from minilm.data.pipes import on_disk
from minilm.training.config import RunConfig

__all__ = ["as_one", "training_streams", "with_text"]


def with_text(config: RunConfig) -> RunConfig:
    """The configuration with a corpus that a resumed run finds again: a file's absolute path, or a corpus's name.

    A pipe is kept in a file, and several files are joined to one, see `minilm.data.joined`; ``parts`` then says how many
    characters of the training part each has. Of several processes the first does that.
    """
    return config.replace(**distributed.first_alone(lambda: _on_disk(config)))


def _on_disk(config: RunConfig) -> dict[str, Any]:
    if len(config.corpora) == 1:
        path = on_disk(config.corpora[0])
        return {"corpus": os.path.abspath(path) if os.path.isfile(path) else path}
    whole = as_one(config.corpora, config.errors, config.validation)
    return {"corpus": whole.path, "errors": "strict", "parts": list(whole.parts)}


def as_one(names: Sequence[str], errors: str, fraction: float) -> Joined:
    """Several texts, joined to one of which `fraction` is for validation."""
    return joined([data.text(on_disk(name), errors) for name in names], fraction)


def training_streams(config: RunConfig, train: data.Text, tokenizer) -> list:
    """The ids of each text's training part, (N_i,), where they are mixed by weights."""
    streams, start = [], train.start
    for size in config.parts or ():
        streams.append(data.tokens(data.Text(train.path, start, start + size, train.errors), tokenizer))
        start += size
    return streams
