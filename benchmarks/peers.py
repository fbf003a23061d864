"""The peers: which there are, which of them this run has, in which version, and why one is missing.

A case asks for a peer by name (``peers.get("tiktoken")``) and goes without where the answer is None. A peer that is missing,
because it is not installed or was left out with ``--without``, stands in the table and in the record with the reason.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from minilm.mistaken import did_you_mean

LLM_C = "MINILM_LLMC"  # the environment variable that names llm.c's binary


class Peer(NamedTuple):
    """A contestant that is not minilm's."""

    module: str | None  # to import
    distribution: str | None = None  # of the registry, where it has another name
    of: str | None = None  # the peer of which it is another way to run
    about: str = ""
    needs: str | None = None  # another peer, without which this one has nothing to run
    optional: bool = False  # takes part only where it is named by --with: its preparation takes minutes
    instructions: tuple[str, ...] = ()  # of which it wants one: without them a step takes some twenty times as long


PEERS = {
    "torch": Peer("torch", about="PyTorch, float32, eager"),
    "torch-1": Peer(None, of="torch", about="the same on one thread"),
    "torch-compile": Peer(None, of="torch", about="torch.compile", optional=True),
    "torch-bf16": Peer(None, of="torch", about="autocast(bfloat16)", instructions=("avx512bf16", "amx-bf16", "bf16")),
    "transformers": Peer("transformers", about="on PyTorch, with its cache"),
    "keras": Peer("keras", about="on TensorFlow, or on what KERAS_BACKEND names"),
    "ctranslate2": Peer("ctranslate2", about="float32"),
    "ctranslate2-int8": Peer(None, of="ctranslate2", about="int8"),
    "onnxruntime": Peer("onnxruntime", about="float32", needs="onnx"),
    "onnxruntime-int8": Peer(None, of="onnxruntime", about="int8, dynamic"),
    "onnx": Peer("onnx", about="which writes ONNX Runtime's models"),
    "gensim": Peer("gensim", about="word2vec"),
    "crfsuite": Peer("pycrfsuite", "python-crfsuite", about="conditional random fields"),
    "tiktoken": Peer("tiktoken"),
    "tokenizers": Peer("tokenizers"),
    "blingfire": Peer("blingfire", about="WordPiece of the vocabulary that it brings, bert-base-uncased's"),
    "flash-tokenizer": Peer("flash_tokenizer", "flash-tokenizer", about="WordPiece"),
    "gigatoken": Peer("gigatoken"),
    "tokie": Peer("tokie"),
    "rustbpe": Peer("rustbpe"),
    "llm.c": Peer(None, about=f"its train_gpt2, whose path {LLM_C} holds"),
}


class Peers:
    """The peers of one run.

    Parameters
    ----------
    without : iterable of str
        Left out. With a peer go the other ways to run it.
    including : iterable of str
        Optional ones that take part.
    threads : int, optional
        Of each.

    Raises
    ------
    ValueError
        For a name that is no peer's.
    """

    def __init__(self, without=(), including=(), threads: int | None = None):
        for name in (*without, *including):
            if name not in PEERS and name != "all":
                raise ValueError(f"no peer is named {name!r}; {did_you_mean(name, PEERS)}")
        self._without = set(PEERS) if "all" in without else set(without)
        self._including = set(including)
        self.threads = threads
        self.missing: dict[str, str] = {}  # name -> reason, of those that a case wanted
        self.versions: dict[str, str] = {}  # name -> version, of those that took part
        self._modules: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """A peer's module (for another way to run one: that one's), or None, and then `missing` says why."""
        if name not in self._modules:
            try:
                self._modules[name] = self._load(name)
            except LookupError as reason:
                self._modules[name], self.missing[name] = None, str(reason.args[0])
        return self._modules[name]

    def _load(self, name: str):
        """The module; LookupError with the reason where there is none."""
        peer = PEERS[name]
        if name in self._without:
            raise LookupError("left out")
        if peer.optional and name not in self._including:
            raise LookupError(f"takes part with --with {name}")
        if peer.of is not None:
            module = self.get(peer.of)
            if module is None:
                raise LookupError(f"{peer.of}: {self.missing[peer.of]}")
            if peer.instructions and name not in self._including and not any(map(_processor_has, peer.instructions)):
                raise LookupError(f"this processor has none of {', '.join(peer.instructions)}; takes part with --with {name}")
            return module
        if peer.needs is not None and self.get(peer.needs) is None:
            raise LookupError(f"{peer.needs}: {self.missing[peer.needs]}")
        if peer.module is None:
            path = os.environ.get(LLM_C)
            if not path:
                raise LookupError(f"{LLM_C} is not set")
            if not os.access(path, os.X_OK):
                raise LookupError(f"{path} cannot be run")
            self.versions[name] = os.path.basename(path)
            return path
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # of its deprecations, which would stand between the rows
        if name == "keras":  # on TensorFlow as by itself, or on what is here
            os.environ.setdefault("KERAS_BACKEND", "tensorflow" if importlib.util.find_spec("tensorflow") else "torch")
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of what it says of the processor
        try:
            module = importlib.import_module(peer.module)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError)
            raise LookupError("not installed" if missing else f"cannot be imported: {error}") from None
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.versions[name] = importlib.metadata.version(peer.distribution or peer.module)
        self.versions.setdefault(name, getattr(module, "__version__", "unknown"))
        if name == "torch" and self.threads:
            module.set_num_threads(self.threads)
        if name == "keras":
            self.versions[name] += f" on {module.backend.backend()}"
        return module


def _processor_has(feature: str) -> bool:
    """Whether the processor has a feature, by LLVM's name. What MINILM_ISA forbids minilm, a peer has still."""
    import llvmlite.binding

    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


def none() -> Peers:
    """A run without peers."""
    return Peers(without=("all",))


@contextlib.contextmanager
def torch_threads(torch, number: int) -> Iterator[None]:
    """PyTorch on another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
