"""Keras's names for what there is: modules, paths, and the functions that prepare texts and labels."""

import hashlib
import importlib

import numpy as np
import pytest

from minilm import sequential
from minilm.sequential import EarlyStopping, optimizers, to_categorical


def test_keras_by_its_usual_names():
    import minilm.sequential as keras

    model = keras.models.Sequential([keras.layers.Input(shape=(5,)), keras.layers.Embedding(9, 4), keras.layers.LSTM(3)])
    assert model.output_shape == (None, 3) and keras.utils.to_categorical is to_categorical
    assert keras.callbacks.EarlyStopping is EarlyStopping and keras.optimizers.Adam is optimizers.Adam


@pytest.mark.parametrize(
    "path",
    ["layers", "models", "callbacks", "optimizers", "losses", "initializers", "utils"]
    + ["preprocessing", "preprocessing.text", "preprocessing.sequence"],
)
def test_keras_s_module_paths(path):
    module = importlib.import_module(f"minilm.sequential.{path}")
    for name in module.__all__:
        thing = getattr(module, name)
        assert getattr(sequential, name, thing) is thing  # the same by the short path


def test_words_as_numbers_by_a_hash():
    from minilm.sequential.preprocessing.text import hashing_trick, one_hot

    text = "The cat, the dog!"
    by_md5 = [int(hashlib.md5(word.encode()).hexdigest(), 16) % 9 + 1 for word in ("the", "cat", "the", "dog")]
    assert hashing_trick(text, 10, "md5") == by_md5
    assert one_hot(text, 10) == [hash(word) % 9 + 1 for word in ("the", "cat", "the", "dog")]
    assert hashing_trick(text, 3, len, lower=False, filters="", split="e") == [1, 1, 2]  # "Th", " cat, th", " dog!"
    for n, function in ((1, None), (10, "sha"), (2.5, None)):
        with pytest.raises((ValueError, TypeError), match="n must|hash_function must"):
            hashing_trick(text, n, function)


def test_to_categorical():
    np.testing.assert_array_equal(to_categorical([0, 2]), np.float32([[1, 0, 0], [0, 0, 1]]))
    assert to_categorical(np.zeros((4, 3, 1)), 5).shape == (4, 3, 5)
