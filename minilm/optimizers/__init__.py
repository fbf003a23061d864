"""Optimizers: they read the flat gradient buffer, update the parameters, and clear it. And learning-rate schedules.

::

    adam = optimizers.AdamW(model.parameters, lr=1e-3, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    schedule = optimizers.schedules.WarmupCosine(1e-3, warmup=0.02)
    ...
    norm = adam.step(schedule(step / steps))
"""

from minilm.optimizers import schedules
from minilm.optimizers.adam import Adam, AdamW
from minilm.optimizers.average import WeightAverage
from minilm.optimizers.base import Optimizer
from minilm.optimizers.clipping import clip_gradients
from minilm.optimizers.lion import Lion
from minilm.optimizers.muon import Muon
from minilm.optimizers.rmsprop import RMSprop
from minilm.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Lion", "Muon", "Optimizer", "RMSprop", "WeightAverage", "clip_gradients", "schedules"]


def __dir__() -> list[str]:
    return sorted(__all__)
