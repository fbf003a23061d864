"""GPT and BERT through the training loop: resumed runs, batches in parts, recipes, evaluation."""

import json

import numpy as np
import pytest

from minilm import cli, generation, models, training
from minilm.ops.workspace import Workspace
from minilm.random import Key
from minilm.training import step
from tests.ops import gpu
from tests.training.helpers import contents, log_without_times

GPT = {"model_type": "gpt", "n_embd": 12, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
BERT = {"model_type": "bert", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
PIECES = {"kind": "wordpiece", "vocab_size": 60, "lower": True}
KINDS = {"gpt": {"model": GPT}, "bert": {"model": BERT, "tokenizer": PIECES}}


@pytest.fixture
def small(corpus):
    def make(kind, **changes):
        options = {"corpus": corpus, "steps": 8, "batch": 4, "time": 16, "log_every": 3, "checkpoint_seconds": "none"}
        return training.configuration(options={**options, "sample": {"tokens": 12}, **KINDS[kind], **changes})

    return make


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_run_that_never_stopped(small, tmp_path, kind, accumulate):
    training.train(small(kind, accumulate=accumulate), out=tmp_path / "whole")
    training.train(small(kind, accumulate=accumulate, steps=5, schedule={"name": "constant"}), out=tmp_path / "first")
    whole = training.train(small(kind, accumulate=accumulate, schedule={"name": "constant"}), out=tmp_path / "constant")
    resumed = training.train(
        small(kind, accumulate=accumulate, schedule={"name": "constant"}), out=tmp_path / "first", resume=True
    )
    assert contents(tmp_path / "first") == contents(tmp_path / "constant") != contents(tmp_path / "whole")
    assert resumed.evaluation == whole.evaluation and resumed.sample == whole.sample
    assert log_without_times(tmp_path / "first")[-2:] == log_without_times(tmp_path / "constant")[-2:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_loaded_and_evaluated_again(small, tmp_path, kind, capsys):
    result = training.train(small(kind), out=tmp_path / "run")
    run = training.load_run(tmp_path / "run")
    assert type(run.model) is type(result.model) and np.array_equal(run.model.parameters.flat, result.model.parameters.flat)
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert f"{result.evaluation.loss:.4f}" in capsys.readouterr().out
    assert result.state.config.carried is False and (result.sample is None) == (kind == "bert")


def test_the_loss_of_a_gpt_is_that_of_its_windows(small, tmp_path):
    model = training.train(small("gpt"), out=tmp_path / "run").model
    tokens = np.random.default_rng(1).integers(0, model.config.vocab_size, 70)
    found = training.evaluate(model, tokens, rows=2)
    total = 0.0
    for start in range(0, 69, 16):
        window = tokens[start : start + 17]
        total += float(model.loss(window[None, :-1], window[None, 1:])) * (len(window) - 1)
    assert found.tokens == 69 and found.loss == pytest.approx(total / 69, rel=1e-6)


# --- batches in parts ------------------------------------------------------------------------------------------------


def made(kind):
    rng = np.random.default_rng(3)
    if kind == "rnn":
        config = models.RNNLanguageModelConfig(vocab_size=9, embedding_size=4, hidden_size=5, cell="lstm")
        model = models.RNNLanguageModel(config, seed=1, dtype=np.float64)
    elif kind == "gpt":
        drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = models.GPT(
            models.GPTConfig(vocab_size=9, n_embd=8, n_layer=2, n_head=2, n_positions=6, **drops), dtype=np.float64
        )
    else:
        settings = {**BERT, "vocab_size": 9, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = models.from_config(settings, dtype=np.float64)
    for value in model.parameters.values():
        value[...] = 0.5 * rng.standard_normal(value.shape)
    ids, targets = rng.integers(1, 9, (2, 6, 5))
    targets[0, 1:] = targets[3:, 2] = -100  # the parts differ in how many targets they have
    if kind == "bert":
        return model, (ids, targets, np.zeros_like(ids), np.ones(ids.shape, bool), rng.integers(0, 2, 6)), None
    return model, (ids, targets), model.initial_state(6) if kind == "rnn" else None


@pytest.mark.parametrize("parts", [2, 3, 6])
@pytest.mark.parametrize("kind", ["rnn", "gpt", "bert"])
def test_parts_of_a_batch_add_up_to_it(kind, parts):
    model, batch, state = made(kind)
    with Workspace():
        loss, after = step.forward_backward_parts(model, batch, state, [Key(0)], step.counts(model, batch, 1))
    gradient = model.parameters.gradient_flat.copy()
    model.parameters.zero_gradients()
    with Workspace(poison=True):
        again, after_parts = step.forward_backward_parts(model, batch, state, [Key(0)] * parts, step.counts(model, batch, parts))
    assert again == pytest.approx(loss, rel=1e-12)
    assert np.allclose(model.parameters.gradient_flat, gradient, rtol=1e-9, atol=1e-13 + 1e-12 * np.abs(gradient).max())
    if kind == "rnn":
        assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(after, after_parts, strict=True))


def test_a_part_without_targets_counts_for_nothing():
    model, (ids, targets), _ = made("gpt")
    targets[:3] = -100
    targets_of_parts = step.counts(model, (ids, targets), 2)
    loss, _ = step.forward_backward_parts(model, (ids, targets), None, [Key(0)] * 2, targets_of_parts)
    assert loss == pytest.approx(float(model.loss(ids[3:], targets[3:])), rel=1e-12)


# --- settings --------------------------------------------------------------------------------------------------------


def test_the_model_names_the_recipe():
    config = training.configuration(options={"model": {"model_type": "gpt"}})
    assert config.recipe == "gpt" and config.kind == "gpt" and config.carried is False
    assert config.model["n_positions"] == config.time == 64 and config.optimizer.decay == "matrices"
    assert training.configuration(options={"model": {"model_type": "bert"}}).recipe == "bert"
    assert training.configuration(options={"model": {"cell": "gru"}}).recipe == "default"
    wide = training.configuration(options={"time": 32, "model": {"model_type": "gpt", "n_positions": 128}})
    assert wide.model["n_positions"] == 128
    other = training.configuration("words", options={"model": {"model_type": "gpt"}})
    assert other.kind == "gpt" and "tied" not in other.model


@pytest.mark.parametrize(
    "options, message",
    [
        ({"carried": True}, "carried is for recurrent models: a gpt has no state to carry"),
        ({"batch": 10, "accumulate": 4}, "accumulate must divide batch, got accumulate=4 and batch=10"),
        (
            {"time": 128, "model": {"model_type": "gpt", "n_positions": 64}},
            "time must be at most model.n_positions, got time=128",
        ),
        ({"model": {"model_type": "gpt", "n_embd": 10}}, "n_embd must be a multiple of n_head, got 10 and 4"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        training.configuration("gpt", options={"model": {"model_type": "gpt"}, **options})


# --- the command line ------------------------------------------------------------------------------------------------


def test_bert_from_the_command_line(corpus, tmp_path, capsys):
    run = str(tmp_path / "run")
    sets = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2", "batch=8", "time=24"]
    words = ["train", "--model", "bert", "--corpus", corpus, "--out", run, "--steps", "20", "--quiet", "--set"]
    assert cli.main([*words, sets[0], *(word for each in sets[1:] for word in ("--set", each))]) == 0
    assert "nats a masked token" in capsys.readouterr().out
    assert cli.main(["fill-mask", run, "--text", "the [MASK] fox [MASK]", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("%") == 6 and "mask 2 of 2" in out
    loaded = training.load_run(run)
    found = generation.fill_mask(loaded.model, loaded.tokenizer, "the [MASK] fox", 1000)
    assert sum(filling.probability for filling in found[0]) == pytest.approx(1, abs=1e-9)
    assert [f.probability for f in found[0]] == sorted((f.probability for f in found[0]), reverse=True)
    for text, message in (
        ("the fox", r"text must hold [MASK] at least once"),
        ("[MASK] " * 30, "more than the model's context of 24"),
    ):
        assert cli.main(["fill-mask", run, "--text", text]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["generate", run]) == 2
    assert "does not write" in capsys.readouterr().err


def test_bert_guesses_and_is_measured_on_a_gpu_as_on_the_cpu(corpus, tmp_path, capsys):
    """On one that the CPU plays; to guess waits once, for the probabilities at the masks."""
    run = str(tmp_path / "run")
    sets = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2", "batch=8", "time=24"]
    words = ["train", "--model", "bert", "--corpus", corpus, "--out", run, "--steps", "5", "--quiet"]
    assert cli.main([*words, *(word for each in sets for word in ("--set", each))]) == 0
    capsys.readouterr()
    found = {}
    for device in ("cpu", "cuda"):
        with gpu.emulated():
            assert cli.main(["fill-mask", run, "--text", "the [MASK] fox [MASK]", "--json", "--device", device]) == 0
            masks = json.loads(capsys.readouterr().out)["masks"]
            assert cli.main(["evaluate", run, "--json", "--device", device]) == 0
            found[device] = masks, json.loads(capsys.readouterr().out)
    for mine, other in zip(found["cpu"][0], found["cuda"][0], strict=True):
        assert [f["probability"] for f in mine] == pytest.approx([f["probability"] for f in other], rel=1e-4)
    assert found["cpu"][1]["loss"] == pytest.approx(found["cuda"][1]["loss"], rel=1e-5)
    loaded = training.load_run(run)
    with gpu.emulated():
        loaded.model.to("cuda")
        gpu.fake_cupy.waits.clear()
        generation.fill_mask(loaded.model, loaded.tokenizer, "the [MASK] fox [MASK]")
        assert gpu.fake_cupy.waits == ["get"]
