"""The recipes by name; each is imported when it is wanted."""

from __future__ import annotations

import difflib
import importlib

__all__ = ["RECIPES", "load"]

RECIPES: dict[str, tuple[str, str]] = {  # name -> (module, class); a recipe is imported only when it is asked for
    "answer": ("minilm.recipes.answer", "Answer"),
    "summarise": ("minilm.recipes.summarise", "Summarise"),
    "sentiment": ("minilm.recipes.sentiment", "Sentiment"),
    "tag": ("minilm.recipes.tag", "Tag"),
    "translate": ("minilm.recipes.translate", "Translate"),
    "vectors": ("minilm.recipes.vectors", "Vectors"),
}


def load(name: str):
    """The class of a recipe; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(str(name), RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(RECIPES)}"
        raise ValueError(f"there is no recipe {name!r}; {hint}")
    module, kind = RECIPES[name]
    return getattr(importlib.import_module(module), kind)
