"""Callbacks of Sequential: Keras's, and those of minilm's own training."""

import numpy as np
import pytest

from minilm import sequential, training
from minilm.sequential import (
    Dense,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    Sequential,
    TerminateOnNaN,
    load_model,
    optimizers,
)
from tests.sequential.test_model import X, Y, made


def test_early_stopping_and_checkpoints(tmp_path, capsys):
    seen = []
    stop = EarlyStopping(monitor="loss", patience=1, min_delta=10, restore_best_weights=True, verbose=1)
    keep = ModelCheckpoint(tmp_path / "model-{epoch:02d}-{loss:.2f}.keras", verbose=1)
    model = made()
    history = model.fit(
        X, Y, epochs=9, verbose=0, callbacks=[stop, keep, LambdaCallback(on_epoch_end=lambda e, logs: seen.append(e))]
    )
    assert history.epoch == [0, 1] == seen and stop.stopped_epoch == 1
    assert "early stopping" in capsys.readouterr().out
    first, second = sorted(tmp_path.iterdir())
    assert first.name.startswith("model-01-")
    np.testing.assert_array_equal(
        load_model(first).predict(X, verbose=0), model.predict(X, verbose=0)
    )  # the best epoch's weights
    assert not np.array_equal(load_model(second).predict(X, verbose=0), model.predict(X, verbose=0))


def test_best_only_and_what_is_watched(tmp_path):
    model, path = made(), tmp_path / "best"
    keep = ModelCheckpoint(path, monitor="accuracy", save_best_only=True, save_weights_only=True)
    history = model.fit(X, Y, epochs=6, verbose=0, callbacks=[keep])
    assert keep.best == max(history.history["accuracy"])
    with pytest.warns(UserWarning, match="'val_loss', which is not there; there are loss, accuracy") as warned:
        model.fit(X, Y, verbose=0, callbacks=[EarlyStopping()])
    assert warned[0].filename == __file__
    with pytest.raises(ValueError, match="asks for 'val_loss'; there are epoch, loss"):
        model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(str(tmp_path / "{val_loss}"))])
    with pytest.raises(TypeError, match="has no 'on_epoch'"):
        LambdaCallback(on_epoch=print)


def test_callbacks_of_minilm_training_hear_of_steps():
    class Steps(training.Callback):
        def __init__(self):
            self.events = []

        def on_train_begin(self, loop):
            self.events.append("begin")

        def on_step_end(self, loop):
            self.events.append((loop.state.step, round(loop.loss, 3)))
            if loop.state.step == 5:
                loop.stop()

        def on_validation_end(self, loop, evaluation):
            self.events.append(sorted(evaluation))

        def on_train_end(self, loop):
            self.events.append("end")

    steps, losses, epochs = Steps(), [], []
    seen = LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]), on_epoch_end=lambda epoch, logs: epochs.append(epoch)
    )
    options = {"batch_size": len(X) // 3, "shuffle": False, "validation_data": (X, Y), "epochs": 4, "verbose": 0}
    made().fit(X, Y, callbacks=[seen, steps], **options)
    of_steps = [event for event in steps.events if isinstance(event, tuple)]
    assert [step for step, _ in of_steps] == [1, 2, 3, 4, 5] and epochs == [0, 1] and len(losses) == 5
    assert of_steps[0][1] == round(losses[0], 3) and of_steps[3][1] == round(losses[3], 3), "the first of an epoch"
    measured = ["val_accuracy", "val_loss"]
    assert [event for event in steps.events if not isinstance(event, tuple)] == ["begin", measured, measured, "end"]


def test_learning_rates():
    model = made()
    plateau = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10, min_lr=3e-4)
    model.fit(X, Y, epochs=5, verbose=0, callbacks=[plateau])
    assert model.optimizer.learning_rate == pytest.approx(3e-4)
    for cooldown, rates in ((0, [8, 8, 4, 2, 1, 0.5]), (1, [8, 8, 4, 2, 1, 0.5]), (3, [8, 8, 4, 4, 4, 2])):  # Keras's own
        model = made(optimizer=optimizers.SGD(8.0))
        plateau = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=1e9, cooldown=cooldown)
        assert model.fit(X, Y, epochs=6, verbose=0, callbacks=[plateau]).history["learning_rate"] == rates
    schedule = sequential.LearningRateScheduler(lambda epoch, rate: 0.1 / (1 + epoch))
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[schedule])
    assert model.optimizer.learning_rate == pytest.approx(0.05)
    rates = []
    model = made(optimizer=optimizers.SGD(lambda step: rates.append(step) or 0.1))
    model.fit(X, Y, epochs=1, batch_size=40, verbose=0)
    assert rates == [0, 1, 2]


def test_a_loss_that_is_not_finite_can_end_training(capsys):
    """The first step makes a weight of 1e30, and the next loss the square of a number beyond float32, on any processor."""
    model = Sequential([Dense(1)], seed=0)
    model.compile(loss="mse", optimizer=optimizers.SGD(1e30))
    losses = []
    seen = LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(np.ones((64, 1)), np.full(64, 7.0), epochs=3, batch_size=16, verbose=0, callbacks=[TerminateOnNaN(), seen])
    assert "not finite" in capsys.readouterr().out and len(model.history.epoch) == 1
    assert np.isfinite(losses[0]) and len(losses) < 4
