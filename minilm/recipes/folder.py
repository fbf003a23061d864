"""A recipe's run on the disk.

::

    config.json          the recipe's name, all its settings, and the facts that the model depends on
    model.safetensors    the weights
    tokenizer.NAME.json  the vocabularies
    metrics.json         what was measured
    log.csv, loss.png    the course of training
    samples.txt          inputs, what was wanted, and what the model gave

The first three, and log.csv, are written when training has ended, the others when the model has been measured.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os

import minilm
from minilm import devices, tokenizers
from minilm.files import json_bytes, locked_folder, read_json, written_whole
from minilm.layers.base import blank
from minilm.recipes import registry
from minilm.recipes.fit import Row
from minilm.training import tensors
from minilm.training.log import NO_PLOTS
from minilm.training.run import load_weights

__all__ = ["opened", "read", "write_model", "write_results"]

CONFIG, WEIGHTS, METRICS, LOG, SAMPLES = "config.json", "model.safetensors", "metrics.json", "log.csv", "samples.txt"
PLOT = "loss.png"
PICTURES = ("attention.png", "hops.png", "relations.png", "vectors.txt")  # what `Recipe.pictures` writes


@contextlib.contextmanager
def opened(folder, overwrite: bool):
    """The folder of a new run, made if it is not there; no other process can train there meanwhile.

    Raises
    ------
    FileExistsError
        It holds anything but a recipe's run that may be replaced.
    ValueError
        Another process trains there.
    """
    folder = os.fspath(folder)
    made = not os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    lock = locked_folder(folder)
    try:
        _check_free(folder, overwrite)
        yield folder
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # only if it is empty
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _check_free(folder: str, overwrite: bool) -> None:
    if os.listdir(folder):
        replaceable = _is_run(folder)
        if not overwrite or not replaceable:
            hint = "--overwrite replaces it" if replaceable else "it is no recipe's run, so nothing in it is replaced"
            raise FileExistsError(f"{folder} is not empty; {hint}")


def _is_run(folder: str) -> bool:
    try:
        return "recipe" in read_json(os.path.join(folder, CONFIG))
    except (OSError, ValueError):
        return False


def write_model(recipe, rows, folder: str) -> None:
    """Write what a trained model is made of, config.json last: a folder that has one is whole."""
    for stale in (CONFIG, METRICS, SAMPLES, PLOT, *PICTURES, *_vocabularies(folder)):  # of the run that is replaced
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, stale))
    with written_whole(os.path.join(folder, WEIGHTS)) as file:
        tensors.write(file, recipe.model.parameters.state_dict(), {"format": "np"})
    for name, tokenizer in recipe.vocabularies.items():
        tokenizer.save(os.path.join(folder, f"tokenizer.{name}.json"))
    _write_text(os.path.join(folder, LOG), _log(rows, recipe.metric))
    settings = {"recipe": recipe.name, "options": recipe.options, "facts": recipe.facts, "vocabularies": [*recipe.vocabularies]}
    _write_json(os.path.join(folder, CONFIG), {**settings, "minilm_version": minilm.__version__})


def _vocabularies(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith("tokenizer.") and name.endswith(".json")]


def write_results(recipe, result, rows, validation, say) -> None:
    """Write what was measured, and the pictures; `say` is given a line where they cannot be drawn."""
    folder = result.folder
    if rows and rows[-1].metric is None:
        rows = [*rows[:-1], rows[-1]._replace(metric=result.metrics[recipe.metric])]
        _write_text(os.path.join(folder, LOG), _log(rows, recipe.metric))
    measured = {"metrics": result.metrics, "chance": result.chance, "steps": result.steps, "seconds": result.seconds}
    _write_json(os.path.join(folder, METRICS), measured)
    _write_text(os.path.join(folder, SAMPLES), "\n".join(sample_lines(result.samples)) + "\n")
    drawn = True
    for draw in (lambda: _plot(os.path.join(folder, PLOT), rows, recipe.metric), lambda: recipe.pictures(folder, validation)):
        try:
            draw()
        except ImportError:
            drawn = False
    if not drawn:
        say(NO_PLOTS)


def read(folder, device: str = "cpu"):
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
    path = os.path.join(folder, CONFIG)
    config = read_json(path)
    kinds = {"recipe": str, "options": dict, "facts": dict, "vocabularies": list}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind):
            raise ValueError(f"{path}: expected a recipe's run, which has {key!r}; `minilm generate` and `evaluate` take models")
    try:
        recipe = registry.load(config["recipe"])(**config["options"])
        recipe.facts = config["facts"]
        for name in config["vocabularies"]:
            recipe.vocabularies[name] = tokenizers.load(os.path.join(folder, f"tokenizer.{name}.json"))
        with blank():
            recipe.model = recipe.make_model(0)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    weights = os.path.join(folder, WEIGHTS)
    with open(weights, "rb") as file:
        load_weights(recipe.model, weights, file.read())
    recipe.model.to(device)
    return recipe


def sample_lines(samples) -> list[str]:
    """Input, what was wanted and what was given, one under the other; right ones are marked."""
    lines = []
    for given_input, wanted, given in samples:
        lines += [given_input, f"  wanted {wanted}", f"  given  {given}{'' if given == wanted else '   (differs)'}", ""]
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which is the user's
    from matplotlib.figure import Figure

    from minilm.training.curves import line_of, steps_below

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.subplots()
    axes.plot([row.step for row in rows], [row.loss for row in rows], **line_of(len(rows)))
    axes.set_ylabel("training loss")
    steps_below(axes)
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
    with written_whole(path) as file:
        figure.savefig(file, format="png")


def _write_text(path: str, text: str) -> None:
    with written_whole(path) as file:
        file.write(text.encode("utf-8"))


def _write_json(path: str, content) -> None:
    with written_whole(path) as file:
        file.write(json_bytes(json.dumps(content, indent=2, ensure_ascii=False) + "\n"))
