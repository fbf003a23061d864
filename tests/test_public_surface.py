"""What an editor sees: `dir` shows the public names, `import minilm` reaches every package, and what is public has types."""

import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys
import types

import pytest

import minilm
from tests import clocks

INNER = ("minilm.compiled", "minilm.ops.cuda.emulated")  # packages without a public name
CALLED = ("__init__", "__call__", "__enter__", "__getitem__", "__iter__", "__len__")  # public methods without a public name
OTHERS = {  # arguments that are another function's, whichever the caller names
    "minilm.bars.bar": "tqdm's",
    "minilm.gradcheck.check.gradcheck": "those of what is checked",
    "minilm.layers.base.Layer.__call__": "those of the layer's forward",
    "minilm.layers.base.Layer.diagnose": "those of the layer's forward",
    "minilm.layers.base.Layer.forward": "each layer has its own",
    "minilm.models.bert_config.BERTConfig.base": "the configuration's fields",
    "minilm.models.bert_config.BERTConfig.large": "the configuration's fields",
    "minilm.models.config.Config.replace": "the configuration's fields",
    "minilm.models.gpt_config.GPTConfig.gpt1": "the configuration's fields",
    "minilm.models.gpt_config.GPTConfig.gpt2": "the configuration's fields",
    "minilm.models.gpt_config.GPTConfig.gpt3": "the configuration's fields",
    "minilm.models.llama.Llama.from_gguf": "the configuration's fields",
    **{
        f"minilm.models.llama_sizes.LlamaSizes.{name}": "the configuration's fields"
        for name in ("llama2", "llama3", "smollm2", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2")
    },
    "minilm.models.pretrained.Pretrained.from_pretrained": "the configuration's fields",
    "minilm.ops.cuda.table.Kernels.launch": "the kernel's",
    "minilm.ops.cuda.table.Kernels.pack": "the struct's fields",
    "minilm.sequential.steps.TimeDistributed.forward": "those of the inner layer's forward",
    "minilm.threads.parallel": "the kernel's",
    "minilm.tokenizers.base.Tokenizer.train": "each tokenizer has its own",
    "minilm.tokenizers.base.Tokenizer.train_from_chunks": "each tokenizer has its own",
    "minilm.tokenizers.bpe.gpt1.GPT1BPE.train_from_chunks": "whatever they are, it does not train",
    "minilm.tokenizers.word.Word.to_json": "json.dumps's",
    "minilm.training.config.RunConfig.replace": "the configuration's fields",
    "minilm.training.loop.Loop.notify": "the event's",
    "minilm.training.protocol.LanguageModel.diagnose": "each model has its own",
    "minilm.training.protocol.Trainable.forward": "each model has its own",
}


def packages():
    """Every package of minilm by its dotted name."""
    walked = pkgutil.walk_packages(minilm.__path__, "minilm.")
    names = (module.name for module in walked if module.ispkg and not module.name.startswith((*INNER, "minilm.corpora")))
    return ["minilm", *names]


@pytest.mark.parametrize("package", [*packages(), "minilm.devices", "minilm.random", "minilm.typing"])
def test_dir_shows_the_public_names(package):
    module = importlib.import_module(package)
    assert dir(module) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_every_package_is_reachable_after_import_minilm():
    direct = [name.partition(".")[2] for name in packages() if name.count(".") == 1]
    code = f"import minilm; print(*(getattr(minilm, name).__name__ for name in {direct}))"
    options = {"capture_output": True, "text": True, "check": True, "timeout": clocks.PATIENCE}
    assert subprocess.run([sys.executable, "-c", code], **options).stdout.split() == [f"minilm.{name}" for name in direct]


# --- types ---------------------------------------------------------------------------------------------------------------


def public(module, seen):
    """The functions, and the methods of the classes, that are reached by ``__all__`` from a module of ours."""
    for value in (getattr(module, name) for name in module.__all__):
        if isinstance(value, types.ModuleType) and value not in seen and hasattr(value, "__all__"):
            seen.add(value)
            yield from public(value, seen)
        elif inspect.isfunction(value):
            yield inspect.unwrap(value)
        elif isinstance(value, type):
            yield from methods(value)


def methods(kind):
    """The public methods of a class and of the classes that it comes from, properties and class methods among them."""
    for base in kind.__mro__:
        for name, value in vars(base).items():
            if name in CALLED or not name.startswith("_"):
                value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                if inspect.isfunction(value):
                    yield inspect.unwrap(value)


def surface(package):
    """dotted name -> function, of all that is public in a package and written in minilm."""
    written = (each for each in public(importlib.import_module(package), set()) if each.__module__.startswith("minilm."))
    return {f"{each.__module__}.{each.__qualname__}": each for each in written}


def untyped(function):
    """Its parameters that have no annotation, and "return". A method's self has none, and __init__ returns nothing."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    own = parameters[1:] if parameters and parameters[0].name in ("self", "cls") else parameters
    lacking = [each.name for each in own if each.annotation is each.empty]
    returns = signature.return_annotation is not signature.empty or (function.__name__ == "__init__" and own)
    return lacking if returns else [*lacking, "return"]


@pytest.mark.parametrize("package", packages())
def test_what_is_public_has_types(package):
    assert {name: lacking for name, each in surface(package).items() if (lacking := untyped(each))} == {}


@pytest.mark.parametrize("package", packages())
def test_what_is_public_names_its_parameters(package):
    """``*arguments`` or ``**options`` of which an editor knows nothing are for what only the caller knows: see OTHERS."""
    vague = set()
    for name, each in surface(package).items():
        for parameter in inspect.signature(each).parameters.values():
            several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and not parameter.name.startswith("_")
            if several and parameter.annotation in (parameter.empty, "Any"):
                vague.add(name)
    assert vague - set(OTHERS) == set()


def test_docstrings_are_written_where_they_are_read():
    """Not assigned: an editor shows what stands in the source."""
    sources = pathlib.Path(minilm.__file__).parent.rglob("*.py")
    assert [str(path) for path in sources if re.search(r"__doc__\s*\+?=[^=]", path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", ["Flatten", "GlobalAveragePooling1D", "Dense"])
def test_a_keras_layer_shows_the_arguments_of_its_init(name):
    signature = inspect.signature(getattr(minilm.sequential, name))
    assert not any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values())
    assert "units" in signature.parameters or "trainable" in signature.parameters
