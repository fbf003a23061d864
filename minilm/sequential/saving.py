"""A model in one file: layers and settings as JSON, weights by name in Keras's orientation.

A name that ends in .h5, .hdf5 or .keras asks for Keras's own formats (`minilm.sequential.hdf5`); all others give safetensors:

::

    __metadata__         {"format": "np", "minilm_sequential": JSON}
    embedding/embeddings, lstm/kernel, lstm/recurrent_kernel, lstm/bias, dense/kernel, dense/bias ...
    optimizer/...        the state of training, where there is one
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

import minilm
from minilm.files import json_object, written_whole
from minilm.layers.loading import blank
from minilm.sequential import hdf5, initializers, keras_config, losses, optimizers
from minilm.sequential.base import UNBUILT, SequentialLayer
from minilm.typing import PathLike
from minilm.weights import TensorFile, tensor_writer

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["config_of", "format_of", "from_config", "load_model", "load_weights", "save", "save_weights"]

KEY, STATE = "minilm_sequential", "optimizer/"


def config_of(model: Sequential) -> dict:
    """Name, dtype, shape of the input, and layers with their arguments, as JSON can hold them."""
    layers = [{"class_name": type(layer).__name__, "config": layer.get_config()} for layer in model.layers]
    shape = model.input_shape
    return {
        "name": model.name,
        "dtype": model.dtype.name,
        "input_shape": None if shape is None else list(shape),
        "layers": layers,
    }


def from_config(cls: type, config: dict, seed: int | None = None) -> Sequential:
    """The model, of the class `cls`, that `config_of` described, with new weights."""
    model = cls(name=config.get("name", "sequential"), seed=seed, dtype=np.dtype(config.get("dtype", "float32")))
    for each in config["layers"]:
        model.add(_layer_of(each))
    if config.get("input_shape") is not None and model.layers and not model.built:
        model.build(config["input_shape"])
    return model


def _layer_of(each: dict) -> SequentialLayer | initializers.Initializer:
    """A layer, or an initializer that a layer has as argument, from its class's name and its configuration."""
    name = str(each.get("class_name"))
    kind = getattr(importlib.import_module("minilm.sequential"), name, None) or getattr(initializers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, (SequentialLayer, initializers.Initializer))):
        raise ValueError(f"minilm.sequential has no layer {each.get('class_name')!r}")
    config = {
        key: _layer_of(value) if isinstance(value, dict) and "class_name" in value else value
        for key, value in each["config"].items()
    }
    return kind(**config)


def _compiled(model) -> dict | None:
    """The arguments that `compile` got; None, and a warning, where JSON cannot hold them."""
    if not model.compiled:
        return None
    named = [metric for metric in model._metrics_argument if isinstance(metric, str)]
    if type(model.loss) not in losses.KINDS.values() or len(named) < len(model._metrics_argument):
        warnings.warn("a loss or metric of your own is not saved: call compile again after loading", stacklevel=4)
        return None
    loss = {"name": model.loss.name, **model.loss.get_config()}
    return {"loss": loss, "optimizer": model.optimizer.get_config(), "metrics": named}


def _weights(model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{name}": weight
        for layer in model.layers
        for name, weight in zip(layer.weight_shapes(), layer.get_weights(), strict=True)
    }


def _written(filepath, overwrite: bool):
    path = os.fspath(filepath)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} is there already; overwrite=True replaces it")
    return written_whole(path)


def format_of(filepath: PathLike) -> str:
    """The format that a file's name asks for: "keras", "hdf5" or "safetensors".

    Without h5py a .keras file is written as safetensors, and a warning says so; `load_model` reads either. For .h5 and .hdf5 it
    is a ValueError then.
    """
    path = os.fspath(filepath)
    if path.endswith((".h5", ".hdf5")):
        try:
            hdf5.library()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return "hdf5"
    if path.endswith(".keras"):
        try:
            hdf5.library()
        except ValueError:
            warnings.warn(f"{path} is written as safetensors, which Keras does not read: its own format wants h5py", stacklevel=4)
            return "safetensors"
        return "keras"
    return "safetensors"


def save_weights(model: Sequential, filepath: PathLike, overwrite: bool = True) -> None:
    """What `Sequential.save_weights` does."""
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    kind, path = format_of(filepath), os.fspath(filepath)
    if kind == "keras":
        warnings.warn(f"{path} is written as safetensors: Keras reads weights alone from names in .weights.h5", stacklevel=3)
    with _written(path, overwrite) as file:
        if kind == "hdf5":
            file.write(hdf5.weights_alone(model, path.endswith(".weights.h5")))
        else:
            tensor_writer.write(file, _weights(model), {"format": "np"})


