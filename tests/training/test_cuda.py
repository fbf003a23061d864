"""Models and training on a GPU, which the CPU plays here: the numbers of the CPU, and nothing that waits for the GPU."""

import numpy as np
import pytest

from minilm import devices, models, optimizers, training
from minilm.cli import main
from minilm.ops.cuda.emulated import raw
from minilm.random import Key
from minilm.training import settings
from minilm.training.train import stored_config
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

GPT = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3, "resid_pdrop": 0.1, "attn_pdrop": 0.1}
RNN = {"vocab_size": 11, "hidden_size": 9, "embedding_size": 7, "num_layers": 2, "dropout": 0.2}


def make(kind):
    if kind == "gpt":
        return models.GPT(models.GPTConfig(**GPT), seed=0)
    return models.RNNLanguageModel(models.RNNLanguageModelConfig(**RNN, cell=kind), seed=0)


def steps(model, count=3):
    """Losses, norms and weights of a few steps; and what waited for the GPU meanwhile."""
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 11, (3, 8)), rng.integers(0, 11, (3, 8))
    targets[0, 3] = -100
    optimizer = optimizers.AdamW(model.parameters, lr=1e-2, clip_norm=1.0)
    average = optimizers.WeightAverage(model.parameters, 0.9)
    if model.device == "cuda":
        ids, targets = devices.to_device((ids, targets))
    seen = []
    fake_cupy.waits.clear()
    with devices.ids_are_checked():
        for step in range(count):
            loss, saved = model.forward(ids, targets, key=Key(1, step))
            model.backward(saved)
            seen.append((loss, optimizer.step()))
            average.update()
    waits = list(fake_cupy.waits)
    return devices.to_host((seen, model.parameters.state_dict(), optimizer.state_dict(), average.state_dict())), waits


def close(a, b):
    for (path, x), (_, y) in zip(gpu.leaves(a), gpu.leaves(b), strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-3, atol=3e-5, err_msg=path)


@pytest.mark.parametrize("kind", ["gpt", "lstm", "gru", "rnn"])
def test_training_steps_are_those_of_the_cpu_and_wait_for_nothing(kind):
    on_host, _ = steps(make(kind))
    with gpu.emulated():
        on_device, waits = steps(make(kind).to("cuda"))
    close(on_host, on_device)
    assert waits == []


def test_a_model_goes_there_and_comes_back():
    with gpu.emulated():
        model = make("gpt")
        before = model.parameters.state_dict()
        assert model.device == "cpu" and model.to("cuda") is model and model.device == "cuda"
        assert devices.on_gpu(model.parameters.flat) and devices.on_gpu(model.parameters["wte.weight"])
        assert model.lm_head.weight is model.wte.weight, "tied weights stay tied"
        optimizer = optimizers.Adam(model.parameters)
        model.to("cpu")
        close(before, model.parameters.state_dict())
        with pytest.raises(ValueError, match="on cuda then, .* on cpu now"):
            optimizer.step()
        with pytest.raises(ValueError, match="missing|unexpected"):
            model.to("cuda").parameters.load_state_dict({})


def test_a_gradient_that_is_not_finite_changes_nothing():
    with gpu.emulated():
        model = make("gpt").to("cuda")
        before = model.parameters.state_dict()
        optimizer = optimizers.AdamW(model.parameters, clip_norm=1.0)
        model.parameters.gradient_flat[...] = float("nan")
        assert np.isnan(optimizer.step().get())
        close(before, model.parameters.state_dict())


def run(out, device, *more, **options):
    sets = ["steps=12", "batch=4", "time=16", "checkpoint_every=5", "sample.tokens=5", "average=0.9", *more]
    config = settings.configuration(None, sets=sets, options={"device": device, "corpus": _short_text(out.parent)})
    return training.train(config, out=out, **options)


def _short_text(folder) -> str:
    """A corpus whose validation takes the emulated device no time."""
    path = folder / "short.txt"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(np.random.default_rng(0).choice(list("abcdefgh \n"), 3000)), encoding="utf-8")
    return str(path)


SMALL = {
    "gpt": [
        "model.model_type=gpt",
        "model.n_layer=1",
        "model.n_head=2",
        "model.n_embd=16",
        "model.resid_pdrop=0.2",
        "model.attn_pdrop=0.2",
        "accumulate=2",
    ],
    "lstm": ["model.hidden_size=16", "model.embedding_size=8", "model.num_layers=1"],
}


@pytest.mark.parametrize("kind", SMALL)
def test_a_run_gives_the_cpu_s_results(tmp_path, kind):
    on_host = run(tmp_path / "host", "cpu", *SMALL[kind])
    with gpu.emulated():
        on_device = run(tmp_path / "device", "cuda", *SMALL[kind])
    assert on_device.evaluation.loss == pytest.approx(on_host.evaluation.loss, abs=1e-4)
    assert on_device.model.device == "cpu" and on_device.sample
    rows = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("host", "device")]
    assert len(rows[0]) == len(rows[1])


