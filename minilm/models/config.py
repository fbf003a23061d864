"""Configurations of models as dataclasses, and their form in config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from minilm.mistaken import did_you_mean
from minilm.ops import checks

__all__ = ["Config", "RNNLanguageModelConfig"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of the models' configurations. ``model_type`` names the model in config.json."""

    model_type: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"model_type": self.model_type, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]):
        """The configuration that `to_dict` gave.

        Raises
        ------
        ValueError
            If a key is unknown (the nearest one is suggested), one that has no default is missing, or a value is out of range.
        """
        given = dict(settings)
        kind = given.pop("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(f"model_type must be {cls.model_type!r}, got {kind!r}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            if name not in fields:
                raise ValueError(f"unknown key {name!r} in the configuration of the model: {did_you_mean(name, fields)}")
        missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in given]
        if missing:
            raise ValueError(f"the configuration of the model lacks {', '.join(missing)}")
        return cls(**given)

    def replace(self, **changes):
        """A copy with some settings changed."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class RNNLanguageModelConfig(Config):
    """What a recurrent language model is made of.

    Parameters
    ----------
    vocab_size : int
    cell : {"lstm", "gru", "rnn"}
    embedding_size, hidden_size, num_layers : int
    nonlinearity : {"tanh", "relu"}
        Of the "rnn" cell.
    dropout : float
        Probability of dropping an element of the embeddings, of what one recurrent layer hands to the next, and of
        what the last hands to the output layer (Zaremba, Sutskever and Vinyals: never inside the recurrence).
    variational : bool
        Drop the same elements at every time step (Gal and Ghahramani).
    weight_dropout : float
        Probability of dropping an element of the recurrent weights (Merity, Keskar and Socher).
    tied : bool
        Let the output layer use the embedding's table (Press and Wolf; Inan, Khosravi and Socher). Where embedding_size
        is not hidden_size, an affine map without bias from the one to the other stands before it.
    layer_norm : bool
        Normalise what the last recurrent layer gives.
    forget_bias : float, optional
        What the forget gates' biases start from ("lstm" only).
    orthogonal : bool
        Let the recurrent weights start orthogonal.
    init_range : float, optional
        Let all weights but gains start uniform in ± this, and the output bias at zero (Zaremba: 0.1, 0.05 or 0.04).
    """

    model_type: ClassVar[str] = "rnn_lm"

    vocab_size: int
    cell: str = "lstm"
    embedding_size: int = 64
    hidden_size: int = 256
    num_layers: int = 1
    nonlinearity: str = "tanh"
    dropout: float = 0.0
    variational: bool = False
    weight_dropout: float = 0.0
    tied: bool = False
    layer_norm: bool = False
    forget_bias: float | None = None
    orthogonal: bool = False
    init_range: float | None = None

    def __post_init__(self):
        for name in ("vocab_size", "embedding_size", "hidden_size"):
            checks.whole(name, getattr(self, name), 1, 2**31)
        checks.whole("num_layers", self.num_layers, 1, 64)
        checks.option("cell", self.cell, ("lstm", "gru", "rnn"))
        checks.option("nonlinearity", self.nonlinearity, ("tanh", "relu"))
        for name in ("dropout", "weight_dropout"):
            checks.number(name, getattr(self, name), 0, 1, high_open=True)
        for name in ("variational", "tied", "layer_norm", "orthogonal"):
            checks.flag(name, getattr(self, name))
        if self.forget_bias is not None:
            checks.number("forget_bias", self.forget_bias, -100, 100)
            if self.cell != "lstm":
                raise ValueError(f"forget_bias is for cell='lstm', got cell={self.cell!r}")
        if self.init_range is not None:
            checks.number("init_range", self.init_range, 0, 100, low_open=True)
