"""Models and weights in HDF5 in the layouts of Keras, through h5py.

::

    x.h5              attributes  model_config, training_config                  as Keras has them
                      model_weights/LAYER                                        attribute weight_names, an array of each
    x.weights.h5      layers/CLASS_NUMBER/PART/vars/0, 1 ...                     the form of Keras 3
    x.keras           a ZIP archive of config.json, metadata.json and model.weights.h5

A file that minilm writes also holds the configuration of `minilm.sequential.saving` and the optimizer's state, under names that
Keras does not read: its own optimizers keep their state in another form.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import minilm
from minilm.files import json_object, unpacked_limit
from minilm.sequential import keras_config
from minilm.sequential.base import snake_case
from minilm.sequential.bidirectional import Bidirectional
from minilm.sequential.recurrence import Recurrent
from minilm.sequential.steps import TimeDistributed
from minilm.weights.hdf5 import at, library, numbers, text

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["HDF5", "ZIP", "Stored", "archive", "library", "read", "whole", "weights_alone"]

HDF5, ZIP = b"\x89HDF", b"PK\x03\x04"
OWN, STATE = "minilm_sequential", "minilm_state"
WEIGHTS = "model.weights.h5"


class Stored(NamedTuple):
    """What a file holds."""

    content: dict | None  # minilm's configuration, of a file that minilm wrote
    keras: dict | None  # Keras's configuration of the model
    training: dict | None  # Keras's configuration of compile
    weights: object  # ``weights(model)`` returns a list of arrays for each layer that has some
    arrays: dict  # all arrays by name, for their shapes
    state: dict  # minilm's state of the optimizer
    unread: bool = False  # whether it holds the state of an optimizer of Keras's that has stepped


# --- where Keras 3 keeps the weights ---------------------------------------------------------------------------------


def _parts(layer) -> list[tuple[str, int]]:
    """The paths of Keras 3's groups below a layer's, and how many of its weights each holds, in order."""
    if isinstance(layer, Bidirectional):
        halves = (("forward_layer", layer.forward_layer), ("backward_layer", layer.backward_layer))
        return [(f"{name}/{path}", count) for name, half in halves for path, count in _parts(half)]
    if isinstance(layer, TimeDistributed):
        return [(f"layer/{path}", count) for path, count in _parts(layer.layer)]
    return [("cell/vars" if isinstance(layer, Recurrent) else "vars", len(layer.weight_shapes()))]


def _groups(model):
    """Each layer with the name of its group in Keras 3: the class's in snake case, with a number from the second one on."""
    seen: dict[str, int] = {}
    for layer in model.layers:
        name = snake_case(type(layer).__name__)
        number = seen[name] = seen.get(name, -1) + 1
        yield layer, f"{name}_{number}" if number else name


def _write_nested(file, model) -> None:
    for layer, name in _groups(model):
        weights = layer.get_weights()
        for path, count in _parts(layer):
            group = file.create_group(f"layers/{name}/{path}")
            for number in range(count):
                group.create_dataset(str(number), data=weights.pop(0))


def _read_nested(file, model) -> list[list[np.ndarray]]:
    every = []
    for layer, name in _groups(model):
        weights = []
        for path, _ in _parts(layer):
            group = at(file, f"layers/{name}/{path}")
            weights += [] if group is None else [numbers(at(group, key)) for key in sorted(group, key=int)]
        every.append(weights)
    return every


# --- where Keras's older files keep them -----------------------------------------------------------------------------


def _write_flat(group, model) -> None:
    group.attrs.update({"layer_names": [layer.name for layer in model.layers], "backend": "minilm", "keras_version": "3.0.0"})
    for layer in model.layers:
        own, names = group.create_group(layer.name), [f"{layer.name}/{name}" for name in layer.weight_shapes()]
        own.attrs["weight_names"] = names or np.array([])
        for name, weight in zip(names, layer.get_weights(), strict=True):
            own.create_dataset(name, data=weight)


def _read_flat(group) -> list[list[np.ndarray]]:
    layers = [text(name) for name in group.attrs["layer_names"]]
    return [[numbers(at(group, f"{layer}/{text(name)}")) for name in at(group, layer).attrs["weight_names"]] for layer in layers]


# --- files -----------------------------------------------------------------------------------------------------------


def _bytes(fill) -> bytes:
    memory = io.BytesIO()
    with library().File(memory, "w") as file:
        fill(file)
    return memory.getvalue()


def weights_alone(model: Sequential, nested: bool) -> bytes:
    """The content of a file of a model's weights: with `nested` in the layout of Keras 3, else in that of its older files."""
    return _bytes(lambda file: (_write_nested if nested else _write_flat)(file, model))


