"""A recipe from its data to a folder that holds the model and what it reached; what `Recipe.run` does.

The model is written now and then, and when it is trained. Then it is measured: whatever is raised there, it is not lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minilm import devices, distributed
from minilm.data.pipes import on_disk
from minilm.ops import checks, precision
from minilm.recipes import folder, resuming
from minilm.recipes.kept import Kept
from minilm.recipes.result import Result
from minilm.recipes.state import RecipeState
from minilm.training.device import active
from minilm.training.events import Callback
from minilm.training.log import Progress
from minilm.training.parallel import usual_shards
from minilm.training.run_folder import Folder, ReadFolder
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["examples", "run"]


def run(
    recipe: Recipe,
    data: PathLike | None,
    *,
    out: PathLike | None,
    seed: int,
    device: str,
    progress: Any,
    overwrite: bool,
    resume: bool,
    callbacks: Iterable[Callback],
) -> Result:
    """See `minilm.recipes.base.Recipe.run`."""
    devices.require(device)  # now, not after the data have been read
    precision.require(device, recipe.options["precision"])
    distributed.current().on(device)
    if seed is not None:
        seed = checks.whole("seed", seed, 0, 2**63)
    if resume:
        _check_resumable(out, overwrite)
    with contextlib.ExitStack() as stack:
        place = None if out is None else _place(stack, out, overwrite, resume)
        checkpoint = place.read() if resume else None
        state = RecipeState(seed or 0) if checkpoint is None else checkpoint.state
        if checkpoint is not None:
            resuming.take_settings(recipe, checkpoint, seed)
        train, validation = examples(recipe, data, state, place)
        recipe.adapt(train)
        if checkpoint is None:
            _settle(recipe, device)
        distributed.require_same({**recipe.options, "seed": state.seed, "data": state.data_sha256})
        recipe.prepare(train)
        if checkpoint is not None:
            resuming.check_prepared(recipe, checkpoint)
        recipe.model = recipe.make_model(state.seed).to(device)
        leads = distributed.current().rank == 0
        progress = progress if leads else False
        show = stack.enter_context(contextlib.closing(Progress(progress, "examples", state.done(recipe.options))))
        for line in recipe.remarks(train, validation) + ([] if checkpoint is None else [_resumed(recipe, state)]):
            show.say(line)
        stack.enter_context(active(device, recipe.options["precision"]))
        kept = Kept(recipe, state, place if leads else None, checkpoint)
        watching = {"callbacks": callbacks} if callbacks else {}
        fitted = recipe.fit(train, validation, seed=state.seed, progress=show, kept=kept, **watching)
        if place is None or not leads:
            return _measured(recipe, validation, fitted, None if place is None else place.path, show)
        try:
            result = _measured(recipe, validation, fitted, place.path, show)
            folder.write_results(recipe, result, fitted.rows, validation, say=show.say)
        except BaseException:
            show.say(f"what was learned is in {place.path}, though not all of what was to be measured")
            raise
        return result


def _place(stack: contextlib.ExitStack, out, overwrite: bool, resume: bool) -> Folder | ReadFolder:
    """The run's folder: rank 0 of a job opens it to write, the others read it when that is done."""
    if distributed.current().rank:
        return ReadFolder(distributed.first_alone(str), folder.LAYOUT)
    place = stack.enter_context(folder.opened(out, overwrite, resume))
    distributed.first_alone(lambda: place.path)
    return place


def _settle(recipe: Recipe, device: str) -> None:
    """Settle the micro-shards of a new run; ValueError where a setting has no effect, or ranks or restarts cannot be had."""
    recipe.refuse_idle(device)
    communicator, options = distributed.current(), recipe.options
    if options["minutes"] is None and options["steps"] < options["restarts"]:
        raise ValueError(f"restarts share the steps: wanted {options['restarts']} steps at least, got {options['steps']}")
    if communicator.size > 1 and not recipe.shared:
        raise ValueError(f"the recipe {recipe.name} trains in one process, got {communicator.size}: {recipe.why_alone}")
    if communicator.name != "none" and options["micro_shards"] is None:
        options["micro_shards"] = usual_shards(options["batch"])


def _check_resumable(out, overwrite: bool) -> None:
    if overwrite:
        raise ValueError("resume goes on with a run, overwrite replaces it: one of them")
    if out is None:
        raise ValueError("resume needs out, the run's folder")
    resuming.require_run(out)


def _resumed(recipe, state: RecipeState) -> str:
    """A line on a run that goes on."""
    if state.done(recipe.options) < 1:
        return f"resumed after {state.step:,} steps"
    return f"the run has had its budget, {state.step:,} steps, and is measured; more steps or minutes train it further"


def examples(recipe, data, state: RecipeState, place) -> tuple:
    """The examples to train on, and those to validate on; `state` keeps what they are, and a run that goes on has the same."""
    if data is not None:
        data = on_disk(data)
        state.data = os.path.abspath(data)
    source = state.data if data is None else data
    parts = recipe.generate(state.seed) if source is None else recipe.read_real(source)
    named = source or "the built-in data"
    for name, part in zip(("training", "validation"), parts, strict=True):
        if not part:
            raise ValueError(f"{named}: there are no {name} examples")
    if place is not None or distributed.current().size > 1:
        digest = resuming.fingerprint(*parts)
        if state.data_sha256:
            resuming.check_data(state, digest, named, place.path)
        state.data_sha256 = digest
    return parts


def _measured(recipe, validation, fitted, out, show) -> Result:
    show.say(f"evaluating on {len(validation):,} examples")
    measures = lambda: [recipe.evaluate(validation), recipe.chance(validation), recipe.samples(validation)]  # noqa: E731
    metrics, chance, samples = distributed.first_alone(measures)
    samples = [tuple(sample) for sample in samples]
    return Result(metrics, chance, samples, fitted.steps, fitted.seconds, out, fitted.stopped)
