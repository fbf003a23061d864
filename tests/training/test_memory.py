"""Weights are read and written without a second copy of them."""

import contextlib
import os
import tracemalloc

import numpy as np
import pytest

from minilm import models, optimizers, sequential, training
from minilm.random import DROPOUT_KEYS
from minilm.training import snapshot
from minilm.training.checkpoint import Layout
from minilm.training.run_folder import Folder
from minilm.weights import tensor_file

FILES = (snapshot.WEIGHTS, snapshot.REST)


@contextlib.contextmanager
def at_most(share, *paths):
    """Fail where what is needed on the way, and not kept, is more than this share of the files."""
    tracemalloc.start()
    try:
        yield
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(map(os.path.getsize, paths))
    assert peak - kept < share * size, f"{peak - kept:,} of {size:,} bytes"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(tensor_file, "BLOCK_BYTES", 1 << 14)


class State:
    """Of a run that has none."""

    step, dropout_keys = 0, DROPOUT_KEYS

    def to_json(self, files, version):
        self.files = files
        return b"{}"


def trained(seed, average):
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=50, hidden_size=1000), seed=seed)
    adam = optimizers.Adam(model.parameters, lr=0.01)
    mean = optimizers.WeightAverage(model.parameters) if average else None
    model.parameters.gradient_flat[:] = 1
    adam.step()
    if average:
        mean.update()
        model.parameters.gradient_flat[:] = -1
        adam.step()
    return model, adam, mean


@pytest.mark.parametrize("average", [False, True])
def test_a_checkpoint(average, tmp_path, small_blocks):
    state = State()
    layout = Layout("training.json", FILES, lambda content: (state, state.files))
    paths = [tmp_path / name for name in FILES]
    folder = Folder(tmp_path, layout=layout)
    model, adam, mean = trained(0, average)
    folder.save(state, snapshot.arrays_writers(model, adam, mean, {}))  # once, so that the files have their sizes
    with at_most(0.15, *paths):
        folder.save(state, snapshot.arrays_writers(model, adam, mean, {}))
    other, its_adam, its_mean = trained(1, average)
    with at_most(0.15, *paths):
        snapshot.put_back(other, its_adam, its_mean, folder.read())
    folder.close()
    assert np.array_equal(other.parameters.flat, model.parameters.flat)
    assert its_adam.steps == adam.steps and all(np.array_equal(its_adam.state[slot], adam.state[slot]) for slot in adam.state)
    if average:
        assert np.array_equal(its_mean.views()["output.weight"], mean.views()["output.weight"])
        assert not np.array_equal(mean.views()["output.weight"], model.parameters["output.weight"])


def test_a_run(tiny, tmp_path, small_blocks):
    run = training.train(tiny(model={"hidden_size": 1000}, steps=1), out=tmp_path / "run")
    training.load_run(run.folder)  # what is imported and compiled the first time
    with at_most(0.2, os.path.join(run.folder, "model.safetensors")):
        again = training.load_run(run.folder)
    assert np.array_equal(again.model.parameters.flat, run.model.parameters.flat)


def test_a_sequential_model(tmp_path, small_blocks):
    model = sequential.Sequential([sequential.Dense(1000, input_shape=(1000,)), sequential.Dense(1000), sequential.Dense(1000)])
    model.save(tmp_path / "m")
    sequential.load_model(tmp_path / "m")
    with at_most(0.75, tmp_path / "m"):  # of three layers, each turned after the other
        again = sequential.load_model(tmp_path / "m")
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights(), strict=True))
