"""Configurations of models as dataclasses, and their form in config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from minilm.mistaken import did_you_mean
from minilm.ops import checks

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Config", "RNNLanguageModelConfig"]


# --- what a setting may be: said once, at the field -------------------------------------------------------------------

NO_DEFAULT = dataclasses.MISSING
NO_LIMIT = 2**31


def setting(default: Any, check: Callable[[str, Any], Any], *, minilm_only: bool = False) -> Any:
    """A field of a `Config`.

    Parameters
    ----------
    default
        None lets the setting be None too.
    check : callable
        ``check(name, value)`` raises ValueError or TypeError.
    minilm_only : bool
        Whether Hugging Face's configuration of such a model has no field of this name.
    """
    return dataclasses.field(default=default, metadata={"check": check, "minilm_only": minilm_only})


def size(default: Any = NO_DEFAULT, *, below: int = NO_LIMIT, **options: Any) -> Any:
    """A whole number of at least 1."""
    return setting(default, lambda name, value: checks.whole(name, value, 1, below), **options)


def rate(default: float | None, **options: Any) -> Any:
    """A probability in [0, 1)."""
    return setting(default, lambda name, value: checks.number(name, value, 0, 1, high_open=True), **options)


def number(default: float | None, low: float, high: float, *, low_open: bool = False, **options: Any) -> Any:
    """A number in [low, high]."""
    return setting(default, lambda name, value: checks.number(name, value, low, high, low_open=low_open), **options)


def flag(default: bool, **options: Any) -> Any:
    """True or False."""
    return setting(default, checks.flag, **options)


def choice(default: str | None, *choices: str, **options: Any) -> Any:
    """One of some names."""
    return setting(default, lambda name, value: checks.option(name, value, choices), **options)


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of the models' configurations. ``model_type`` names the model in config.json.

    Each field says in one place what it is by default, what it may be, and whether Hugging Face has it: see `setting`.
    """

    model_type: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                field.metadata["check"](field.name, value)
        self.check()

    def check(self) -> None:
        """What settings must be to one another: ValueError if they do not fit."""

    @classmethod
    def hugging_face_names(cls) -> tuple[str, ...]:
        """The names of those settings that Hugging Face's configuration of such a model has too."""
        return tuple(field.name for field in dataclasses.fields(cls) if not field.metadata["minilm_only"])

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"model_type": self.model_type, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration that `to_dict` gave.

        Raises
        ------
        ValueError
            If a key is unknown (the nearest one is suggested), one that has no default is missing, or a value is out of range.
        """
        values = dict(settings)
        kind = values.pop("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(f"model_type must be {cls.model_type!r}, got {kind!r}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise ValueError(f"unknown key {name!r} in the configuration of the model: {did_you_mean(name, fields)}")
        missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values]
        if missing:
            raise ValueError(f"the configuration of the model lacks {', '.join(missing)}")
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
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

    vocab_size: int = size()
    cell: str = choice("lstm", "lstm", "gru", "rnn")
    embedding_size: int = size(64)
    hidden_size: int = size(256)
    num_layers: int = size(1)
    nonlinearity: str = choice("tanh", "tanh", "relu")
    dropout: float = rate(0.0)
    variational: bool = flag(False)
    weight_dropout: float = rate(0.0)
    tied: bool = flag(False)
    layer_norm: bool = flag(False)
    forget_bias: float | None = number(None, -100, 100)
    orthogonal: bool = flag(False)
    init_range: float | None = number(None, 0, 100, low_open=True)

    def check(self) -> None:
        if self.forget_bias is not None and self.cell != "lstm":
            raise ValueError(f"forget_bias is for cell='lstm', got cell={self.cell!r}")