def test_a_checkpoint_moves_between_devices(tmp_path):
    losses = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        with gpu.emulated():
            run(out, device, *SMALL["lstm"], "steps=5")
        resumed = training.train(stored_config(out).replace(device="cpu", steps=12), out=out, resume=True)
        assert resumed.state.step == 12
        losses.append(resumed.evaluation.loss)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_steps_of_a_run_wait_only_to_log(tmp_path, monkeypatch):
    """Losses are read back where a row of the log wants them, once in log_every steps."""
    from minilm.training import trainer

    counts = []
    step = trainer.Trainer.step

    def counted(self, batch):
        before = len(fake_cupy.waits)
        result = step(self, batch)
        counts.append(len(fake_cupy.waits) - before)
        return result

    monkeypatch.setattr(trainer.Trainer, "step", counted)
    with gpu.emulated():
        run(tmp_path / "run", "cuda", *SMALL["gpt"][:-1], "log_every=6", "checkpoint_every=none")
    # the one thing that is waited for is the pinned buffer of two steps ago
    assert len(counts) == 12 and max(counts) <= 1


WIDE = (
    "model.hidden_size=80",
    "batch=2",
    "time=2",
    "optimizer.name=sgd",
    "optimizer.clip_norm=none",
)  # one multiprocessor's too many


@pytest.mark.parametrize(
    "kind, more", [("gpt", ()), ("lstm", ("optimizer.name=sgd", "optimizer.clip_norm=none")), ("lstm", WIDE)]
)
def test_steps_as_cuda_graphs_are_those_launched_kernel_by_kernel(tmp_path, kind, more):
    more = (*SMALL[kind], *more, "schedule.name=cosine", "log_every=6")
    with gpu.emulated():
        raw.launches.clear()
        launched = run(tmp_path / "launched", "cuda", *more)
        assert ("lstm_sliced_backward" in raw.launches) == ("model.hidden_size=80" in more)
        before = fake_cupy.cuda.Graph.launched
        graphed = run(tmp_path / "graphed", "cuda", *more, "cuda_graphs=true")
        assert fake_cupy.cuda.Graph.launched - before == 11, "the first step of a shape is launched kernel by kernel"
    same = [devices.to_host(result.model.parameters.state_dict()) for result in (launched, graphed)]
    for name, weights in same[0].items():
        np.testing.assert_array_equal(same[1][name], weights, name)
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("launched", "graphed")]
    columns = [[line.split(",")[:7] for line in log] for log in logs]
    assert columns[0] == columns[1]


@pytest.mark.parametrize("precision, close_to", [("tf32", 2e-3), ("bf16", 2e-2)])
def test_other_precisions(tmp_path, precision, close_to):
    exact = run(tmp_path / "host", "cpu", *SMALL["gpt"])
    with gpu.emulated():
        rounded = run(tmp_path / "device", "cuda", *SMALL["gpt"], f"precision={precision}")
    difference = abs(rounded.evaluation.loss - exact.evaluation.loss)
    assert 0 < difference < close_to


@pytest.mark.parametrize("precision, close_to", [("tf32", 2e-3), ("bf16", 1e-2)])
def test_attention_is_trained_on_tensor_cores(precision, close_to):
    """A step of a GPT in a precision that rounds: loss and norm are float32's but for that, attention's kernels version 3."""

    on_host, _ = steps(make("gpt"), 1)
    with gpu.emulated():
        from minilm.ops.cuda import products

        raw.launches.clear()
        with products.precision(precision):
            on_device, waits = steps(make("gpt").to("cuda"), 1)
        assert waits == []
        launched = [name for name in raw.launches if name.startswith("attention_")]
    wanted = ["attention_forward_3"] * 2 + ["attention_rows_of_D", "attention_dquery_3", "attention_dkey_dvalue_3"] * 2
    assert launched == wanted, "two layers"
    (loss, norm), (rounded_loss, rounded_norm) = on_host[0][0], on_device[0][0]
    assert 0 < abs(rounded_loss - loss) < close_to
    assert 0 < abs(rounded_norm - norm) < 2 * close_to


def test_a_loss_that_is_not_finite_is_told_with_its_step(tmp_path):
    with gpu.emulated(), pytest.raises(training.NonFiniteError, match="at step [0-9]+: first not finite is"):
        run(tmp_path / "run", "cuda", *SMALL["gpt"], "optimizer.lr=1e30", "schedule.name=constant", "optimizer.clip_norm=none")


def test_without_a_gpu_one_line_says_what_is_missing(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    out = tmp_path / "run"
    assert main(["train", "--device", "cuda", "--steps", "2", "--out", str(out)]) == 2
    devices.gpu_status.cache_clear()
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no GPU can be used: CuPy" in error
    assert not out.exists()
