"""What training and evaluation compute."""

import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from minilm import data, models, optimizers, training
from minilm.random import Key
from minilm.training.train import _new, _run
from tests import clocks


def test_the_loop_is_the_one_in_the_book(tiny, tmp_path):
    """The trainer's weights are those of the loop that a reader would write."""
    config = tiny(steps=9, model={"dropout": 0.25}, optimizer={"lr": 0.01, "clip_norm": 0.5})
    result = training.train(config, out=tmp_path)
    train, _ = data.text(config.corpus).split(0.1)
    tokens = data.tokens(train, result.tokenizer)
    model = models.from_config({**config.model, "vocab_size": result.tokenizer.vocab_size}, seed=config.seed)
    adam = optimizers.Adam(model.parameters, clip_norm=0.5)
    schedule = optimizers.schedules.WarmupCosine(0.01, warmup=0.02)
    state = model.initial_state(config.batch)
    batches = data.batches(tokens, config.batch, config.time, carried=True)
    for step, (ids, targets) in zip(range(9), batches, strict=False):
        for part in state:
            part[:, batches.fresh_rows(step)] = 0  # (layers, B, H)
        _, saved = model.forward(ids, targets, state, key=Key(0, step))
        model.backward(saved)
        adam.step(schedule((step + 0.5) / 9))
        state = saved.state
    assert (model.parameters.flat == result.model.parameters.flat).all()


def test_it_learns(tiny, tmp_path):
    result = training.train(tiny(steps=400, batch=8, model={"hidden_size": 24}, evaluate_every=100), out=tmp_path)
    log = training.read_log(tmp_path)
    assert result.evaluation.loss < 0.75 * log["loss"][0]
    assert log["step"][-1] == 400 and math.isclose(log["validation_loss"][-1], result.evaluation.loss, rel_tol=1e-6)
    assert sum(loss == loss for loss in log["validation_loss"]) == 4
    assert log["tokens"][-1] == pytest.approx(400 * 8 * 16, rel=0.02)


def test_what_a_prompt_shows_of_a_run(tiny, tmp_path):
    """A line with the model's name and size, and no number of it."""
    result = training.train(tiny(steps=2), out=tmp_path / "run")
    loss = f"{result.evaluation.loss:.4f}"
    model = f"{result.model.settings()}), {result.model.parameters.count:,} parameters, 2 steps"
    assert repr(result).endswith(f"{model}, validation loss {loss})") and repr(result).startswith(f"Result({result.folder!r}: ")
    assert repr(training.load_run(tmp_path / "run")).endswith(f"{model})")


def test_the_files_of_a_run(tiny, tmp_path):
    pytest.importorskip("matplotlib")
    result = training.train(tiny(), out=tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "training.json", "optimizer.safetensors", "log.csv", "loss.png",
        "sample.txt", "trace.f64",
    }  # fmt: skip
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sample.txt").read_text(encoding="utf-8") == result.sample + "\n"
    run = training.load_run(tmp_path)
    assert run.config == result.state.config and run.state.step == 24 and run.tokenizer == result.tokenizer
    assert (run.model.parameters.flat == result.model.parameters.flat).all()


def test_the_average_is_what_is_saved(tiny, tmp_path):
    plain = training.train(tiny(), out=tmp_path / "plain")
    averaged = training.train(tiny(average=0.9), out=tmp_path / "averaged")
    last, mean = plain.model.parameters.flat, averaged.model.parameters.flat
    assert (last != mean).any()
    loaded = training.load_run(tmp_path / "averaged")
    assert (loaded.model.parameters.flat == mean).all()
    _, validation = data.text(averaged.state.config.corpus).split(0.1)
    assert training.evaluate_text(loaded.model, loaded.tokenizer, validation) == averaged.evaluation


def test_a_step_allocates_nothing_large(tiny, tmp_path):
    trainer = _new(tiny(batch=16, time=32, steps=10, model={"hidden_size": 64, "dropout": 0.1}), tmp_path, False)
    trainer.warm_up()
    trainer.step(trainer.batches.batch(trainer.state.step))
    tracemalloc.start()
    for _ in range(3):
        trainer.state.step += 1
        trainer.step(trainer.batches.batch(trainer.state.step))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    trainer.close()
    assert peak < 32 * 16 * 64 * 4  # one array of (T, B, H)


