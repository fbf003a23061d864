"""Public weights: safetensors files, folders as Hugging Face lays them out, each family's names for its weights, configurations.

A model's `from_pretrained` is `read_config`, the model, then `load_weights`; its `save_pretrained` is `config_of`,
`save_weights`.
"""

from .config import config_content, config_of, read_config, settings_of
from .folder import WeightFolder
from .keymap import BERT, GPT2, KEYMAPS, OPENAI_GPT, KeyMap
from .loading import Loaded, load_weights
from .published import Published, read_published
from .saving import save_weights
from .tensor_file import StoredArray, TensorFile
from .tensor_header import Entry

__all__ = [
    "BERT",
    "GPT2",
    "KEYMAPS",
    "OPENAI_GPT",
    "Entry",
    "KeyMap",
    "Loaded",
    "Published",
    "StoredArray",
    "TensorFile",
    "WeightFolder",
    "config_content",
    "config_of",
    "load_weights",
    "read_config",
    "read_published",
    "save_weights",
    "settings_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
