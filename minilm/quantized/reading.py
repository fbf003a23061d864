"""The weights of a quantised model, read from a file; what it holds is on the page of `minilm.quantized.storing`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.parameter import Parameter
from minilm.layers.parameters import Parameters
from minilm.quantized.conversion import maps_of, rebuilt
from minilm.quantized.spec import FORMATS, SMALL_GROUP, form_of
from minilm.weights import TensorFile

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

__all__ = ["CODES", "KEY", "LEAST", "SCALES", "VERSION", "Stored", "fill", "stored_as"]

KEY, VERSION = "minilm_quantized", 1
CODES, SCALES, LEAST = ".codes", ".scales", ".least"
Model = TypeVar("Model", bound=Layer)


class Stored(NamedTuple):
    """How a file's weights are stored."""

    kind: str  # of FORMATS
    group: int | None


def stored_as(file: TensorFile) -> Stored | None:
    """How the weights of a file are quantised.

    Parameters
    ----------
    file : TensorFile

    Returns
    -------
    Stored or None
        None where they are not.

    Raises
    ------
    ValueError
        Naming the file: what its metadata say is damaged, or of a later version.
    """
    text = file.metadata.get(KEY)
    if text is None:
        return None
    try:
        about = json.loads(text)
        version, kind, group = about["version"], about["kind"], about["group"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{file.path}: {KEY} must be a JSON object with version, kind and group, got {text[:80]!r}") from None
    if version != VERSION:
        raise ValueError(f"{file.path}: {KEY} has version {version!r}, wanted {VERSION}: a newer minilm wrote it")
    if kind not in FORMATS:
        raise ValueError(f"{file.path}: {KEY} has kind {kind!r}, wanted one of {', '.join(FORMATS)}")
    if group is not None and (type(group) is not int or group < 4 or group % 4 or group >= 2**31):
        raise ValueError(f"{file.path}: {KEY} has group {group!r}, wanted a multiple of 4, or null")
    if kind == "int4" and group != SMALL_GROUP:
        raise ValueError(f"{file.path}: {KEY} has group {group!r}, wanted {SMALL_GROUP}, the groups of int4")
    return Stored(kind, group)


def fill(model: Model, file: TensorFile) -> Model:
    """Put the weights of a file that `write` wrote into a model of the same configuration.

    Parameters
    ----------
    model : Layer
        Of float32; changed in place.
    file : TensorFile

    Returns
    -------
    model
        The same.

    Raises
    ------
    ValueError
        They do not fit: one error, which names the file, lists what is missing, unexpected or of another shape, and nothing was
        changed; or codes or scales are not such as `quantize` makes.
    """
    stored = stored_as(file)
    if stored is None:
        raise ValueError(f"{file.path} holds no quantized weights: its metadata have no {KEY}")
    if model.dtype != np.float32:
        raise ValueError(f"{file.path} holds quantized weights, for a model of float32, got one of {model.dtype}")
    plain = _plain(model)
    expected = {name: ("F32", each.shape) for name, each in plain.items()} | dict(_expected(model, stored))
    problems = [f"missing {name}" for name in expected if name not in file]
    problems += [f"unexpected {name}" for name in file if name not in expected]
    for name in expected.keys() & file.keys():
        if (entry := file[name])[:2] != expected[name]:
            dtype, shape = expected[name]
            problems.append(f"{name} is {entry.dtype} of shape {entry.shape}, wanted {dtype} of {shape}")
    if problems:
        raise ValueError(f"{file.path} does not fit the model: {'; '.join(sorted(problems))}")
    rebuilt(model, *stored, lambda name, W: _packed(file, name, stored, W.shape[1]))
    for name, parameter in plain.items():
        file.copy(name, parameter.value)
    return model


def _quantized_names(model: Layer) -> Iterator[tuple[str, tuple[int, int], int]]:
    """Name and shape of each weight that is quantised, and what tells it from others."""
    for path, (*_, layer) in maps_of(model).items():
        for name, part in vars(layer).items():
            if isinstance(part, Parameter) and len(part.shape) == 2:  # of more than biases
                yield f"{path}.{name}", part.shape, id(part)


def _plain(model: Layer) -> dict[str, Parameter]:
    """The parameters that stay as they are; one that a map shares is the map's."""
    quantized = {number for *_, number in _quantized_names(model)}
    parameters: Parameters = model.parameters
    entries = {name: parameters.entry(name) for name in parameters}
    return {name: each for name, each in entries.items() if id(each) not in quantized}


def _expected(model: Layer, stored: Stored) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    from minilm.quantized.packing import group_of

    for name, (O, K), _ in _quantized_names(model):
        kind, group = form_of(name, *stored)
        if kind == "bf16":
            yield name, ("BF16", (O, K))
            continue
        groups = O, -(-K // group_of(group, K))
        yield name + CODES, ("I8", (O, K)) if kind == "int8" else ("U8", (O, -(-K // 2)))
        yield name + SCALES, ("F32" if kind == "int8" else "F16", groups)
        if kind == "int4":
            yield name + LEAST, ("F16", groups)


def _packed(file: TensorFile, name: str, stored: Stored, K: int) -> Packed:
    from minilm.quantized import oracle, packing

    kind, group = form_of(name, *stored)
    if kind == "bf16":
        return packing.pack_bfloat16(oracle.to_bfloat16(file.read(name)))
    scales = file.read(name + SCALES)
    if kind == "int4":
        both, least = file.read(name + CODES, np.uint8), file.read(name + LEAST)
        if not (np.isfinite(scales) & np.isfinite(least)).all():
            raise ValueError(f"{file.path}: {name} is damaged: scales and least numbers are finite")
        codes = np.stack([both & 15, both >> 4], axis=-1).reshape(len(both), -1)[:, :K]
        return packing.pack_int4(codes, scales.astype(np.float16), least.astype(np.float16))
    codes = file.read(name + CODES, np.int8)
    if codes.min(initial=0) < -127:
        raise ValueError(f"{file.path}: {name}{CODES} is damaged: -128 is no code")
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise ValueError(f"{file.path}: {name}{SCALES} is damaged: scales are finite and at least 0")
    return packing.pack_int8(codes, scales, packing.group_of(group, K))
