"""A program as users write it. It runs; and mypy, which .ci/run lets read it, must know the types that it asserts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import minilm
from minilm import (
    Workspace,
    data,
    generation,
    gradcheck,
    layers,
    metrics,
    models,
    ops,
    optimizers,
    sequential,
    tokenizers,
    training,
)
from minilm.gradcheck import Report
from minilm.layers.lstm import LSTMOutput
from minilm.typing import Array, Ids, Scalar

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value, _):
        return value


TEXT = "the cat sat on the mat\nthe dog sat on the log\n" * 4


def test_ops():
    x, W = np.ones((2, 3)), np.ones((4, 3))
    y, saved = ops.linear.forward(x, W)
    assert_type(y, Array)
    dx, dW, db = ops.linear.backward(y, saved)
    assert_type(dx, Array)
    assert_type(db, Array | None)
    loss, _ = ops.cross_entropy.forward(y, np.array([0, 3]))
    assert_type(loss, Scalar)
    with Workspace().step(), minilm.implementation("oracle"):
        output, _ = ops.lstm.forward(x[None], *np.zeros((2, 2, 1)), *(np.ones((4, n)) for n in (3, 1)), *np.zeros((2, 4)))
        assert_type(output, ops.lstm.Output)
    assert dx.shape == (2, 3) and db is None and dW.shape == (4, 3) and float(loss) > 0 and output.y.shape == (1, 2, 1)


def test_layers_and_optimizers():
    layer = layers.LSTM(3, 2, num_layers=2, seed=0).to("float64")
    assert_type(layer, layers.LSTM)
    output, saved = layer.forward(np.ones((1, 4, 3)))
    assert_type(output, LSTMOutput)
    dx, _ = layer.backward((output.y, None, None), saved)
    assert_type(dx, Array)
    norm = optimizers.AdamW(layer.parameters, lr=1e-2, betas=(0.9, 0.99), clip_norm=1.0).step()
    assert_type(norm, float | None)
    assert norm is not None and norm > 0
    assert_type(gradcheck(layers.Linear(3, 2, seed=0), np.ones((2, 3))), Report)


def test_tokenizers_and_data():
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(TEXT, vocab_size=300)
    assert_type(tokenizer, tokenizers.ByteLevelBPE)
    ids = tokenizer.encode(TEXT)
    assert_type(ids, Ids)
    assert_type(tokenizer.decode(ids), str)
    windows = data.batches(ids, batch=2, time=4, seed=0)
    for inputs, targets in windows.iterate():
        assert inputs.shape == targets.shape == (2, 4)
        break
    assert_type(metrics.accuracy.accuracy([1, 2], [1, 3]), float)


def test_models():
    config = models.GPTConfig.gpt2(n_layer=1, n_head=1, n_embd=8, n_positions=8, vocab_size=9)
    trained: training.LanguageModel = models.GPT(config, seed=0)
    writing: generation.CausalLanguageModel = models.GPT(config, seed=0)
    assert trained.objective == "next" and trained.forward(np.array([[1, 2]]), np.array([[2, 3]]))[0] > 0
    assert_type(next(generation.stream_ids(writing, np.array([[1]]), tokens=1)), np.ndarray)
    moved = models.RNNLanguageModel(models.RNNLanguageModelConfig(9, embedding_size=4, hidden_size=4), seed=0).to("float64")
    assert_type(moved, models.RNNLanguageModel)
    loss, saved = moved.forward(np.array([[1, 2]]), np.array([[2, 3]]))
    moved.backward(saved)
    assert float(loss) > 0


def test_sequential():
    model = sequential.Sequential([sequential.LSTM(3, return_sequences=True, input_shape=(4, 2)), sequential.Dense(1)], seed=0)
    model.compile(optimizer=sequential.optimizers.Adam(1e-2, clipnorm=1.0), loss="mse")
    history = model.fit(np.ones((2, 4, 2)), np.ones((2, 4, 1)), epochs=1, verbose=0)
    assert_type(history, sequential.History)
    assert_type(model.predict(np.ones((2, 4, 2)), verbose=0), np.ndarray)
