"""A quantised model in a folder, and back.

::

    model.safetensors    codes and scales; whatever is not quantised in float32
    config.json, ...     as they were, so that the same functions read the folder: `training.load_run`, `GPT.from_pretrained`
    SHA256SUMS           what `minilm verify` holds all of them against

model.safetensors says of itself, in its metadata, ``minilm_quantized: {"version": 1, "kind": "int8", "group": 64}``. A weight W
(O, K) of an affine map or a recurrent layer, named as it was, is there

=====  ==================  ==============================================================
kind   arrays
=====  ==================  ==============================================================
int8   W.codes I8 (O, K)   and W.scales F32 (O, G), a scale for every `group` of a row
bf16   W BF16 (O, K)
int4   W.codes U8          (O, K / 2), number 2i of a row in the low half of byte i, number 2i + 1 in the high one; W.scales
                           and W.least F16 (O, G), G groups of 32; lm_head as int8 with groups of 32
=====  ==================  ==============================================================

in the order of rows, which no processor prefers: each packs them as its registers want them (`minilm.quantized.cpu`). A table
that an embedding and an affine map share is there once, as the map's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import numpy as np

from minilm import checksums
from minilm.files import flush_folder, staged_folder, written_whole
from minilm.layers.base import Layer
from minilm.layers.parameter import Parameter
from minilm.layers.parameters import Parameters
from minilm.quantized.conversion import QUANTIZED, maps_of, rebuilt
from minilm.quantized.spec import FORMATS, SMALL_GROUP, form_of
from minilm.typing import PathLike
from minilm.weights import TensorFile, tensor_writer
from minilm.weights.folder import WEIGHTS

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

__all__ = [
    "Stored",
    "contents",
    "fill",
    "is_quantized",
    "refuse_quantized",
    "refuse_quantized_folder",
    "save",
    "stored_as",
    "write",
]

KEY, VERSION = "minilm_quantized", 1
CODES, SCALES, LEAST = ".codes", ".scales", ".least"
Model = TypeVar("Model", bound=Layer)


class Stored(NamedTuple):
    """How a file's weights are stored."""

    kind: str  # of FORMATS
    group: int | None


# --- writing ------------------------------------------------------------------------------------------------------------


def save(
    model: Layer, folder: PathLike, beside: Mapping[str, bytes] | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a quantised model into a new folder, which appears whole or not at all.

    Parameters
    ----------
    model : Layer
        That `quantize` has returned.
    folder : str or os.PathLike
    beside : mapping of str to bytes, optional
        Name and content of the other files: config.json and the tokenizer's.
    metadata : mapping of str to str, optional
        What the file of weights says of itself besides.

    Raises
    ------
    FileExistsError
        Unless the folder is new or empty.
    ValueError
        The model is not quantised.
    OSError
    """
    folder = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise FileExistsError(f"{folder} is there already: a quantized model wants a new folder")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with staged_folder(*os.path.split(folder)) as staged:
        for name, content in (beside or {}).items():
            with written_whole(os.path.join(staged, name)) as file:
                file.write(content)
        with written_whole(os.path.join(staged, WEIGHTS)) as file:
            write(model, file, metadata)
        checksums.record(staged, os.listdir(staged))
        os.rename(staged, folder)
        flush_folder(os.path.dirname(folder))


def write(model: Layer, file: BinaryIO, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights of a quantised model into an open file."""
    arrays, about = contents(model)
    tensor_writer.write(file, arrays, {"format": "np", **(metadata or {}), **about})


def is_quantized(model: Layer) -> bool:
    """Whether weights of a model are quantised."""
    return any(isinstance(layer, QUANTIZED) for _, layer in model.named_layers())


def contents(model: Layer) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file of a quantised model holds: the arrays, and what its metadata say of them."""
    layers = {path: layer for path, layer in model.named_layers() if isinstance(layer, QUANTIZED)}
    if not layers:
        raise ValueError(f"the weights of this {type(model).__name__} are not quantized: quantized.quantize does it")
    first = next(iter(layers.values()))
    written = {id(table) for layer in layers.values() for table in getattr(layer, "shared", ())}  # as a map's
    arrays = {}
    for name, each in model.named_parameters():
        if id(each) not in written:  # one that two layers share has two names, and is there by the first
            written.add(id(each))
            arrays[name] = each.value
    for path, layer in layers.items():
        for name, weight in layer.weights().items():
            arrays.update(_arrays(f"{path}.{name}", weight))
    about = {"version": VERSION, "kind": first.kind, "group": None if first.kind == "bf16" else first.group}
    return arrays, {KEY: json.dumps(about)}


def refuse_quantized(model: Layer, instead: str = "minilm.quantized.save writes such models") -> None:
    """ValueError if a model's weights are quantised: for a format that has none, or what needs gradients."""
    if is_quantized(model):
        raise ValueError(f"the weights of this {type(model).__name__} are quantized: {instead}")


def refuse_quantized_folder(path: PathLike, purpose: str) -> None:
    """ValueError, with what they are wanted for, if the weights in a folder or file of safetensors are quantised."""
    path = os.path.expanduser(os.fspath(path))
    path = os.path.join(path, WEIGHTS) if os.path.isdir(path) else path
    if not path.endswith(".safetensors") or not os.path.isfile(path):
        return
    with TensorFile(path) as file:
        stored = stored_as(file)
    if stored is not None:
        raise ValueError(f"{path} holds {stored.kind} weights, which cannot be {purpose}: take what it was exported from")


def _arrays(name: str, weight: Packed) -> dict[str, np.ndarray]:
    from minilm.quantized import packing

    parts = packing.unpacked(weight)
    if len(parts) == 1:
        return {name: parts[0]}
    codes = _in_bytes(parts[0]) if isinstance(weight, packing.Int4) else parts[0]
    return dict(zip((name + CODES, name + SCALES, name + LEAST), (codes, *parts[1:]), strict=False))


def _in_bytes(codes: np.ndarray) -> np.ndarray:
    """Codes (O, K) of 4 bits, two a byte."""
    even, odd = codes[:, ::2], codes[:, 1::2]
    both = even.copy()
    both[:, : odd.shape[1]] |= odd << 4
    return both


# --- reading ------------------------------------------------------------------------------------------------------------


def stored_as(file: TensorFile) -> Stored | None:
    """How the weights of a file are quantised, None where they are not; ValueError, naming it, where it does not say clearly."""
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
    """Put the weights of a file that `write` wrote into a float32 model of the same configuration, in place.

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
