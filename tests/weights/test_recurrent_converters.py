"""Converters of recurrent models: PyTorch's names and gates, TensorFlow's cells."""

import json

import numpy as np
import pytest
import safetensors.numpy

from minilm import models
from minilm.weights.converters import recognised

torch = pytest.importorskip("torch")
IDS = np.random.default_rng(0).integers(0, 11, (2, 7))  # (B, T)


def close(a, b):
    return np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


class WordModel(torch.nn.Module):
    """By the names of PyTorch's own example of a language model."""

    def __init__(self, cell, V=11, E=6, H=5, L=2):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Embedding(V, E), torch.nn.Linear(H, V)
        self.rnn = getattr(torch.nn, cell)(E, H, L, batch_first=True)

    def forward(self, ids):
        return self.decoder(self.rnn(self.encoder(ids))[0])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_recurrent_models_of_pytorch(cell, tmp_path):
    peer = WordModel(cell)
    torch.save(peer.state_dict(), tmp_path / "model.pt")
    (tmp_path / "vocab.json").write_text(
        json.dumps(["the", "<eos>", "cat", "sat", "<unk>", "on", "a", "mat", "and", "so", "ran"])
    )
    assert recognised(tmp_path / "model.pt") == "recurrent"
    model, own = models.convert_from(tmp_path / "model.pt")
    with torch.no_grad():
        wanted = peer(torch.tensor([[6, 2, 4, 1]])).numpy()[0]  # a cat <unk>, end of line
    tokenizer = own["tokenizer.json"]
    logits = model.logits(tokenizer.encode("a cat flew\n")[None])[0][0]
    order = [json.loads((tmp_path / "vocab.json").read_text()).index(word) for word in tokenizer.vocabulary]
    assert close(logits, wanted[:, order])


def test_arrays_that_do_not_fit_are_listed(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in WordModel("LSTM").state_dict().items()}
    for change, message in [
        ({"decoder.weight": arrays["decoder.weight"][:, :3]}, r"output\.weight has shape \(11, 3\), wanted \(11, 5\)"),
        ({"more": np.zeros(3, np.float32)}, "unexpected more"),
        ({"rnn.weight_hh_l0": np.zeros((7, 5), np.float32)}, "wanted 4 H, 3 H or H rows"),
        ({"decoder.bias": np.zeros(11, np.int64)}, "floating-point"),
    ]:
        safetensors.numpy.save_file({**arrays, **change}, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=message) as caught:
            models.convert_from(tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / "v.txt").write_text("one\ntwo\n")
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="has 2 tokens, and the model 11"):
        models.convert_from(tmp_path, vocabulary=tmp_path / "v.txt")


def basic_lstm_cell(kernel, bias, x):
    """TensorFlow's formulas: gates i, j, f, o, and 1 added to f."""
    H = len(bias) // 4
    h = c = np.zeros(H)
    rows = []
    for step in x:
        i, j, f, o = np.split(np.concatenate([step, h]) @ kernel + bias, 4)
        c = c / (1 + np.exp(-(f + 1.0))) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        rows.append(h)
    return np.array(rows)


@pytest.mark.parametrize("names", ["rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/", "model/rnn/cell_{}/basic_lstm_cell/"])
def test_basic_lstm_cells_of_tensorflow(names, tmp_path):
    rng, H, V = np.random.default_rng(2), 5, 11
    arrays = {"model/embedding": rng.normal(size=(V, 4)), "model/softmax_w": rng.normal(size=(H, V)), "global_step": np.array(7)}
    arrays |= {"model/softmax_b": rng.normal(size=V), "training/model/embedding/Adam": np.zeros((V, 4))}
    for layer, width in enumerate((4, H)):
        arrays[names.format(layer) + "kernel"] = rng.normal(size=(width + H, 4 * H))
        arrays[names.format(layer) + "bias"] = rng.normal(size=4 * H)
    np.savez(tmp_path / "model.npz", **arrays)
    assert recognised(tmp_path / "model.npz") == "tensorflow"
    model, _ = models.convert_from(tmp_path / "model.npz", dtype=np.float64)
    x = arrays["model/embedding"][IDS[0]]
    for layer in range(2):
        x = basic_lstm_cell(arrays[names.format(layer) + "kernel"], arrays[names.format(layer) + "bias"], x)
    assert close(model.logits(IDS[:1])[0][0], x @ arrays["model/softmax_w"] + arrays["model/softmax_b"])
    np.savez(tmp_path / "model.npz", **arrays, strange=np.zeros(3))
    with pytest.raises(ValueError, match="'strange' is no variable"):
        models.convert_from(tmp_path / "model.npz")
