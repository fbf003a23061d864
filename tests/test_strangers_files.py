"""Files of others, changed at random: each reader gives a result, or ValueError or OSError in one line, and takes little for it.

Bytes are changed, and values of JSON and of TOML; in a folder with checksums these are made to fit again, as who plants a file
would. Whatever is refused only because so much memory is not there, or after a long time, fails.
"""

import base64
import contextlib
import functools
import hashlib
import importlib
import json
import os
import pathlib
import random
import shutil
import sys
import time

import numpy as np
import pytest

from minilm import checksums, data, models, recipes, sequential, tokenizers, training
from minilm.compiled import kernel_cache
from minilm.models import lora
from minilm.planner.hardware import Machine
from minilm.recipes import folder as recipe_folder
from minilm.training import publish, replay
from minilm.training.settings import read_toml
from minilm.training.state import checksum
from tests.data.test_damaged_files import mutated
from tests.weights import test_gguf

TIMES = 40  # for each file
SECONDS = 5  # of the processor, for one reading
MEMORY = 3 << 30  # bytes of address space beyond what the process has
TEXTS = ["the cat sat on the mat, and the dog sat on the cat.", "a hen ran to the barn"] * 8

# What stands in the place of a value: raw, since some of it is not what Python would write.
STRANGE = ["null", "true", "-1", "0", "1.5", "1e999", "-1e999", "NaN", "2147483648", "9" * 30, "9" * 400, "9" * 5000, '""', '"x"']
STRANGE += ["[]", "{}", "[[]]", '{"a": 1}', '"\\ud800"', '"\\u0000"', '"\\u202e/../x"', '"../../etc/passwd"', "[1, 2, 3]"]
STRANGE += ["[" * 400 + "]" * 400, '{"a":' * 400 + "1" + "}" * 400, "[" * 100_000, '[["a", "b"]]', '{"type": "Sequence"}']


BYTES = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
BPE = {"vocab": {token: place for place, token in enumerate(["<s>", *BYTES, "th"])}, "merges": ["t h"]}
PIECES = {"vocab": {"<s>": 0, "[UNK]": 1, "cat": 2, "##s": 3}, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
PIECES["max_input_chars_per_word"] = 100


def nodes(value, path=()):
    """The path to every value inside a JSON value."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from nodes(each, (*path, key))


def rewritten(rng: random.Random, content: bytes) -> bytes:
    """JSON with a value, a key or a few of them changed."""
    whole = json.loads(content)
    marks = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        paths = list(nodes(whole))
        if not paths:
            break
        *above, last = rng.choice(paths)
        parent = functools.reduce(lambda value, key: value[key], above, whole)
        kind = rng.randrange(8)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("", "x", "type", "__class__", "a" * 300))] = parent.pop(last)
        elif kind == 2:
            *other, key = rng.choice(paths)
            with contextlib.suppress(KeyError, IndexError, TypeError):
                parent[last] = functools.reduce(lambda value, key: value[key], (*other, key), json.loads(content))
        else:
            mark = f"@{len(marks)}@"
            parent[last] = mark
            marks.append((json.dumps(mark), rng.choice(STRANGE)))
    text = json.dumps(whole)
    for mark, raw in marks:
        text = text.replace(mark, raw)
    return text.encode()


def changed(rng: random.Random, name: str, content: bytes) -> bytes:
    """The content of a file, changed in one way or another."""
    if name.endswith(".json") and rng.random() < 0.75:
        return rewritten(rng, content)
    if content[8:9] == b"{" and rng.random() < 0.6:  # a safetensors file's header
        size = int.from_bytes(content[:8], "little")
        header = rewritten(rng, content[8 : 8 + size])
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    return mutated(np.random.default_rng(rng.getrandbits(32)), content)


@contextlib.contextmanager
def little_memory():
    """A MemoryError where much more is asked for."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# --- what is read -----------------------------------------------------------------------------------------------------


def resumed(folder):
    """All that ``--resume`` reads before it trains."""
    importlib.import_module("minilm.training.train")._resumed(None, folder).close()


def a_run(folder):
    corpus = folder.parent / "corpus.txt"
    corpus.write_text("\n".join(TEXTS * 8))
    settings = {"corpus": str(corpus), "steps": 2, "batch": 2, "time": 8, "sample": {"tokens": 0}}
    settings["model"] = {"embedding_size": 4, "hidden_size": 5}
    training.train(training.configuration(options=settings), out=folder)


def a_model_alone(folder):
    a_run(folder)
    for name in ("training.json", "optimizer.safetensors", "log.csv"):
        (folder / name).unlink()


def a_recipe(folder):
    recipes.load("tag")(hidden_size=8).run(steps=1, out=folder, overwrite=True)


def a_gpt(folder):
    config = models.GPTConfig(vocab_size=258, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    models.GPT(config, seed=0).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate([*BYTES, "th", "the"])}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "the", "model_max_length": 8}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 4]}))


