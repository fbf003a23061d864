"""A recipe's run on the disk.

::

    recipe.json            how far the run has come, and size and sha256 of the next four
    config.json            the recipe's name, all its settings, and the facts that the model depends on
    model.safetensors      the weights to use
    tokenizer.NAME.json    the vocabularies
    optimizer.safetensors  what training needs beside them to go on
    log.csv, loss.png      the course of training
    metrics.json           what was measured
    samples.txt            inputs, what was wanted, and what the model gave

The first five are a checkpoint, written now and then and when training ends, log.csv with it: `minilm.training.checkpoint` says
how they are of one step whatever happens. The others are written when the model has been measured. Runs of earlier versions have
no recipe.json.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import minilm
from minilm import devices, tokenizers
from minilm.files import json_bytes, json_object, read_json, written_whole
from minilm.layers.loading import blank
from minilm.pictures import new_figure, write_png
from minilm.recipes import registry
from minilm.recipes.state import RecipeState, Row
from minilm.training import log
from minilm.training.checkpoint import RECIPE_STATE, Checkpoint, Layout
from minilm.training.run import load_weights, open_weights, tokenizer_of
from minilm.training.run_folder import Folder
from minilm.typing import PathLike
from minilm.weights import tensor_writer

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = [
    "LAYOUT",
    "is_run",
    "lacks_checkpoint",
    "opened",
    "read",
    "remove_stale",
    "vocabularies",
    "weights_writer",
    "write_log",
    "write_results",
    "writers",
]

CONFIG, WEIGHTS, METRICS, SAMPLES = "config.json", "model.safetensors", "metrics.json", "samples.txt"
NO_RECIPE = "it is no recipe's run, so nothing in it is replaced"
LOG, PLOT, OPTIMIZER = log.NAME, log.PLOT, "optimizer.safetensors"
VOCABULARIES = "tokenizer.*.json"
PICTURES = ("attention.png", "hops.png", "relations.png", "vectors.txt", "vectors.txt.sha256")  # what `Recipe.pictures` writes
LAYOUT = Layout(
    RECIPE_STATE,
    (CONFIG, WEIGHTS),
    RecipeState.from_json,
    more=(OPTIMIZER, VOCABULARIES),
    beside=(METRICS, LOG, SAMPLES, PLOT, *PICTURES),
)


@contextlib.contextmanager
def opened(path: PathLike, overwrite: bool, resume: bool = False) -> Any:
    """The folder of a run, made if it is not there; no other process can train there meanwhile.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether a recipe's run that it holds may be replaced.
    resume : bool
        Whether that run is to go on.

    Raises
    ------
    FileExistsError
        It holds anything but a recipe's run that may be replaced.
    ValueError
        Another process trains there.
    """
    folder = Folder(path, layout=LAYOUT)
    try:
        if not resume:
            _check_free(folder.path, overwrite)
        yield folder
    except BaseException:
        folder.discard()
        raise
    finally:
        folder.close()


def _check_free(folder: str, overwrite: bool) -> None:
    if os.listdir(folder):
        replaceable = is_run(folder)
        if not overwrite or not replaceable:
            hint = "--resume goes on with it, --overwrite replaces it" if replaceable else NO_RECIPE
            raise FileExistsError(f"{folder} is not empty; {hint}")


def is_run(folder: str) -> bool:
    """Whether the folder holds a recipe's run."""
    try:
        return "recipe" in read_json(os.path.join(folder, CONFIG))
    except (OSError, ValueError):
        return False


def lacks_checkpoint(folder: str) -> bool:
    """Whether the folder holds a recipe's model without its run: `minilm export` wrote it, or a minilm before checkpoints."""
    return not os.path.lexists(os.path.join(folder, LAYOUT.state)) and is_run(folder)


def writers(recipe: Recipe) -> dict:
    """For each file that does not change while a run trains a function that writes it: settings, facts and vocabularies."""
    settings = {"recipe": recipe.name, "options": recipe.options, "facts": recipe.facts, "vocabularies": [*recipe.vocabularies]}
    content = json_bytes(_json({**settings, "minilm_version": minilm.__version__}))
    return {CONFIG: lambda file: file.write(content), **vocabulary_writers(recipe)}


def vocabulary_writers(recipe) -> dict:
    """For the file of each vocabulary a function that writes it."""
    contents = {VOCABULARIES.replace("*", name): each.to_json().encode() for name, each in recipe.vocabularies.items()}
    return {name: lambda file, content=content: file.write(content) for name, content in contents.items()}


def weights_writer(recipe: Recipe, metadata: Any) -> dict:
    """The function that writes the weights as the model has them."""
    return {WEIGHTS: lambda file: tensor_writer.write(file, dict(recipe.model.parameters), metadata)}


def remove_stale(folder: Folder) -> None:
    """Remove what is not of the checkpoint that was just written: a replaced run's files, or measures of an earlier step."""
    for name in os.listdir(folder.path):
        if LAYOUT.makes(name) and name not in (LAYOUT.state, LOG, *folder.files):
            os.remove(os.path.join(folder.path, name))


def write_log(recipe: Recipe, rows: list, folder: str) -> None:
    """Write the course of training."""
    _write_text(os.path.join(folder, LOG), _log(rows, recipe.metric))


