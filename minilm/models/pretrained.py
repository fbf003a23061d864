"""Models from folders in Hugging Face's layout, and back: config.json and model.safetensors, by the names of `minilm.weights`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from minilm import weights
from minilm.hub import model_folder
from minilm.layers.loading import blank
from minilm.layers.lora import refuse_adapters
from minilm.models.bert_config import BERTConfig
from minilm.models.gpt_config import GPTConfig
from minilm.models.llama_config import LLAMA_FAMILIES, LlamaConfig
from minilm.quantized.storing import fill, refuse_quantized, stored_as
from minilm.typing import DType, PathLike, Seed
from minilm.weights.config import CONFIG, SPELLED
from minilm.weights.experts import SplitExperts
from minilm.weights.loose import LooseArrays

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Pretrained", "config_from", "settings_from"]


def config_from(settings: dict) -> GPTConfig | BERTConfig | LlamaConfig:
    """The configuration for settings as `minilm.weights.read_config` gives them."""
    if settings["family"] in LLAMA_FAMILIES:
        return LlamaConfig(**settings)
    family, activation = settings["family"], SPELLED[settings["activation"]]
    kind = BERTConfig if family == "bert" else GPTConfig
    values = {name: settings[name] for name in kind.hugging_face_names() if name in settings}
    if kind is BERTConfig:
        return BERTConfig(hidden_act=activation, **values)
    norm_first = family == "gpt2"
    return GPTConfig(activation_function=activation, norm_first=norm_first, scaled_residual=norm_first, **values)


def settings_from(config: GPTConfig | BERTConfig | LlamaConfig) -> dict:
    """The settings that `minilm.weights.config_of` takes; ValueError for a model that Hugging Face has no class for."""
    if isinstance(config, LlamaConfig):
        return dataclasses.asdict(config)
    settings = {name: getattr(config, name) for name in config.hugging_face_names()} | {"activation": config.activation}
    if isinstance(config, BERTConfig):
        return {"family": "bert", **settings, "intermediate_size": config.intermediate_size or 4 * config.hidden_size}
    if config.band is not None:
        raise ValueError(f"no model of transformers has banded attention, and this one has band = {config.band}")
    inner = settings.pop("n_inner") or 4 * config.n_embd
    if config.norm_first:
        return {"family": "gpt2", **settings, "n_inner": inner}
    if inner != 4 * config.n_embd:
        raise ValueError(f"GPT-1 has n_inner = 4 n_embd = {4 * config.n_embd}, and this model {config.n_inner}")
    return {"family": "openai-gpt", **settings}


class Pretrained:
    """What models have that can be read from Hugging Face's layout and written in it.

    Attributes
    ----------
    published : Published or None
        What the folder held that the model was read from.
    new_parameters : tuple of str
        Names of those that this folder lacked.
    """

    published: weights.Published | None = None
    new_parameters: tuple[str, ...] = ()
    hugging_face: ClassVar[dict[str, str]] = {}  # family -> the class of transformers that is the same model
    may_lack: ClassVar[tuple[str, ...]] = ()  # beginnings of names of weights that a folder need not have
    may_exceed: ClassVar[tuple[str, ...]] = ()  # and of those that are of no use here

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a text, as the model's folder names them."""
        return () if self.published is None else self.published.end_ids

    @classmethod
    def from_pretrained(cls, folder: PathLike, *, dtype: DType = np.float32, seed: Seed = 0, **changes: Any) -> Self:
        """The model in a folder: config.json, and model.safetensors or several files with an index.

        Parameters
        ----------
        folder : str or os.PathLike
            Or a name on the Hugging Face Hub, such as "openai-community/gpt2"; see `minilm.hub`. ``~`` is one's home. Where
            config.json does not say what family the model is of, it is one that this class reads.
        dtype : {float32, float64}
            Of the parameters; weights in float16 and bfloat16 are widened.
        seed : int, Generator or None
            For a head that the folder lacks and that therefore starts anew, which is warned of.
        **changes
            Settings of the configuration that are to differ, such as ``attn_pdrop=0.0``.

        Raises
        ------
        FileNotFoundError
        ValueError
            The folder holds another family, a setting that is not supported, a damaged file, or weights that do not fit: one
            error lists every key that is missing, unexpected or of another shape.
        """
        folder = model_folder(folder)
        settings = weights.read_config(folder, tuple(cls.hugging_face))
        published = weights.read_published(folder)
        with weights.WeightFolder(folder) as stored:
            model = cls._blank(os.path.join(folder, CONFIG), stored, settings, changes, seed=seed, dtype=dtype)
            file = stored.alone
            if file is not None and stored_as(file) is not None:
                model.published = published
                return fill(model, file)
        return model._filled(folder, published, settings, seed)

    @classmethod
    def from_arrays(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, Any],
        *,
        path: str = "the arrays",
        dtype: DType = np.float32,
        seed: Seed = 0,
    ) -> Self:
        """The model of a config.json's content and of weights by Hugging Face's names, wherever they came from.

        Parameters
        ----------
        config : mapping
            What a config.json would hold.
        arrays : mapping of str to array
            See `minilm.weights.loose.LooseArrays`.
        path : str
            What to call them in errors.
        dtype, seed
            As in `from_pretrained`.

        Raises
        ------
        ValueError
        """
        settings = weights.settings_of(config, tuple(cls.hugging_face))
        model = cls._blank(path, arrays, settings, {}, seed=seed, dtype=dtype)
        return model._filled(LooseArrays(arrays, path), weights.Published(dict(config), None), settings, seed)

    @classmethod
    def _blank(
        cls, place: str, stored: Mapping[str, Any], settings: dict, changes: Mapping[str, Any], *, seed: Seed, dtype: DType
    ) -> Self:
        """The model of some settings, for weights to be loaded; ValueError, with their place, where there is no such model."""
        if settings["family"] not in cls.hugging_face:
            families = " or ".join(map(repr, cls.hugging_face))
            raise ValueError(f"{place}: {cls.__name__} reads model_type {families}, got {settings['family']!r}")
        try:
            config = config_from(settings)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{place}: {error}") from None
        config = config.replace(**changes)
        try:
            with blank(SplitExperts(stored) if settings["family"] == "mixtral" else stored):
                return cls(config, seed=seed, dtype=dtype)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None

    def _filled(self, source: PathLike | LooseArrays, published: weights.Published, settings: dict, seed: Seed) -> Self:
        """This model with the weights of a folder, or of arrays, whose config.json says `settings`."""
        keymap = weights.KEYMAPS[settings["family"]]
        if not settings["tie_word_embeddings"]:
            keymap = keymap.untied()
        options = {"may_lack": self.may_lack, "may_exceed": self.may_exceed}
        done = weights.load_weights(self, source, keymap, **options)
        if done.missing:
            _start(self, done.missing, self.config.initializer_range, seed)
            place = source.path if isinstance(source, LooseArrays) else source
            warnings.warn(f"{place} lacks {', '.join(done.missing)}: they start anew", stacklevel=3)
        self.published, self.new_parameters = published, done.missing
        return self

    def save_pretrained(self, folder: PathLike, *, shard_bytes: int = 5 * 10**9) -> None:
        """Write config.json and model.safetensors as transformers reads them; see `minilm.weights.save_weights`.

        What the folder said that the model was read from goes out as it came in: labels, ids of special tokens, fields that mean
        nothing here, and its generation_config.json.

        Raises
        ------
        ValueError
            For a model that transformers has no class for, or with quantized weights, which `minilm.quantized.save` writes.
        OSError
        """
        refuse_quantized(self)
        refuse_adapters(self)
        settings = settings_from(self.config)
        family = settings["family"]
        config, generation_config = weights.config_of(settings, self.hugging_face[family]), None
        if self.published is not None:
            config, generation_config = self.published.updated(config), self.published.generation_config
            config |= {name: self.dtype.name for name in ("dtype", "torch_dtype") if name in config}
        options = {"shard_bytes": shard_bytes, "generation_config": generation_config}
        weights.save_weights(self, os.path.expanduser(folder), weights.KEYMAPS[family], config, **options)


def _start(model, names, deviation: float, seed) -> None:
    """First values for parameters that were not in the folder."""
    generator = np.random.default_rng(seed)
    for name in names:
        value = model.parameters[name]
        if value.ndim > 1:
            value[...] = generator.normal(0.0, deviation, value.shape)
        else:
            value[...] = 1 if name.endswith("LayerNorm.weight") else 0