def read_gpt(folder):
    models.GPT.from_pretrained(folder)
    tokenizers.load(folder)


def shards(folder):
    config = models.GPTConfig(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    models.GPT(config, seed=0).save_pretrained(folder, shard_bytes=1000)


def a_bert(folder):
    config = models.BERTConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8)
    models.BERTForPreTraining(config, seed=0).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "a"]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "cls_token": {"content": "[CLS]"}}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "[UNK]", "mask_token": "[MASK]"}))
    (folder / "added_tokens.json").write_text(json.dumps({"<new>": 9}))


def read_bert(folder):
    models.BERTForSequenceClassification.from_pretrained(folder)
    tokenizers.load(folder)


def one_file(folder):
    models.save(models.Tagger(7, 3, embedding_size=4, hidden_size=5, seed=0), folder / "tagger.safetensors")


def llama():
    sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    return models.Llama(models.LlamaConfig(**sizes, num_key_value_heads=1, max_position_embeddings=16), seed=0)


def a_llama(folder):
    llama().save_pretrained(folder)


def adapters(folder):
    model = llama()
    lora.add(model, rank=2)
    lora.save(model, folder)


def a_gguf(folder):
    _, settings, arrays = test_gguf.small_model()
    (folder / "model.gguf").write_bytes(test_gguf.gguf(settings, arrays))


def a_gpt1(folder):
    words = ["<unk>", *(c + end for c in "abcht" for end in ("", "</w>")), "th", "e</w>", "the</w>"]
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")


def ranks(folder):
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    (folder / "cl100k_base.tiktoken").write_text("\n".join([*lines, "dGg= 256"]) + "\n")


def token_files(folder):
    for number in range(2):
        text = folder.parent / "text.txt"
        text.write_text("\n".join(TEXTS) * (number + 1))
        data.tokens(text, tokenizers.Character.train_from_chunks([*TEXTS, "\n"]), folder)


def trained_tokenizer(kind, **options):
    def make(folder):
        (folder / "tokenizer.json").write_text(kind.train_from_chunks(TEXTS, **options).to_json())

    return make


