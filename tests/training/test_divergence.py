"""Losses, gradients and weights that are not finite: where it began is named, nothing bad is saved, steps may be skipped."""

import numpy as np
import pytest

from minilm import training
from minilm.training.train import _new, _run
from tests.training.helpers import contents, one_line

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_loss_that_is_not_finite(tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(checkpoint_every=5), tmp_path, False)
    real = trainer.step

    def poisoned(batch):
        if trainer.state.step == 7:
            trainer.model.parameters["recurrent.weight_hh_l0"][3, 2] = np.nan
        return real(batch)

    monkeypatch.setattr(trainer, "step", poisoned)
    with pytest.raises(training.NonFiniteError) as error:
        _run(trainer, False)
    trainer.close()
    assert "the loss is nan at step 8: first not finite is the parameter recurrent.weight_hh_l0" in one_line(error)
    assert f"The checkpoint of step 5 in {tmp_path} is kept" in str(error.value)
    assert training.load_run(tmp_path).state.step == 5
    assert training.train(out=tmp_path, resume=True).state.step == 24


@pytest.mark.parametrize("clip", [1.0, "none"])
def test_a_gradient_that_is_not_finite(clip, tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(optimizer={"clip_norm": clip}), tmp_path, False)
    real = trainer.model.backward

    def poisoned(saved, **options):
        real(saved, **options)
        if trainer.state.step == 3:
            trainer.model.parameters.gradients["output.weight"][0, 0] = np.inf

    monkeypatch.setattr(trainer.model, "backward", poisoned)
    with pytest.raises(training.NonFiniteError, match="not finite at step 4: first not finite is the gradient of output.weight"):
        _run(trainer, False)
    trainer.close()
    assert np.isfinite(training.load_run(tmp_path).model.parameters.flat).all()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_steps_that_are_not_finite_are_skipped(what, tiny, tmp_path, monkeypatch):
    config = tiny(non_finite="skip", model={"dropout": 0.2})
    trainer, weights = _new(config, tmp_path / "run", False), {}
    forward, backward = trainer.model.forward, trainer.model.backward

    def bad():
        weights[trainer.state.step] = trainer.model.parameters.flat.copy()
        return trainer.state.step in (3, 4)

    def poisoned_forward(*arguments, **options):
        loss, saved = forward(*arguments, **options)
        return (np.float32("nan") if bad() and what == "loss" else loss), saved

    def poisoned_backward(saved, **options):
        backward(saved, **options)
        if trainer.state.step in (3, 4) and what == "gradient":
            trainer.model.parameters.gradients["output.weight"][0, 0] = np.inf

    monkeypatch.setattr(trainer.model, "forward", poisoned_forward)
    monkeypatch.setattr(trainer.model, "backward", poisoned_backward)
    monkeypatch.setattr(trainer.model, "diagnose", lambda *_, **__: "a number that the test put there")
    result = _run(trainer, False)
    trainer.close()
    assert result.state.skipped == 2 and result.state.step == 24 and np.isfinite(weights[23]).all()
    assert np.array_equal(weights[3], weights[5]) and not np.array_equal(weights[5], weights[6])
    assert training.load_run(tmp_path / "run").state.skipped == 2
    assert np.isfinite(training.read_log(tmp_path / "run")["loss"][:8]).all()


def test_a_run_that_skips_everything_ends(tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(non_finite="skip", steps=10**6), tmp_path, False)
    monkeypatch.setattr(trainer, "warm_up", lambda: None)
    trainer.model.parameters["recurrent.weight_hh_l0"][3, 2] = np.nan
    with pytest.raises(training.NonFiniteError, match="at step 101: first not finite is the parameter recurrent.weight_hh_l0"):
        _run(trainer, False)
    trainer.close()
    assert training.load_run(tmp_path).state.step == 0


def test_skipping_is_for_the_cpu(tiny):
    with pytest.raises(ValueError, match="non_finite='skip' is for the device 'cpu'"):
        tiny(non_finite="skip", device="cuda")


def test_weights_that_are_not_finite_are_not_saved(tiny, tmp_path):
    trainer = _new(tiny(), tmp_path, False)
    before = contents(tmp_path)
    trainer.model.parameters["embedding.weight"][0] = np.inf
    with pytest.raises(training.NonFiniteError, match="parameter embedding.weight is not finite"):
        trainer.save()
    trainer.close()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_step_that_does_not_finish_leaves_no_gradients(error, tiny, tmp_path, monkeypatch):
    trainer = _new(tiny(), tmp_path, False)
    real = trainer.model.backward

    def interrupted(saved, **options):
        real(saved, **options)
        if trainer.state.step == 3:
            raise error

    monkeypatch.setattr(trainer.model, "backward", interrupted)
    with pytest.raises(error):
        _run(trainer, False)
    trainer.close()
    assert not trainer.model.parameters.gradient_flat.any()
