"""A text's logits, and so what is drawn, are the same bits whatever texts are written beside it, and by whatever threads."""

import numpy as np
import pytest

from minilm import devices, generation, models

V, TOKENS = 131, 24
MODELS = {
    "gpt": lambda: models.GPT(models.GPTConfig.gpt2(n_layer=2, n_head=4, n_embd=72, n_positions=20, vocab_size=V), seed=0),
    **{
        cell: lambda cell=cell: models.RNNLanguageModel(
            models.RNNLanguageModelConfig(V, cell=cell, embedding_size=33, hidden_size=50, num_layers=2), seed=1
        )
        for cell in ("lstm", "gru", "rnn")
    },
}


def written(model, ids):
    """Logits (B, TOKENS, V) after prompts (B, T) and after every most probable token."""
    logits, state = model.logits(ids, model.initial_state(len(ids)), last=True)  # (B, V)
    every = [logits.copy()]
    for _ in range(TOKENS - 1):
        logits, state = model.step(logits.argmax(axis=-1), state)
        every.append(logits.copy())
    return np.stack(every, axis=1)


@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_ids_alone_and_among_sixteen(kind):
    model, ids = MODELS[kind](), np.random.default_rng(0).integers(0, V, (16, 5))  # (B, T)
    devices.set_threads(2)
    together = written(model, ids)
    devices.set_threads(1)
    for text in (0, 7, 15):
        assert np.array_equal(written(model, ids[text : text + 1])[0], together[text])
    drawn = np.stack(list(generation.stream_ids(model, ids, TOKENS, seed=3)), axis=1)  # (B, TOKENS)
    alone = np.stack(list(generation.stream_ids(model, ids[:1], TOKENS, seed=3)), axis=1)
    assert np.array_equal(alone[0], drawn[0])