def whole(model: Sequential, content: dict, state: dict) -> bytes:
    """The content of a model's file, as Keras's ``save("x.h5")`` writes it."""

    def fill(file):
        training = keras_config.training_to_keras(content["compile"])
        described = {"class_name": "Sequential", "config": keras_config.model_to_keras(model)}
        file.attrs.update({"model_config": json.dumps(described), "backend": "minilm", "keras_version": "3.0.0"})
        file.attrs[OWN] = json.dumps(content)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        _write_flat(file.create_group("model_weights"), model)
        for name, array in state.items():
            file.create_dataset(f"{STATE}/{name}", data=array)

    return _bytes(fill)


def archive(model: Sequential, content: dict, state: dict) -> bytes:
    """The content of a model's file, as Keras 3's ``save("x.keras")`` writes it."""
    config = keras_config.model_to_keras(model)
    for each in config["layers"]:
        each.update({"module": "keras.layers", "registered_name": None})
    described = {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    described["build_config"] = {"input_shape": list(model.input_shape)}
    training = keras_config.training_to_keras(content["compile"])
    if training is not None:
        optimizer = training.pop("optimizer_config")
        training["optimizer"] = {"module": "keras.optimizers", "registered_name": None, **optimizer}
        described["compile_config"] = training

    def fill(file):
        _write_nested(file, model)
        for name, array in state.items():
            file.create_dataset(f"{STATE}/{name}", data=array)

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as parts:
        parts.writestr("metadata.json", json.dumps({"keras_version": "3.0.0", "date_saved": "", "minilm": minilm.__version__}))
        parts.writestr("config.json", json.dumps(described))
        parts.writestr(WEIGHTS, _bytes(fill))
        parts.writestr(f"{OWN}.json", json.dumps(content))
    return memory.getvalue()


@contextlib.contextmanager
def _sound(kind: str):
    """Whatever is raised inside becomes a ValueError: of a damaged file zipfile and h5py raise errors of many kinds."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"is no {kind} of Keras: {' '.join(str(error).split())}") from None


def read(path: str) -> Stored:
    """What a file of HDF5 or an archive of Keras 3 holds; ValueError where it is broken or none of these."""
    library()
    described = own_config = None
    file = path
    with open(path, "rb") as content:
        packed = content.read(len(ZIP)) == ZIP
    if packed:
        with _sound("archive"), zipfile.ZipFile(path) as parts:
            described = json_object("config.json", _member(parts, "config.json"))
            if f"{OWN}.json" in parts.namelist():
                own_config = json_object(f"{OWN}.json", _member(parts, f"{OWN}.json"))
            file = io.BytesIO(_member(parts, WEIGHTS))
    with _sound("HDF5 file"):
        return _read_hdf5(library().File(file, "r"), described, own_config)


def _member(parts: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive, unpacked; ValueError where that is more than `minilm.files.unpacked_limit` allows."""
    info = parts.getinfo(name)
    if info.file_size > unpacked_limit(info.compress_size):
        raise ValueError(f"{name} would be {info.file_size:,} bytes, from {info.compress_size:,}")
    return parts.read(name)


def _read_hdf5(file, described, own_config) -> Stored:
    attributes = file.attrs
    training = None if described is None else described.get("compile_config")
    if described is None and "model_config" in attributes:
        described = _json(attributes, "model_config")
        training = _json(attributes, "training_config") if "training_config" in attributes else None
    if own_config is None and OWN in attributes:
        own_config = _json(attributes, OWN)
    state = {name: numbers(at(file, f"{STATE}/{name}")) for name in at(file, STATE) or ()}

    def weights(model):
        group = at(file, "model_weights") or file
        with _sound("HDF5 file"):
            layers = _read_flat(group) if "layer_names" in group.attrs else _read_nested(file, model)
        return [each for each in layers if each]

    return Stored(own_config, described, training, weights, _datasets(file), state, _optimizer_has_stepped(file))


def _json(attributes, name: str) -> dict:
    return json_object(name, text(attributes[name]).encode())


def _datasets(file) -> dict:
    """Every array of a file by its path."""
    every = {}
    file.visititems(lambda name, item: every.update({name: item}) if isinstance(item, library().Dataset) else None)
    return every


def _optimizer_has_stepped(file) -> bool:
    """Whether there is a state of an optimizer of Keras's: its first array counts the steps."""
    group = at(file, "optimizer_weights")
    names = [] if group is None else list(group.attrs.get("weight_names", ()))
    steps = at(group, text(names[0])) if names else at(file, "optimizer/vars/0")
    return steps is not None and bool(numbers(steps).any())
