"""A model in one safetensors file: layers and settings as JSON in its metadata, weights by name in Keras's orientation.

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

import numpy as np

import minilm
from minilm.files import written_whole
from minilm.sequential import initializers, losses, optimizers
from minilm.sequential.base import UNBUILT, SequentialLayer

__all__ = ["config_of", "from_config", "load_model", "load_weights", "save", "save_weights"]

KEY, STATE = "minilm_sequential", "optimizer/"
KERAS_FILES = {b"PK\x03\x04": "Keras's own .keras format", b"\x89HDF": "HDF5"}


def config_of(model) -> dict:
    """The layers and their arguments, as JSON can hold them."""
    layers = [{"class_name": type(layer).__name__, "config": layer.get_config()} for layer in model.layers]
    shape = model.input_shape
    return {
        "name": model.name,
        "dtype": model.dtype.name,
        "input_shape": None if shape is None else list(shape),
        "layers": layers,
    }


def from_config(cls, config: dict, seed: int | None = None):
    """The model that `config_of` told of, with new weights."""
    model = cls(name=config.get("name", "sequential"), seed=seed, dtype=np.dtype(config.get("dtype", "float32")))
    for each in config["layers"]:
        model.add(_layer_of(each))
    if config.get("input_shape") is not None and model.layers and not model.built:
        model.build(config["input_shape"])
    return model


def _layer_of(each: dict) -> SequentialLayer:
    """A layer, or an argument of one that is an object itself, of its class's name and configuration."""
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
    """What compile was given, or None where it cannot be told in JSON."""
    if not model.compiled:
        return None
    named = [metric for metric in model._asked if isinstance(metric, str)]
    if type(model.loss) not in losses.KINDS.values() or len(named) < len(model._asked):
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


def _write(filepath, arrays: dict, metadata: dict, overwrite: bool) -> None:
    from minilm.training import tensors

    path = os.fspath(filepath)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} is there already; overwrite=True replaces it")
    with written_whole(path) as file:
        tensors.write(file, arrays, metadata)


def save_weights(model, filepath, overwrite: bool = True) -> None:
    """Write the weights alone."""
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    _write(filepath, _weights(model), {"format": "np"}, overwrite)


def save(model, filepath, overwrite: bool = True) -> None:
    """Write a model whole.

    Parameters
    ----------
    filepath : str or os.PathLike
        Of any name; the file's format is safetensors.
    """
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    compiled = _compiled(model)
    arrays = _weights(model)
    if compiled is not None:
        arrays.update({STATE + name: array for name, array in model.optimizer.state_dict().items()})
    trainable = {layer.name: layer.trainable for layer in model.layers if not layer.trainable}
    content = {"version": minilm.__version__, "model": config_of(model), "compile": compiled, "frozen": sorted(trainable)}
    _write(filepath, arrays, {"format": "np", KEY: json.dumps(content)}, overwrite)


def load_model(filepath, compile: bool = True):
    """The model of a file that `save` wrote.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file and what is wrong with it.
    """
    from minilm.sequential.model import Sequential

    path = os.fspath(filepath)
    metadata, arrays = _read(path)
    if KEY not in metadata:
        raise ValueError(f"{path}: holds weights but no model: make the model, and call its load_weights")
    try:
        content = json.loads(metadata[KEY])
        model = from_config(Sequential, content["model"])
        _assign(model, arrays)
        for name in content["frozen"]:
            model.get_layer(name).trainable = False
        if compile and content["compile"] is not None:
            _compile(model, content["compile"], arrays)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return model


def _read(path: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a file; ValueError naming it where it is none of ours, a file of Keras's own by its first bytes."""
    from minilm.training import tensors
    from minilm.weights import TensorFile

    with open(path, "rb") as file:
        content = file.read()
    for start, kind in KERAS_FILES.items():
        if content.startswith(start):
            raise ValueError(f"{path}: is in {kind}; make the model here, and hand Keras's get_weights() to its set_weights")
    with TensorFile(path) as file:
        metadata = dict(file.metadata)
    return metadata, tensors.read(content)


def _compile(model, settings: dict, arrays: dict) -> None:
    loss, optimizer = dict(settings["loss"]), dict(settings["optimizer"])
    kind, way = losses.KINDS[loss.pop("name")], optimizers.KINDS[optimizer.pop("name")]
    model.compile(loss=kind(**loss), optimizer=way(**optimizer), metrics=settings["metrics"])
    state = {name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}
    if state:
        model.ready_optimizer()
        model.optimizer.load_state_dict(state)


def load_weights(model, filepath) -> None:
    """Read the weights that a file holds; the model must be built."""
    path = os.fspath(filepath)
    _, arrays = _read(path)
    try:
        _assign(model, arrays)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _assign(model, arrays: dict) -> None:
    if not model.built:
        raise ValueError(f"the model has no weights yet: {UNBUILT}")
    wanted = _weights(model)
    given = {name: array for name, array in arrays.items() if not name.startswith(STATE)}
    problems = [f"missing {name}" for name in wanted if name not in given] + [f"unexpected {n}" for n in given if n not in wanted]
    problems += [
        f"{name} has shape {given[name].shape}, wanted {wanted[name].shape}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if problems:
        raise ValueError("the weights do not fit this model: " + "; ".join(problems))
    model.set_weights([given[name] for name in wanted])
