"""Where a run's settings come from: a recipe, a TOML file, ``--set key=value``, options; later ones win.

In each of these layers keys are as in `minilm.training.RunConfig`, those of a section dotted on the command line
(``--set optimizer.lr=0.002``) and in a table in TOML (``[optimizer]``). A key has the value of the last layer that gives it, and
in the lowest layer, the recipe, most keys have one. Four things are said of more than one key:

- A budget (steps, minutes or epochs) replaces that of the layers before, whichever it was.
- A section is of one kind (the model's family, the optimizer's name, ...): that of the last layer that names one. Layers that
  name another kind in that section do not count in it, since the options of one kind are not those of another, and a warning
  names what is left out; what no layer gives has the kind's own default. Layers that name no kind count, whichever it is.
- ``init_from`` puts the model and the tokenizer of a folder in the place of the recipe's, and a tenth of its learning rate.
- The word ``"none"`` takes away what a layer before has set, for keys that may be left out (TOML has no null).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from minilm.files import DEPTH, shallow
from minilm.models import FAMILIES, RNNLanguageModelConfig
from minilm.training.config import BUDGETS, RunConfig
from minilm.training.sections import SECTIONS, OptimizerConfig, ScheduleConfig, TokenizerConfig
from minilm.training.starting_points import recipe
from minilm.typing import PathLike

__all__ = ["configuration", "parse_set", "read_toml", "resumed"]

KINDS = {  # section -> the key that names its kind, and the kind of a recipe that does not say
    "model": ("model_type", RNNLanguageModelConfig.model_type),
    "tokenizer": ("kind", TokenizerConfig.kind),
    "optimizer": ("name", OptimizerConfig.name),
    "schedule": ("name", ScheduleConfig.name),
}
ONE_CELL = {"forget_bias": "lstm", "nonlinearity": "rnn"}  # settings of a recurrent model that one cell alone has
CELLS = ("rnn", "lstm", "gru")  # what --model says of the family "rnn_lm"
MODELS = (*CELLS, "gpt", "llama", "bert")  # all that --model says; the last are families, each with a recipe of its name

# What may be changed when a run is resumed: when to stop, and what has no influence on the weights.
RESUMABLE = (*BUDGETS, "corpus", "checkpoint_every", "checkpoint_seconds", "keep_every", "sample")
RESUMABLE += ("device", "precision", "cuda_graphs", "shard_optimizer")


def configuration(
    name: str | None = None, *, file: PathLike | None = None, sets: Iterable[str] = (), options: Mapping[str, Any] | None = None
) -> RunConfig:
    """The configuration of a new run.

    Parameters
    ----------
    name : str, optional
        A recipe; without it the last one that `file`, `sets` or `options` name under the key ``recipe``, else that of the model's
        family if it is not recurrent, else "minutes" where there is a budget in minutes, else "default".
    file : path, optional
        TOML.
    sets : iterable of str
        Each ``key=value``, as `parse_set` reads it.
    options : mapping, optional
        Settings that win over all others, nested (``{"optimizer": {"lr": 0.002}}``) or dotted (``{"optimizer.lr": 0.002}``).

    Returns
    -------
    RunConfig

    Raises
    ------
    ValueError, TypeError
        Saying which key, what came and what was wanted.
    """
    layers = _layers(file, sets, options)
    folder = _last(layer.get("init_from") for layer in layers)
    if folder in (None, "none"):
        name = name or _recipe_for(layers)
        return RunConfig.from_dict({**merged([recipe(name), *layers]), "recipe": name})
    start = _initial(folder)
    name = name or _recipe_for([start, *layers])
    return RunConfig.from_dict({**merged([_tuning(recipe(name)), start, *layers]), "recipe": name})


def _initial(folder: str) -> dict[str, Any]:
    from minilm.training.initial import initial_settings  # which needs configurations itself

    return initial_settings(folder)


def _tuning(lowest: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe for a model that has learned already: its own model and tokenizer, and a tenth of the learning rate."""
    optimizer = dict(lowest.get("optimizer", {}))
    optimizer["lr"] = OptimizerConfig(**optimizer).lr / 10
    return {**{key: value for key, value in lowest.items() if key not in ("model", "tokenizer")}, "optimizer": optimizer}


def _recipe_for(layers) -> str:
    """The recipe that goes with the layers above it."""
    families = [layer["model"].get("model_type") for layer in layers if isinstance(layer.get("model"), Mapping)]
    family = _last(families)
    budgets = [budget for layer in layers for budget in BUDGETS if layer.get(budget) not in (None, "none")]
    usual = family if family in MODELS else "minutes" if _last(budgets) == "minutes" else "default"
    return _last(layer.get("recipe") for layer in layers) or usual


def _last(values):
    """The last that is not None, or None."""
    return next((value for value in reversed(list(values)) if value is not None), None)


