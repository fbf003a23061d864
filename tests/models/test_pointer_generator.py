"""The pointer-generator: its probabilities written out, copying, generation, and configurations that do not fit."""

import numpy as np
import pytest

from minilm import Workspace, models, optimizers
from minilm.generation.sequences import beam_targets, greedy_targets
from minilm.random import Key

V, BEGIN, END = 30, 0, 1
SIZES = {"vocab_size": V, "embedding_size": 6, "hidden_size": 8, "attention": "bahdanau", "shared": True, "bidirectional": True}


def model_of(seed=0, dtype=np.float64, **settings):
    return models.PointerGenerator(models.Seq2SeqConfig(**{**SIZES, **settings}), seed=seed, dtype=dtype)


def pairs(rng, B=4, S=5, T=3):
    source = rng.integers(2, V, (B, S))
    lengths = rng.integers(2, S + 1, B)
    inputs, targets = rng.integers(2, V, (2, B, T))
    targets[:, 0] = source[:, 0]  # can be copied
    targets[-1, -1] = -100
    return source, inputs, targets, lengths


@pytest.mark.parametrize("follow", [False, True])
def test_probabilities_are_those_of_the_formula(follow):
    model, rng = model_of(follow=follow), np.random.default_rng(0)
    source, inputs, targets, lengths = pairs(rng)
    log_p, copied = model.logits(source, inputs, lengths), model.attention(source, inputs, lengths)  # (B, T, V), (B, T, S)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=2), 1, atol=1e-12)
    written = models.Seq2Seq._logits(model, source, lengths, inputs, None, False)[0]  # (B, T, V)
    softmax = np.exp(written) / np.exp(written).sum(axis=2, keepdims=True)
    for b, t in np.ndindex(*inputs.shape):
        assert (copied[b, t, lengths[b] :] == 0).all() and 0 < copied[b, t].sum() < 1
        wanted = (1 - copied[b, t].sum()) * softmax[b, t]
        for i in range(lengths[b]):
            wanted[source[b, i]] += copied[b, t, i]
        np.testing.assert_allclose(np.exp(log_p[b, t]), wanted, atol=1e-12)
    kept = targets != -100
    nats = -np.take_along_axis(log_p, np.where(kept, targets, 0)[..., None], axis=2)[..., 0][kept]
    assert model.forward(source, inputs, targets, lengths)[0] == pytest.approx(nats.mean(), abs=1e-12)
    assert model.loss(source, inputs, targets, lengths) == pytest.approx(nats.mean(), abs=1e-12)


def test_places_behind_the_last_tokens_are_told():
    """By their scores: what the model adds to those of the same model that is told nothing."""
    model, plain = model_of(follow=True), model_of()
    model.follow.weight.value[...], model.follow.bias.value[...] = 0, [0.5, 2.0]
    for name, value in plain.parameters.items():
        value[...] = model.parameters[name]
    source, inputs = np.array([[3, 4, 5, 3, 4, 6]]), np.array([[BEGIN, 3, 4, 9, 4]])
    told, untold = (np.log(each.attention(source, inputs)[0]) for each in (model, plain))  # (T, S)
    added = (told - told[:, :1]) - (untold - untold[:, :1])  # (T, S), beside that of the first place, which is behind nothing
    behind_3, behind_4, behind_3_4 = [0, 0.5, 0, 0, 0.5, 0], [0, 0, 0.5, 0, 0, 0.5], [0, 0, 2.5, 0, 0, 2.5]
    np.testing.assert_allclose(added, [[0] * 6, behind_3, behind_3_4, [0] * 6, behind_4], atol=1e-9)


