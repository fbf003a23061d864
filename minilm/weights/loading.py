"""Weights into a model's parameters: block by block, so that there is never a second copy of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.base import Layer
from minilm.typing import Array, PathLike
from minilm.weights.experts import SplitExperts
from minilm.weights.folder import WeightFolder
from minilm.weights.keymap import KeyMap
from minilm.weights.loose import LooseArrays, as_array
from minilm.weights.tensor_file import FLOATS


class Loaded(NamedTuple):
    """What `load_weights` did.

    Attributes
    ----------
    loaded : dict of str to str
        Parameter -> the array it came from.
    missing : tuple of str
        Parameters that kept their numbers, as `may_lack` allows.
    unused : tuple of str
        Arrays for which there is no parameter, as `may_exceed` allows, and those that are no weights.
    """

    loaded: dict[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def load_weights(
    model: Layer, folder: PathLike | LooseArrays, keymap: KeyMap, *, may_lack: Iterable[str] = (), may_exceed: Iterable[str] = ()
) -> Loaded:
    """Copy a folder's weights into a model's parameters, rounded or widened to their dtype.

    Parameters
    ----------
    model : object
        With ``model.parameters``, a `minilm.layers.Parameters`.
    folder : str, os.PathLike or LooseArrays
        With model.safetensors, or with several files and their index; or one safetensors file. Or arrays by name, as
        `minilm.weights.loose.LooseArrays`.
    keymap : KeyMap
        Of the model's family.
    may_lack : iterable of str
        Beginnings of names, as `KeyMap.canonical` gives them, of parameters that the folder need not have: a new head.
    may_exceed : iterable of str
        Beginnings of names of arrays that the model need not have: the head of another task.

    Returns
    -------
    done : Loaded

    Raises
    ------
    FileNotFoundError
    ValueError
        A file is damaged; or the weights do not fit: one error lists every key that is missing, unexpected, of another shape or
        dtype, twice there, or different from what it is tied to. Nothing was changed then. Or an array holds NaN or infinity: in
        memory that is seen before anything is changed, of files while they are copied.

    Notes
    -----
    Numbers are copied in blocks of some megabytes from the mapped files into the flat buffer, so there is no second copy of the
    weights.
    """
    parameters = model.parameters
    with folder if isinstance(folder, LooseArrays) else WeightFolder(folder) as stored:
        weights = SplitExperts(stored) if keymap.family == "mixtral" else stored
        plan, problems = _plan(parameters, weights, keymap, tuple(may_lack), tuple(may_exceed))
        if not problems:
            problems = _untied(plan, weights, keymap)
        if problems:
            raise ValueError(f"{weights.path} does not fit the model: " + "; ".join(problems))
        for source in plan.sources.values():
            if isinstance(stored, LooseArrays):  # of files it is seen when they have been copied, without a second reading
                check_finite(weights.path, source, as_array(weights.file_of(source).array(source)))
        for name, source in plan.sources.items():
            value, file = parameters.entry(name).value, weights.file_of(source)
            file.copy(source, value.T if keymap.is_transposed(keymap.canonical(name)) else value)
            check_finite(file.path, source, value)
    return Loaded(plan.sources, tuple(plan.missing), tuple(plan.unused))


def check_finite(path: str, name: str, values: Array) -> None:
    """ValueError where weights hold NaN or infinity, as of a training that diverged; a sum shows it in one pass."""
    xp = devices.array_module(values)
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(xp.isfinite(values.sum()))
    if not finite and not bool(xp.isfinite(values).all()):  # a sum may be too large, too
        raise ValueError(f"{path}: {name} holds numbers that are not finite")


class _Plan(NamedTuple):
    sources: dict[str, str]  # parameter -> array
    tied: dict[str, str]  # array -> the array that it must equal
    missing: list[str]
    unused: list[str]


def _plan(
    parameters, weights: WeightFolder | LooseArrays | SplitExperts, keymap: KeyMap, may_lack, may_exceed
) -> tuple[_Plan, list[str]]:
    """Which array goes where, and everything that does not fit."""
    # a parameter goes before an alias of the same name
    parameter_of = {keymap.canonical(name): name for name in (*parameters.aliases, *parameters)}
    source_of: dict[str, str] = {}
    plan, problems = _Plan({}, {}, [], []), []
    for source in weights:
        name = keymap.canonical(source)
        if keymap.is_ignored(name):
            plan.unused.append(source)
        elif name in source_of:
            problems.append(f"{source} and {source_of[name]} are the same weight")
        else:
            source_of[name] = source
    aliases = {keymap.canonical(name): keymap.canonical(main) for name, main in parameters.aliases.items()}
    for name, main in {**keymap.tied, **aliases}.items():
        if name not in source_of or (name in parameter_of and name not in aliases):  # absent, or a parameter of its own
            continue
        if name.startswith(may_exceed) and name not in aliases and main in source_of:
            continue  # of a head that the model lacks: left out below
        if main in source_of:
            plan.tied[source_of.pop(name)] = source_of[main]
        elif main in parameter_of:
            source_of[main] = source_of.pop(name)
    for name, source in source_of.items():
        target = parameter_of.get(name)
        if target is None:
            if name.startswith(may_exceed):
                plan.unused.append(source)
            else:
                problems.append(f"unexpected {source}")
            continue
        problems += _fit(source, weights[source], parameters.entry(target).shape, keymap.is_transposed(name))
        plan.sources[target] = source
    for target in parameters:
        if target not in plan.sources:
            name = keymap.canonical(target)
            tied = source_of.get(keymap.tied.get(name))  # tied there, but not in our model: both get the same numbers
            if tied is not None:
                plan.sources[target] = tied
            elif name.startswith(may_lack):
                plan.missing.append(target)
            else:
                problems.append(f"missing {keymap.saved(name)}")
    return plan, sorted(problems)


def _fit(source: str, entry, shape: tuple[int, ...], transposed: bool) -> list[str]:
    """What is wrong with an array for a parameter of this shape."""
    if entry.dtype not in FLOATS:
        return [f"{source} holds {entry.dtype}, wanted one of {', '.join(FLOATS)}"]
    expected = shape[::-1] if transposed else shape
    return [] if entry.shape == expected else [f"{source} has shape {entry.shape}, wanted {expected}"]


def _untied(plan: _Plan, weights: WeightFolder | LooseArrays | SplitExperts, keymap: KeyMap) -> list[str]:
    """The arrays that differ from what they are tied to, compared block by block."""
    problems = []
    for name, main in plan.tied.items():
        if weights[name].shape != weights[main].shape:
            problems.append(f"{name} has shape {weights[name].shape}, and {main}, to which it is tied, {weights[main].shape}")
            continue
        pairs = zip(weights.file_of(name).blocks(name), weights.file_of(main).blocks(main), strict=False)
        if any(not np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in pairs):
            untied = '"tie_word_embeddings": false in config.json reads both'
            problems.append(f"{name} differs from {main}, to which it is tied: {untied}")
        plan.unused.append(name)
    return problems
