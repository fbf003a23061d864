"""What of a run is in a checkpoint's arrays, and how it is put back.

::

    model.safetensors        the weights to use: the averaged ones where there is an average
    optimizer.safetensors    optimizer.*          the optimizer's moments, and its steps
                             carried.0, .1        the recurrent state that the next step starts from, (layers, B, H)
                             weights.*, updates   where there is an average: the weights that training goes on with
"""

from __future__ import annotations

import json
import os

import numpy as np

from minilm import devices
from minilm.training import tensors
from minilm.training.run import load_weights

__all__ = ["restore", "writers"]


def writers(trainer, first: bool) -> dict:
    """For each file of the checkpoint a function that writes it; those that never change only for the first checkpoint."""
    model, tokenizer = trainer.model, trainer.tokenizer
    weights, rest = devices.to_host(_arrays(trainer))
    metadata = {"format": "pt", "step": str(trainer.state.step)}  # without "pt" Hugging Face's libraries refuse the file
    found = {
        "model.safetensors": lambda file: tensors.write(file, weights, metadata),
        "optimizer.safetensors": lambda file: tensors.write(file, rest, metadata),
    }
    if first:
        config = json.dumps(model.config.to_dict(), indent=2) + "\n"
        found["config.json"] = lambda file: file.write(config.encode())
        found["tokenizer.json"] = lambda file: file.write(tokenizer.to_json().encode())
    return found


def _arrays(trainer) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    parameters, average = trainer.model.parameters, trainer.average
    rest = {f"optimizer.{name}": array for name, array in trainer.optimizer.state_dict().items()}
    rest |= {f"carried.{i}": part for i, part in enumerate(_parts(trainer.carried))}
    if average is None:
        return dict(parameters), rest
    means = average.state_dict()
    rest["updates"] = means.pop("updates")
    if not rest["updates"]:
        return dict(parameters), rest
    rest |= {f"weights.{name}": array for name, array in parameters.items()}
    return {name.removeprefix("average."): array for name, array in means.items()}, rest


def restore(trainer, checkpoint) -> None:
    """Put weights, moments, averages and carried state of a checkpoint into a trainer, whose model is as it starts."""
    parameters, average = trainer.model.parameters, trainer.average
    load_weights(trainer.model, os.path.join(checkpoint.folder, "model.safetensors"), checkpoint.contents["model.safetensors"])
    path = os.path.join(checkpoint.folder, "optimizer.safetensors")
    try:
        rest = tensors.read(checkpoint.contents["optimizer.safetensors"])
        trainer.optimizer.load_state_dict(_below(rest, "optimizer."))
        carried = [rest[f"carried.{i}"] for i in range(len(_parts(trainer.carried)))]
        carried = devices.to_device(carried) if trainer.config.device == "cuda" else carried
        if carried:
            trainer.carried = tuple(carried) if isinstance(trainer.carried, tuple) else carried[0]
        if average is not None and int(rest["updates"]):
            average.load_state_dict({"updates": rest["updates"], **{f"average.{name}": a for name, a in parameters.items()}})
            parameters.load_state_dict(_below(rest, "weights."))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} does not fit this run: {error}") from None


def _below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _parts(state) -> tuple[np.ndarray, ...]:
    """The arrays of a recurrent model's state; none of another's."""
    return () if state is None else state if isinstance(state, tuple) else (state,)
