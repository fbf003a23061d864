"""A model's weights into a folder as Hugging Face lays it out, written straight from the flat buffer.

The `safetensors` library writes from arrays that are all there at once, in the file's orientation; transposed ones would be a
second copy of most of GPT's weights. Here a file is written block by block, and only a block is ever transposed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minilm import checksums, devices
from minilm.files import flush_folder, staged_folder, written_whole
from minilm.layers.base import Layer
from minilm.typing import PathLike
from minilm.weights.folder import INDEX, WEIGHTS, weight_files
from minilm.weights.keymap import KeyMap
from minilm.weights.tensor_file import BLOCK_BYTES

CONFIG = "config.json"
GENERATION = "generation_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt", "special_tokens_map.json")
SHARD_BYTES = 5 * 10**9
DTYPES = {"float32": "F32", "float64": "F64"}


class Item(NamedTuple):
    """An array to save, in the file's orientation, and its name there."""

    name: str
    array: np.ndarray


def save_weights(
    model: Layer,
    folder: PathLike,
    keymap: KeyMap,
    config: Mapping | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
    generation_config: Mapping | None = None,
) -> None:
    """Write a model's weights, and its config.json, as Hugging Face's `transformers` reads them.

    Parameters
    ----------
    model : object
        With ``model.parameters``, a `minilm.layers.Parameters`.
    folder : str or os.PathLike
        Made if it is not there; a model that is in it is replaced.
    keymap : KeyMap
        Of the model's family.
    config : mapping, optional
        The content of config.json; without it that file is not touched.
    shard_bytes : int
        Weights larger than this are spread over several files of at most this size (or of one array), with an index.
    generation_config : mapping, optional
        Likewise of generation_config.json.

    Raises
    ------
    OSError
        With the file's name. What was in the folder is then as it was.

    Notes
    -----
    Beside them SHA256SUMS is written, which `minilm verify` and ``sha256sum -c`` hold the files against. A tokenizer that the
    folder has already is in it too.

    A new folder appears whole or not at all. In one that exists, every file is first written in a folder of its own in it, and
    only when all are on the disk they take the places of the old ones. Tied weights are stored once.
    """
    folder = os.path.abspath(os.fspath(folder))
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes must be at least 1, got {shard_bytes!r}")
    shards = split(items(model.parameters, keymap), shard_bytes)
    is_new = not os.path.lexists(folder)
    os.makedirs(os.path.dirname(folder) if is_new else folder, exist_ok=True)
    with staged_folder(*(os.path.split(folder) if is_new else (folder, "weights"))) as staged:
        names = _write_all(staged, shards, {CONFIG: config, GENERATION: generation_config})
        _write_sums(staged, folder, names)
        names.append(checksums.SUMS)
        if is_new:
            os.rename(staged, folder)
            flush_folder(os.path.dirname(folder))
            return
        older = weight_files(folder)
        for name in names:
            os.replace(os.path.join(staged, name), os.path.join(folder, name))
        flush_folder(folder)
        for name in older - set(names):
            os.remove(os.path.join(folder, name))


def items(parameters, keymap: KeyMap) -> list[Item]:
    """The arrays to save: views of the parameters, each parameter once."""
    canonical = {name: keymap.canonical(name) for name in (*parameters, *parameters.aliases)}
    with_prefix = has_prefix(parameters, keymap)
    names: dict[str, set[str]] = {}
    for name in canonical:
        names.setdefault(parameters.aliases.get(name, name), set()).add(canonical[name])
    items = []
    for name in parameters:
        first = canonical[name]
        stored = keymap.tied.get(first, first)
        stored = stored if stored in names[name] else first  # whichever of its names other programs look for
        value = parameters[name]
        items.append(Item(keymap.saved(stored, with_prefix), value.T if keymap.is_transposed(first) else value))
    return items


def has_prefix(parameters, keymap: KeyMap) -> bool:
    """Whether names of the body have the prefix in a file.

    A body alone is saved without it, as transformers does; GPT always has a head, be it tied.
    """
    names = map(keymap.canonical, (*parameters, *parameters.aliases))
    return "lm_head.weight" in keymap.tied or any(re.match(keymap.heads, name) for name in names)


def split(arrays: list[Item], shard_bytes: int) -> list[list[Item]]:
    """The arrays, in order, in groups of at most `shard_bytes` (or of one array)."""
    shards: list[list[Item]] = [[]]
    size = 0
    for item in arrays:
        if shards[-1] and size + item.array.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(item)
        size += item.array.nbytes
    return shards


def write_tensors(path, arrays: list[Item]) -> None:
    """Write one safetensors file, whole or not at all; the same arrays give the same bytes."""
    header: dict = {"__metadata__": {"format": "pt"}}  # transformers wants to be told; the arrays are as PyTorch holds them
    end = 0
    for name, array in arrays:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays begin at a multiple of 8
    with written_whole(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in arrays:
            rows = array.reshape(-1) if array.ndim < 2 else array
            step = max(1, BLOCK_BYTES * len(rows) // max(array.nbytes, 1))
            for first in range(0, len(rows), step):
                block = np.ascontiguousarray(devices.to_host(rows[first : first + step]), array.dtype.newbyteorder("<"))
                file.write(block.reshape(-1).view(np.uint8).data)


def _write_all(folder: str, shards: list[list[Item]], contents: Mapping[str, Mapping | None]) -> list[str]:
    """Write every file; their names, in the order in which they should replace older ones."""
    if len(shards) == 1:
        names = [WEIGHTS]
    else:
        names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for name, arrays in zip(names, shards, strict=True):
        write_tensors(os.path.join(folder, name), arrays)
    if len(shards) > 1:
        total = sum(item.array.nbytes for arrays in shards for item in arrays)
        places = {item.name: name for name, arrays in zip(names, shards, strict=True) for item in arrays}
        _write_json(os.path.join(folder, INDEX), {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
        names.append(INDEX)
    for name, content in contents.items():
        if content is not None:
            _write_json(os.path.join(folder, name), dict(content))
            names.append(name)
    return names


def _write_sums(staged: str, folder: str, names: list[str]) -> None:
    """SHA256SUMS of the files that were written, and of a tokenizer's that the folder has."""
    older = [name for name in TOKENIZER if os.path.isfile(os.path.join(folder, name))]
    digests = {name: checksums.file_hash(os.path.join(folder, name)) for name in older}
    digests |= {name: checksums.file_hash(os.path.join(staged, name)) for name in names}
    with written_whole(os.path.join(staged, checksums.SUMS)) as file:
        file.write(checksums.content(digests))


def _write_json(path: str, content: dict) -> None:
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
