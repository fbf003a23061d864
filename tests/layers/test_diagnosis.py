"""Where a number is not finite first."""

import numpy as np
import pytest

from minilm import layers, models
from minilm.random import Key

IDS = np.arange(8).reshape(2, 4) % 7


def gpt():
    return models.GPT(models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=8, n_positions=4, vocab_size=7), seed=0)


def test_of_a_block_only_the_whole_is_named():
    model = gpt()
    model.lm_head.weight.value[...] = 3e38  # the tokens' table too: its squares are infinite in h.0.ln_1
    assert model.diagnose(IDS, IDS) == "output of h.0"
    model = models.BERTForPreTraining(models.BERTConfig(7, 8, 2, 2, max_position_embeddings=4), seed=0)
    model.bert.encoder.layer[1].mlp.c_fc.weight.value[...] = 3e38
    assert model.diagnose(IDS, IDS, key=Key(1)) == "output of bert.encoder.layer.1"


def test_any_layer_has_it():
    """Also one of a user's own, and one whose loss alone is not finite."""

    class Loss(layers.Layer):
        def __init__(self):
            super().__init__()
            self.map = layers.Linear(2, 1, seed=0)

        def forward(self, x, *, key=None):
            y, saved = self.map.forward(x)
            return np.log(np.minimum(y.sum(), -1)), saved

    x = np.ones((3, 2), np.float32)
    assert Loss().diagnose(x) == "loss"
    assert Loss().diagnose(x * np.inf) == "output of map"
    with pytest.raises(ValueError, match="x must have shape"):
        Loss().diagnose(x[:, :1])
