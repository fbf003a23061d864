"""What rounding costs published models, in nats a character: ``python -m tests.quantized.test_published`` prints the table."""

import gzip
import json
import os

import numpy as np
import pytest

from minilm import models, quantized
from minilm.weights import TensorFile

WEIGHTS, CORPORA = (os.environ.get(f"MINILM_TEST_{name}", "") for name in ("WEIGHTS", "CORPORA"))
needs_both = pytest.mark.skipif(not (WEIGHTS and CORPORA), reason="MINILM_TEST_WEIGHTS and MINILM_TEST_CORPORA name no folders")
MOST = {"bf16": 0.002, "int8": 0.005, "int4": 0.12}  # nats


def _gpt():
    """The letters of names, and the loss on all of them."""
    folder = os.path.join(WEIGHTS, "gpt2-makemore-names")
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
        number = {letter: id for id, letter in enumerate(json.load(file))}
    with open(os.path.join(folder, "names.txt"), encoding="utf-8") as file:
        names = [name for name in file.read().split("\n") if 0 < len(name) < 15 and set(name) <= set(number)]
    ids, targets = np.zeros((len(names), 15), np.int64), np.full((len(names), 15), -100)
    for b, name in enumerate(names):
        row = [number[letter] for letter in name]
        ids[b, 1 : len(row) + 1], targets[b, : len(row) + 1] = row, [*row, 0]
    model = models.GPT.from_pretrained(os.path.join(folder, "hf"))
    return model, lambda: float(model.loss(ids, targets))


def _lstm(folder, text, width):
    """A character LSTM, and its loss on a text that is cut into 32 rows."""
    folder = os.path.join(WEIGHTS, folder)
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
        number = json.load(file)
    ids = np.array([number[letter] for letter in text if letter in number])
    ids = ids[: len(ids) // 32 * 32].reshape(32, -1)[:, :1001]  # (B, T)
    config = models.RNNLanguageModelConfig(len(number), cell="lstm", embedding_size=width, hidden_size=128, num_layers=2)
    model = models.RNNLanguageModel(config)
    with TensorFile(os.path.join(folder, "model.safetensors")) as file:
        model.parameters.load_state_dict(file.arrays())
    return model, lambda: float(model.loss(ids[:, :-1], ids[:, 1:])[0])


def _shakespeare():
    with open(os.path.join(CORPORA, "tinyshakespeare.txt"), encoding="utf-8") as file:
        text = file.read()
    return _lstm("lstm-shakespeare-tf", text[int(0.9 * len(text)) :], 65)


def _novel():
    with gzip.open(os.path.join(WEIGHTS, "lstm-charrnn", "bronte.txt.gz"), "rt", encoding="utf-8") as file:
        text = file.read()
    return _lstm("lstm-charrnn", text[len(text) // 2 :][:40_000], 128)


SUBJECTS = {"GPT-2, 4 layers of 64, names": _gpt, "LSTM, 2 layers of 128, plays": _shakespeare, "the same, a novel": _novel}


def losses(make):
    """Nats a character in float32, and with rounded weights."""
    return {kind: rounded(make, kind) for kind in ("float32", *MOST)}


def rounded(make, kind):
    model, loss = make()
    if kind != "float32":
        quantized.quantize(model, kind)
    return loss()


@needs_both
@pytest.mark.parametrize("name", SUBJECTS)
def test_rounded_weights_cost_little(name):
    row = losses(SUBJECTS[name])
    for kind, most in MOST.items():
        assert 0 < abs(row[kind] - row["float32"]) < most


if __name__ == "__main__":
    if not (WEIGHTS and CORPORA):
        raise SystemExit(needs_both.kwargs["reason"])
    for name, make in SUBJECTS.items():
        print(f"{name:32}", "  ".join(f"{kind} {loss:.4f}" for kind, loss in losses(make).items()))
