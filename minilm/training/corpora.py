"""The texts of a run: one file, or several, mixed in proportions of one's own."""

from __future__ import annotations

import os
from typing import Any

from minilm import data, distributed
from minilm.data.joined import joined
from minilm.data.pipes import on_disk
from minilm.training.config import RunConfig

__all__ = ["with_text", "training_streams"]


def with_text(config: RunConfig) -> RunConfig:
    """The configuration with a corpus that a run can be gone on with: a file's whole path, or a corpus's name.

    A pipe is kept in a file, and several files are joined to one, see `minilm.data.joined`; ``parts`` then says how many
    characters of the training part each has. Of several processes the first does that.
    """
    return config.replace(**distributed.first_alone(lambda: _on_disk(config)))


def _on_disk(config: RunConfig) -> dict[str, Any]:
    names = config.corpora
    if len(names) == 1:
        path = on_disk(names[0])
        return {"corpus": os.path.abspath(path) if os.path.isfile(path) else path}
    whole = joined([data.text(on_disk(name), config.errors) for name in names], config.validation)
    return {"corpus": whole.path, "errors": "strict", "parts": list(whole.parts)}


def training_streams(config: RunConfig, train: data.Text, tokenizer) -> list:
    """The ids of each text's training part, (N_i,), where they are mixed by weights."""
    streams, start = [], train.start
    for size in config.parts or ():
        streams.append(data.tokens(data.Text(train.path, start, start + size, train.errors), tokenizer))
        start += size
    return streams
