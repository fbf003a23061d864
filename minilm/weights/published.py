"""What a published model's folder says beside the settings of its arithmetic: what ends a text, names of labels, ids of tokens.

It is kept with the model and written again, so that a folder read and written says what it said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from minilm.files import read_json
from minilm.weights.config import canonical, config_content, config_of, family_of, settings_of
from minilm.weights.saving import CONFIG, GENERATION

__all__ = ["Published", "read_published"]

LABELS = ("id2label", "label2id")


class Published(NamedTuple):
    """The content of a folder's files."""

    config: dict[str, Any]  # config.json
    generation_config: dict[str, Any] | None  # generation_config.json, where there is one

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a text: generation_config.json says it, or config.json where there is no other, as in transformers.

        Raises
        ------
        ValueError
        """
        ids = (self.config if self.generation_config is None else self.generation_config).get("eos_token_id")
        several = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if not all(isinstance(id, int) and not isinstance(id, bool) and id >= 0 for id in several):
            raise ValueError(f"eos_token_id must be a token's number, a list of such, or null, got {ids!r}")
        return tuple(several)

    @property
    def labels(self) -> list[str] | None:
        """The names of a classifier's labels, in the order of its outputs."""
        names = self.config.get("id2label")
        return None if names is None else [names[str(index)] for index in range(len(names))]

    def updated(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The config.json of a model that was read with this one: only what differs from what this one means is new.

        Parameters
        ----------
        config : mapping
            The model's, as `minilm.weights.config_of` gives it.
        """
        family = config["model_type"]
        if family_of(self.config, [family]) != family:  # it was changed into another
            return dict(config)
        kept = canonical(self.config, family)
        before = config_of(settings_of({**self.config, "model_type": family}))
        changed = {name: value for name, value in config.items() if name not in before or before[name] != value}
        if len(config.get("id2label", ())) == len(before.get("id2label", ())):
            changed = {name: value for name, value in changed.items() if name not in LABELS}  # as many: they keep their names
        else:
            kept.pop("num_labels", None)
        kept = {name: value for name, value in kept.items() if name in config or name not in before}  # what it no longer has goes
        updated = {**kept, **changed, "model_type": family, "architectures": config["architectures"]}
        settings_of(updated)
        return updated


def read_published(folder: str) -> Published:
    """What a folder says; ValueError, with the file's name, where its tokens that end a text are none."""
    path = os.path.join(folder, GENERATION)
    result = Published(config_content(folder), read_json(path) if os.path.exists(path) else None)
    try:
        _ = result.end_ids
    except ValueError as error:
        raise ValueError(f"{os.path.join(folder, CONFIG) if result.generation_config is None else path}: {error}") from None
    return result
