"""What a run is made of, from its configuration: text, tokenizer, ids, batches, model, optimizer, schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import data, models, optimizers, tokenizers
from minilm.layers.parameters import Parameters
from minilm.optimizers import schedules
from minilm.tokenizers import Tokenizer
from minilm.training.config import RunConfig
from minilm.training.corpora import training_streams

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["Parts", "corpus_parts", "make_batches", "make_model", "make_optimizer", "make_schedule", "make_tokenizer"]


OPTIMIZERS: dict[str, tuple[Any, tuple[str, ...]]] = {  # name -> class, and the settings that it has beside the common ones
    "adam": (optimizers.Adam, ("betas", "eps", "amsgrad")),
    "adamw": (optimizers.AdamW, ("betas", "eps", "amsgrad")),
    "sgd": (optimizers.SGD, ("momentum", "dampening", "nesterov")),
    "rmsprop": (optimizers.RMSprop, ("alpha", "eps", "momentum", "centered")),
    "lion": (optimizers.Lion, ("betas",)),
    "muon": (optimizers.Muon, ("momentum", "ns_steps", "betas", "eps")),
}


class Parts(NamedTuple):
    """The text's parts, and their ids."""

    whole: data.Text
    train: data.Text
    validation: data.Text
    train_tokens: np.ndarray  # (N,)
    validation_tokens: np.ndarray  # (M,)


def make_tokenizer(config: RunConfig, text: data.Text, train: data.Text) -> Tokenizer:
    """A tokenizer of the text: of its characters, or of the words, their pieces or the byte pairs of the part for training."""
    settings = config.tokenizer
    if settings.kind == "word":
        options: dict[str, Any] = {name: getattr(settings, name) for name in ("vocab_size", "min_count", "split", "lower")}
        return tokenizers.WordLevel.train_from_chunks(train, **options)
    if settings.kind == "wordpiece":
        options = {name: getattr(settings, name) for name in ("vocab_size", "min_count", "lower")}
        return tokenizers.WordPiece.train_from_chunks(
            train, **{name: value for name, value in options.items() if value is not None}
        )
    if settings.kind == "bpe":
        size = settings.vocab_size or tokenizers.ByteLevelBPE.USUAL_SIZE
        return tokenizers.ByteLevelBPE.train_from_chunks(train, vocab_size=size)
    # Which characters there are is all that is taken from the validation text: one that training never saw would be an error.
    unknown = None if settings.vocab_size is None else "<unk>"
    return tokenizers.Character.train_from_chunks(text, vocab_size=settings.vocab_size, unk_token=unknown)


def corpus_parts(config: RunConfig, tokenizer: Tokenizer | None = None) -> tuple[Tokenizer, Parts]:
    """Read the corpus, and encode both parts of it.

    Returns
    -------
    tokenizer
        A new one if none is given.
    parts : Parts
    """
    text = data.text(config.corpus, config.errors)
    train, validation = text.split(config.validation)
    try:
        tokenizer = make_tokenizer(config, text, train) if tokenizer is None else tokenizer
    except ValueError as error:
        named = str(error).startswith(text.path)
        raise ValueError(str(error) if named else f"{text}: {str(error).removeprefix('text: ')}") from None
    try:
        tokenizer.encode(config.sample.prompt)
    except ValueError as error:  # told now, not when training has ended
        raise ValueError(f"sample.prompt: {error}") from None
    parts = Parts(text, train, validation, data.tokens(train, tokenizer), data.tokens(validation, tokenizer))
    if parts.validation_tokens.size < 2:
        raise ValueError(f"{validation}: {parts.validation_tokens.size} token is too few to validate on; give it a longer text")
    return tokenizer, parts


def make_batches(config: RunConfig, parts: Parts, tokenizer: Tokenizer | None) -> Any:
    """The batches for training: what the model's ``forward`` takes."""
    try:
        if config.model["model_type"] == "bert":
            return data.PretrainingBatches(
                parts.train_tokens, config.batch, config.time, data.MaskingIds.of(tokenizer), seed=config.seed
            )
        if config.mixture is not None:
            streams = training_streams(config, parts.train, tokenizer)
            return data.mixture(streams, config.mixture, batch=config.batch, time=config.time, seed=config.seed)
        return data.batches(parts.train_tokens, config.batch, config.time, config.seed, config.carried)
    except ValueError as error:
        raise ValueError(f"{parts.whole}, its part for training: {error}") from None


def make_model(config: RunConfig, vocab_size: int) -> LanguageModel:
    """The model with its first weights."""
    return models.from_config({**config.model, "vocab_size": vocab_size}, seed=config.seed)


def make_optimizer(config: RunConfig, parameters: Parameters) -> optimizers.Optimizer:
    """The optimizer of some parameters."""
    settings = config.optimizer
    options: dict[str, Any] = {name: getattr(settings, name) for name in ("weight_decay", "decay", "clip_norm")}
    kind, names = OPTIMIZERS[settings.name]
    more = {name: getattr(settings, name) for name in names}
    return kind(parameters, settings.lr, **more, **options)


def make_schedule(config: RunConfig) -> schedules.Schedule:
    """The schedule of the learning rate."""
    settings, lr = config.schedule, config.optimizer.lr
    if settings.name == "cosine":
        return schedules.WarmupCosine(lr, warmup=settings.warmup, final=settings.final * lr)
    if settings.name == "plateau":
        return schedules.PlateauDecay(lr, factor=settings.factor or 4.0, patience=settings.patience, threshold=settings.threshold)
    if settings.name == "epoch-decay":
        return schedules.EpochDecay(lr, after=settings.after, factor=settings.factor or 2.0)
    return schedules.Constant(lr)
