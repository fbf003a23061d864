"""Names of models on the Hugging Face Hub, such as openai-community/gpt2: their files are fetched once and kept in its cache."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import TYPE_CHECKING

from minilm.mistaken import existing_folder

if TYPE_CHECKING:
    from minilm.typing import PathLike

__all__ = ["checkpoint_folder", "model_folder", "tokenizer_folder"]

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")  # gpt2, openai-community/gpt2
FILES = (".gguf", ".json", ".txt", ".npz", ".npy", ".safetensors")  # ends of names of files, which no model has
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
)
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")  # one of them is there
PYTORCH = ("pytorch_model.bin", "pytorch_model.bin.index.json")
CONFIG = ("config.json", "generation_config.json")
MODEL = (*CONFIG, *SAFETENSORS, "model-*-of-*.safetensors", *TOKENIZER)
OLDER = (*CONFIG, *PYTORCH, "pytorch_model-*-of-*.bin", *TOKENIZER)


def model_folder(name: PathLike) -> str:
    """The folder of a model: a path, or a name on the Hub, whose files come into its cache.

    Parameters
    ----------
    name : str or os.PathLike
        A path that exists is one, whatever it looks like; ``~`` is one's home. What is spelled like a name on the Hub, and does
        not exist, is looked for there, if huggingface_hub is installed (``pip install "minilm[hub]"``); of its files come
        those alone that are read here.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        In one line that says what helps.
    """
    folder = _folder(name, MODEL)
    if not os.path.exists(os.path.expanduser(os.fspath(name))) and not _holds(folder, SAFETENSORS):
        raise FileNotFoundError(
            f"{name} on the Hugging Face Hub has no safetensors: `minilm convert {name} FOLDER` reads PyTorch's files"
        )
    return folder


def checkpoint_folder(name: PathLike) -> str:
    """The same for a converter: of a model without safetensors come PyTorch's files, of which no code is run."""
    folder = _folder(name, MODEL)
    if os.path.exists(os.path.expanduser(os.fspath(name))) or _holds(folder, SAFETENSORS):
        return folder
    return _folder(name, OLDER)


def tokenizer_folder(name: PathLike) -> str:
    """The same without the weights. What is not spelled like a name is given back as it is, and may be a file's path."""
    path = os.path.expanduser(os.fspath(name))
    return path if os.path.exists(path) or not _like_a_name(path) else _folder(path, TOKENIZER)


def _holds(folder: str, names: tuple[str, ...]) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in names)


def _like_a_name(path: str) -> bool:
    return NAME.fullmatch(path) is not None and not path.endswith(FILES)


def _folder(name: PathLike, files: tuple[str, ...]) -> str:
    path = os.path.expanduser(os.fspath(name))
    if os.path.exists(path) or not _like_a_name(path) or importlib.util.find_spec("huggingface_hub") is None:
        return existing_folder(path)  # which says how to get the library
    return _fetched(path, files)


def _fetched(name: str, files: tuple[str, ...]) -> str:
    """The folder of the Hub's cache that holds these files of a model, of the newest state that can be had."""
    from huggingface_hub import errors, snapshot_download

    try:
        return snapshot_download(name, allow_patterns=list(files))
    except errors.GatedRepoError:
        problem = f"and https://huggingface.co/{name} gives its files to those who agree to its terms: then `hf auth login`"
    except errors.RepositoryNotFoundError:
        problem = "nor a model of that name on the Hugging Face Hub (a private one wants `hf auth login`)"
    except errors.HFValidationError:
        problem = "and it is no name on the Hugging Face Hub"
    except errors.LocalEntryNotFoundError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        cause = "HF_HUB_OFFLINE is set" if offline else _cause(error)
        problem = f"the Hugging Face Hub's cache lacks a model of that name, and the Hub cannot be reached ({cause})"
    except Exception as error:  # of its own, of its HTTP library, of the disk
        problem = f"and fetching a model of that name from the Hugging Face Hub failed ({_cause(error)})"
    raise FileNotFoundError(f"there is no folder {name}, {problem}")


def _cause(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]