def test_minutes_are_of_training_alone(tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(minutes=0.3 / 60), tmp_path, False)
    with clocks.stopped() as clock:
        for name, seconds in (("warm_up", 100.0), ("conclude", 100.0), ("step", 0.04)):
            monkeypatch.setattr(trainer, name, clock.after(seconds, getattr(trainer, name)))
        result = _run(trainer, False)
    trainer.close()
    assert result.state.step == 8 and result.state.seconds == pytest.approx(0.32)


# --- evaluation --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    made = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=13, embedding_size=5, hidden_size=8), seed=3)
    for value in made.parameters.values():
        value *= 2
    return made


def one_by_one(model, tokens):
    """Minus log of the softmax at each target, a token at a time, in float64: the definition."""
    state, total = None, 0.0
    for token, target in zip(tokens[:-1], tokens[1:], strict=True):
        logits, state = model.step(np.array([token]), state)
        x = logits[0].astype(np.float64)  # (V,)
        total += np.log(np.exp(x - x.max()).sum()) + x.max() - x[target]
    return total / (len(tokens) - 1)


@pytest.mark.parametrize("count", [2, 3, 100, 1700])
def test_every_target_counts_once(count, model):
    tokens = np.random.default_rng(1).integers(0, 13, count)
    result = training.evaluate(model, tokens)
    assert result.tokens == count - 1
    assert result.loss == pytest.approx(one_by_one(model, tokens), rel=2e-6)
    assert result.perplexity == math.exp(result.loss)


@pytest.mark.parametrize("rows, time", [(1, 7), (3, 10), (5, 1000), (8, 1)])
def test_rows_do_not_matter(rows, time, model):
    tokens = np.random.default_rng(2).integers(0, 13, 4000)
    whole = training.evaluate(model, tokens, rows=1).loss
    assert training.evaluate(model, tokens, rows=rows, time=time).loss == pytest.approx(whole, rel=2e-6)
    if rows > 1:  # the context is what makes them not matter
        assert abs(training.evaluate(model, tokens, rows=40, time=time, context=0).loss - whole) > 2e-5 * whole


def test_it_repeats_itself(model):
    tokens = np.random.default_rng(2).integers(0, 13, 3000)
    assert training.evaluate(model, tokens) == training.evaluate(model, tokens)


def test_bits_a_character_of_words(tmp_path):
    from minilm import tokenizers

    path = tmp_path / "words.txt"
    path.write_text("one two three two one\n" * 30)
    text = data.text(path)
    tokenizer = tokenizers.WordLevel.train_from_chunks(text)
    config = models.RNNLanguageModelConfig(vocab_size=tokenizer.vocab_size, embedding_size=4, hidden_size=4)
    result = training.evaluate_text(models.RNNLanguageModel(config, seed=0), tokenizer, text)
    assert result.tokens == 30 * 6 - 1
    assert result.characters == 30 * 22 - len("one")
    assert result.bits_per_character == pytest.approx(result.loss * result.tokens / math.log(2) / result.characters)


# --- the package ---------------------------------------------------------------------------------------------------------


def test_importing_is_light():
    code = "import minilm.training, sys; print([m for m in ('matplotlib', 'numba', 'tqdm', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_matplotlib(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    training.train(tiny(steps=3), out=tmp_path)
    assert not (tmp_path / "loss.png").exists()


def test_progress_lines(tiny, tmp_path, monkeypatch, capsys):
    from minilm.training import log

    monkeypatch.setattr(log, "LINE_SECONDS", 0.0)
    training.train(tiny(evaluate_every=10), out=tmp_path, progress=None)
    out, error = capsys.readouterr()
    assert out == ""
    assert "characters, the last" in error and "LSTM, 1 layer of 10" in error
    assert "step 10: validation loss" in error and "characters/s" in error and " left" in error


def test_progress_bar(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    training.train(tiny(steps=60), out=tmp_path, progress=None)
    error = capsys.readouterr().err
    assert "%|" in error and "loss" in error
