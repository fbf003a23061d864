"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

import dataclasses
import os

import pytest

from minilm import training
from minilm.training.train import _new, _resumed, _run
from minilm.training.trainer import Trainer
from tests import clocks
from tests.training.helpers import contents, log_without_times

HARD = {  # everything that a checkpoint has to remember
    "model": {"num_layers": 2, "dropout": 0.3, "weight_dropout": 0.2},
    "schedule": {"name": "plateau", "factor": 2.0, "threshold": 0.5},  # the threshold makes it divide in so short a run
    "average": 0.9,
    "evaluate_every": 7,
    "evaluate_tokens": 200,
}
KINDS = {
    "hard": HARD,
    "lstm, cosine": {"schedule": {"name": "cosine", "warmup": 0.1}},
    "gru, random windows, adamw": {
        "model": {"cell": "gru", "dropout": 0.2},
        "carried": False,
        "optimizer": {"name": "adamw", "weight_decay": 0.1, "decay": "matrices", "amsgrad": True, "clip_norm": "none"},
    },
    "rnn, sgd, epochs": {
        "model": {"cell": "rnn"},
        "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9},
        "schedule": {"name": "epoch-decay", "after": 1},
        "epochs": 0.2,
        "batch": 2,
        "time": 8,
    },
    "byte pairs": {"tokenizer": {"kind": "bpe", "vocab_size": 300}, "batch": 2, "time": 8},
    "words": {"tokenizer": {"kind": "word", "lower": True}, "model": {"tied": True}, "batch": 2, "time": 8},
}

pytestmark = pytest.mark.usefixtures("undrawn")


class Killed(Exception):
    """Stands for a process that ends between two steps, without a word."""


def train_until(trainer, step, monkeypatch):
    """Run a trainer that ends after so many steps, with what its last checkpoint had and no more."""
    real = trainer.step

    def limited(batch):
        if trainer.state.step == step:
            raise Killed
        return real(batch)

    monkeypatch.setattr(trainer, "step", limited)
    with pytest.raises(Killed):
        _run(trainer, False)
    trainer.close()


def outcome(folder):
    run = training.load_run(folder)
    state = dataclasses.replace(run.state, seconds=0.0, log_bytes=0, log_sha256="")
    return contents(folder), log_without_times(folder), dataclasses.asdict(state)


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_twice_is_undisturbed(kind, tiny, tmp_path, monkeypatch):
    config = tiny(checkpoint_every=5, **KINDS[kind])
    whole = training.train(config, out=tmp_path / "whole")
    train_until(_new(config, tmp_path / "cut", False), 9, monkeypatch)  # the checkpoint is of step 5
    assert training.load_run(tmp_path / "cut").state.step == 5
    assert training.read_log(tmp_path / "cut")["step"][-1] > 5  # rows that must be cut off
    train_until(_resumed(None, tmp_path / "cut"), 12, monkeypatch)
    assert training.load_run(tmp_path / "cut").state.step == 10
    resumed = training.train(out=tmp_path / "cut", resume=True)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    assert resumed.evaluation == whole.evaluation and resumed.sample == whole.sample


def test_the_hard_run_is_hard(tiny, tmp_path):
    """What the test above says of "hard" it says only if the schedule divides and the state outlives a step."""
    result = training.train(tiny(**HARD), out=tmp_path / "run")
    assert result.state.schedule["divisions"] >= 1
    assert result.state.epoch < 1 and result.state.config.carried


def test_a_finished_run_resumed_is_unchanged(tiny, tmp_path):
    training.train(tiny(), out=tmp_path)
    before = outcome(tmp_path)
    result = training.train(out=tmp_path, resume=True)
    assert outcome(tmp_path) == before
    assert result.state.step == 24 and result.sample


def test_more_steps(tiny, tmp_path):
    """With a constant learning rate a longer budget gives what it had given from the start."""
    training.train(tiny(steps=20), out=tmp_path / "whole")
    training.train(tiny(steps=10), out=tmp_path / "cut")
    result = training.train(tiny(steps=20), out=tmp_path / "cut", resume=True)
    constant = {"schedule": {"name": "constant"}}
    assert result.state.step == 20 and result.state.finished
    training.train(tiny(steps=20, **constant), out=tmp_path / "whole2")
    training.train(tiny(steps=10, **constant), out=tmp_path / "cut2")
    training.train(tiny(steps=20, **constant), out=tmp_path / "cut2", resume=True)
    assert contents(tmp_path / "whole2") == contents(tmp_path / "cut2")


def test_minutes_go_on_where_they_stood(tiny, tmp_path, monkeypatch):
    config = tiny(minutes=0.5 / 60, checkpoint_every=20)
    with clocks.stopped() as clock:
        monkeypatch.setattr(Trainer, "step", clock.after(0.01, Trainer.step))
        trainer = _new(config, tmp_path, False)
        train_until(trainer, 45, monkeypatch)
        assert training.load_run(tmp_path).state.seconds == pytest.approx(0.4)
        clock.advance(3600)
        result = training.train(out=tmp_path, resume=True)
    assert result.state.step == 50 and result.state.seconds == pytest.approx(0.5) and result.state.finished
    log = training.read_log(tmp_path)
    assert log["lr"][-2] < 0.1 * max(log["lr"][:10])  # the cosine came down with the clock
    assert log["seconds"] == sorted(log["seconds"])


@pytest.mark.parametrize(
    "changes, names",
    [
        ({"seed": 1}, "seed is 0 there, got 1"),
        ({"model": {"hidden_size": 12}}, "model.hidden_size is 10 there, got 12"),
        ({"optimizer": {"lr": 1.0}}, "optimizer.lr is 0.006 there, got 1.0"),
        ({"batch": 5}, "batch is 4 there, got 5"),
    ],
)
def test_other_settings_are_refused(tiny, tmp_path, changes, names):
    training.train(tiny(steps=3), out=tmp_path)
    before = outcome(tmp_path)
    with pytest.raises(ValueError, match=names):
        training.train(tiny(**changes), out=tmp_path, resume=True)
    assert outcome(tmp_path) == before


def test_another_text_is_refused(tiny, tmp_path, corpus):
    mine = tmp_path / "mine.txt"
    mine.write_bytes(open(corpus, "rb").read())
    training.train(tiny(corpus=str(mine), steps=3), out=tmp_path / "run")
    moved = tmp_path / "moved.txt"
    os.rename(mine, moved)
    with pytest.raises(ValueError, match="there is no file .*mine.txt"):
        training.train(out=tmp_path / "run", resume=True)
    training.train(tiny(corpus=str(moved), steps=5), out=tmp_path / "run", resume=True)  # the same text elsewhere
    moved.write_bytes(moved.read_bytes().replace(b"fox", b"cat", 1))
    with pytest.raises(ValueError, match="moved.txt is not the text that .* was trained on: sha256"):
        training.train(out=tmp_path / "run", resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        training.train(out=tmp_path / "none", resume=True)
    with pytest.raises(FileNotFoundError, match="there is no run in .*: it has no training.json"):
        training.train(out=tmp_path, resume=True)
    assert not os.path.exists(tmp_path / "none")
