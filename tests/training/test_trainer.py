"""What the trainer gives each step, beyond the steps of one epoch: rate, state, and the pairs that validation reads."""

import numpy as np
import pytest

from minilm import data, models, tokenizers, training
from minilm.ops import dropout
from minilm.optimizers import schedules
from minilm.training import evaluation
from minilm.training.train import _new

EPOCHS = {"epochs": 3, "batch": 40, "time": 16, "log_every": 1}  # some 18 steps each


def stepped(trainer, monkeypatch):
    """(state before, state after) of every step of a run."""
    states = []
    compute = trainer._step

    def recorded(batch, state, *arguments, **options):
        result = compute(batch, state, *arguments, **options)
        states.append(tuple(np.array(each) for each in (state, result.state)))  # (layers, B, H), of an LSTM two of them
        return result

    monkeypatch.setattr(trainer, "_step", recorded)
    with np.errstate(all="ignore"):
        while not trainer.finished():
            trainer.step(trainer.batches.batch(trainer.state.step))
            trainer.state.step += 1
    trainer.close()
    return states


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_carried_state_goes_on_but_for_the_rows_that_begin_anew(cell, tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(**EPOCHS, model={"cell": cell}), tmp_path, False)
    batches = trainer.batches
    states = stepped(trainer, monkeypatch)
    assert len(states) == 3 * batches.epoch_steps > 12
    for step, (before, _) in enumerate(states):
        fresh = batches.fresh_rows(step)  # (B,)
        assert 0 < fresh.sum() < len(fresh) or fresh.all() == (step % batches.epoch_steps == 0)
        assert fresh.all() or step % batches.epoch_steps, "every row begins anew with an epoch"
        assert not before[..., fresh, :].any() and (fresh.all() or before[..., ~fresh, :].any())
        if step:
            assert np.array_equal(before[..., ~fresh, :], states[step - 1][1][..., ~fresh, :])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_no_step_nor_part_of_one_drops_like_another(accumulate, tiny, tmp_path, monkeypatch):
    keys, drop = [], dropout.forward
    trainer = _new(tiny(steps=4, accumulate=accumulate, batch=6, model={"dropout": 0.3}), tmp_path, False)
    monkeypatch.setattr(dropout, "forward", lambda x, p, key, **options: keys.append(key) or drop(x, p, key, **options))
    stepped(trainer, monkeypatch)
    assert len(keys) == len(set(keys)) == 4 * accumulate * 2  # the embedding's and the output's


SCHEDULES = {
    "epoch-decay": ({"after": 1, "factor": 3.0}, lambda lr: schedules.EpochDecay(lr, after=1, factor=3.0)),
    "cosine": ({"warmup": 0.1}, lambda lr: schedules.WarmupCosine(lr, warmup=0.1)),
    "constant": ({}, schedules.Constant),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_of_every_step_is_the_schedule_s(name, tiny, tmp_path):
    """At the middle of the step, in the epoch in which the step is: the first of an epoch has that epoch's rate."""
    settings, make = SCHEDULES[name]
    config = tiny(**EPOCHS, schedule={"name": name, **settings}, optimizer={"lr": 0.01})
    training.train(config, out=tmp_path)
    log = training.read_log(tmp_path)
    steps, count = round(1 / log["epoch"][0]), len(log["step"]) - 1  # the last row is of the evaluation
    schedule = make(0.01)
    wanted = [schedule((step + 0.5) / count, epoch=step // steps) for step in range(count)]
    assert log["lr"][:count] == pytest.approx(wanted, rel=1e-6) and count == 3 * steps


def test_a_row_of_the_log_has_the_mean_loss_since_the_row_before(tiny, tmp_path):
    single, rows = (tmp_path / name for name in ("single", "rows"))
    for folder, every in ((single, 1), (rows, 4)):
        training.train(tiny(steps=12, log_every=every), out=folder)
    losses = np.array(training.read_log(single)["loss"][:12])
    assert training.read_log(rows)["loss"][:3] == pytest.approx(losses.reshape(3, 4).mean(axis=1), rel=1e-6)


def test_masked_words_are_guessed_from_the_same_pairs_every_time(monkeypatch):
    """Two validations differ by the weights alone: the batches are those of seed 0, whatever was drawn before."""
    text = "the red fox saw the old hen and the small fox ran over the barn . " * 30
    tokenizer = tokenizers.WordPiece.train_from_chunks(text, vocab_size=60, min_count=1)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}
    model = models.BERTForPreTraining(models.BERTConfig(tokenizer.vocab_size, **sizes), seed=0)
    tokens = tokenizer.encode(text)
    read = []
    score = model.score
    monkeypatch.setattr(model, "score", lambda *batch, **options: read.append(batch) or score(*batch, **options))
    results = [evaluation.evaluate_masked(model, tokens, tokenizer) for _ in range(2)]
    model.parameters.flat[...] *= 1.5
    other = evaluation.evaluate_masked(model, tokens, tokenizer)
    assert results[0] == results[1] != other
    scores = [score(*batch) for batch in read[-len(read) // 3 :]]
    counts = [each.masked for each in scores]
    assert len(set(counts)) > 1 and other.tokens == sum(counts)
    assert other.loss == pytest.approx(np.average([each.loss for each in scores], weights=counts), rel=1e-6)
    batches = data.PretrainingBatches(tokens, evaluation.MASKED_ROWS, 16, data.MaskingIds.of(tokenizer), seed=0)
    assert len(read) == 3 * batches.epoch_steps
    for number, batch in enumerate(read):
        for given, wanted in zip(batch, batches.batch(number % batches.epoch_steps), strict=True):
            assert np.array_equal(given, wanted)
