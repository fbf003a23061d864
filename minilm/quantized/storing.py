"""A quantised model in a folder; `minilm.quantized.reading` reads it.

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
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from minilm import checksums
from minilm.files import flush_folder, staged_folder, written_whole
from minilm.layers.base import Layer
from minilm.quantized.conversion import QUANTIZED
from minilm.quantized.reading import CODES, KEY, LEAST, SCALES, VERSION, stored_as
from minilm.typing import PathLike
from minilm.weights import TensorFile, tensor_writer
from minilm.weights.folder import WEIGHTS

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

__all__ = [
    "contents",
    "is_quantized",
    "refuse_quantized",
    "refuse_quantized_folder",
    "save",
    "write",
]


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
    """Write the weights of a quantised model into an open file.

    Parameters
    ----------
    model : Layer
    file : binary file
    metadata : mapping of str to str, optional
        What the file says of itself besides.

    Raises
    ------
    ValueError
        The model is not quantised.
    OSError
    """
    arrays, about = contents(model)
    tensor_writer.write(file, arrays, {"format": "np", **(metadata or {}), **about})


def is_quantized(model: Layer) -> bool:
    """Whether weights of a model, a Layer, are quantised."""
    return any(isinstance(layer, QUANTIZED) for _, layer in model.named_layers())


def contents(model: Layer) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file of a quantised model holds.

    Parameters
    ----------
    model : Layer

    Returns
    -------
    arrays : dict of str to ndarray
        As the table at this module's head has them.
    metadata : dict of str to str
        What the file says of them.

    Raises
    ------
    ValueError
        The model is not quantised.
    """
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
    """Refuse a quantised model: for a format that has no such weights, or for what needs gradients.

    Parameters
    ----------
    model : Layer
    instead : str
        How the error's message ends: what to do.

    Raises
    ------
    ValueError
        The model's weights are quantised.
    """
    if is_quantized(model):
        raise ValueError(f"the weights of this {type(model).__name__} are quantized: {instead}")


def refuse_quantized_folder(path: PathLike, purpose: str) -> None:
    """Refuse a folder or file of safetensors with quantised weights.

    Parameters
    ----------
    path : str or os.PathLike
    purpose : str
        How the error's message goes on after "weights, which cannot be": what they are wanted for.

    Raises
    ------
    ValueError
        The weights are quantised.
    """
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