def hugging_faces(kind, **fields):
    """A tokenizer.json as Hugging Face's library writes it."""

    def make(folder):
        special = {"id": 0, "content": "<s>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
        special["single_word"] = False
        content = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [special],
            "model": {"type": kind, **fields},
        }
        if kind == "BPE":
            content["pre_tokenizer"] = content["decoder"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
            content["normalizer"] = content["post_processor"] = None
        else:
            content["normalizer"] = dict.fromkeys(("clean_text", "lowercase", "handle_chinese_chars"), True)
            content["normalizer"] |= {"type": "BertNormalizer", "strip_accents": None}
            content["pre_tokenizer"], content["decoder"] = {"type": "BertPreTokenizer"}, {"type": "WordPiece", "prefix": "##"}
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return make


def sequential_file(name):
    def make(folder):
        model = sequential.Sequential([sequential.Embedding(5, 4), sequential.LSTM(6), sequential.Dense(2, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.build((None, 3))
        model.save(str(folder / name))

    return make


def read_sequential(folder):
    (path,) = folder.iterdir()
    model = sequential.load_model(path)
    model.load_weights(path)


def settings_file(folder):
    text = 'corpus = "stories"\nsteps = 3\n[model]\nhidden_size = 20\n[optimizer]\nlr = 0.01\nbetas = [0.9, 0.99]\n'
    (folder / "run.toml").write_text(text)


def kernel(folder):
    kernel_cache.write(str(folder / "kernel"), b"\x80\x04N.")


def machine(folder):
    fields = {name: 1 if field.type in ("int", "float") else "x" for name, field in Machine.__dataclass_fields__.items()}
    (folder / "machine.json").write_text(json.dumps(fields))


def sums(folder):
    (folder / "weights").write_bytes(b"x" * 30)
    checksums.record(folder, ["weights"])


def hashes(folder):
    a_run(folder / "run")
    (folder / "hashes.json").write_text(json.dumps(publish.published(replay.read_record(folder / "run"))))
    shutil.rmtree(folder / "run")


# name -> (what writes the right files into a folder, what reads them)
READERS = {
    "run": (a_run, training.load_run),
    "run, resumed": (a_run, resumed),
    "log": (a_run, training.read_log),
    "model alone": (a_model_alone, training.load_run),
    "recipe": (a_recipe, recipe_folder.read),
    "GPT": (a_gpt, read_gpt),
    "GPT, by the command": (a_gpt, training.load_run),
    "GPT in several files": (shards, models.GPT.from_pretrained),
    "BERT": (a_bert, read_bert),
    "Llama": (a_llama, models.Llama.from_pretrained),
    "adapters": (adapters, lambda folder: lora.load(llama(), folder)),
    "GGUF": (a_gguf, lambda folder: models.Llama.from_gguf(folder / "model.gguf")),
    "model in one file": (one_file, lambda folder: models.load(folder / "tagger.safetensors")),
    "GPT-1's tokenizer": (a_gpt1, lambda folder: tokenizers.GPT1BPE.from_files(folder / "vocab.json", folder / "merges.txt")),
    "tiktoken's ranks": (ranks, lambda folder: tokenizers.load(folder / "cl100k_base.tiktoken")),
    "token files": (token_files, data.shards),
    "characters": (trained_tokenizer(tokenizers.Character), tokenizers.load),
    "words": (trained_tokenizer(tokenizers.WordLevel), tokenizers.load),
    "pieces of bytes": (trained_tokenizer(tokenizers.ByteLevelBPE, vocab_size=280), tokenizers.load),
    "pieces of words": (trained_tokenizer(tokenizers.WordPiece, vocab_size=60), tokenizers.load),
    "Hugging Face's BPE": (hugging_faces("BPE", **BPE), tokenizers.load),
    "Hugging Face's WordPiece": (hugging_faces("WordPiece", **PIECES), tokenizers.load),
    "Sequential": (sequential_file("m"), read_sequential),
    "Keras's HDF5": (sequential_file("m.h5"), read_sequential),
    "Keras's archive": (sequential_file("m.keras"), read_sequential),
    "settings": (settings_file, lambda folder: training.configuration(options=read_toml(folder / "run.toml"))),
    "kernel": (kernel, lambda folder: kernel_cache.read(str(folder / "kernel"))),
    "run, verified": (a_run, replay.read_record),
    "checksums": (sums, lambda folder: checksums.differing(folder / checksums.SUMS)),
    "hashes": (hashes, lambda folder: publish.read_published(folder / "hashes.json")),
    "machine": (machine, lambda folder: Machine.load(folder / "machine.json")),
}
STATES = ("training.json", "recipe.json")


def sealed_again(folder: pathlib.Path) -> None:
    """Make the checksums of a run fit what its files are now, where its state can be read."""
    for path in (folder / name for name in STATES if (folder / name).exists()):
        try:
            state = json.loads(path.read_bytes())
            for name in state["files"]:
                content = (folder / name).read_bytes()
                state["files"][name].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            del state["sha256"]
            path.write_text(json.dumps({**state, "sha256": checksum(state)}))
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError):
            pass


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_a_result_or_one_line(name, tmp_path):
    make, read = READERS[name]
    folder, whole = tmp_path / "folder", tmp_path / "whole"
    folder.mkdir()
    make(folder)
    shutil.copytree(folder, whole)
    read(folder)
    rng, refused, times = random.Random(name), 0, int(os.environ.get("MINILM_FUZZ", TIMES))
    for path in read_files(folder, name):
        refused += sum(read_changed(read, folder, whole, path, rng) for _ in range(times))
    assert refused >= times // 4 or name in TOLERANT


TOLERANT = ("kernel", "checksums")  # the one is compiled anew, the other tells of a fault in what it returns


CRASHERS = {  # what fuzzing brought up: reader, file, what was there, what stands there now
    "a rank of 400 digits": ("tiktoken's ranks", "cl100k_base.tiktoken", b"dGg= 256", b"dGg= " + b"9" * 400),
    "a rank that fills the memory": ("tiktoken's ranks", "cl100k_base.tiktoken", b"dGg= 256", b"dGg= 256999999"),
    "a name with a line end": ("GGUF", "model.gguf", b"output_norm.weight\x01", b"output_nor\n\x01\x00\x00\x00\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("label", CRASHERS)
def test_what_fuzzing_brought_up(label, tmp_path):
    name, file, before, now = CRASHERS[label]
    make, read = READERS[name]
    make(tmp_path)
    content = (tmp_path / file).read_bytes()
    assert before in content
    (tmp_path / file).write_bytes(content.replace(before, now))
    assert read_one(read, tmp_path, label)


def read_files(folder, name):
    """The files of a folder that a reader looks at."""
    for path in sorted(folder.iterdir()):
        shown_only = path.suffix in (".png", ".txt") and path.name not in ("merges.txt", "vocab.txt")
        if not shown_only and (path.name != checksums.SUMS or name == "checksums"):
            yield path


def read_changed(read, folder, whole, path, rng) -> bool:
    """Change one file, read, and put it back; whether it was refused."""
    content = path.read_bytes()
    new = changed(rng, path.name, content)
    path.write_bytes(new)
    try:
        if rng.random() < 0.8:
            sealed_again(folder)
        return read_one(read, folder, f"{path.name} of {new[:3000]!r}")
    finally:
        for each in STATES:
            if (whole / each).exists():
                shutil.copy(whole / each, folder)
        path.write_bytes(content)


def read_one(read, folder, which) -> bool:
    """Whether what was read is refused."""
    begin = time.process_time()
    try:
        with little_memory():
            read(folder)
        return False
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 20_000, f"{which}: {error!r}"
        return True
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {which}") from error
    finally:
        spent = time.process_time() - begin
        assert spent < SECONDS, f"{spent:.1f} s for {which}"
