"""Recipes on a GPU, which the CPU plays here: the CPU's results, folders that open on both, and few waits."""

import json
import sys

import numpy as np
import pytest

from minilm import cli, devices, recipes
from minilm.recipes import fit
from minilm.training import loop
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu
from tests.recipes.test_sentiment import corpus, encoder
from tests.recipes.toy import Toy

QUICK = {"steps": 6, "batch": 8, "evaluate_examples": 8}
PAIRS = {**QUICK, "longest": 14, "hidden_size": 12, "embedding_size": 8, "examples": 120, "dropout": 0.2, "average": 0.9}
STORIES = {**QUICK, "examples": 60, "hidden_size": 8}
RECIPES = {
    "translate lstm": ("translate", {**PAIRS, "beams": 2}),
    "translate transformer": ("translate", {**PAIRS, "model": "transformer", "heads": 2}),
    "summarise gru": ("summarise", {**PAIRS, "model": "gru", "vocab_size": 300, "input_feeding": True}),
    "answer memory": ("answer", STORIES),
    "answer reader": ("answer", {**STORIES, "model": "reader", "embedding_size": 8}),
    "summarise copy": ("summarise", {**PAIRS, "model": "lstm", "vocab_size": 300, "copy": True}),
    "extract": ("extract", {**QUICK, "hidden_size": 8, "embedding_size": 6, "examples": 40}),
    "roles": ("roles", {**QUICK, "hidden_size": 8, "embedding_size": 6, "character_size": 5}),
    "intents": ("intents", {**QUICK, "hidden_size": 8, "embedding_size": 6, "character_size": 5}),
    "tag": ("tag", {**QUICK, "hidden_size": 8, "embedding_size": 6, "character_size": 5}),
    "sentiment lstm": ("sentiment", {**QUICK, "model": "lstm", "hidden_size": 8, "embedding_size": 6}),
    "sentiment words": ("sentiment", {**QUICK, "model": "words", "hidden_size": 8, "embedding_size": 6}),
    "answer bert": ("answer", {**STORIES, "model": "bert", "hidden_size": 32, "num_layers": 1}),
    "vectors": ("vectors", {"steps": 1, "sentences": 600, "size": 8, "negatives": 2, "window": 2}),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "toy", ("tests.recipes.toy", "Toy"))
    monkeypatch.setattr("minilm.recipes.tag.TRAIN", 40)
    monkeypatch.setattr("minilm.recipes.tag.VALIDATION", 10)
    monkeypatch.setattr("minilm.recipes.intents.TRAIN", 40)
    monkeypatch.setattr("minilm.recipes.intents.VALIDATION", 10)
    monkeypatch.setattr("minilm.recipes.sentiment.TRAIN", 40)
    monkeypatch.setattr("minilm.recipes.sentiment.VALIDATION", 10)


def run(name, options, device, out):
    """What a run gave, on a few examples for validation."""
    recipe = recipes.load(name)(**options)
    generate, few = recipe.generate, None if name == "vectors" else 8
    recipe.generate = lambda seed: [part[:few] if i else part for i, part in enumerate(generate(seed))]
    return recipe, recipe.run(device=device, out=out, progress=False)


@pytest.mark.parametrize("case", RECIPES)
def test_a_run_gives_the_cpu_s_results_and_opens_on_both(tmp_path, monkeypatch, case):
    name, options = RECIPES[case]
    if case != "translate lstm":  # one picture of attention is enough
        monkeypatch.setattr("minilm.recipes.pairs.PairRecipe.pictures", lambda *_: [])
    recipe, wanted = run(name, options, "cpu", tmp_path / "host")
    asked = wanted.samples[0][0] if name != "vectors" else "france - paris"
    if name == "answer":
        asked = "Anna went to the attic. Where is Anna?"
    with gpu.emulated():
        there, found = run(name, options, "cuda", tmp_path / "device")
        assert there.model.device == "cuda" and there.answer(asked) == recipe.answer(asked)
        weights = there.model.parameters.state_dict()
    assert found.metrics == pytest.approx(wanted.metrics, abs=1e-5) and found.chance == wanted.chance
    for key, value in recipe.model.parameters.items():
        # a bias that shifts all that a softmax reads alike has no gradient but rounding: so too the one before qa_outputs
        if key.endswith(("c_attn.bias", "key.bias", "qa_outputs.bias", "bert.encoder.layer.0.ln_2.bias")):
            continue
        np.testing.assert_allclose(weights[key], value, rtol=2e-3, atol=3e-5, err_msg=key)
    rows = [np.genfromtxt(tmp_path / part / "log.csv", delimiter=",", skip_header=1) for part in ("host", "device")]
    np.testing.assert_allclose(rows[1][..., 3], rows[0][..., 3], rtol=1e-3)  # losses
    assert sorted(path.name for path in (tmp_path / "host").iterdir()) == sorted(p.name for p in (tmp_path / "device").iterdir())
    # each folder opens on the other device
    again = recipes.open_run(tmp_path / "device")
    assert again.model.device == "cpu" and again.answer(asked) == recipe.answer(asked)
    with gpu.emulated():
        again = recipes.open_run(tmp_path / "host", "cuda")
        assert again.model.device == "cuda" and again.answer(asked) == recipe.answer(asked)


