"""A recipe's run as its training loop sees it: how far it has come, and the checkpoints that are kept of it.

The protocol is that of `minilm.training.checkpoint`, the files are those of `minilm.recipes.folder`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from minilm.optimizers import Optimizer, WeightAverage
from minilm.recipes import folder as files
from minilm.recipes.state import RecipeState
from minilm.training import snapshot
from minilm.training.callbacks import Stop
from minilm.training.checkpoint import Checkpoint
from minilm.training.run import load_weights
from minilm.training.run_folder import Folder

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["Kept"]

SECONDS = 30.0  # between two checkpoints


class Kept:
    """What is kept of a run; nothing without a folder.

    Parameters
    ----------
    recipe : Recipe
    state : RecipeState, optional
    folder : Folder, optional
    checkpoint : Checkpoint, optional
        What to go on from; `state` is its state.
    """

    def __init__(self, recipe: Recipe, state: RecipeState | None = None, folder: Folder | None = None, checkpoint: Any = None):
        self.recipe, self.state = recipe, state or RecipeState()
        self._folder, self._checkpoint = folder, checkpoint
        self._first, self._at = True, time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._folder is not None and time.perf_counter() - self._at >= SECONDS

    def restore(self, optimizer: Optimizer | None = None, average: WeightAverage | None = None) -> None:
        """Put back what a run is to go on from, if it is one that goes on; without an optimizer the weights alone."""
        checkpoint: Checkpoint | None = self._checkpoint
        if checkpoint is None:
            return
        model, self._checkpoint = self.recipe.model, None
        if optimizer is None:
            load_weights(model, checkpoint.contents[files.WEIGHTS])
        else:
            snapshot.put_back(model, optimizer, average, checkpoint)

    def save(self, optimizer: Optimizer | None = None, average: WeightAverage | None = None) -> bool:
        """Write a checkpoint of this step; without an optimizer of the weights alone. A signal waits until it stands.

        Returns whether there is a folder for it.
        """
        state, recipe = self.state, self.recipe
        if self._folder is None:
            return False
        metadata = {"format": "np", "step": str(state.step)}
        missing = self._folder.renew()  # somebody may have removed the folder, or files
        writers = files.writers(recipe) if self._first or missing else {}
        if optimizer is None:
            writers |= files.weights_writer(recipe, metadata)
        else:
            writers |= snapshot.arrays_writers(recipe.model, optimizer, average, metadata)
        with Stop() as stop:
            self._folder.save(state, writers)
            if self._first:
                files.remove_stale(self._folder)
            files.write_log(recipe, state.rows, self._folder.path)
            self._first, self._at = False, time.perf_counter()
        stop.act()
        return True