@pytest.mark.parametrize("follow", [False, True])
def test_steps_are_those_of_training_and_beams_hold(follow):
    model, rng = model_of(follow=follow), np.random.default_rng(1)
    source, inputs, _, lengths = pairs(rng)
    inputs[:, 1] = source[:, 0]
    whole, state = model.logits(source, inputs, lengths), model.encode(source, lengths)
    for t in range(inputs.shape[1]):
        log_p, state = model.step(inputs[:, t], state)
        np.testing.assert_allclose(log_p, whole[:, t], atol=1e-12)
    rows = np.array([2, 0, 0])
    again, _ = model.step(np.array([5, 5, 7]), state.reorder(rows))
    single, _ = model.step(np.full(4, 5), state)
    np.testing.assert_allclose(again[:2], single[rows[:2]], atol=1e-12)


def test_it_learns_to_copy_tokens_that_it_never_wrote():
    """Targets repeat the source's second token. Half of the tokens are never seen in training: only a pointer can give them."""
    model, rng = model_of(dtype=np.float32, hidden_size=24, embedding_size=12), np.random.default_rng(2)
    adam, workspace = optimizers.Adam(model.parameters, lr=0.02, clip_norm=1.0), Workspace()

    def batch(low, high, B=24):
        source = rng.integers(low, high, (B, 4))
        source[:, 0] = 2
        inputs, targets = np.full((B, 2), BEGIN), np.full((B, 2), END)
        inputs[:, 1] = targets[:, 0] = source[:, 1]
        return source, inputs, targets

    held = None
    for step in range(150):
        with workspace.step():
            _, saved = model.forward(*batch(3, V // 2), key=Key(0, step))
            model.backward(saved)
        adam.step()
        held = workspace.nbytes if step == 100 else held
    assert workspace.nbytes == held
    source, _, _ = batch(V // 2, V, B=60)
    written = greedy_targets(model, source, begin=BEGIN, end=END, tokens=4)
    right = [ids.tolist() == [token] for ids, token in zip(written, source[:, 1], strict=True)]
    assert np.mean(right) > 0.7  # by the output layer alone it would be 0
    best = beam_targets(model, source[:20], begin=BEGIN, end=END, tokens=4, beams=3, length_penalty=0.0)
    assert np.mean([each[0].ids.tolist() == [token] for each, token in zip(best, source[:20, 1], strict=True)]) > 0.7


def test_it_learns_to_copy_several_tokens_in_a_row():
    """Targets are the second half of the source, half of whose tokens are never seen in training."""
    right = {}
    for follow in (True, False):
        model, rng = model_of(dtype=np.float32, hidden_size=24, embedding_size=12, follow=follow), np.random.default_rng(2)
        adam = optimizers.Adam(model.parameters, lr=0.02, clip_norm=1.0)
        for step in range(150):
            source = np.stack([rng.permutation(np.arange(3, V // 2))[:8] for _ in range(24)])  # (B, S)
            source[:, 3] = 2  # the half begins behind it
            targets = np.pad(source[:, 4:], ((0, 0), (0, 1)), constant_values=END)  # (B, T)
            inputs = np.pad(source[:, 4:], ((0, 0), (1, 0)), constant_values=BEGIN)
            _, saved = model.forward(source, inputs, targets, key=Key(0, step))
            model.backward(saved)
            adam.step()
        source = np.stack([rng.permutation(np.arange(V // 2, V))[:8] for _ in range(60)])
        source[:, 3] = 2
        written = greedy_targets(model, source, begin=BEGIN, end=END, tokens=6)
        right[follow] = np.mean([ids[:4].tolist() == row[4:].tolist() for ids, row in zip(written, source, strict=True)])

    assert right[True] > 0.7 > 0.5 > right[False]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"shared": False}, "wants shared=True, got False"),
        ({"reverse": True}, "wants reverse=False, got True"),
        ({"label_smoothing": 0.1}, "wants label_smoothing=0, got 0.1"),
        ({"attention": None}, "wants attention, got attention=None"),
    ],
)
def test_configurations_that_do_not_fit(settings, says):
    with pytest.raises(ValueError, match=says):
        model_of(**settings)


def test_one_that_cannot_copy_follows_nothing():
    with pytest.raises(ValueError, match="follow is of a model that copies"):
        models.Seq2Seq(models.Seq2SeqConfig(**SIZES, follow=True))
