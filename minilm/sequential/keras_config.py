"""Configurations of models, layers and compile's arguments: minilm's written as Keras's, and Keras's read.

A layer's configuration is its class's name and the constructor's arguments, in Keras as in minilm. Keras's layers have further
arguments: at their defaults they are left out when a configuration is read; where they ask for something that minilm does not
have, that is a ValueError.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from minilm.sequential import initializers, layers, losses, optimizers
from minilm.sequential.base import SequentialLayer

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["compile_as", "compile_from_keras", "layers_from_keras", "model_from_keras", "model_to_keras", "training_to_keras"]

SHAPES = ("input_shape", "batch_input_shape", "batch_shape", "input_length")  # left out: the InputLayer at the head has the shape
IGNORED = {"build_config", "dtype", "input_axes", "output_axes", "build_input_shape"}
DEFAULTS = {"data_format": "channels_last", "registered_name": None}  # beside arguments that are None or False
FOLLOWED = {"reduction": ("sum_over_batch_size", "auto", None), "axis": (-1,), "dtype": None, "name": None}


# --- written as Keras's ----------------------------------------------------------------------------------------------


def model_to_keras(model: Sequential) -> dict:
    """Keras's configuration of a Sequential."""
    shape = list(model.input_shape)
    head = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "input_layer"}}
    described = [head, *(_to_keras(type(layer).__name__, layer.get_config(), model.dtype.name) for layer in model.layers)]
    for layer, each in zip(model.layers, described[1:], strict=True):
        each["config"].pop("trainable", None)  # some of Keras's layers without weights do not take it
        if layer.weight_shapes():
            each["config"]["trainable"] = layer.trainable
    return {"name": model.name, "trainable": True, "dtype": model.dtype.name, "layers": described, "build_input_shape": shape}


def _to_keras(kind: str, config: dict, dtype: str) -> dict:
    """A layer's configuration as Keras's; layers and initializers among its arguments also name Keras's module of them."""
    kept = {"dtype": dtype}
    for key, value in config.items():
        if key in SHAPES or (key == "input_dim" and kind != "Embedding") or (key == "name" and value is None):
            continue
        if isinstance(value, dict) and "class_name" in value:
            name = value["class_name"]
            is_layer = hasattr(layers, name)
            value = _to_keras(name, value["config"], dtype) if is_layer else value
            value = {"module": f"keras.{'layers' if is_layer else 'initializers'}", **value, "registered_name": None}
        kept[key] = value
    return {"class_name": kind, "config": kept}


def training_to_keras(compiled: dict | None) -> dict | None:
    """The arguments of compile as Keras's files hold them, from those that `minilm.sequential.saving` writes."""
    if compiled is None:
        return None
    loss, optimizer = dict(compiled["loss"]), dict(compiled["optimizer"])
    name = loss.pop("name")
    kind, way = losses.KINDS[name], optimizers.KINDS[optimizer["name"]]
    config = {**loss, "name": name}
    return {
        "loss": {"module": "keras.losses", "class_name": kind.__name__, "config": config, "registered_name": None},
        "loss_weights": None,
        "metrics": compiled["metrics"],
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "optimizer_config": {"class_name": way.__name__, "config": optimizer},
    }


# --- Keras's read ----------------------------------------------------------------------------------------------------


def model_from_keras(cls: type, description: dict) -> Sequential:
    """The model of Keras's configuration, with new weights; ValueError names what minilm does not have."""
    config = description["config"]
    if description.get("class_name") != "Sequential":
        raise ValueError(f"holds a {description.get('class_name')} of Keras, wanted a Sequential")
    config = {"layers": config} if isinstance(config, list) else config  # as Keras 2 began
    model = cls(name=config.get("name") or "sequential", dtype=_dtype(config.get("dtype")))
    for layer in layers_from_keras(config["layers"]):
        model.add(layer)
    shape = config.get("build_input_shape")
    if not model.built and shape is not None:
        model.build(shape)
    return model


