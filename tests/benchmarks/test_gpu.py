"""The benchmark of GPUs: every case runs on the GPU that the CPU plays; without any, the CPU's implementations are compared."""

import json
import sys

import numpy as np
import pytest

from benchmarks import cases_gpu, cases_gpu_models
from benchmarks.__main__ import main
from minilm import devices, generation, models, ops
from tests.ops import gpu

SOME = (
    "check softmax",
    "check lstm B",
    "gpu softmax",
    "gpu gru B 5 T 5 D 5 H 5",
    "training step",
    "decoding, B 1,",
    "three minutes",
)


@pytest.mark.slow
def test_the_whole_command_runs(tmp_path, capsys):
    run(tmp_path, capsys, [], {*ops.registry(), "gpt", "nanogpt"})


def test_a_case_of_each_kind_runs(tmp_path, capsys):
    filters = [word for some in SOME for word in ("--filter", some)]
    run(tmp_path, capsys, filters, {"softmax", "lstm", "gru", "gpt", "nanogpt"})


def run(tmp_path, capsys, arguments, subjects):
    paths = {name: tmp_path / name for name in ("run.json", "run.csv", "pictures")}
    files = ["--json", str(paths["run.json"]), "--csv", str(paths["run.csv"]), "--plot", str(paths["pictures"])]
    with gpu.emulated():
        assert main(["gpu", "--quick", "--no-peers", "--minutes", "10", *files, *arguments]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "a CPU that plays a GPU" in out and "NOT TIMED" not in out
    content = json.loads(paths["run.json"].read_text())
    results = {row["name"]: row for row in content["results"]}
    assert {row["subject"] for row in results.values()} >= subjects
    softmax = next(row for name, row in results.items() if name.startswith("gpu softmax"))
    assert {"minilm", "version 1", "version 2", "cpu"} <= set(softmax["samples"])
    gru = next(row for name, row in results.items() if name.startswith("gpu gru B"))
    assert {"version 1", "version 2", "version 3", "minilm"} <= set(gru["samples"])  # the last is the fastest that fits
    assert content["machine"]["versions"]["cupy"] and content["machine"]["driver"] and content["date"]
    assert results["nanoGPT's three minutes, tinyshakespeare, validation loss"]["samples"]["minilm"]["median"] > 1
    assert paths["run.csv"].stat().st_size > 100 and list(paths["pictures"].iterdir())


def test_the_order_is_that_of_worth():
    names = [case.name for case in cases_gpu.cases()]
    assert len(set(names)) == len(names)
    words = (
        "check",
        "gpu softmax",
        "GPT-2 124M training step",
        "gpu lstm B 16 T 1,024 D 768",
        "decoding",
        "nanoGPT",
        "gpu linear N 256",
    )
    places = [next(place for place, name in enumerate(names) if word in name) for word in words]
    assert places == sorted(places)


def test_a_wrong_kernel_is_an_error(monkeypatch, capsys):
    with gpu.emulated():
        module = devices.load("minilm.ops.softmax", "gpu")
        forward = module.forward
        monkeypatch.setattr(module, "forward", lambda *a, **k: (lambda y, saved: (y * 2, saved))(*forward(*a, **k)))
        assert main(["gpu", "--quick", "--filter", "check softmax"]) == 1
    assert "wrong result" in capsys.readouterr().out


def test_names_and_list(capsys):
    with gpu.emulated():
        assert main(["gpu", "--list", "lstm"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines and all("lstm " in line for line in lines)
        assert main(["gpu", "lstn"]) == 2
        assert "did you mean 'lstm'" in capsys.readouterr().err


def test_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    assert main(["gpu", "relu", "--quick", "--no-peers"]) == 0
    devices.gpu_status.cache_clear()
    assert "no GPU can be used: CuPy" in capsys.readouterr().out


def test_the_peers_run():
    """The same code with torch on the CPU: on a GPU only the device differs."""
    torch = pytest.importorskip("torch")
    from benchmarks import cases_ops, peer_ops

    for name, op in ops.registry().items():
        if name not in (*peer_ops.OPS, *peer_ops.STEPS):
            continue
        drawn = op.draw(np.random.default_rng(0), np.float32, {letter: 3 for letter in op.dims})
        dy = None
        if op.backward:
            y, _ = devices.load(*op.package.rsplit(".", 1)).__dict__[op.forward](**drawn.arguments)
            dy = cases_ops.cotangent_of(y, np.random.default_rng(1))
        for precision in ("float32", "tf32", "bf16") if name == "attention" else ("float32", "tf32"):
            cases_gpu.torch_op(torch, op, drawn, dy, "cpu", precision)()
    config = models.GPTConfig(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=2)
    ids, targets = np.random.default_rng(0).integers(0, 11, (2, 2, 8))
    weights = models.GPT(config, seed=0).parameters.state_dict()
    for precision in ("float32", "bf16"):
        cases_gpu_models.torch_step(torch, config, weights, ids, targets, precision, device="cpu")()


def test_the_peer_decodes_the_same_tokens():
    torch = pytest.importorskip("torch")
    from benchmarks import peer_transformers

    model = models.GPT(models.GPTConfig(vocab_size=11, n_positions=16, n_embd=12, n_layer=2, n_head=2), seed=0)
    for value in model.parameters.values():
        value *= 5
    ids = np.random.default_rng(0).integers(0, 11, (3, 5))
    found = peer_transformers.decoder(torch, model.config, model.parameters.state_dict(), ids, 9, "cpu")()
    assert np.array_equal(found, np.stack(list(generation.stream_ids(model, ids, 9, greedy=True)), axis=1))
