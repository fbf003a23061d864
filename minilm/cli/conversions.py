"""What `minilm convert` reads and writes: the two tables, and how a model goes from one to the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from minilm.weights.converters import CONVERTERS

TARGETS = {  # kind -> what it is, and the endings of names that ask for it
    "minilm": ("a folder that models.load reads, and minilm's commands where its tokenizer is there", ()),
    "huggingface": ("a folder as Hugging Face lays it out: GPT, GPT-2, Llama and relatives, BERT", ()),
    "pytorch": ("a state dict by PyTorch's names", (".pt", ".pth", ".bin")),
    "safetensors": ("the same in safetensors", (".safetensors",)),
    "gguf": ("a GGUF file in float32, for llama.cpp: Llama, Qwen2, Qwen3", (".gguf",)),
    "onnx": ("an ONNX graph of a BERT encoder (needs onnx)", (".onnx",)),
    "keras": ("a file of Keras's, of a Sequential", (".keras", ".h5", ".hdf5")),
}
OWN = {  # what is read beside CONVERTERS, first
    "minilm": "a run of `minilm train`, a folder of `minilm convert`, or a file of models.save",
    "gguf": "a GGUF file of Llama's family: F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q6_K",
    "sequential": "a file of a Sequential, Keras's or minilm's",
}
WITH_TOKENIZER = ("minilm", "huggingface")
GENERATION = "generation_config.json"


class Source(NamedTuple):
    """What was read."""

    kind: str
    model: Any  # a Layer, or a Sequential
    tokenizers: dict[str, Any]
    generation: dict[str, Any] = {}  # how texts come in and go out, of an encoder-decoder

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        if hasattr(self.model, "parameters"):
            return self.model.parameters.count
        return sum(array.size for array in self.model.get_weights())


def sources() -> tuple[str, ...]:
    """The kinds that are read."""
    return (*OWN, *CONVERTERS)


def table() -> str:
    """Both tables, for the command's help."""
    rows = [f"  {kind:<13}{what}" for kind, what in {**OWN, **CONVERTERS}.items()]
    more = [f"  {kind:<13}{what}{(' (' + ' '.join(ends) + ')') * bool(ends)}" for kind, (what, ends) in TARGETS.items()]
    return "\n".join(["FROM may be", *rows, "", "TO may be", *more])


# --- reading -----------------------------------------------------------------------------------------------------------


def read(path: str, kind: str | None, vocabulary: str | None) -> Source:
    """The model of a file, a folder, or a name on the Hub; ValueError or FileNotFoundError in one line where nothing reads it."""
    from minilm.hub import checkpoint_folder
    from minilm.quantized.storing import refuse_quantized_folder
    from minilm.weights.converters.unrecognised import why

    path = os.path.expanduser(path)
    path = path if os.path.exists(path) or os.path.exists(f"{path}.index") else checkpoint_folder(path)
    refuse_quantized_folder(path, "converted")
    kind = kind or _recognised(path)
    if kind is None:
        kinds = ", ".join(sources())
        raise ValueError(f"{path} {why(path, f'--from says which of {kinds} it is')}")
    if kind in OWN:
        if vocabulary is not None:
            raise ValueError(f"--vocabulary is for files without tokens, and {path} is of kind {kind}")
        reader = {"gguf": _gguf, "sequential": _sequential}.get(kind, _own)
        return Source(kind, *reader(path), _generation(path))
    return _converted(path, kind, vocabulary)


def _recognised(path: str) -> str | None:
    from minilm.weights.converters import recognised
    from minilm.weights.gguf import is_gguf

    if is_gguf(path):
        return "gguf"
    return "minilm" if _is_own(path) else recognised(path) or ("sequential" if _is_sequential(path) else None)


def _is_sequential(path: str) -> bool:
    """Whether `minilm.sequential.load_model` finds a model in a file."""
    from minilm.sequential import saving

    if not os.path.isfile(path):
        return False
    try:
        stored = saving.read(path)
    except (ValueError, TypeError, KeyError, AttributeError):  # as load_model has them, of a file of another kind
        return False
    return stored.content is not None or stored.keras is not None


def _is_own(path: str) -> bool:
    """Whether minilm wrote it: a run, a folder of `models.save`, or its file."""
    from minilm.models.storing import KEY
    from minilm.training.checkpoint import STATE
    from minilm.weights import TensorFile

    if os.path.isdir(path) and os.path.exists(os.path.join(path, STATE)):
        return True
    file = os.path.join(path, "model.safetensors") if os.path.isdir(path) else path
    if not os.path.isfile(file) or not file.endswith(".safetensors"):
        return False
    with TensorFile(file) as arrays:
        return KEY in arrays.metadata


def _own(path: str) -> tuple[Any, dict[str, Any]]:
    from minilm import models, tokenizers
    from minilm.training import load_run
    from minilm.training.checkpoint import STATE

    if os.path.isfile(path):
        return models.load(path), {}
    if os.path.exists(os.path.join(path, STATE)):
        run = load_run(path)
        return run.model, {"tokenizer.json": run.tokenizer}
    names = [name for name in ("tokenizer.json", "source.json", "target.json") if os.path.exists(os.path.join(path, name))]
    model = models.load(os.path.join(path, "model.safetensors"))
    return model, {name: tokenizers.load(os.path.join(path, name)) for name in names}


def _generation(path: str) -> dict[str, Any]:
    from minilm.files import read_json
    from minilm.recipes.converted import is_converted

    file = os.path.join(path, GENERATION)
    return read_json(file) if is_converted(path) and os.path.exists(file) else {}


