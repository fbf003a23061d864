"""What the settings of a run must be, checked in the order in which `minilm.training.config.RunConfig` lists them.

Each function raises a ValueError or TypeError that names the setting, what came and what was wanted. What follows from other
settings (``model``, ``carried``, the paths of texts) is filled in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minilm import data, devices, models
from minilm.ops import checks
from minilm.ops.precision import PRECISIONS
from minilm.training.sections import MANY, check_text, fill, positive

if TYPE_CHECKING:
    from minilm.training.config import RunConfig

__all__ = ["BUDGETS", "CONTEXTS", "check", "model_settings"]

BUDGETS = ("steps", "minutes", "epochs")

# family -> the setting that bounds a text's length
CONTEXTS = {"gpt": "n_positions", "llama": "max_position_embeddings", "bert": "max_position_embeddings"}


def check(config: RunConfig) -> None:
    """Check all settings of a configuration but its sections, which have checked themselves."""
    _check_texts(config)
    _check_batch(config)
    _check_model(config)
    _check_update(config)
    _check_intervals(config)
    checks.option("device", config.device, devices.DEVICES)
    checks.option("precision", config.precision, (*PRECISIONS, "auto"))
    checks.flag("cuda_graphs", config.cuda_graphs)
    _check_budget(config)


def _check_texts(config: RunConfig) -> None:
    """From `recipe` to `validation`: the texts, and what of them is trained on."""
    check_text("recipe", config.recipe)
    several = isinstance(config.corpus, list | tuple)
    fill(config, corpus=tuple(map(_path, config.corpus)) if several else _path(config.corpus))  # type: ignore[arg-type]
    for name in config.corpora:
        check_text("corpus", name)
    _check_mixture(config)
    if config.init_from is not None:
        check_text("init_from", config.init_from)
    checks.option("errors", config.errors, ("strict", "replace", "ignore"))
    checks.number("validation", config.validation, 0, 1, low_open=True, high_open=True)


def _check_batch(config: RunConfig) -> None:
    """From `batch` to `wire`: the rows of a step, and how processes share them."""
    for name in ("batch", "time", "accumulate", "log_every"):
        checks.whole(name, getattr(config, name), 1, 2**31)
    if config.batch % config.accumulate:
        raise ValueError(f"accumulate must divide batch, got accumulate={config.accumulate} and batch={config.batch}")
    if config.micro_shards is not None:
        checks.whole("micro_shards", config.micro_shards, 1, 2**31)
        if config.batch % (config.shards * config.accumulate):
            came = f"batch={config.batch}, micro_shards={config.shards} and accumulate={config.accumulate}"
            raise ValueError(f"batch must be a multiple of micro_shards times accumulate, got {came}")
    checks.flag("shard_optimizer", config.shard_optimizer)
    checks.option("wire", config.wire, ("float32", "bf16"))


def _check_model(config: RunConfig) -> None:
    """The model's settings, filled in; and `carried`, which follows from the model and the texts."""
    fill(config, model=model_settings(config.model, config.time))
    recurrent = config.model["model_type"] == "rnn_lm"
    carried = recurrent and config.mixture is None if config.carried is None else checks.flag("carried", config.carried)
    if carried and config.mixture is not None:
        raise ValueError("carried wants texts that are read in order, and mixture draws windows: carried=false")
    fill(config, carried=carried)
    if config.mixture is not None and config.model["model_type"] == "bert":
        raise ValueError("mixture is for models of the next token: a bert's pairs of segments are drawn from one text")
    if config.carried and not recurrent:
        raise ValueError(f"carried is for recurrent models: a {config.kind} has no state to carry")


def _check_update(config: RunConfig) -> None:
    """From `non_finite` to `seed`: what a step does with its gradients."""
    checks.option("non_finite", config.non_finite, ("stop", "skip"))
    if config.non_finite == "skip" and config.device != "cpu":
        raise ValueError("non_finite='skip' is for the device 'cpu': on a GPU nobody looks before the weights have moved")
    if config.average is not None:
        checks.number("average", config.average, 0, 1, high_open=True)
    checks.whole("seed", config.seed, 0, 2**64)


def _check_intervals(config: RunConfig) -> None:
    """When to stop, and how many steps or seconds lie between validations and between checkpoints."""
    for name in ("steps", "evaluate_tokens", "checkpoint_every", "keep_every"):
        if getattr(config, name) is not None:
            checks.whole(name, getattr(config, name), 2 if name == "evaluate_tokens" else 1, MANY)
    for name in ("minutes", "epochs", "evaluate_seconds", "checkpoint_seconds"):
        if getattr(config, name) is not None:
            positive(name, getattr(config, name))
    if config.evaluate_every not in (None, "epoch"):
        if isinstance(config.evaluate_every, str):
            raise ValueError(f"evaluate_every must be a number of steps or 'epoch', got {config.evaluate_every!r}")
        checks.whole("evaluate_every", config.evaluate_every, 1, MANY)


def _check_budget(config: RunConfig) -> None:
    """Exactly one budget."""
    budgets = [name for name in BUDGETS if getattr(config, name) is not None]
    if len(budgets) != 1:
        came = " and ".join(f"{name}={getattr(config, name)!r}" for name in budgets) or "none"
        raise ValueError(f"training stops after steps, minutes or epochs: exactly one of them is wanted, got {came}")


def _check_mixture(config: RunConfig) -> None:
    """The weights of several texts, and their numbers of characters."""
    for name, kind in (("mixture", float), ("parts", int)):
        values = getattr(config, name)
        if values is not None:
            if not isinstance(values, list | tuple) or not all(type(each) in (int, kind) for each in values):
                raise TypeError(f"{name} must be a list of numbers, got {values!r}")
            fill(config, **{name: tuple(map(kind, values))})
    count = len(config.parts) if config.parts is not None else len(config.corpora)
    if not count:
        raise ValueError("corpus must name a text, got none")
    if config.mixture is not None:
        for weight in config.mixture:
            checks.number("mixture", weight, 0, float("inf"), high_open=True)
        if config.mixture and not sum(config.mixture):
            raise ValueError(f"mixture must have a weight that is not 0, got {list(config.mixture)}")
        if count == 1 or len(config.mixture) != count:
            raise ValueError(f"mixture must have a weight for each of several texts, got {len(config.mixture)} for {count}")


def _path(corpus: Any) -> Any:
    """The path of a whole `Text`, which is what training.json can keep, and that of a path as a str; all else as it is."""
    if not isinstance(corpus, data.Text):
        return os.fspath(corpus) if isinstance(corpus, os.PathLike) else corpus
    if corpus.start or corpus.stop is not None:
        raise ValueError(f"corpus must be a whole text, of which `validation` is the last part, got a part of one: {corpus!r}")
    return corpus.path


def model_settings(settings: Any, time: int = 64) -> dict[str, Any]:
    """The model's settings, defaults filled in, without the size of the vocabulary, which is not known yet."""
    if not isinstance(settings, Mapping):
        raise TypeError(f"model must be a table of settings, got {checks.describe(settings)}")
    if "vocab_size" in settings:
        raise ValueError("model.vocab_size follows from the tokenizer: set tokenizer.vocab_size")
    settings = {"model_type": "rnn_lm", **settings}
    context = CONTEXTS.get(settings["model_type"])
    if context is not None and time > settings.setdefault(context, time):
        raise ValueError(f"time must be at most model.{context}, got time={time} and model.{context}={settings[context]!r}")
    full = models.config_of({**settings, "vocab_size": 1}).to_dict()
    del full["vocab_size"]
    return full
