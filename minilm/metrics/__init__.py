"""The metrics of the recipes, a module each."""

from minilm.metrics import accuracy, bleu, entities, rouge, squad

__all__ = ["accuracy", "bleu", "entities", "rouge", "squad"]


def __dir__() -> list[str]:
    return sorted(__all__)
