"""A config.json of Hugging Face's into plain settings, and back. What a model here cannot do is an error, never passed over."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from minilm.files import read_json
from minilm.mistaken import existing_folder
from minilm.typing import PathLike
from minilm.weights.folder import instead, refuse_adapter
from minilm.weights.llama_config import LLAMAS, llama_config, llama_settings, two_fields_of_rope

CONFIG = "config.json"

# What each name of an activation function means here: `gelu_erf` is x * Phi(x), `gelu_tanh` its approximation.
ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
# transformers' own openai-gpt calls the approximation "gelu".
GPT_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu"}
SPELLED = {"gelu_erf": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
GPT_SPELLED = {"gelu_tanh": "gelu", "relu": "relu"}

# family -> its settings, with the values that transformers assumes where a config.json does not say.
SIZES = {
    "gpt2": {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "openai-gpt": {"vocab_size": 40478, "n_positions": 512, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "bert": {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}
RATES = {
    "gpt2": {"embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1},
    "openai-gpt": {"embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1},
    "bert": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
}
NUMBERS = {
    "gpt2": {"layer_norm_epsilon": 1e-5, "initializer_range": 0.02},
    "openai-gpt": {"layer_norm_epsilon": 1e-5, "initializer_range": 0.02},
    "bert": {"layer_norm_eps": 1e-12, "initializer_range": 0.02},
}
# Other names that transformers (by its `attribute_map`) gives to some of these.
GPT_SYNONYMS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
SYNONYMS: dict[str, dict[str, str]] = {"gpt2": GPT_SYNONYMS, "openai-gpt": GPT_SYNONYMS, "bert": {}}
# Fields that change what a model computes, and the one value of each that is supported.
ONLY = {
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    "openai-gpt": {},
    "bert": {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "embedding_size": None,
    },
}
WIDTHS = {"gpt2": ("n_embd", "n_head"), "openai-gpt": ("n_embd", "n_head"), "bert": ("hidden_size", "num_attention_heads")}
ARCHITECTURES = {"gpt2": "GPT2LMHeadModel", "openai-gpt": "OpenAIGPTLMHeadModel", "bert": "BertForPreTraining"}
PREFIXES = {"GPT2": "gpt2", "OpenAIGPT": "openai-gpt", "Bert": "bert"}  # of the names of their classes
PREFIXES |= {each.name: family for family, each in LLAMAS.items()}
FAMILIES = (*SIZES, *LLAMAS)


def config_content(folder: PathLike) -> dict:
    """What the config.json of a folder holds; `folder` may be the file, too.

    Raises
    ------
    FileNotFoundError, ValueError
        In one line that says what lies there instead.
    """
    path = os.path.expanduser(os.fspath(folder))
    if os.path.isfile(path):
        return read_json(path)
    folder = existing_folder(path)
    refuse_adapter(folder)
    if not os.path.exists(os.path.join(folder, CONFIG)):
        raise FileNotFoundError(f"there is no {CONFIG} in {folder}{instead(folder)}")
    return read_json(os.path.join(folder, CONFIG))


def read_config(folder: PathLike, families: Sequence[str] = ()) -> dict:
    """The settings of the model in a folder.

    Parameters
    ----------
    folder : str or os.PathLike
        With a config.json; or the file.
    families : sequence of str
        See `settings_of`.

    Returns
    -------
    settings : dict
        See `settings_of`.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file, the field, what it holds and what was wanted.
    """
    content, path = config_content(folder), os.path.expanduser(os.fspath(folder))
    try:
        return settings_of(content, families)
    except ValueError as error:
        raise ValueError(f"{path if os.path.isfile(path) else os.path.join(path, CONFIG)}: {error}") from None


def settings_of(config: Mapping, families: Sequence[str] = ()) -> dict:
    """Plain settings of a model from the content of its config.json.

    Parameters
    ----------
    config : mapping
    families : sequence of str
        Those that the model may be of where neither model_type nor architectures say: by the class that is to read it.

    Returns
    -------
    settings : dict
        ``family`` ("gpt2", "openai-gpt" or "bert"); ``activation``, an op's name ("gelu_erf", "gelu_tanh", "relu"); and under
        Hugging Face's own names the sizes, the dropout rates, the layer normalisation's epsilon, the initial scale and
        ``tie_word_embeddings``. GPT-2 has
        ``n_inner`` too (never None), BERT ``num_labels``, ``labels`` (a list, or None), ``pad_token_id`` and
        ``classifier_dropout``. Fields that are not there get the values that `transformers` assumes.

    Raises
    ------
    ValueError
        A field has a wrong type or value, or one that no model here supports: another activation, relative positions; or two
        names of one field disagree.
    """
    family = family_of(config, families)
    if family in LLAMAS:
        return llama_settings(config, family)
    config = canonical(config, family)
    settings: dict = {"family": family}
    for name, default in SIZES[family].items():
        settings[name] = _whole(config, name, default)
    for name, default in RATES[family].items():
        settings[name] = _real(config, name, default)
        if not 0 <= settings[name] < 1:
            raise ValueError(f"{name} must be a rate in [0, 1), got {settings[name]!r}")
    for name, default in NUMBERS[family].items():
        settings[name] = _real(config, name, default)
        if not 0 < settings[name] < float("inf"):
            raise ValueError(f"{name} must be positive, got {settings[name]!r}")
    settings["tie_word_embeddings"] = config.get("tie_word_embeddings", True)
    if not isinstance(settings["tie_word_embeddings"], bool):
        raise ValueError(f"tie_word_embeddings must be true or false, got {settings['tie_word_embeddings']!r}")
    for name, supported in ONLY[family].items():
        value = config.get(name, supported)
        if value != supported and not (name == "embedding_size" and value == settings["hidden_size"]):
            raise ValueError(f"{name} = {value!r} is not supported, wanted {supported!r}")
    width, heads = (settings[name] for name in WIDTHS[family])
    if width % heads:
        raise ValueError(f"{WIDTHS[family][0]} = {width} must be a multiple of {WIDTHS[family][1]} = {heads}")
    if family == "bert":
        settings["activation"] = _choice(config, "hidden_act", "gelu", ACTIVATIONS)
        settings |= _bert_head(config)
    elif family == "gpt2":
        settings["activation"] = _choice(config, "activation_function", "gelu_new", ACTIVATIONS)
        settings["n_inner"] = _whole(config, "n_inner", 4 * settings["n_embd"], or_none=True)
    else:
        settings["activation"] = _choice(config, "afn", "gelu", GPT_ACTIVATIONS)
    return settings


def canonical(config: Mapping, family: str) -> dict:
    """The content of a config.json with one name for each field: those of `settings_of`."""
    if family in LLAMAS:
        return two_fields_of_rope(config)
    renamed, synonyms = dict(config), SYNONYMS.get(family, {})
    for name in [name for name in config if name in synonyms]:
        main, value = synonyms[name], renamed.pop(name)
        if main in config and config[main] != value:
            raise ValueError(f"{name} = {value!r} and {main} = {config[main]!r} are two names of one setting: take one out")
        renamed[main] = value
    return renamed


def family_of(config: Mapping, families: Sequence[str]) -> str:
    """The model's family: model_type, else that of the class in architectures, else what the class that reads it is for."""
    family = config.get("model_type") or _family_of_class(config.get("architectures"))
    if family is None and families:
        family = "openai-gpt" if "openai-gpt" in families and "afn" in config else families[0]
    if family not in FAMILIES:
        hint = ": write it into the file" if family is None else ""
        raise ValueError(f"model_type must be one of {', '.join(map(repr, FAMILIES))}, got {family!r}{hint}")
    return family


