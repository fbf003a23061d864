"""The sections of a run's configuration: `tokenizer`, `optimizer`, `schedule` and `sample`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from minilm.ops import checks

__all__ = ["SECTIONS", "OptimizerConfig", "SampleConfig", "ScheduleConfig", "TokenizerConfig"]

MANY = 2**63
INF = math.inf


def fill(section, **values) -> None:
    """Set fields of a frozen dataclass, while it is made."""
    for name, value in values.items():
        object.__setattr__(section, name, value)


def positive(name: str, value):
    """A finite number above 0, checked."""
    return checks.number(name, value, 0, INF, low_open=True, high_open=True)


def non_negative(name: str, value):
    """A finite number of at least 0, checked."""
    return checks.number(name, value, 0, INF, high_open=True)


def check_text(name: str, value) -> str:
    """A str, checked."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {checks.describe(value)}")
    return value


def _only_for(section: str, kind_name: str, kind: str, owners: Mapping[str, tuple], config) -> None:
    """ValueError for an option that another kind has, so that no setting is silently without effect."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name, kinds in owners.items():
        if kind not in kinds and getattr(config, name) != defaults[name]:
            expected = " or ".join(map(repr, kinds))
            raise ValueError(f"{section}.{name} is for {section}.{kind_name} {expected}, got {kind!r}")


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How the text becomes ids.

    Parameters
    ----------
    kind : {"character", "word", "wordpiece", "bpe"}
        "character": all characters of the text, as char-rnn and nanoGPT do. "word": the words of the part for training; others
        become <unk>, and every line's end <eos>. "wordpiece": BERT's, trained on the part for training. "bpe": byte pairs learnt
        from the part for training, see `minilm.tokenizers.ByteLevelBPE`; nothing is unknown.
    vocab_size : int, optional
        At most this many ids; the rarest characters or words become <unk>. With "bpe" 4,096 if none is given.
    min_count : int
        Words that occur less often become <unk>.
    split : {"words", "spaces"}
    lower : bool
        See `minilm.tokenizers.WordLevel`.
    """

    kind: str = "character"
    vocab_size: int | None = None
    min_count: int = 1
    split: str = "words"
    lower: bool = False

    def __post_init__(self):
        checks.option("tokenizer.kind", self.kind, ("character", "word", "wordpiece", "bpe"))
        if self.vocab_size is not None:
            checks.whole("tokenizer.vocab_size", self.vocab_size, 257 if self.kind == "bpe" else 2, 2**31)
        checks.whole("tokenizer.min_count", self.min_count, 1, MANY)
        checks.option("tokenizer.split", self.split, ("words", "spaces"))
        checks.flag("tokenizer.lower", self.lower)
        owners = {"min_count": ("word", "wordpiece"), "split": ("word",), "lower": ("word", "wordpiece")}
        _only_for("tokenizer", "kind", self.kind, owners, self)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, see `minilm.optimizers`.

    Parameters
    ----------
    name : {"adam", "adamw", "sgd", "rmsprop", "lion", "muon"}
    lr : float, optional
        Learning rate the schedule starts from or rises to. If none is given: 1 for "sgd", 0.0001 for "lion", else 0.001.
    betas
        Of "adam", "adamw", "lion" and "muon"; (0.9, 0.99) of "lion" if none are given, else (0.9, 0.999).
    eps
        Of "adam", "adamw", "rmsprop" and "muon".
    amsgrad
        Of "adam" and "adamw".
    momentum
        Of "sgd", "rmsprop" and "muon", whose is 0.95 if none is given.
    dampening, nesterov
        Of "sgd".
    alpha, centered
        Of "rmsprop".
    ns_steps : int
        Of "muon": iterations that make a matrix orthogonal.
    weight_decay : float
    decay : {"all", "matrices"}
        What the weight decay is applied to.
    clip_norm : float, optional
        Largest norm of the gradient of the mean loss a token.
    """

    name: str = "adam"
    lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    alpha: float = 0.99
    centered: bool = False
    ns_steps: int = 5
    weight_decay: float = 0.0
    decay: str = "all"
    clip_norm: float | None = None

    def __post_init__(self):
        checks.option("optimizer.name", self.name, ("adam", "adamw", "sgd", "rmsprop", "lion", "muon"))
        lr = {"sgd": 1.0, "lion": 1e-4}.get(self.name, 1e-3) if self.lr is None else self.lr
        if self.name == "lion" and tuple(self.betas) == (0.9, 0.999):  # Adam's, whose second is not Lion's
            fill(self, betas=(0.9, 0.99))
        if self.name == "muon" and self.momentum == 0:
            fill(self, momentum=0.95)
        if not isinstance(self.betas, (list, tuple)) or len(self.betas) != 2:
            raise TypeError(f"optimizer.betas must be two numbers, got {checks.describe(self.betas)}")
        betas = tuple(checks.number(f"optimizer.betas[{i}]", beta, 0, 1, high_open=True) for i, beta in enumerate(self.betas))
        fill(
            self,
            lr=positive("optimizer.lr", lr),
            betas=betas,
            weight_decay=non_negative("optimizer.weight_decay", self.weight_decay),
        )
        non_negative("optimizer.eps", self.eps)
        checks.number("optimizer.alpha", self.alpha, 0, 1, high_open=True)
        checks.whole("optimizer.ns_steps", self.ns_steps, 1, 100)
        for name in ("momentum", "dampening"):
            checks.number(f"optimizer.{name}", getattr(self, name), 0, 1)
        for name in ("amsgrad", "nesterov", "centered"):
            checks.flag(f"optimizer.{name}", getattr(self, name))
        checks.option("optimizer.decay", self.decay, ("all", "matrices"))
        if self.clip_norm is not None:
            fill(self, clip_norm=positive("optimizer.clip_norm", self.clip_norm))
        owners = {"betas": ("adam", "adamw", "lion", "muon"), "eps": ("adam", "adamw", "rmsprop", "muon")}
        owners |= {"amsgrad": ("adam", "adamw"), "momentum": ("sgd", "rmsprop", "muon")}
        owners |= dict.fromkeys(("dampening", "nesterov"), ("sgd",)) | dict.fromkeys(("alpha", "centered"), ("rmsprop",))
        owners |= {"ns_steps": ("muon",)}
        _only_for("optimizer", "name", self.name, owners, self)


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the course of training, see `minilm.optimizers.schedules`.

    Parameters
    ----------
    name : {"constant", "cosine", "plateau", "epoch-decay"}
    warmup, final : float
        Of "cosine": the part of training in which the rate rises, and what part of it is left at the end.
    factor : float, optional
        What "plateau" (4 if none is given) and "epoch-decay" (2) divide the rate by.
    patience, threshold
        Of "plateau".
    after : int
        Of "epoch-decay": the epochs before the first division.
    """

    name: str = "constant"
    warmup: float = 0.0
    final: float = 0.0
    factor: float | None = None
    patience: int = 1
    threshold: float = 0.0
    after: int = 4

    def __post_init__(self):
        checks.option("schedule.name", self.name, ("constant", "cosine", "plateau", "epoch-decay"))
        checks.number("schedule.warmup", self.warmup, 0, 1, high_open=True)
        checks.number("schedule.final", self.final, 0, 1)
        if self.factor is not None:
            checks.number("schedule.factor", self.factor, 1, INF, low_open=True, high_open=True)
        checks.whole("schedule.patience", self.patience, 1, 2**31)
        non_negative("schedule.threshold", self.threshold)
        checks.whole("schedule.after", self.after, 0, 2**31)
        owners = {"warmup": ("cosine",), "final": ("cosine",), "factor": ("plateau", "epoch-decay")}
        owners |= {"patience": ("plateau",), "threshold": ("plateau",), "after": ("epoch-decay",)}
        _only_for("schedule", "name", self.name, owners, self)


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """The text that is generated when training ends, see `minilm.generation`.

    Parameters
    ----------
    prompt : str
        What the text begins with; an empty one stands for the beginning of a line.
    tokens : int
        0 generates nothing.
    temperature, top_k, top_p
    """

    prompt: str = ""
    tokens: int = 400
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self):
        check_text("sample.prompt", self.prompt)
        checks.whole("sample.tokens", self.tokens, 0, 2**31)
        non_negative("sample.temperature", self.temperature)
        if self.top_k is not None:
            checks.whole("sample.top_k", self.top_k, 1, 2**31)
        if self.top_p is not None:
            checks.number("sample.top_p", self.top_p, 0, 1, low_open=True)


SECTIONS = {"tokenizer": TokenizerConfig, "optimizer": OptimizerConfig, "schedule": ScheduleConfig, "sample": SampleConfig}
