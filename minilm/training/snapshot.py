"""What of a run is in a checkpoint's arrays, and how it is put back.

::

    model.safetensors        the weights to use: the averaged ones where there is an average
    optimizer.safetensors    optimizer.*          the optimizer's moments, and its steps
                             carried.0, .1        the recurrent state that the next step starts from, (layers, B, H)
                             weights.*, updates   where there is an average: the weights that training goes on with

`arrays_writers` and `put_back` are for all loops, that of the recipes too; `writers` and `restore` for `Trainer`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from minilm import devices
from minilm.layers.dropout import drops
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import DROPOUT_KEYS
from minilm.training.run import load_weights
from minilm.weights import tensor_writer

if TYPE_CHECKING:
    from minilm.training.checkpoint import Checkpoint
    from minilm.training.protocol import LanguageModel
    from minilm.training.trainer import Trainer

__all__ = ["arrays_writers", "put_back", "restore", "writers"]

WEIGHTS, REST = "model.safetensors", "optimizer.safetensors"


def arrays_writers(
    model: LanguageModel,
    optimizer: Optimizer,
    average: WeightAverage | None,
    metadata: dict[str, str],
    more: Mapping | None = None,
) -> dict:
    """For each of the two files of arrays, a function that writes it.

    Parameters
    ----------
    model : Layer
    optimizer : Optimizer
    average : WeightAverage or None
        Of the parameters that are trained, which may be fewer than the model's.
    metadata : dict
    more : mapping of str to array, optional
        What else is to be kept.
    """
    parameters = model.parameters
    weights = dict(parameters)
    rest = {f"optimizer.{name}": array for name, array in optimizer.state_dict(copies=False).items()} | dict(more or {})
    if average is not None:
        rest["updates"] = np.array(average.updates, np.int64)
        if average.updates:
            rest |= {f"weights.{name}": array for name, array in average.parameters.items()}
            means = {id(average.parameters.entry(name)): view for name, view in average.views().items()}
            weights = {name: means.get(id(parameters.entry(name)), array) for name, array in parameters.items()}
    return {
        WEIGHTS: lambda file: tensor_writer.write(file, weights, metadata),
        REST: lambda file: tensor_writer.write(file, rest, metadata),
    }


def put_back(
    model: LanguageModel, optimizer: Optimizer, average: WeightAverage | None, checkpoint: Checkpoint
) -> dict[str, np.ndarray]:
    """Put weights, moments and average of a checkpoint where they belong; the arrays that were carried over, by number.

    Raises
    ------
    ValueError
        Naming the file that does not fit; or the run's dropout cannot go on, since an earlier minilm numbered its keys otherwise.
    """
    state = checkpoint.state
    if state.dropout_keys != DROPOUT_KEYS and drops(model):
        raise ValueError(
            f"{checkpoint.folder} cannot be resumed: its dropout has keys of version {state.dropout_keys}, "
            f"wanted {DROPOUT_KEYS}; what it has learned can be used as before"
        )
    state.dropout_keys = DROPOUT_KEYS
    load_weights(model, checkpoint.contents[WEIGHTS])
    with _fitting(checkpoint), checkpoint.contents[REST] as rest:
        optimizer.load_state_dict(rest.arrays("optimizer."))
        if average is not None and (updates := rest.read("updates", np.int64)):
            means = {f"average.{name}": array for name, array in average.parameters.items()}
            average.load_state_dict({"updates": updates, **means})
            average.parameters.load_state_dict(rest.arrays("weights."))
        return {name: np.asarray(array) for name, array in rest.arrays("carried.").items()}


@contextlib.contextmanager
def _fitting(checkpoint):
    """An error inside becomes a ValueError that names optimizer.safetensors."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise ValueError(f"{os.path.join(checkpoint.folder, REST)} does not fit this run: {error}") from None


def writers(trainer: Trainer, first: bool) -> dict:
    """For each file of the checkpoint a function that writes it; those that never change only for the first checkpoint."""
    model, tokenizer = trainer.model, trainer.tokenizer
    metadata = {"format": "pt", "step": str(trainer.state.step)}  # without "pt" Hugging Face's libraries refuse the file
    carried = {f"carried.{i}": part for i, part in enumerate(_parts(trainer.whole_carried()))}
    files = arrays_writers(model, trainer.optimizer, trainer.average, metadata, carried)
    if first:
        config = json.dumps(model.config.to_dict(), indent=2) + "\n"
        files["config.json"] = lambda file: file.write(config.encode())
        files["tokenizer.json"] = lambda file: file.write(tokenizer.to_json().encode())
    return files


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Put weights, moments, averages and carried state of a checkpoint into a trainer, whose model is as it starts."""
    rest = put_back(trainer.model, trainer.optimizer, trainer.average, checkpoint)
    with _fitting(checkpoint):
        carried = [rest[str(i)] for i in range(len(_parts(trainer.carried)))]
    carried = devices.to_device(carried) if trainer.config.device == "cuda" else carried
    if carried:
        trainer.restore_carried(tuple(carried) if isinstance(trainer.carried, tuple) else carried[0])


def _parts(state) -> tuple[np.ndarray, ...]:
    """The arrays of a recurrent model's state; none of another's."""
    return () if state is None else state if isinstance(state, tuple) else (state,)
