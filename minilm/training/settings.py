"""Where a run's settings come from: a recipe, a TOML file, ``--set key=value``, options; later ones win.

In each of these layers keys are as in `minilm.training.RunConfig`, those of a section dotted on the command line
(``--set optimizer.lr=0.002``) and in a table in TOML (``[optimizer]``). Three things follow from a later layer:

- a budget (steps, minutes or epochs) replaces that of the layers before, whichever it was;
- another kind of optimizer, schedule or tokenizer starts from that kind's own defaults, since the options of one are not those
  of another;
- the word ``"none"`` takes away what a layer before has set, for keys that may be left out (TOML has no null).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from minilm.training.config import BUDGETS, RunConfig
from minilm.training.recipes import recipe
from minilm.training.sections import SECTIONS

__all__ = ["configuration", "parse_set", "read_toml", "resumed"]

KINDS = {"tokenizer": "kind", "optimizer": "name", "schedule": "name"}
CELLS = ("rnn", "lstm", "gru")  # what --model says of the family "rnn_lm"
MODELS = (*CELLS, "gpt", "bert")  # all that --model says; the last are families, each with a recipe of its name

# What may be changed when a run is resumed: when to stop, and what has no influence on the weights.
RESUMABLE = (*BUDGETS, "corpus", "checkpoint_every", "checkpoint_seconds", "sample", "device", "precision", "cuda_graphs")


def configuration(name: str | None = None, *, file=None, sets: Iterable[str] = (), options: Mapping[str, Any] | None = None):
    """The configuration of a new run.

    Parameters
    ----------
    name : str, optional
        A recipe; without it the one that `file` or `sets` names under the key ``recipe``, else that of the model's family
        if it is not recurrent, else "minutes" where there is a budget in minutes, else "default".
    file : path, optional
        TOML.
    sets : iterable of str
        Each ``key=value``, as `parse_set` reads it.
    options : mapping, optional
        Nested settings that win over all others.

    Returns
    -------
    RunConfig

    Raises
    ------
    ValueError, TypeError
        Saying which key, what came and what was wanted.
    """
    layers = _layers(file, sets, options)
    for layer in layers:
        name = name or layer.get("recipe")
    families = [layer["model"].get("model_type") for layer in layers if isinstance(layer.get("model"), Mapping)]
    family = next((family for family in families[::-1] if family), None)
    if name is None and family in MODELS:
        name = family
    given = [budget for layer in layers for budget in BUDGETS if layer.get(budget) not in (None, "none")]
    name = name or ("minutes" if given[-1:] == ["minutes"] else "default")
    settings: dict[str, Any] = recipe(name)
    for layer in layers:
        settings = merged(settings, layer)
    return RunConfig.from_dict({**settings, "recipe": name})


def resumed(config: RunConfig, name: str | None = None, *, file=None, sets=(), options=None) -> RunConfig:
    """The configuration of a run that goes on: its own, with what may be changed changed.

    Raises
    ------
    ValueError
        If anything else would change; the same values as before are welcome.
    """
    before = config.to_dict()
    settings = before
    for layer in _layers(file, sets, options):
        settings = merged(settings, layer)
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
    """File, sets and options as nested settings, each with one budget at the most."""
    layers = [] if file is None else [read_toml(file)]
    given: dict[str, Any] = {}
    for text in sets:
        _put(given, parse_set(text))
    for layer in (*layers, given, dict(options or {})):
        budgets = [f"{name}={layer[name]!r}" for name in BUDGETS if layer.get(name) not in (None, "none")]
        if len(budgets) > 1:
            raise ValueError(f"training stops after steps, minutes or epochs: give one of them, got {' and '.join(budgets)}")
    return [*layers, given, dict(options or {})]


def _put(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Add nested settings to nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _put(into[name], value)
        else:
            into[name] = value


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`lower` with what `upper` sets; see the module's docstring."""
    result = dict(lower)
    if any(upper.get(name) not in (None, "none") for name in BUDGETS):
        result = {name: value for name, value in result.items() if name not in BUDGETS}
    for name, value in upper.items():
        if not isinstance(value, Mapping) or not isinstance(result.get(name, {}), Mapping):
            result[name] = value
            continue
        before, kind = dict(result.get(name, {})), KINDS.get(name)
        if kind in value and kind in before and value[kind] != before[kind]:
            before = {}
        if name == "model" and value.get("model_type", before.get("model_type")) != before.get("model_type", "rnn_lm"):
            before = {}  # another family's settings are not these
        if name == "model" and value.get("cell", "lstm") != "lstm":
            before.pop("forget_bias", None)  # the others have no forget gate
        result[name] = {**before, **value}
    return _pruned(result)


def _pruned(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that are "none", where they may be."""
    optional = _optional(RunConfig) | {"checkpoint_seconds"}
    result = {name: None if value == "none" and name in optional else value for name, value in settings.items()}
    sections = {name: _optional(kind) for name, kind in SECTIONS.items()} | {
        "model": {"forget_bias", "init_range", "n_inner", "band"}
    }
    for name, keys in sections.items():
        if isinstance(result.get(name), Mapping):
            result[name] = {key: None if value == "none" and key in keys else value for key, value in result[name].items()}
    return result


def _optional(kind) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if field.default is None}


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat.update(flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat


def read_toml(path) -> dict[str, Any]:
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
    if not equals or not all(parts):
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
    return tomllib.loads(text)