def _family_of_class(names) -> str | None:
    """The family of transformers' GPT2LMHeadModel, BertForMaskedLM, ..."""
    for name in names if isinstance(names, list) else ():
        named = re.match(rf"({'|'.join(PREFIXES)})(?=(LMHead|DoubleHeads)?Model$|For[A-Z])", str(name))
        if named:
            return PREFIXES[named[1]]
    return None


def config_of(settings: Mapping, architecture: str | None = None) -> dict:
    """The content of a config.json for settings as `settings_of` gives them.

    Parameters
    ----------
    settings : mapping
        `family` and at least the sizes.
    architecture : str, optional
        The class in `transformers` that is to load the weights; by default the family's model with its pretraining heads.

    Raises
    ------
    ValueError
        As in `settings_of`: what is written can be read.
    """
    family = settings.get("family")
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {family!r}")
    if family in LLAMAS:
        return llama_config(settings, architecture)
    config = {"model_type": family, "architectures": [architecture or ARCHITECTURES[family]]}
    for name in (*SIZES[family], *RATES[family], *NUMBERS[family], "tie_word_embeddings"):
        if name in settings:
            config[name] = settings[name]
    field, spelled, default = {
        "gpt2": ("activation_function", SPELLED, "gelu_tanh"),
        "openai-gpt": ("afn", GPT_SPELLED, "gelu_tanh"),
        "bert": ("hidden_act", SPELLED, "gelu_erf"),
    }[family]
    config[field] = _choice(settings, "activation", default, spelled)
    for name in ("n_inner",) if family == "gpt2" else ("pad_token_id", "classifier_dropout") if family == "bert" else ():
        if name in settings:
            config[name] = settings[name]
    if family == "bert" and (settings.get("labels") or settings.get("num_labels")):
        labels = settings.get("labels") or [f"LABEL_{index}" for index in range(settings["num_labels"])]
        config["id2label"] = {str(index): label for index, label in enumerate(labels)}
        config["label2id"] = {label: index for index, label in enumerate(labels)}
    if family == "bert":
        config["position_embedding_type"] = "absolute"
    settings_of(config)
    return config


def _bert_head(config: Mapping) -> dict:
    """Labels of a classifier, and what else BERT alone has."""
    names = config.get("id2label")
    labels = None
    if names is not None:
        if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
            raise ValueError(f"id2label must be an object with the keys '0' ... '{{n - 1}}', got {names!r}")
        labels = [names[str(index)] for index in range(len(names))]
    count = _whole(config, "num_labels", len(labels) if labels else 2)
    if labels is not None and count != len(labels):
        raise ValueError(f"num_labels = {count}, but id2label names {len(labels)}")
    dropout = config.get("classifier_dropout")
    if dropout is not None:
        dropout = _real(config, "classifier_dropout", 0.0)
        if not 0 <= dropout < 1:
            raise ValueError(f"classifier_dropout must be a rate in [0, 1), got {dropout!r}")
    pad = config.get("pad_token_id", 0)
    if pad is not None and (not isinstance(pad, int) or isinstance(pad, bool) or pad < 0):
        raise ValueError(f"pad_token_id must be a whole number or null, got {pad!r}")
    return {"num_labels": count, "labels": labels, "classifier_dropout": dropout, "pad_token_id": pad}


def _whole(config: Mapping, name: str, default: int, or_none: bool = False) -> int:
    value = config.get(name, default)
    if or_none and value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def _real(config: Mapping, name: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number, got a whole one beyond all floats") from None


def _choice(config: Mapping, name: str, default: str, choices: Mapping[str, str]) -> str:
    value = config.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices[value]
