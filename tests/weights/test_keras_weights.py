"""Keras 2's files of weights that no Sequential describes: CuDNN's order of the numbers, stacks of LSTM, and damaged ones."""

import numpy as np
import pytest

from minilm import cli, models, sequential
from minilm.models import WindowLanguageModel, WindowLanguageModelConfig
from minilm.weights.converters import recognised
from tests.data.test_damaged_files import mutated

h5py = pytest.importorskip("h5py")
IDS = np.random.default_rng(0).integers(0, 9, (2, 11))  # (B, T)


def write(path, layers):
    """layer -> {weight: array}, as Keras 2 lays them out."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(f"{layer}/{name}:0", data=array)


def of_cudnn(weights):
    """A matrix (4H, D) as CuDNNLSTM stores it: each gate's numbers in the order of (H, D), in an array (D, H)."""
    return np.concatenate([gate.reshape(gate.shape[::-1]) for gate in np.split(weights, 4)], axis=1)


@pytest.fixture
def titles():
    """A small model of textgenrnn's kind, and its layers in Keras's file."""
    model = WindowLanguageModel(WindowLanguageModelConfig(vocab_size=9, embedding_size=3, hidden_size=4), seed=2)
    rng = np.random.default_rng(2)
    for value in model.parameters.values():
        value[...] = rng.normal(size=value.shape)
    own = model.parameters
    layers = {"input": {}, "embedding": {"embeddings": own["embedding.weight"]}}
    for layer in range(2):
        part = {name: own[f"recurrent.{layer}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        kernels = {"kernel": of_cudnn(part["weight_ih"]), "recurrent_kernel": of_cudnn(part["weight_hh"])}
        layers[f"rnn_{layer + 1}"] = {**kernels, "bias": np.concatenate([part["bias_ih"], part["bias_hh"]])}
    layers["attention"] = {"attention_W": own["attention.weight"][:, None]}
    layers["output"] = {"kernel": own["output.weight"].T, "bias": own["output.bias"]}
    return model, layers


def test_textgenrnn(titles, tmp_path):
    model, layers = titles
    write(tmp_path / "w.hdf5", layers)
    (tmp_path / "textgenrnn_vocab.json").write_text('{"b": 1, "a": 2, "c": 3, "<s>": 4, "d": 5, "e": 6, "f": 7, "g": 8}')
    assert recognised(tmp_path / "w.hdf5") == "keras"
    again, own = models.convert_from(tmp_path / "w.hdf5")
    tokenizer = own["tokenizer.json"]
    order = [["", "b", "a", "c", "<s>", "d", "e", "f", "g"].index(t if t != "<pad>" else "") for t in tokenizer.vocabulary]
    assert tokenizer.vocabulary[again.config.pad_token_id] == "<pad>"
    place = np.argsort(order)
    assert np.abs(again.logits(place[IDS])[0] - model.logits(IDS)[0][..., order]).max() < 1e-4
    for change, message in [
        ({"rnn_1": {**layers["rnn_1"], "bias": np.zeros(17)}}, "8H numbers"),
        ({"output": {"kernel": np.zeros((3, 9)), "bias": np.zeros(9)}}, r"output\.weight has shape \(9, 3\), wanted \(9, 11\)"),
        ({"more": {"gain": np.zeros(3)}}, "'more/gain' is no weight of textgenrnn's"),
    ]:
        write(tmp_path / "w.hdf5", {**layers, **change})
        with pytest.raises(ValueError, match=message):
            models.convert_from(tmp_path / "w.hdf5")


def test_stacks_of_lstm_with_keras_2s_hard_sigmoid(tmp_path, capsys):
    rng, layers, D = np.random.default_rng(3), {}, 5
    for number in (1, 2):
        shapes = {"kernel": (D, 12), "recurrent_kernel": (3, 12), "bias": (12,)}
        layers[f"lstm_{number}"], D = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, 3
    write(tmp_path / "w.h5", layers)
    assert cli.main(["convert", str(tmp_path / "w.h5"), str(tmp_path / "m.keras")]) == 0
    x = rng.normal(size=(7, 5)).astype(np.float32)
    vector = sequential.load_model(tmp_path / "m.keras").predict(x[None], verbose=0)[0]
    for weights in layers.values():
        h = c = np.zeros(3)
        rows = []
        for step in x:
            i, f, g, o = np.split(step @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"], 4)
            c = np.clip(0.2 * f + 0.5, 0, 1) * c + np.clip(0.2 * i + 0.5, 0, 1) * np.tanh(g)
            h = np.clip(0.2 * o + 0.5, 0, 1) * np.tanh(c)
            rows.append(h)
        x = np.array(rows)
    assert np.abs(vector - h).max() < 1e-5
    with pytest.raises(ValueError, match="is of a Sequential: `minilm convert"):
        models.convert_from(tmp_path / "w.h5")
    write(tmp_path / "w.h5", {"dense_1": {"kernel": np.zeros((2, 3))}})
    assert cli.main(["convert", str(tmp_path / "w.h5"), str(tmp_path / "n.keras")]) == 2
    assert "wanted those of textgenrnn or layers of LSTM" in capsys.readouterr().err


def test_changed_files_give_a_model_or_one_line(titles, tmp_path):
    write(tmp_path / "w.hdf5", titles[1])
    whole, rng, refused = (tmp_path / "w.hdf5").read_bytes(), np.random.default_rng(4), 0
    for _ in range(40):
        (tmp_path / "w.hdf5").write_bytes(mutated(rng, whole))
        try:
            models.convert_from(tmp_path / "w.hdf5", "keras")
        except (ValueError, OSError) as error:
            refused += 1
            assert str(error) and "\n" not in str(error)
    assert refused > 10


def test_files_that_lead_elsewhere(titles, tmp_path):
    write(tmp_path / "other.hdf5", titles[1])
    write(tmp_path / "w.hdf5", titles[1])
    with h5py.File(tmp_path / "w.hdf5", "a") as file:
        del file["output/output/bias:0"]
        file["output/output/bias:0"] = h5py.ExternalLink("other.hdf5", "/output/output/bias:0")
    with pytest.raises(ValueError, match="is a link, which is not followed"):
        models.convert_from(tmp_path / "w.hdf5")
