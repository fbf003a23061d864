"""Folders of files as others may give them: for each kind what writes a right one, and what reads it."""

import base64
import importlib
import json
import shutil

from minilm import checksums, data, models, recipes, sequential, tokenizers, training
from minilm.compiled import kernel_cache
from minilm.models import lora
from minilm.planner.hardware import Machine
from minilm.recipes import folder as recipe_folder
from minilm.training import publish, replay
from minilm.training.settings import read_toml
from tests.weights import test_gguf

TEXTS = ["the cat sat on the mat, and the dog sat on the cat.", "a hen ran to the barn"] * 8
BYTES = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
BPE = {"vocab": {token: place for place, token in enumerate(["<s>", *BYTES, "th"])}, "merges": ["t h"]}
PIECES = {"vocab": {"<s>": 0, "[UNK]": 1, "cat": 2, "##s": 3}, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
PIECES["max_input_chars_per_word"] = 100


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