@pytest.mark.parametrize("freeze", [False, True])
def test_a_pretrained_encoder(tmp_path, freeze):
    encoder(tmp_path / "encoder")
    data = corpus(tmp_path / "data", 40)
    options = {**QUICK, "model": "bert", "encoder": str(tmp_path / "encoder"), "freeze": freeze, "average": 0.9}
    recipe, there = (recipes.load("sentiment")(**options) for _ in range(2))
    wanted = recipe.run(data, progress=False)
    with gpu.emulated():
        found = there.run(data, device="cuda", progress=False)
        assert there.answer("a good film") == recipe.answer("a good film")
    assert found.metrics == pytest.approx(wanted.metrics, abs=1e-5)


@gpu.on_a_real_one
@pytest.mark.parametrize("case", RECIPES)
def test_a_run_on_a_real_one(tmp_path, case):
    name, options = RECIPES[case]
    _, wanted = run(name, options, "cpu", None)
    _, found = run(name, options, "cuda", tmp_path / "run")
    assert found.metrics == pytest.approx(wanted.metrics, abs=0.1) and recipes.open_run(tmp_path / "run").model.device == "cpu"


def test_steps_wait_for_their_pinned_buffers_alone(monkeypatch):
    counts = []
    forward_backward = loop.forward_backward

    def counted(*arguments):
        counts.append(len(fake_cupy.waits))
        return forward_backward(*arguments)

    monkeypatch.setattr(loop, "forward_backward", counted)
    monkeypatch.setattr(fit, "ROWS", 2)
    with gpu.emulated():
        result = Toy(steps=130, average=0.9, evaluate_every=65).run(device="cuda", progress=False)
    assert result.metrics["accuracy"] > 0.8
    each = np.diff(counts[1:])  # between the first step and the last
    assert (each <= 1).sum() > 120 and (each > 1).sum() <= 6, each


def test_a_loss_that_is_not_finite_ends_the_run():
    with gpu.emulated(), pytest.raises(ArithmeticError, match="at step [0-9]+: a smaller lr than 1e"):
        Toy(lr=1e30, clip_norm=0.0, steps=100).run(device="cuda", progress=False)


def test_precision():
    exact = Toy(steps=30)
    exact.run(progress=False)
    with gpu.emulated():
        rounded = Toy(steps=30, precision="bf16")
        rounded.run(device="cuda", progress=False)
        difference = np.abs(devices.to_host(rounded.model.parameters.flat) - exact.model.parameters.flat).max()
    assert 1e-6 < difference < 0.5
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'tf32', 'bf16', got 'fp8'"):
        Toy(precision="fp8")


def test_the_commands(tmp_path, capsys):
    argv = ["recipe", "toy", "--out", str(tmp_path / "run"), "--steps", "60", "--quiet", "--json", "--device", "cuda"]
    with gpu.emulated():
        assert cli.main(argv) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] > 0.8
        assert cli.main(["try", str(tmp_path / "run"), "abc", "--device", "cuda"]) == 0
    assert capsys.readouterr().out == "a\n"
    assert (
        "precision = float32   one of float32, tf32, bf16" in (cli.main(["recipe", "toy", "--keys"]), capsys.readouterr().out)[1]
    )


def test_without_a_gpu_one_line_says_what_is_missing(tmp_path, capsys, monkeypatch):
    Toy(steps=2).run(out=tmp_path / "run", progress=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    try:
        for argv in (["recipe", "toy", "--out", str(tmp_path / "new")], ["try", str(tmp_path / "run"), "a"]):
            assert cli.main([*argv, "--device", "cuda"]) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and "no GPU can be used: CuPy" in error
        assert cli.main(["recipe", "toy", "--device", "tpu"]) == 2
        assert "device must be one of cpu, cuda, got 'tpu'" in capsys.readouterr().err
    finally:
        devices.gpu_status.cache_clear()
    assert not (tmp_path / "new").exists()
