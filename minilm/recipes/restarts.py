"""Training a recipe several times from other first weights, and keeping the best: what the setting `restarts` does.

::

    for each restart: train with its share of the budget, and measure the mean loss on the training part, without dropout
    keep the model whose loss is least

Some models end in minima of quite different quality, by their first weights alone: memory networks, for which their authors kept
the one of ten trainings with the least training error (Sukhbaatar et al., NIPS 2015, section 4). The validation part has no say.

The first restart is the training that there is without the setting, from the same seed. A checkpoint is written after each: a run
that was stopped goes on with the restart that it was in, from its beginning.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import distributed
from minilm.recipes import fit
from minilm.recipes.kept import Kept

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["best_of", "training_loss"]


def best_of(
    recipe: Recipe, train: Sequence, validation: Sequence, *, seed: int, progress: Any, kept: Kept | None = None
) -> fit.Fitted:
    """Train ``recipe.options["restarts"]`` models; the one of least training loss becomes ``recipe.model``.

    ``kept.state.place["losses"]`` has the loss of each restart that has ended.
    """
    kept, count, stopped = kept or Kept(recipe), recipe.options["restarts"], None
    kept.restore()
    state = kept.state
    rows, losses = state.rows, state.place.setdefault("losses", [])
    while stopped is None and len(losses) < count:
        trial = _restart(recipe, seed, len(losses))
        own = fit.fit(trial, train, validation, seed=_seed(seed, len(losses)), progress=progress)
        moved = [row._replace(step=state.step + row.step, seconds=state.seconds + row.seconds) for row in own.rows]
        stopped = own.stopped
        if stopped is not None:  # it would be compared with others that were trained longer
            if not losses:
                recipe.model = trial.model
            rows = [*rows, *moved]
            break
        loss = distributed.first_alone(lambda trained=trial: training_loss(trained, train))
        progress.say(f"restart {len(losses) + 1} of {count}: training loss {loss:.4f}")
        if loss < min(losses, default=np.inf):
            recipe.model = trial.model
        losses.append(loss)
        state.rows += moved
        state.step, state.seconds = state.step + own.steps, state.seconds + own.seconds
        kept.save()
    kept.save()
    return fit.Fitted(state.step, state.seconds, rows, stopped)


def training_loss(recipe: Recipe, examples: Sequence) -> float:
    """Mean loss of the model, without dropout."""
    total, weights = 0.0, 0
    for some in fit.batches(examples, recipe.options["batch"], recipe.length, 0, 0):
        batch = recipe.batch(some)
        loss, _ = recipe.model.forward(*recipe.on_device(batch))
        total, weights = total + float(loss) * recipe.weight(batch), weights + recipe.weight(batch)
    return total / weights


def _restart(recipe: Recipe, seed: int, number: int) -> Recipe:
    """The recipe with new first weights and a share of the budget."""
    trial, options, count = copy.copy(recipe), recipe.options, recipe.options["restarts"]
    steps = (number + 1) * options["steps"] // count - number * options["steps"] // count
    minutes = None if options["minutes"] is None else options["minutes"] / count
    trial.options = {**options, "restarts": 1, "steps": steps, "minutes": minutes}
    trial.model = trial.make_model(_seed(seed, number)).to(recipe.model.device)
    return trial


def _seed(seed: int, number: int) -> int:
    return seed if number == 0 else int(np.random.default_rng([seed, number]).integers(2**63))
