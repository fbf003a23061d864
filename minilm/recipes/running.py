"""A recipe from its data to a folder that holds the model and what it reached; what `Recipe.run` does.

The model is written as soon as it is trained, and measured then: whatever is raised while it is measured, it is not lost.
"""

from __future__ import annotations

import contextlib

from minilm import devices
from minilm.ops import checks
from minilm.recipes import folder
from minilm.recipes.result import Result
from minilm.training.device import active
from minilm.training.interrupt import Stop
from minilm.training.progress import Progress

__all__ = ["run"]


def run(recipe, data, *, out, seed, device, progress, overwrite) -> Result:
    """See `minilm.recipes.base.Recipe.run`."""
    devices.require(device)  # now, not after the data have been read
    seed = checks.whole("seed", seed, 0, 2**63)
    with contextlib.ExitStack() as stack:
        if out is not None:
            out = stack.enter_context(folder.opened(out, overwrite))
        train, validation = _examples(recipe, data, seed)
        recipe.adapt(train)
        recipe.prepare(train)
        recipe.model = recipe.make_model(seed).to(device)
        show = stack.enter_context(contextlib.closing(Progress(progress, "examples")))
        for line in recipe.remarks(train, validation):
            show.say(line)
        stack.enter_context(active(device, recipe.options["precision"]))
        fitted = recipe.fit(train, validation, seed=seed, progress=show)
        if out is None:
            return _measured(recipe, validation, fitted, None, show)
        with Stop() as stop:  # a model that is half written is none
            folder.write_model(recipe, fitted.rows, out)
        try:
            stop.act()
            result = _measured(recipe, validation, fitted, out, show)
            folder.write_results(recipe, result, fitted.rows, validation, say=show.say)
        except BaseException:
            show.say(f"what was learned is in {out}, though not all of what was to be measured")
            raise
        return result


def _examples(recipe, data, seed: int) -> tuple:
    """The examples to train on, and those to validate on."""
    parts = recipe.generate(seed) if data is None else recipe.read_real(data)
    for name, examples in zip(("training", "validation"), parts, strict=True):
        if not examples:
            raise ValueError(f"{data or 'the built-in data'}: there are no {name} examples")
    return parts


def _measured(recipe, validation, fitted, out, show) -> Result:
    show.say(f"evaluating on {len(validation):,} examples")
    metrics = recipe.evaluate(validation)
    chance, samples = recipe.chance(validation), recipe.samples(validation)
    return Result(metrics, chance, samples, fitted.steps, fitted.seconds, out, fitted.stopped)
