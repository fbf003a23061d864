"""The events of a training loop: which come when, what a callback may ask for, and that watching changes nothing."""

import numpy as np
import pytest

from minilm import training
from tests.training.helpers import contents, log_without_times


class Recorder(training.Callback):
    """Notes every event with the step at which it came."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, loop):
        self.loop = loop
        self.events.append(("on_train_begin", loop.state.step))

    def on_step_begin(self, loop):
        self.events.append(("on_step_begin", loop.state.step))

    def on_step_end(self, loop):
        self.events.append(("on_step_end", loop.state.step))

    def on_validation_end(self, loop, evaluation):
        assert evaluation.loss == loop.state.validation["loss"]
        self.events.append(("on_validation_end", loop.state.step))

    def on_checkpoint(self, loop):
        assert training.load_run(loop.folder.path).state.step == loop.state.step
        self.events.append(("on_checkpoint", loop.state.step))

    def on_train_end(self, loop):
        self.events.append(("on_train_end", loop.state.step))

    def close(self):
        self.events.append(("close", self.loop.state.step))


def test_events_of_a_run_in_their_order(tiny, tmp_path):
    recorder = Recorder()
    training.train(tiny(steps=4, evaluate_every=2, checkpoint_every=3), out=tmp_path, callbacks=[recorder])
    step = [("on_step_begin", 0), ("on_step_end", 1)]
    assert recorder.events == [
        ("on_train_begin", 0),
        *[(name, number + count) for count in range(2) for name, number in step],
        ("on_validation_end", 2),
        *[(name, number + 2) for name, number in step],
        ("on_checkpoint", 3),
        *[(name, number + 3) for name, number in step],
        ("on_train_end", 4),
        ("on_checkpoint", 4),
        ("on_validation_end", 4),
        ("close", 4),
    ]


def test_a_run_that_is_watched_is_the_same(tiny, tmp_path):
    config = tiny(steps=6, evaluate_every=4)
    for name, callbacks in (("alone", ()), ("watched", [Recorder(), training.Callback()])):
        training.train(config, out=tmp_path / name, callbacks=callbacks)
    assert contents(tmp_path / "alone") == contents(tmp_path / "watched")
    assert log_without_times(tmp_path / "alone") == log_without_times(tmp_path / "watched")


class StopsAt(training.Callback):
    """Asks for a stop after so many steps, or when a validation has come."""

    def __init__(self, step, event="on_step_end"):
        def stop(loop, *_):
            if loop.state.step >= step:
                loop.stop()

        setattr(self, event, stop)


@pytest.mark.parametrize(
    "event, steps", [("on_step_end", 5), ("on_validation_end", 6), ("on_step_begin", 6), ("on_train_begin", 0)]
)
def test_a_stop_ends_training_and_the_run_goes_on_from_it(event, steps, tiny, tmp_path):
    """The stop is in the log and in the checkpoint; what is resumed is the undisturbed run."""
    config = tiny(steps=12, evaluate_every=3)
    stops = StopsAt(5 if steps else 0, event)
    result = training.train(config, out=tmp_path / "cut", callbacks=[stops])
    assert result.state.step == steps and not result.state.finished and result.evaluation.loss > 0
    assert training.load_run(tmp_path / "cut").state.step == steps
    training.train(out=tmp_path / "cut", resume=True)
    training.train(config, out=tmp_path / "whole")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_what_a_callback_raises_ends_training(tiny, tmp_path):
    class Fails(Recorder):
        def on_step_end(self, loop):
            super().on_step_end(loop)
            if loop.state.step == 5:
                raise LookupError("enough")

    failing = Fails()
    with pytest.raises(LookupError, match="enough"):
        training.train(tiny(checkpoint_every=2), out=tmp_path, callbacks=[failing])
    assert failing.events[-2:] == [("on_step_end", 5), ("close", 5)]
    assert training.load_run(tmp_path).state.step == 4


def test_the_rate_of_a_step_may_be_changed(tiny, tmp_path):
    class Halves(training.Callback):
        def on_step_begin(self, loop):
            loop.lr /= 2

    for name, callbacks in (("plain", ()), ("halved", [Halves()])):
        training.train(tiny(steps=4, log_every=1), out=tmp_path / name, callbacks=callbacks)
    plain, halved = (training.read_log(tmp_path / name)["lr"][:4] for name in ("plain", "halved"))
    assert halved == pytest.approx(np.array(plain) / 2)
    assert contents(tmp_path / "plain") != contents(tmp_path / "halved")


def test_what_is_no_callback_is_refused(tiny, tmp_path):
    with pytest.raises(TypeError, match="callbacks must hold instances of minilm.training.Callback, got 3"):
        training.train(tiny(), out=tmp_path / "run", callbacks=[3])
    assert not (tmp_path / "run").exists()
