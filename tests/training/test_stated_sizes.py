"""A configuration may state any size: it is held against the weights before anything is made of it."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import tracemalloc
import zipfile

import h5py
import pytest

from minilm import models, sequential, training
from minilm.training.state import checksum

HUGE = 10_000_000
OF_THE_WEIGHTS = "far larger model than the weights|another model|does not fit"


@contextlib.contextmanager
def refused(says=OF_THE_WEIGHTS):
    """A ValueError, before anything large is made, and soon."""
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=says) as caught:
            yield
        assert tracemalloc.get_traced_memory()[1] < 1.5e8  # zeros that nothing touches, which are none of the system's pages
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 20 and "\n" not in str(caught.value)


def rewritten(path, **changes):
    """Change fields of a JSON file."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**content, **changes}, file)


@pytest.fixture
def gpt(tmp_path):
    """A folder as Hugging Face lays it out."""
    config = models.GPTConfig(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    models.GPT(config, seed=0).save_pretrained(tmp_path / "gpt")
    return tmp_path / "gpt"


@pytest.mark.parametrize("name", ["n_layer", "vocab_size", "n_embd", "n_positions", "n_inner"])
def test_a_public_model(name, gpt):
    rewritten(gpt / "config.json", **{name: HUGE})
    with refused():
        models.GPT.from_pretrained(gpt)


def test_a_new_head_of_a_public_model(tmp_path):
    config = models.BERTConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8
    )
    models.BERTForPreTraining(config, seed=0).save_pretrained(tmp_path / "bert")
    with refused():
        models.BERTForSequenceClassification.from_pretrained(tmp_path / "bert", num_labels=HUGE)


@pytest.mark.parametrize("name, value", [("hidden_size", HUGE), ("vocab_size", 2**31 - 1), ("embedding_size", HUGE)])
@pytest.mark.parametrize("whole", [False, True])
def test_a_run(name, value, whole, tiny, tmp_path):
    """The model alone, and a whole run whose checksums fit, loaded and gone on with."""
    folder = training.train(tiny(steps=1), out=tmp_path / "run").folder
    path = os.path.join(folder, "config.json")
    rewritten(path, **{name: value})
    with open(path, "rb") as file:
        content = file.read()
    if whole:
        state_path = os.path.join(folder, "training.json")
        with open(state_path, encoding="utf-8") as file:
            state = json.load(file)
        del state["sha256"]
        state["files"]["config.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        with open(state_path, "w", encoding="utf-8") as file:
            json.dump({**state, "sha256": checksum(state)}, file)
        with refused():
            training.train(out=folder, resume=True)
    else:
        os.remove(os.path.join(folder, "training.json"))
    with refused():
        training.load_run(folder)


def changed_layers(path, change):
    """Change the text of the layers in a file of a Sequential model, whichever its format is."""
    if path.endswith(".h5"):
        with h5py.File(path, "r+") as file:
            for name in ("model_config", "minilm_sequential"):
                file.attrs[name] = change(file.attrs[name])
    elif path.endswith(".keras"):
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        with zipfile.ZipFile(path, "w") as file:
            for name, content in parts.items():
                file.writestr(name, change(content.decode()) if name.endswith(".json") else content)
    else:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header, rest = change(file.read(size).decode()).encode(), file.read()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + rest)


@pytest.mark.parametrize("name", ["m", "m.h5", "m.keras"])
def test_a_sequential_model(name, tmp_path):
    path = str(tmp_path / name)
    model = sequential.Sequential([sequential.Embedding(5, 4), sequential.LSTM(6), sequential.Dense(7)])
    model.build((None, 3))
    model.save(path)
    for value in (4, 5, 6, 7):  # the sizes
        shutil.copy(path, whole := f"{path}.whole")
        changed_layers(path, lambda text, value=value: re.sub(rf": {value}(?=[,}}])", f": {HUGE}", text))
        with refused():
            sequential.load_model(path)
        os.replace(whole, path)
