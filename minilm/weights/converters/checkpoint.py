"""What a converter gives: a configuration, arrays by name, and tokenizers."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minilm.tokenizers import Tokenizer
from minilm.typing import Array
from minilm.weights.tensor_file import StoredArray, TensorFile
from minilm.weights.tensorflow_file import TensorFlowFile
from minilm.weights.torch_file import arrays_of, is_torch_file, read_torch_file

__all__ = ["Checkpoint", "arrays_in", "checked", "names_in", "weights_file"]

ENDINGS = (".safetensors", ".npz", ".pt", ".pth", ".bin", ".ckpt", ".index", ".h5", ".hdf5")


class Checkpoint(NamedTuple):
    """A model as other programs wrote it, in minilm's terms.

    Attributes
    ----------
    config : dict
        What config.json would hold: Hugging Face's, or ``to_dict()`` of a `minilm.models` configuration.
    arrays : mapping of str to array
        By the names of the parameters, or of Hugging Face's where the configuration is. See `minilm.weights.loose.LooseArrays`.
    tokenizers : dict of str to Tokenizer
        By the names of their files: tokenizer.json; of an encoder-decoder source.json and target.json.
    generation : dict
        Of an encoder-decoder with tokenizers, how texts come in and go out: see `minilm.recipes.converted`.
    """

    config: dict[str, Any]
    arrays: Mapping[str, Any]
    tokenizers: dict[str, Tokenizer] = {}
    generation: dict[str, Any] = {}


def weights_file(path: str) -> str:
    """The file of weights that a path is, or that is the only one in a folder; ValueError where that is not clear."""
    if not os.path.isdir(path):
        stem = re.sub(r"\.data-\d{5}-of-\d{5}$", "", path)  # of TensorFlow's checkpoints one may be given by its name alone
        return f"{stem}.index" if (stem != path or not os.path.exists(path)) and os.path.isfile(f"{stem}.index") else path
    files = sorted(name for name in os.listdir(path) if name.endswith(ENDINGS))
    if "model.safetensors" in files:
        files = ["model.safetensors"]
    if len(files) != 1:
        raise ValueError(f"{path} holds {', '.join(files) or 'no weights'}: give the file of weights itself")
    return os.path.join(path, files[0])


def names_in(path: str) -> set[str]:
    """The names of the arrays in a file of weights; none of a file of another kind."""
    path = weights_file(path)
    if path.endswith(".safetensors"):
        with TensorFile(path) as file:
            return set(file)
    if path.endswith(".index"):
        return set(TensorFlowFile(path))
    if is_npz(path):
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    return set(arrays_of(read_torch_file(path))) if is_torch_file(path) else set()


def arrays_in(path: str) -> dict[str, Any]:
    """The arrays of a safetensors file, an .npz, a state dict of PyTorch's or a checkpoint of TensorFlow's, by name."""
    path = weights_file(path)
    if path.endswith(".safetensors"):
        with TensorFile(path) as file:
            return {name: np.asarray(StoredArray(file, name)) for name in file}
    if path.endswith(".index"):
        stored = TensorFlowFile(path)
        return {name: stored.read(name) for name in stored}
    if is_npz(path):
        return _npz(path)
    try:
        return {name: tensor.numpy() for name, tensor in arrays_of(read_torch_file(path)).items()}
    except ValueError as error:
        raise ValueError(str(error) if path in str(error) else f"{path}: {error}") from None


def is_npz(path: str) -> bool:
    """Whether a file is NumPy's archive of arrays."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path} is no whole zip archive: {error}") from None
    return bool(names) and all(name.endswith(".npy") for name in names)


def _npz(path: str) -> dict[str, Array]:
    from minilm.files import unpacked_limit

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.file_size > unpacked_limit(info.compress_size):
                raise ValueError(f"{path}: {info.filename[:60]!r} would be {info.file_size:,} bytes, from {info.compress_size:,}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, MemoryError, SyntaxError) as error:
        raise ValueError(f"{path} is no whole .npz: {' '.join(str(error).split())}") from None


def checked(path: str, arrays: Mapping[str, Any], shapes: Mapping[str, tuple[int | None, ...]], also: Iterable[str] = ()) -> None:
    """ValueError that lists what does not fit: arrays that are missing, of other shapes (None: any size), or more than there are.

    `also` names arrays that may be there.
    """
    problems = [f"missing {name}" for name in shapes if name not in arrays]
    problems += [f"unexpected {name}" for name in arrays if name not in shapes and name not in also]
    for name, expected in shapes.items():
        if name in arrays:
            shape, kind = tuple(arrays[name].shape), np.dtype(arrays[name].dtype).kind
            if len(shape) != len(expected) or any(w is not None and n != w for n, w in zip(shape, expected, strict=True)):
                problems.append(f"{name} has shape {shape}, wanted {expected}")
            elif kind != "f" or 0 in shape:
                problems.append(f"{name} must hold floating-point numbers")
    if problems:
        raise ValueError(f"{path} does not fit: {'; '.join(sorted(problems)[:20])}")