def write_results(recipe: Recipe, result: Any, rows: list, validation: Sequence, say: Callable[[str], None]) -> None:
    """Write what was measured, and the pictures; `say` is given a line where they cannot be drawn."""
    folder = result.folder
    if rows and rows[-1].metric is None:
        rows = [*rows[:-1], rows[-1]._replace(metric=result.metrics[recipe.metric])]
        _write_text(os.path.join(folder, LOG), _log(rows, recipe.metric))
    measured = {name: getattr(result, name) for name in ("metrics", "chance", "steps", "seconds")}
    _write_json(os.path.join(folder, METRICS), {"metric": recipe.metric, **measured})
    _write_text(os.path.join(folder, SAMPLES), "\n".join(sample_lines(result.samples)) + "\n")
    drawn = True
    for draw in (lambda: _plot(os.path.join(folder, PLOT), rows, recipe.metric), lambda: recipe.pictures(folder, validation)):
        try:
            draw()
        except ImportError:
            drawn = False
    if not drawn:
        say(log.NO_PLOTS)


def read(folder: PathLike, device: str = "cpu") -> Any:
    """The recipe of a run, with its trained model on a device, whichever it was trained on, ready to `answer`.

    Raises
    ------
    RuntimeError
        For "cuda" where no GPU can be used; the message says what is missing.
    FileNotFoundError
        The folder or one of its files is not there.
    ValueError
        A file is damaged or holds something else; says which, what came and what was wanted.
    """
    devices.require(device)
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    path, contents = os.path.join(folder, CONFIG), _contents(folder)
    config = config_of(folder, contents[CONFIG])
    try:
        kind = registry.load(config["recipe"])
        recipe = kind(**kind.settled(config["options"]))
        recipe.facts = config["facts"]
        recipe.vocabularies = vocabularies(folder, config, contents)
        with blank(contents[WEIGHTS]):
            recipe.model = recipe.make_model(0)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    load_weights(recipe.model, contents[WEIGHTS])
    recipe.model.to(device)
    return recipe


def vocabularies(folder: str, config: Mapping[str, Any], contents: Mapping[str, Any]) -> dict[str, Any]:
    """The vocabularies that config.json names, from what has been read of a run; an earlier minilm's from its folder."""
    read = {}
    for name in config["vocabularies"]:
        file = _own(VOCABULARIES.replace("*", name))
        known = file in contents
        read[name] = tokenizer_of(folder, contents[file], file) if known else tokenizers.load(os.path.join(folder, file))
    return read


def config_of(folder: str, content: bytes) -> dict:
    """What config.json holds; ValueError, naming it, where it is no recipe's."""
    path = os.path.join(folder, CONFIG)
    config = json_object(path, content)
    for key, kind in {"recipe": str, "options": dict, "facts": dict, "vocabularies": list}.items():
        if not isinstance(config.get(key), kind):
            raise ValueError(f"{path}: expected a recipe's run, which has {key!r}; `minilm generate` and `evaluate` take models")
    return config


def _contents(folder: str) -> dict[str, Any]:
    """The files that a trained model is made of, of one step; those of an earlier minilm as they are."""
    if os.path.lexists(os.path.join(folder, LAYOUT.state)):
        return Checkpoint.read(folder, layout=LAYOUT, without=(OPTIMIZER,)).contents
    with open(os.path.join(folder, CONFIG), "rb") as file:
        return {CONFIG: file.read(), WEIGHTS: open_weights(os.path.join(folder, WEIGHTS))}


def _own(name: str) -> str:
    """A name that is a file's of a recipe's run; ValueError for others, such as one in another folder."""
    if not LAYOUT.keeps(name):
        raise ValueError(f"{name!r} is no file of a recipe's run")
    return name


def sample_lines(samples) -> list[str]:
    """Input, what was wanted and what was given, one under the other; right ones are marked."""
    lines = []
    for text, expected, output in samples:
        lines += [text, f"  wanted {expected}", f"  given  {output}{'' if output == expected else '   (differs)'}", ""]
    return lines[:-1]


def _log(rows, metric: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Row._fields[:-1], metric])
    for row in rows:
        value = "" if row.metric is None else f"{row.metric:.6g}"
        writer.writerow([row.step, f"{row.seconds:.1f}", f"{row.lr:.6g}", f"{row.loss:.6g}", value])
    return text.getvalue()


def _plot(path: str, rows, metric: str) -> None:
    """The loss, and the metric over it."""
    figure = new_figure((7, 4.2))
    axes = figure.subplots()
    axes.plot([row.step for row in rows], [row.loss for row in rows], **log.line_of(len(rows)))
    axes.set_ylabel("training loss")
    log.steps_below(axes)
    axes.grid(alpha=0.25)
    axes.spines["top"].set_visible(False)
    measured = [(row.step, row.metric) for row in rows if row.metric is not None]
    if measured:
        right = axes.twinx()
        right.plot(*zip(*measured, strict=True), "o-", ms=4, lw=1.4, color="C3", clip_on=False)
        if max(value for _, value in measured) <= 1 < right.get_ylim()[1]:
            right.set_ylim(top=1)  # a share: there is nothing above all of it
        right.spines["top"].set_visible(False)
        right.set_ylabel(f"validation: {metric.replace('_', ' ')}", color="C3")
    write_png(figure, path)


def _write_text(path: str, text: str) -> None:
    with written_whole(path) as file:
        file.write(text.encode("utf-8"))


def _write_json(path: str, content) -> None:
    with written_whole(path) as file:
        file.write(json_bytes(_json(content)))


def _json(content) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
