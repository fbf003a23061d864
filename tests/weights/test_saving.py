import json
import os

import numpy as np
import pytest
import safetensors.numpy

from minilm.files import locked_folder
from minilm.weights import GPT2, WeightFolder, load_weights, save_weights
from minilm.weights import saving as module

from .helpers import gpt2_shapes, model, same


def names(folder):
    """The files but for their checksums."""
    return sorted(each.name for each in folder.iterdir() if each.name != "SHA256SUMS")


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save_weights(model(gpt2_shapes()), tmp_path / name, GPT2, {"model_type": "gpt2"})
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert names(tmp_path / "a") == ["config.json", "model.safetensors"] and names(tmp_path) == ["a", "b"]
    with safetensors.safe_open(tmp_path / "a" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
    header = (tmp_path / "a" / "model.safetensors").read_bytes()[:8]
    assert int.from_bytes(header, "little") % 8 == 0


@pytest.mark.parametrize("block", [1, 30, 100, 10**6])
def test_blocks_do_not_show(tmp_path, monkeypatch, block):
    ours = model(gpt2_shapes())
    save_weights(ours, tmp_path / "a", GPT2)
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    save_weights(ours, tmp_path / "b", GPT2)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.parametrize("shard_bytes", [1, 600, 2000])
def test_shards(tmp_path, shard_bytes):
    ours, other = model(gpt2_shapes(), 1), model(gpt2_shapes(), 2)
    save_weights(ours, tmp_path / "new", GPT2, shard_bytes=shard_bytes)
    index = json.loads((tmp_path / "new" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * ours.parameters.count
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-{number:05}-of-{len(files):05}.safetensors" for number in range(1, len(files) + 1)]
    assert names(tmp_path / "new") == [*files, "model.safetensors.index.json"]
    for file in files:
        held = safetensors.numpy.load_file(tmp_path / "new" / file)
        assert len(held) == 1 or sum(array.nbytes for array in held.values()) <= shard_bytes
    load_weights(other, tmp_path / "new", GPT2)
    assert same(ours, other)


def test_an_older_model_is_replaced(tmp_path):
    """Whatever lay there, one file or many, what is found afterwards is the new model and nothing else of weights."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "notes.txt").touch()
    for seed, shard_bytes in enumerate([10**9, 600, 2000, 10**9, 1]):
        ours, other = model(gpt2_shapes(), seed), model(gpt2_shapes(), 99)
        save_weights(ours, folder, GPT2, shard_bytes=shard_bytes)
        load_weights(other, folder, GPT2)
        assert same(ours, other)
        with WeightFolder(folder) as weights:
            used = {os.path.basename(weights.file_of(name).path) for name in weights}
        assert set(names(folder)) - {"model.safetensors.index.json"} == used | {"notes.txt"}
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk(tmp_path, monkeypatch, function):
    ours = model(gpt2_shapes(), 1)
    save_weights(ours, tmp_path / "old", GPT2, {"a": 1})
    before = {name: (tmp_path / "old" / name).read_bytes() for name in names(tmp_path / "old")}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            save_weights(model(gpt2_shapes(), 2), tmp_path / name, GPT2, {"a": 2})
    monkeypatch.undo()
    assert names(tmp_path) == ["old"]
    assert {name: (tmp_path / "old" / name).read_bytes() for name in names(tmp_path / "old")} == before


def test_what_killed_processes_left_goes_with_the_next_save(tmp_path):
    """What another process is at work in stays, and so does what only looks alike."""
    save_weights(model(gpt2_shapes()), tmp_path / "old", GPT2)
    left, alike = (".new.0123abcd.tmp", "old/.weights.deadbeef.tmp"), (".other.0123abcd.tmp", ".new.mine.tmp", "old/.weights.tmp")
    for name in (*left, *alike, ".new.ffffffff.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    lock = locked_folder(tmp_path / ".new.ffffffff.tmp")
    for name in ("old", "new"):
        save_weights(model(gpt2_shapes()), tmp_path / name, GPT2)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in (*alike, *[".new.ffffffff.tmp"] * (lock is not None)))
    if lock is not None:
        os.close(lock)


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="shard_bytes must be at least 1, got 0"):
        save_weights(model(gpt2_shapes()), tmp_path / "new", GPT2, shard_bytes=0)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        save_weights(model(gpt2_shapes()), tmp_path / "file", GPT2)
    assert np.array_equal(names(tmp_path), ["file"])