def _gguf(path: str) -> tuple[Any, dict[str, Any]]:
    from minilm import models
    from minilm.tokenizers.gguf import tokenizer_of_gguf
    from minilm.weights.gguf import GGUFFile

    with GGUFFile(path) as file:
        stated = "tokenizer.ggml.model" in file.settings
        tokenizers = {"tokenizer.json": tokenizer_of_gguf(file.settings)} if stated else {}
    return models.Llama.from_gguf(path), tokenizers


def _sequential(path: str) -> tuple[Any, dict[str, Any]]:
    from minilm.sequential.models import load_model

    return load_model(path), {}


def _converted(path: str, kind: str, vocabulary: str | None) -> Source:
    from minilm.models.converting import model_of
    from minilm.weights.converters import converter

    checkpoint = converter(kind).read(path, vocabulary)
    if checkpoint.config.get("model_type") == "sequential":
        from minilm.sequential import saving
        from minilm.sequential.models import Sequential

        model = saving.from_config(Sequential, checkpoint.config)
        model.set_weights([checkpoint.arrays[name] for name in checkpoint.arrays])
        return Source(kind, model, {})
    return Source(kind, model_of(checkpoint, path), checkpoint.tokenizers, checkpoint.generation)


# --- writing -----------------------------------------------------------------------------------------------------------


def kind_of_target(path: str) -> str | None:
    """The kind that a name asks for by its ending; None for a folder."""
    end = os.path.splitext(path.rstrip("/"))[1].lower()
    return next((kind for kind, (_, ends) in TARGETS.items() if end and end in ends), None)


def write(source: Source, path: str, kind: str | None) -> str:
    """Write a model; the kind that was written. Without one, a folder: Hugging Face's where the model has that layout."""
    from minilm.models.pretrained import Pretrained
    from minilm.sequential.models import Sequential

    path = os.path.expanduser(path)
    if (kind == "keras") != isinstance(source.model, Sequential):
        name = type(source.model).__name__
        if kind == "keras":
            raise ValueError(f"{path}: of a Sequential alone a file of Keras's is written, got a {name}")
        raise ValueError(f"{path}: a {name} is written as a file of Keras's: TO.keras or TO.h5")
    kind = kind or ("huggingface" if isinstance(source.model, Pretrained) else "minilm")
    writer = WRITERS[kind]
    if kind not in WITH_TOKENIZER:
        writer(source, path)
        return kind
    if kind == "huggingface" and not hasattr(source.model, "save_pretrained"):
        raise ValueError(f"{path}: transformers has no class for a {type(source.model).__name__}; --to minilm writes it")
    _write_folder(writer, source, os.path.abspath(path))
    return kind


def _write_folder(writer: Callable[[Source, str], None], source: Source, folder: str) -> None:
    """The folder stands when all its files do: what stops in the middle, as on a full disk, leaves none."""
    from minilm.files import flush_folder, staged_folder

    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with staged_folder(*os.path.split(folder)) as staged:
        writer(source, staged)
        os.rename(staged, folder)
        flush_folder(os.path.dirname(folder))


def _write_keras(source: Source, path: str) -> None:
    source.model.save(path)


def _write_minilm(source: Source, path: str) -> None:
    import json

    from minilm import models
    from minilm.files import json_bytes, written_whole

    about = {"config.json": source.model.config.to_dict()} if hasattr(source.model, "config") else {}
    about |= {GENERATION: source.generation} if source.generation else {}
    for name, content in about.items():
        with written_whole(os.path.join(path, name)) as file:
            file.write(json_bytes(json.dumps(content, indent=2) + "\n"))
    models.save(source.model, os.path.join(path, "model.safetensors"))
    for name, tokenizer in source.tokenizers.items():
        tokenizer.save(os.path.join(path, name))


def _write_huggingface(source: Source, path: str) -> None:
    source.model.save_pretrained(path)
    tokenizer = source.tokenizers.get("tokenizer.json")
    if tokenizer is not None:
        (getattr(tokenizer, "save_pretrained", None) or tokenizer.save)(path)


def _write_pytorch(source: Source, path: str) -> None:
    from minilm.weights.torch_writer import write_torch_file

    write_torch_file(path, _state_dict(source.model, in_memory=True))


def _write_safetensors(source: Source, path: str) -> None:
    from minilm.files import written_whole
    from minilm.weights import tensor_writer

    with written_whole(path) as file:
        tensor_writer.write(file, _state_dict(source.model), {"format": "pt"})


def _state_dict(model, in_memory: bool = False) -> dict[str, Any]:
    """The weights by the names, and in the orientation, of the model's class in transformers, or of our own.

    `in_memory` asks for what ``load_state_dict`` of that class takes, where files have other names.
    """
    from minilm.models.pretrained import Pretrained, settings_from
    from minilm.weights import KEYMAPS
    from minilm.weights.experts import as_installed
    from minilm.weights.saving import items

    if not isinstance(model, Pretrained):
        return dict(model.parameters)
    arrays = items(model.parameters, KEYMAPS[settings_from(model.config)["family"]])
    return {item.name: item.array for item in (as_installed(arrays) if in_memory else arrays)}


def _write_gguf(source: Source, path: str) -> None:
    from minilm.models.gguf_writer import write_gguf

    write_gguf(source.model, path, source.tokenizers.get("tokenizer.json"))


def _write_onnx(source: Source, path: str) -> None:
    from minilm.models.onnx import write_onnx

    write_onnx(source.model, path)


WRITERS: dict[str, Callable[[Source, str], None]] = {  # by the kinds of TARGETS
    "minilm": _write_minilm,
    "huggingface": _write_huggingface,
    "pytorch": _write_pytorch,
    "safetensors": _write_safetensors,
    "gguf": _write_gguf,
    "onnx": _write_onnx,
    "keras": _write_keras,
}
