"""What is written lasts: a file is on the disk before it gets its name, and the folder, in which the name lives, after."""

import os

import numpy as np
import pytest

from minilm import models, tokenizers
from minilm.files import written_whole
from minilm.sequential import Dense, Input, Sequential
from minilm.training.checkpoint import STATE
from minilm.training.run_folder import Folder
from minilm.training.state import TrainingState


@pytest.fixture
def events(monkeypatch, tmp_path):
    """("flushed", number of a file or folder) and ("renamed", path, number of what, number of its folder), as they happen."""
    happened = []

    def watched(name):
        real = getattr(os, name)

        def call(source, target=None):
            if name == "fsync":
                happened.append(("flushed", os.fstat(source).st_ino))
                return real(source)
            path = os.fspath(target)
            if path.startswith(str(tmp_path)):  # others keep compiled kernels
                happened.append(("renamed", path, os.stat(source).st_ino, os.stat(os.path.dirname(path)).st_ino))
            return real(source, target)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "replace", "rename"):
        watched(name)
    return happened


def atomically(folder):
    with written_whole(folder / "file") as file:
        file.write(b"content")


def vocabulary(folder):
    tokenizers.Character("abc").save(folder)


def pieces(folder):
    tokenizers.WordPiece.train_from_chunks("the cat and the hat", vocab_size=40, min_count=1).save(folder)


def new_folder(folder):
    model().save_pretrained(folder / "new")


def old_folder(folder):
    model().save_pretrained(folder)
    model().save_pretrained(folder)


def model():
    return models.GPT(models.GPTConfig(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=2), seed=0)


def keras_like(folder):
    made = Sequential([Input((3,)), Dense(2)])
    made.save(folder / "model.keras")


def checkpoint(folder):
    kept = Folder(folder)
    try:
        kept.save(TrainingState(None, "0" * 64), {"weights": lambda file: file.write(np.ones(3).tobytes())})
    finally:
        kept.close()


@pytest.mark.parametrize(
    "write",
    [atomically, vocabulary, pieces, new_folder, old_folder, keras_like, checkpoint],
    ids=lambda write: write.__name__,
)
def test_flushed_before_and_after_it_is_renamed(write, events, tmp_path, monkeypatch):
    if write is checkpoint:
        monkeypatch.setattr(TrainingState, "to_json", lambda self, files, version: b"{}")
    write(tmp_path)
    renamed = [event for event in events if event[0] == "renamed"]
    assert renamed
    for at, event in enumerate(events):
        if event[0] == "renamed":
            _, path, content, folder = event
            assert ("flushed", folder) in events[at:], f"the folder of {path} was not flushed"
            assert os.path.isdir(path) or ("flushed", content) in events[:at], f"{path} was not"
    if write is checkpoint:
        assert [os.path.basename(event[1]) for event in renamed] == [STATE, "weights"]