def layers_from_keras(described: list[dict]) -> list:
    """The layers of Keras's configurations."""
    return [_layer(each) for each in described]


def _dtype(config) -> np.dtype:
    """The dtype of a name, or of Keras's policy."""
    name = config["config"]["name"] if isinstance(config, dict) else config or "float32"
    if name not in ("float32", "float64"):
        raise ValueError(f"holds a model of Keras of dtype {name}, wanted float32 or float64")
    return np.dtype(name)


def _layer(each: dict):
    name, config = each["class_name"], dict(each["config"])
    if name == "InputLayer":
        return layers.Input(batch_shape=config.get("batch_shape") or config["batch_input_shape"])
    kind = getattr(layers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SequentialLayer)):
        raise ValueError(f"minilm.sequential has no layer {name!r}, which Keras's model has")
    _dtype(config.get("dtype"))
    return kind(**{key: _argument(value) for key, value in _options_of(f"layer {config.get('name')!r} ({name})", config).items()})


def _options_of(whose: str, config: dict) -> dict:
    """The arguments that minilm's layer takes; ValueError for one that asks for something that minilm does not have."""
    kept = {}
    for key, value in config.items():
        if key in IGNORED or value is None or (key in DEFAULTS and value == DEFAULTS[key]):
            continue
        if value is False and key in ("sparse", "ragged", "optional", "time_major", "keepdims", "return_state", "stateful"):
            continue
        if key.endswith(("regularizer", "constraint")) or key in ("quantization_config", "lora_rank", "noise_shape", "keepdims"):
            raise ValueError(f"{whose} of Keras has {key}, which minilm.sequential has not")
        kept[key] = value
    return kept


def _argument(value):
    """A layer, an initializer, a function's name, or a plain value."""
    if not isinstance(value, dict):
        return value
    name, config = value.get("class_name"), value.get("config")
    if name == "function" or isinstance(config, str):
        return config if isinstance(config, str) else name
    kind = getattr(initializers, str(name), None)
    if isinstance(kind, type):
        return kind(**{key: each for key, each in (config or {}).items() if key not in IGNORED})
    return _layer(value)


def compile_from_keras(model: Sequential, training: dict) -> None:
    """Compile a model as Keras's was compiled; where minilm does not have all of that, only a warning says so."""
    try:
        arguments = compile_as(training)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        warnings.warn(f"what Keras's model was compiled with is not here ({error}): call compile", stacklevel=5)
        return
    model.compile(**arguments)


def compile_as(training: dict) -> dict:
    """The arguments of `Sequential.compile` for Keras's configuration of it; ValueError where minilm lacks one."""
    described = training.get("optimizer_config") or training.get("optimizer")
    config = {key: value for key, value in described["config"].items() if value not in (None, False)}
    for name in ("name", "ema_momentum", "jit_compile", "is_legacy_optimizer", "decay"):
        if not (name == "decay" and config.get(name)):
            config.pop(name, None)
    if described["class_name"] not in ("AdamW",) and not config.get("weight_decay"):
        config.pop("weight_decay", None)
    optimizer = _kind(optimizers.KINDS, described["class_name"])(**config)
    loss = training["loss"]
    if isinstance(loss, dict):
        kind, config = _kind(losses.KINDS, loss["class_name"]), dict(loss["config"])
        for name, followed in FOLLOWED.items():
            if name in config and followed is not None and config[name] not in followed:
                raise ValueError(f"{name}={config[name]!r}")
            config.pop(name, None)
        loss = kind(**config)
    metrics = training.get("metrics") or []
    metrics = [each for part in metrics for each in (part if isinstance(part, list) else [part])]
    if not all(isinstance(each, str) for each in metrics):
        raise ValueError("metrics that are no names")
    return {"loss": loss, "optimizer": optimizer, "metrics": metrics}


def _kind(kinds: dict, name: str):
    for kind in kinds.values():
        if kind.__name__ == name:
            return kind
    raise ValueError(f"no {name}")
