"""minilm train of a BERT on a device: the CPU's results, checkpoints that move, evaluation."""

import numpy as np
import pytest

from minilm import data, training
from minilm.cli import main
from minilm.training import evaluation, settings
from minilm.training.train import stored_config
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

SETS = ["tokenizer.vocab_size=120", "batch=4", "time=16", "log_every=6", "model.num_hidden_layers=1", "model.hidden_size=12"]
SETS += ["model.num_attention_heads=2", "average=0.9"]


def run(out, device, corpus, *more, **options):
    config = settings.configuration(
        None, sets=[*SETS, *more], options={"device": device, "corpus": corpus, "model": {"model_type": "bert"}}
    )
    return training.train(config, out=out, **options)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    words = np.random.default_rng(0).choice("the fox ran home and slept by old fire while rain fell".split(), 600)
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(". ".join(" ".join(words[start : start + 6]) for start in range(0, 600, 6)))
    return str(path)


@pytest.mark.parametrize("options", [("accumulate=1",), ("accumulate=2",), ("cuda_graphs=true",)], ids=str)
def test_a_run_gives_the_cpu_s_results(tmp_path, corpus, options, monkeypatch):
    from minilm.training import trainer

    counts, step = [], trainer.Trainer.step

    def counted(self, batch):
        before = len(fake_cupy.waits)
        result = step(self, batch)
        counts.append(len(fake_cupy.waits) - before)
        return result

    more = ["steps=12", "checkpoint_every=5", "evaluate_every=6"]
    on_host = run(tmp_path / "host", "cpu", corpus, *more, *options)
    monkeypatch.setattr(trainer.Trainer, "step", counted)
    with gpu.emulated():
        on_device = run(tmp_path / "device", "cuda", corpus, *more, *options)
    # the one thing that is waited for is the pinned buffer of two steps ago; and once the capture of a graph
    assert len(counts) == 12 and max(counts) <= 1 + ("graphs" in options[0]) and max(counts[2:]) <= 1
    assert on_device.evaluation == pytest.approx(on_host.evaluation, abs=2e-4, nan_ok=True)
    assert on_device.model.device == "cpu" and on_device.sample is None
    rows = [training.read_log(tmp_path / name) for name in ("host", "device")]
    np.testing.assert_allclose(rows[1]["loss"], rows[0]["loss"], atol=2e-4)
    np.testing.assert_allclose(rows[1]["gradient_norm"], rows[0]["gradient_norm"], rtol=2e-3)


def test_a_checkpoint_moves_between_devices(tmp_path, corpus):
    losses = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        other = "cuda" if device == "cpu" else "cpu"
        with gpu.emulated():
            run(out, device, corpus, "steps=5")
            resumed = training.train(stored_config(out).replace(device=other, steps=10), out=out, resume=True)
        assert resumed.state.step == 10
        losses.append(resumed.evaluation.loss)
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


@gpu.on_a_real_one
@pytest.mark.parametrize("more", [("accumulate=1",), ("accumulate=2",), ("cuda_graphs=true",)], ids=str)
def test_a_run_on_a_real_gpu(tmp_path, corpus, more):
    found = [run(tmp_path / device, device, corpus, "steps=12", *more).evaluation for device in ("cpu", "cuda")]
    assert found[1].loss == pytest.approx(found[0].loss, abs=2e-3)


def test_a_run_of_a_gpu_is_explained_on_the_cpu(tmp_path, corpus, capsys):
    with gpu.emulated():
        run(tmp_path / "run", "cuda", corpus, "steps=2")
        assert training.load_run(tmp_path / "run").model.device == "cpu"
        words = ["--text", "the fox ran", "--steps", "4", "--out", str(tmp_path / "page.html")]
        assert main(["explain", str(tmp_path / "run"), *words]) == 0
    assert "surprisal" in capsys.readouterr().out and (tmp_path / "page.html").exists()


def test_masked_evaluation(tmp_path, corpus):
    found = run(tmp_path / "run", "cpu", corpus, "steps=2")
    tokens = data.tokens(data.text(corpus), found.tokenizer)[:300]
    on_host = evaluation.evaluate_masked(found.model, tokens, found.tokenizer, time=16)
    with gpu.emulated():
        on_device = evaluation.evaluate_masked(found.model.to("cuda"), tokens, found.tokenizer, time=16)
    assert on_device[:2] == pytest.approx(on_host[:2], rel=1e-5) and on_device[3:] == pytest.approx(on_host[3:])


def test_a_loss_that_is_not_finite_is_told_with_its_step(tmp_path, corpus):
    more = ["steps=12", "optimizer.lr=1e30", "schedule.name=constant", "optimizer.clip_norm=none", "average=none"]
    with gpu.emulated(), pytest.raises(training.NonFiniteError, match="at step [0-9]+: first not finite is"):
        run(tmp_path / "run", "cuda", corpus, *more)
