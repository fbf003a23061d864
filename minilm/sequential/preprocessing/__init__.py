"""Keras's package of what is done to texts before a model reads them."""

from minilm.sequential.preprocessing import sequence, text

__all__ = ["sequence", "text"]


def __dir__() -> list[str]:
    return sorted(__all__)
