"""What may lie in the place of a published model's file is named in one line."""

import os
import pickle

import pytest

from minilm import models, tokenizers
from tests.models.test_published import close, made

NOT_WEIGHTS = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "an HTML page": b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "there is no such file": b"Entry not found",
    "a zip archive": b"PK\x03\x04" + bytes(100),
    "a Python pickle": pickle.dumps({"weight": [1.0] * 10}),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a GGUF file": b"GGUF" + bytes(100),
    "compressed by gzip": b"\x1f\x8b\x08" + bytes(100),
}


@pytest.mark.parametrize("says", NOT_WEIGHTS)
def test_what_is_no_file_of_weights_is_named(says, tmp_path):
    made("gpt2", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(NOT_WEIGHTS[says])
    with pytest.raises(ValueError, match=rf"model\.safetensors: it is .*{says}"):
        models.GPT.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(NOT_WEIGHTS[says])
    with pytest.raises(ValueError, match=rf"config\.json: not valid JSON \(it is .*{says}"):
        models.GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "vocab.json", "merges.txt"])
def test_what_is_no_file_of_a_tokenizer_is_named(name, tmp_path):
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks("the cat sat on the mat", vocab_size=258)
    if name != "vocab.txt":
        tokenizer.save_pretrained(tmp_path)
    if name != "tokenizer.json":
        (tmp_path / "tokenizer.json").unlink(missing_ok=True)
    (tmp_path / name).write_bytes(NOT_WEIGHTS["a Git LFS pointer"])
    with pytest.raises(ValueError, match=rf"{name}: .*it is a Git LFS pointer"):
        tokenizers.load(tmp_path)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["ckpt.pt"], "ckpt.pt is another format: `minilm convert` reads some"),
        (["pytorch_model.bin"], "pytorch_model.bin is another format"),
        (["model.gguf"], "model.gguf is another format"),
        (["model.fp16.safetensors"], "if model.fp16.safetensors is the model's, name it model.safetensors"),
        (["adapter_model.safetensors"], "of an adapter .*merge_and_unload"),
        (["adapter_config.json", "model.safetensors"], "of an adapter .*merge_and_unload"),  # its model lies beside it
        (["snapshots"], "the folder in .*snapshots that holds config.json"),
        ([], "neither model.safetensors nor model.safetensors.index.json"),
    ],
)
def test_folders_without_the_model(files, says, tmp_path):
    made("gpt2", tmp_path)
    os.remove(tmp_path / "model.safetensors")
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        models.GPT.from_pretrained(tmp_path)


def test_what_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    peer, ours = made("gpt2", tmp_path / "mine")
    assert close(ours.from_pretrained("~/mine"), peer)
    ours.from_pretrained("~/mine").save_pretrained("~/copy")
    assert (tmp_path / "copy" / "config.json").exists()
    for name in ("gpt2-of-nobody", "nobody/gpt2"):
        with pytest.raises(FileNotFoundError, match=f"there is no folder {name}[;,] .*Hugging Face Hub"):
            ours.from_pretrained(name)
    with pytest.raises(FileNotFoundError, match="there is no folder /nowhere/at/all$"):
        ours.from_pretrained("/nowhere/at/all")
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(NotADirectoryError, match=rf"mine/{name} is a file, and wanted is a folder: give mine"):
            ours.from_pretrained(f"mine/{name}")
