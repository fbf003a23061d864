"""Recipes: what language models are for, each with data of our own, real data by path, a metric, and a result to look at.

::

    from minilm import recipes

    translate = recipes.load("translate")(hidden_size=128)
    result = translate.run(minutes=1, out="dates")
    result.metrics, result.chance
    translate.answer("the 3rd of may 1999")

    again = recipes.open_run("dates")                # the recipe with its trained model

The files, by what they are for:

================  =========================================================================================================
recipes           ``answer``, ``extract``, ``intents``, ``parts_of_speech``, ``semantic_roles``, ``sentiment``, ``summarise``,
                  ``tag``, ``translate``, ``vectors``, listed in ``registry``; `minilm.recipes.base` is the base of each,
                  ``pairs`` of those that write texts
built-in data     made by grammars: ``dates``, ``relations``, ``reports``, ``requests``, ``reviews``, ``roles``, ``stories``
real data         files of others: ``abstracts``, ``conll``, ``labelled``, ``propositions``, ``squad``; ``cutting`` for typed
                  texts
inputs, outputs   ``padding``, ``pretrained_words``; ``reading`` for span readers, ``remembering`` for memory networks;
                  ``plots``, ``shading``, ``vector_quality``
a run             ``running``: from the data to a folder; ``fit``: the training loop; ``restarts``, ``settings``, ``result``
its folder        ``folder``, ``kept`` and ``state``; read again by ``resuming``, ``replay`` and ``measuring``
without a run     ``published`` and ``converted``: models that others trained, with a recipe's ``answer``
================  =========================================================================================================
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
