"""Recipes: what language models are for, each with data of our own, real data by path, a metric, and a result to look at.

::

    from minilm import recipes

    translate = recipes.load("translate")(hidden_size=128)
    result = translate.run(minutes=1, out="dates")
    result.metrics, result.chance
    translate.answer("the 3rd of may 1999")

    again = recipes.open_run("dates")                # the recipe with its trained model
"""

from __future__ import annotations

import os
from typing import Any

from minilm.recipes.registry import RECIPES, load
from minilm.typing import PathLike

__all__ = ["RECIPES", "load", "open_run"]


def open_run(folder: PathLike, device: str = "cpu") -> Any:
    """What a folder holds, with its trained model on "cpu" or "cuda", ready to ``answer``.

    A run's is its recipe, see `minilm.recipes.folder.read`; a published model's answers for the task that the model is for, see
    `minilm.recipes.published`; an encoder-decoder that was converted writes targets, see `minilm.recipes.converted`.
    """
    from minilm import devices
    from minilm.hub import model_folder
    from minilm.recipes.converted import is_converted, open_converted
    from minilm.training.checkpoint import RECIPE_STATE
    from minilm.training.run import is_published

    devices.require(device)
    folder = model_folder(folder)
    if is_converted(folder):
        return open_converted(folder, device)
    if not os.path.lexists(os.path.join(folder, RECIPE_STATE)) and is_published(folder):
        from minilm.recipes.published import open_published

        return open_published(folder, device)
    from minilm.recipes.folder import read

    return read(folder, device)


def __dir__() -> list[str]:
    return sorted(__all__)