def save(model: Sequential, filepath: PathLike, overwrite: bool = True) -> None:
    """What `Sequential.save` does."""
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    kind, compiled = format_of(filepath), _compiled(model)
    state = {} if compiled is None else model.optimizer.state_dict()
    content = {"version": minilm.__version__, "seed": model.seed, "model": config_of(model), "compile": compiled}
    content["frozen"] = sorted(layer.name for layer in model.layers if not layer.trainable)
    with _written(filepath, overwrite) as file:
        if kind == "safetensors":
            arrays = {**_weights(model), **{STATE + name: array for name, array in state.items()}}
            tensor_writer.write(file, arrays, {"format": "np", KEY: json.dumps(content)})
        else:
            file.write((hdf5.whole if kind == "hdf5" else hdf5.archive)(model, content, state))


def load_model(kind: type, filepath: PathLike, compile: bool = True) -> Sequential:
    """What `minilm.sequential.load_model` does; the model is of the class `kind`."""
    path = os.fspath(filepath)
    try:
        stored = read(path)
        if stored.content is not None:
            return _from_own_config(kind, stored, compile)
        if stored.keras is None:
            raise ValueError("holds weights but no model: make the model, and call its load_weights")
        return _keras_s(kind, stored, compile)
    except OSError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(_with(path, error)) from None


def _with(path: str, error: Exception) -> str:
    """An error's message with the file's name, once."""
    return str(error) if str(error).startswith(path) else f"{path}: {error}"


def _from_own_config(kind: type, stored: hdf5.Stored, compile: bool):
    content = stored.content
    with blank(stored.arrays):
        model = from_config(kind, content["model"], content.get("seed"))
    _assign(model, stored)
    for name in content["frozen"]:
        model.get_layer(name).trainable = False
    if compile and content["compile"] is not None:
        _compile(model, content["compile"], stored.state)
    return model


def _keras_s(kind: type, stored: hdf5.Stored, compile: bool):
    """A model that Keras wrote; its optimizer's state, which has another form, is not read, and a warning says so."""
    with blank(stored.arrays):
        model = keras_config.model_from_keras(kind, stored.keras)
    _assign(model, stored)
    if compile and stored.training:  # empty, of a model that was not compiled
        keras_config.compile_from_keras(model, stored.training)
        if model.compiled and stored.unread:
            warnings.warn("the state of Keras's optimizer is not read: it begins anew", stacklevel=3)
    return model


def read(path: str) -> hdf5.Stored:
    """What a file holds, whatever its name; its first bytes tell the format."""
    with open(path, "rb") as file:
        begin = file.read(4)
    if begin in (hdf5.HDF5, hdf5.ZIP):
        return hdf5.read(path)
    file = TensorFile(path)
    state = file.arrays(STATE)
    weights = {name: array for name, array in file.arrays().items() if not name.startswith(STATE)}
    own_config = json_object(path, file.metadata[KEY].encode()) if KEY in file.metadata else None
    return hdf5.Stored(own_config, None, None, lambda model: _by_name(model, weights), weights, state)


def _compile(model, settings: dict, state: dict) -> None:
    loss, optimizer = dict(settings["loss"]), dict(settings["optimizer"])
    kind, way = losses.KINDS[loss.pop("name")], optimizers.KINDS[optimizer.pop("name")]
    model.compile(loss=kind(**loss), optimizer=way(**optimizer), metrics=settings["metrics"])
    if state:
        model.ready_optimizer()
        model.optimizer.load_state_dict(state)


def load_weights(model: Sequential, filepath: PathLike) -> None:
    """What `Sequential.load_weights` does."""
    path = os.fspath(filepath)
    try:
        _assign(model, read(path))
    except OSError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(_with(path, error)) from None


def _assign(model, stored: hdf5.Stored) -> None:
    """Set the weights, if they fit: all or none."""
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    layers = [layer for layer in model.layers if layer.weight_shapes()]
    arrays = stored.weights(model)
    if len(arrays) != len(layers):
        raise ValueError(f"the weights do not fit this model: for {len(arrays)} layers, and it has {len(layers)}")
    for layer, weights in zip(layers, arrays, strict=True):
        layer.check_weights(weights)
    for layer, weights in zip(layers, arrays, strict=True):
        layer.set_weights(weights)


def _by_name(model, arrays: dict) -> list[list[np.ndarray]]:
    """The arrays of each layer that has weights, in order; ValueError listing every name and shape that does not fit."""
    shapes = {f"{layer.name}/{name}": shape for layer in model.layers for name, shape in layer.weight_shapes().items()}
    problems = [f"missing {name}" for name in shapes if name not in arrays]
    problems += [f"unexpected {name}" for name in arrays if name not in shapes]
    problems += [
        f"{name} has shape {arrays[name].shape}, wanted {shape}"
        for name, shape in shapes.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if problems:
        raise ValueError("the weights do not fit this model: " + "; ".join(problems))
    each = ([arrays[f"{layer.name}/{name}"] for name in layer.weight_shapes()] for layer in model.layers)
    return [weights for weights in each if weights]
