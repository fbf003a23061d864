"""Any model or layer in one file, and back: its weights, and what its constructor was given.

A safetensors file: arrays by the names of ``named_parameters``, tied ones once. Its metadata hold, as JSON, the name of the class
and the constructor's arguments, and of a layer without parameters its dtype, so that `load` needs nothing but the file::

    models.save(model, "tagger.safetensors")
    model = models.load("tagger.safetensors")

A class of one's own is an argument of it: ``models.load("model.safetensors", MyModel)``. The file cannot make any other code run:
its class is one of minilm's own, or that argument. (GPT and BERT have ``save_pretrained`` as well, which writes the layout of
Hugging Face.)
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilm.files import written_whole
from minilm.layers.base import Layer
from minilm.layers.loading import blank
from minilm.layers.lora import refuse_adapters
from minilm.models.config import Config
from minilm.ops import checks
from minilm.quantized.reading import fill, stored_as
from minilm.quantized.storing import contents, is_quantized
from minilm.typing import PathLike
from minilm.weights import TensorFile, tensor_writer
from minilm.weights.folder import WEIGHTS

__all__ = ["description", "load", "save"]

KEY = "minilm_model"
LEFT_OUT = ("seed", "dtype", "initialise", "residual_initialise")  # first values, and what the weights themselves say


def save(model: Layer, path: PathLike) -> None:
    """Write a model or layer into a file, whole or not at all.

    Parameters
    ----------
    model : Layer
        Of minilm or of one's own, also with quantised weights. Its constructor's arguments must be numbers, strings, None, lists,
        dictionaries or a `Config`.
    path : str or os.PathLike

    Raises
    ------
    TypeError
        For an argument that no file can hold, such as a function; it says which.
    OSError
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {checks.describe(model)}")
    refuse_adapters(model)
    arrays, about = contents(model) if is_quantized(model) else (dict(model.parameters), {})
    metadata = {"format": "np", **description(model), **about}
    with written_whole(os.path.expanduser(path)) as file:
        tensor_writer.write(file, arrays, metadata)


def description(model: Layer) -> dict[str, str]:
    """What a file's metadata say of the model: its class, and its constructor's arguments."""
    arguments = {name: _plain(model, name, value) for name, value in _arguments(model).items() if name not in LEFT_OUT}
    content: dict[str, Any] = {"class": type(model).__name__, "arguments": arguments}
    if not model.parameters:  # else these say it
        content["dtype"] = str(model.dtype)
    return {KEY: json.dumps(content, sort_keys=True)}


def load(path: PathLike, kind: type[Layer] | None = None) -> Any:
    """The model or layer that `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file, or a folder with it as model.safetensors.
    kind : type, optional
        Its class, if that is not one of `minilm.models` or `minilm.layers`.

    Returns
    -------
    Layer
        Of that class, in the dtype of the weights, on the CPU.

    Raises
    ------
    ValueError
        For a file that `save` has not written, one of another class, or one that is damaged.
    """
    path = os.path.expanduser(os.fspath(path))
    path = os.path.join(path, WEIGHTS) if os.path.isdir(path) else path
    with TensorFile(path) as file:
        name, arguments, dtype = _content(path, file)
        if kind is None:
            kind = _known(path, name)
        elif kind.__name__ != name:
            raise ValueError(f"{path} holds a {name}, and kind is {kind.__name__}")
        stored = file.arrays()
        if dtype is None:
            dtype = np.dtype(np.float64 if any(array.dtype == np.float64 for array in stored.values()) else np.float32)
        try:
            with blank(stored):
                model = kind(**arguments, **({"dtype": dtype} if "dtype" in inspect.signature(kind).parameters else {}))
            model.to(dtype)  # also what takes no dtype, such as a dropout
            if stored_as(file) is not None:
                return fill(model, file)
            model.parameters.load_state_dict(stored)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a whole {name}: {error}") from None
    return model


def _arguments(model: Layer) -> dict[str, Any]:
    """What the constructor was given, by its parameters' names."""
    construction = model.construction
    bound = inspect.signature(construction.func).bind(*construction.args, **construction.keywords)
    values = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            values.update(values.pop(name, {}))
        elif parameter.kind is parameter.VAR_POSITIONAL and values.pop(name, ()):
            raise TypeError(f"{type(model).__name__} takes *{name}, which no file can hold by name")
    return values


def _plain(model: Layer, name: str, value: Any) -> Any:
    """An argument as JSON can hold it."""
    if isinstance(value, Config):
        return {"config": value.to_dict()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(model, name, each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: _plain(model, name, each) for key, each in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{type(model).__name__} was made with {name}={checks.describe(value)}, which no file can hold: numbers, strings, None, "
        "lists, dictionaries and configurations can be saved"
    )


def _restored(value: Any) -> Any:
    """What `_plain` was given."""
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "config" in value:
        kinds = {kind.model_type: kind for kind in Config.__subclasses__()}
        settings = value["config"]
        if not isinstance(settings, dict) or settings.get("model_type") not in kinds:
            raise ValueError("the configuration is of an unknown kind of model")
        return kinds[settings["model_type"]].from_dict(settings)
    return {name: _restored(each) for name, each in value["mapping"].items()}


def _content(path: str, file: TensorFile) -> tuple[str, dict[str, Any], np.dtype | None]:
    """The name of the class, the constructor's arguments, and the dtype where no weights say it."""
    text = file.metadata.get(KEY)
    if text is None:
        raise ValueError(
            f"{path} was not written by models.save: GPT.from_pretrained and its siblings read Hugging Face's folders"
        )
    try:
        content = json.loads(text)
        arguments = {str(name): _restored(value) for name, value in content["arguments"].items()}
        return str(content["class"]), arguments, np.dtype(content["dtype"]) if "dtype" in content else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: its metadata do not describe a model: {error}") from None


def _known(path: str, name: str) -> type[Layer]:
    for module in map(importlib.import_module, ("minilm.models", "minilm.layers")):
        kind = getattr(module, name, None) if name in module.__all__ else None
        if isinstance(kind, type) and issubclass(kind, Layer):
            return kind
    raise ValueError(f"{path} holds a {name}, which is no model of minilm: give its class, models.load(path, {name})")
