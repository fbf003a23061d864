"""Keras's module of callbacks."""

from minilm.sequential.callback import Callback, History, LambdaCallback
from minilm.sequential.monitors import EarlyStopping, ModelCheckpoint, TerminateOnNaN
from minilm.sequential.rates import LearningRateScheduler, ReduceLROnPlateau

__all__ = [
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
