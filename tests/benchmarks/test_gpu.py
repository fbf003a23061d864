"""The benchmark of GPUs: every case runs on the GPU that the CPU plays; without any, the CPU's implementations are compared."""

import json
import sys

import numpy as np
import pytest

from benchmarks.__main__ import main
from minilm import devices, generation, models, ops
from tests.ops import gpu


def test_every_case_runs(tmp_path, capsys):
    paths = [tmp_path / name for name in ("run.json", "run.csv", "run.png")]
    with gpu.emulated():
        assert main(["gpu", "--quick", "--json", str(paths[0]), "--csv", str(paths[1]), "--plot", str(paths[2])]) == 0
    out = capsys.readouterr().out
    assert "a CPU that plays a GPU" in out and "FAILED" not in out and "bf16" in out
    found = json.loads(paths[0].read_text())
    assert {row["subject"] for row in found["results"]} == {*ops.registry(), "gpt"}
    softmax = next(row for row in found["results"] if row["subject"] == "softmax")
    assert {"version 1", "version 2", "gpu", "cpu"} <= set(softmax["seconds"]) and softmax["bound"] in ("matmul", "bandwidth")
    gru = next(row for row in found["results"] if row["subject"] == "gru")
    assert {"version 1", "version 2", "version 3", "gpu"} <= set(gru["seconds"])  # "gpu" is the fastest that fits
    assert found["machine"]["versions"]["cupy"] and found["machine"]["driver"] and found["machine"]["date"]
    assert all(path.stat().st_size > 100 for path in paths)


def test_names_and_list(capsys):
    with gpu.emulated():
        assert main(["gpu", "--list", "lstm"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines and all(line.startswith("lstm ") for line in lines)
        assert main(["gpu", "lstn"]) == 2
        assert "did you mean 'lstm'" in capsys.readouterr().err


def test_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    assert main(["gpu", "relu", "--quick", "--no-peers"]) == 0
    devices.gpu_status.cache_clear()
    out = capsys.readouterr().out
    assert "no GPU can be used: CuPy" in out and "relu" in out


def test_the_peers_run():
    """The same code with torch on the CPU: on a GPU only the device differs."""
    torch = pytest.importorskip("torch")
    from benchmarks import cases_ops, gpu_cases, peers

    for name, op in ops.registry().items():
        if name not in (*peers.OPS, *peers.STEPS):
            continue
        drawn = op.draw(np.random.default_rng(0), np.float32, {letter: 3 for letter in op.dims})
        dy = None
        if op.backward:
            y, _ = devices.load(*op.package.rsplit(".", 1)).__dict__[op.forward](**drawn.arguments)
            dy = cases_ops.cotangent_of(y, np.random.default_rng(1))
        for precision in ("float32", "tf32", "bf16") if name == "attention" else ("float32", "tf32"):
            gpu_cases.torch_op(torch, op, drawn, dy, "cpu", precision)()
    config = models.GPTConfig(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=2)
    ids, targets = np.random.default_rng(0).integers(0, 11, (2, 2, 8))
    weights = models.GPT(config, seed=0).parameters.state_dict()
    for precision in ("float32", "bf16"):
        gpu_cases.torch_step(torch, config, weights, ids, targets, precision, device="cpu")()


def test_the_peer_decodes_the_same_tokens():
    torch = pytest.importorskip("torch")
    from benchmarks import peer_transformers

    model = models.GPT(models.GPTConfig(vocab_size=11, n_positions=16, n_embd=12, n_layer=2, n_head=2), seed=0)
    for value in model.parameters.values():
        value *= 5
    ids = np.random.default_rng(0).integers(0, 11, (3, 5))
    found = peer_transformers.decoder(torch, model.config, model.parameters.state_dict(), ids, 9, "cpu")()
    assert np.array_equal(found, np.stack(list(generation.stream_ids(model, ids, 9, greedy=True)), axis=1))
