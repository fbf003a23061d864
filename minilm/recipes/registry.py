"""The recipes by name; each is imported when it is wanted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from minilm.mistaken import did_you_mean

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["RECIPES", "load"]

RECIPES: dict[str, tuple[str, str]] = {  # name -> (module, class); a recipe is imported only when it is asked for
    "answer": ("minilm.recipes.answer", "Answer"),
    "extract": ("minilm.recipes.extract", "Extract"),
    "intents": ("minilm.recipes.intents", "Intents"),
    "pos": ("minilm.recipes.parts_of_speech", "PartsOfSpeech"),
    "roles": ("minilm.recipes.semantic_roles", "SemanticRoles"),
    "summarise": ("minilm.recipes.summarise", "Summarise"),
    "sentiment": ("minilm.recipes.sentiment", "Sentiment"),
    "tag": ("minilm.recipes.tag", "Tag"),
    "translate": ("minilm.recipes.translate", "Translate"),
    "vectors": ("minilm.recipes.vectors", "Vectors"),
}


def load(name: str) -> type[Recipe]:
    """The class of a recipe; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; {did_you_mean(name, RECIPES)}")
    module, kind = RECIPES[name]
    return getattr(importlib.import_module(module), kind)
