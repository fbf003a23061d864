"""Training in bfloat16 on the CPU reaches float32's loss, keeps float32 weights and goes on bit for bit, or it is refused."""

import numpy as np
import pytest

import minilm
from minilm import cli, models, training
from minilm.ops import target
from minilm.training import settings
from minilm.training.train import stored_config
from minilm.weights.tensor_file import TensorFile

pairs = pytest.mark.skipif(not target.bfloat16_units(), reason=f"{target.chosen()} has no AVX512-BF16")
SMALL = ["batch=8", "time=32", "steps=60", "optimizer.lr=5e-3", "log_every=20", "sample.tokens=0", "schedule.name=constant"]
MODELS = {
    "gpt": ["model.model_type=gpt", "model.n_layer=2", "model.n_embd=48", "model.n_head=4"],
    "lstm": ["model.cell=lstm", "model.hidden_size=64", "model.embedding_size=32"],
}


def run(out, *sets, **options):
    config = settings.configuration(None, sets=[*SMALL, *sets], options={})
    return training.train(config, out=out, progress=False, **options)


def weights(folder):
    with TensorFile(folder / "model.safetensors") as file:
        assert {entry.dtype for entry in (file[name] for name in file)} == {"F32"}
        return {name: file.read(name) for name in file}


@pairs
@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_is_that_of_float32(tmp_path, kind):
    """After 60 steps the validation losses differ by less than 0.02 nats, when they have fallen by more than a half."""
    exact = run(tmp_path / "float32", *MODELS[kind])
    rounded = run(tmp_path / "bf16", *MODELS[kind], "precision=bf16")
    assert 0 < abs(rounded.evaluation.loss - exact.evaluation.loss) < 0.02
    assert exact.evaluation.loss < np.log(exact.tokenizer.vocab_size) - 0.5
    assert weights(tmp_path / "bf16").keys() == weights(tmp_path / "float32").keys()


@pairs
def test_a_resumed_run_repeats_the_whole_one(tmp_path):
    run(tmp_path / "whole", *MODELS["gpt"], "precision=bf16", "steps=8")
    run(tmp_path / "parts", *MODELS["gpt"], "precision=bf16", "steps=5")
    again = settings.resumed(stored_config(tmp_path / "parts"), sets=["steps=8"])
    training.train(again, out=tmp_path / "parts", resume=True, progress=False)
    for name, whole in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(weights(tmp_path / "parts")[name], whole, name)


@pairs
@pytest.mark.parametrize("kind", MODELS)
def test_gradients_of_a_whole_model(kind):
    """The gradients are float32's but for 2 % of their size, those of each parameter but for 3 %."""
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 31, (2, 4, 16))
    parameters = {}
    for setting in ("float32", "bf16"):
        if kind == "gpt":
            model = models.GPT(models.GPTConfig(vocab_size=31, n_positions=16, n_embd=48, n_layer=2, n_head=4), seed=0)
        else:
            config = models.RNNLanguageModelConfig(vocab_size=31, embedding_size=32, hidden_size=64, num_layers=2, cell=kind)
            model = models.RNNLanguageModel(config, seed=0)
        with minilm.precision(setting):
            _, saved = model.forward(ids, targets)
            model.backward(saved)
        parameters[setting] = model.parameters
    exact, rounded = parameters["float32"], parameters["bf16"]
    assert 0 < np.linalg.norm(rounded.gradient_flat - exact.gradient_flat) < 0.02 * np.linalg.norm(exact.gradient_flat)
    for name, gradient in exact.gradients.items():
        assert np.linalg.norm(rounded.gradients[name] - gradient) < 0.03 * np.linalg.norm(gradient) + 1e-5, name


@pytest.mark.parametrize(
    "sets, level, message",
    [
        ("precision=bf16", "avx2", "precision 'bf16' on a CPU wants AVX512-BF16 or AMX"),
        ("precision=tf32", None, "precision 'tf32' is for a GPU: on a CPU it is 'float32' or 'bf16'"),
        ("precision=bf16", "sse", "MINILM_ISA must be one of baseline, avx, avx2, avx512, avx512_bf16, amx, got 'sse'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, capsys, monkeypatch, sets, level, message):
    if level:
        monkeypatch.setenv("MINILM_ISA", level)
    out = tmp_path / "run"
    assert cli.main(["train", "--corpus", "nowhere.txt", "--out", str(out), "--set", sets, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()


@pytest.mark.parametrize("setting", ["bf16", "float32"])
def test_auto_is_what_the_processor_has_and_is_said_and_kept(tmp_path, monkeypatch, capsys, setting):
    def unit():
        if setting == "float32":
            raise ValueError("neither")
        return target.UNITS[0]

    monkeypatch.setattr(target, "bfloat16_unit", unit)
    config = settings.configuration(None, sets=[*SMALL, *MODELS["lstm"], "precision=auto", "steps=1"])
    monkeypatch.setattr(training.trainer.Trainer, "warm_up", lambda trainer: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):  # before the first product, which this processor may not be able to make
        training.train(config, out=tmp_path / "run", progress=True)
    assert f"products   in {setting}\n" in capsys.readouterr().err
    assert stored_config(tmp_path / "run").precision == setting


def test_a_plan_for_a_named_device_wants_a_precision_by_name(capsys):
    assert cli.main(["plan", "--model", "gpt2", "--device", "a100", "--set", "precision=auto"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