def resumed(
    config: RunConfig,
    name: str | None = None,
    *,
    file: PathLike | None = None,
    sets: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a run that goes on: its own, with what may be changed changed.

    Raises
    ------
    ValueError
        If anything else would change; the same values as before are welcome.
    """
    settings = merged([config.to_dict(), *_layers(file, sets, options)])
    if name is not None:
        settings = {**settings, "recipe": name}
    after = RunConfig.from_dict(settings)
    check_resumed(config, after)
    return after


def check_resumed(before: RunConfig, after: RunConfig) -> None:
    """ValueError if `after` changes what decides how the run `before` goes on, other than when it stops."""
    old, new = flattened(before.to_dict()), flattened(after.to_dict())
    for key in new:
        if new[key] != old.get(key) and key.partition(".")[0] not in RESUMABLE:
            raise ValueError(
                f"--resume goes on with the run's own settings: {key} is {old.get(key)!r} there, got {new[key]!r}; "
                f"what may change is {', '.join(RESUMABLE)}"
            )


def _layers(file, sets, options) -> list[dict[str, Any]]:
    """File, each of the sets, and options as nested settings; one budget at the most in each of the three."""
    assignments = [parse_set(text) for text in sets]
    layers = [{} if file is None else read_toml(file), *assignments, _nested(options or {})]
    together = {name: value for layer in assignments for name, value in layer.items()}
    for layer in (layers[0], together, layers[-1]):
        budgets = [f"{name}={layer[name]!r}" for name in BUDGETS if layer.get(name) not in (None, "none")]
        if len(budgets) > 1:
            raise ValueError(f"training stops after steps, minutes or epochs: give one of them, got {' and '.join(budgets)}")
    return layers


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with dotted names as tables in tables."""
    settings = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items() if "." not in name}
    for name, value in options.items():
        *tables, key = name.split(".")
        table: Any = settings
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ValueError(f"options name {part!r} as a table in {name!r}, and as {table!r} beside it")
        table[key] = value if tables else table[key]
    return settings


def merged(layers) -> dict[str, Any]:
    """Each key as the last layer has it that gives it; see the module's docstring. The lowest layer comes first."""
    settings: dict[str, Any] = {}
    for layer in layers:
        if any(layer.get(name) not in (None, "none") for name in BUDGETS):
            settings = {name: value for name, value in settings.items() if name not in BUDGETS}
        settings |= layer
    for name in {"model", *SECTIONS} & set(settings):
        settings[name] = _section(name, [layer.get(name, {}) for layer in layers])
    return _pruned(settings)


def _section(name: str, tables: list) -> Any:
    """The keys of a section from its table in each layer."""
    for table in tables:
        if not isinstance(table, Mapping):
            return table  # which `RunConfig` refuses
    if name in KINDS:
        tables = _of_last_kind(name, tables, *KINDS[name])
    if name == "model":
        tables = _of_last_cell(tables)
    return {key: value for table in tables for key, value in table.items()}


def _of_last_kind(name: str, tables: list, key: str, usual: str) -> list:
    """The tables without those that name another kind than the last one named; a warning names what was set in one of them."""
    tables = [{key: usual, **tables[0]}, *tables[1:]]
    kind = _last(table.get(key) for table in tables)
    lost = [f"{name}.{left}" for table in tables[1:] if table.get(key, kind) != kind for left in table if left != key]
    if lost:
        reason = f"{name}.{key} is {kind!r} now, and they were given for another one"
        warnings.warn(f"left out: {', '.join(lost)}; {reason}", UserWarning, stacklevel=4)
    return [table for table in tables if table.get(key, kind) == kind]


def _of_last_cell(tables: list) -> list:
    """The tables, those that name another recurrent cell without what that cell alone has."""
    cell = _last(table.get("cell") for table in tables)
    others = {key for key, owner in ONE_CELL.items() if owner != cell}
    return [
        table if table.get("cell", cell) == cell else {key: value for key, value in table.items() if key not in others}
        for table in tables
    ]


def _pruned(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that are "none", where they may be."""
    optional = _optional(RunConfig) | {"checkpoint_seconds"}
    result = {name: None if value == "none" and name in optional else value for name, value in settings.items()}
    for name, table in result.items():
        if isinstance(table, Mapping):
            keys = _optional(_section_config(name, table))
            result[name] = {key: None if value == "none" and key in keys else value for key, value in table.items()}
    return result


def _section_config(name: str, table: Mapping[str, Any]):
    """The dataclass of a section; None of one that there is not."""
    if name != "model":
        return SECTIONS.get(name)
    return next((config for family, (config, _) in FAMILIES.items() if family == table.get("model_type")), None)


def _optional(kind) -> set[str]:
    return set() if kind is None else {field.name for field in dataclasses.fields(kind) if field.default is None}


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat.update(flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat


def read_toml(path: PathLike) -> dict[str, Any]:
    """The settings of a TOML file; ValueError naming the file, line and column of what is wrong."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return _toml(content.decode("utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"{path} is not TOML: {error}") from None


def parse_set(text: str) -> dict[str, Any]:
    """``"optimizer.lr=0.002"`` as ``{"optimizer": {"lr": 0.002}}``; a value that is not TOML is taken as a string."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or len(parts) > DEPTH:
        raise ValueError(f"--set wants KEY=VALUE such as optimizer.lr=0.002, got {text!r}")
    value = value.strip()
    try:
        parsed = _toml(f"value = {value}")
        result: Any = parsed["value"] if set(parsed) == {"value"} else value
    except ValueError:
        result = _number(value)
    for part in reversed(parts):
        result = {part: result}
    return result


def _number(text: str):
    """Numbers that TOML writes otherwise, such as ".5" and "1e-3."; all else stays as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        return shallow(tomllib.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None
