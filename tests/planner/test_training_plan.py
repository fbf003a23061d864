"""Plans of runs: against models that are made, steps that are taken, published figures, and what settings change."""

import dataclasses
import json

import numpy as np
import pytest

from minilm import Workspace, cli, models
from minilm.planner import cluster, cost, training_plan
from minilm.planner.training_plan import plan, planned_config, split, variants
from minilm.random import Key
from tests.planner.test_planner import TWO_CORES

V = 300
SMALL = {
    "lstm": ["model.embedding_size=48", "model.hidden_size=96", "model.num_layers=2"],
    "gru": ["model.embedding_size=64", "model.hidden_size=96"],
    "gpt": ["model.n_layer=3", "model.n_embd=96", "model.n_head=4"],
    "llama": ["model.num_hidden_layers=3", "model.hidden_size=96", "model.intermediate_size=256"],
    "bert": ["model.hidden_size=96", "model.num_hidden_layers=3", "model.intermediate_size=200"],
}


def planned(name, *sets, devices=1):
    config, _ = planned_config(name, [*SMALL[name], "batch=16", "time=64", *sets])
    return plan(config, V, cluster.of_machine(TWO_CORES, devices)), config


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_counted_exactly(name):
    result, config = planned(name)
    assert result.parameters == models.from_config({**config.model, "vocab_size": V}, seed=0).parameters.count


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru", "gpt", "llama"])
def test_memory_is_within_15_percent_of_a_step_that_is_taken(name, recompute):
    if recompute and name not in ("gpt", "llama"):
        pytest.skip("recurrent models recompute nothing")
    result, config = planned(name, *["model.recompute=true"] * recompute)
    model, workspace = models.from_config({**config.model, "vocab_size": V}, seed=0), Workspace()
    ids = np.random.default_rng(0).integers(0, V, (config.batch, config.time))
    for step in range(2):
        with workspace.step():
            _, saved = model.forward(ids, ids, key=Key(0, step))
            model.backward(saved)
    assert result.memory["activations"] + result.memory["working"] == pytest.approx(workspace.nbytes, rel=0.15)
    assert result.needed == pytest.approx(workspace.nbytes + 4 * model.parameters.flat.nbytes, rel=0.15)


def test_published_figures():
    devices = cluster.cluster("h100", 1024, "bf16")
    config, vocabulary = planned_config("gpt3-175b", ["precision=bf16"], 1024)
    result = plan(config, vocabulary, devices)
    assert result.parameters == pytest.approx(174.6e9, rel=1e-3)
    assert 300e9 * result.flops == pytest.approx(3.14e23, rel=0.03)  # Brown et al., table D.1: attention's products left out
    assert not result.fits and split(result) > 30
    config, vocabulary = planned_config("gpt2")
    result = plan(config, vocabulary, cluster.cluster("a100", 8, "bf16"))
    assert result.parameters == 124_439_808 and result.tokens == 2**19


D20 = ["model.n_layer=20", "model.n_embd=1280", "model.n_head=10", "time=2048", "model.n_positions=2048", "batch=256"]
D20 += ["model.tie_word_embeddings=false"]
# (preset, changes, vocabulary, device, tokens a step, seconds of a step): the sources stand in the book's chapter on planning
PUBLISHED = {
    "llm.c, GPT-2 124M, A100": ("gpt2", [], 50_257, "a100", 2**19, 5400 / 19_073),
    "llm.c, GPT-2 124M, H100": ("gpt2", [], 50_257, "h100", 2**19, 2700 / 19_073),
    "nanochat, d20, A100": ("gpt2-large", D20, 65_536, "a100", 2**19, 0.991),
    "nanochat, d20, H100": ("gpt2-large", D20, 65_536, "h100", 2**19, 10_800 / 21_400),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_steps_lie_within_a_quarter_of_the_plan(name):
    preset, sets, vocabulary, device, tokens, seconds = PUBLISHED[name]
    config, _ = planned_config(preset, ["precision=bf16", *sets], 8)
    result = plan(config, vocabulary, cluster.cluster(device, 8, "bf16"))
    assert result.tokens == tokens and result.step == pytest.approx(seconds, rel=0.25)


def test_products_hide_their_bytes_on_a_gpu():
    part = cost.linear(4096, 768, 768)
    gpu = cluster.cluster("a100", 1, "bf16").machine
    cpu = dataclasses.replace(gpu, overlaps=0)
    products, operands = part.products / gpu.matmul, part.operands / gpu.bandwidth
    assert part.seconds(cpu, update=False) - part.seconds(gpu, update=False) == pytest.approx(min(products, operands), rel=0.2)


def test_gpt_sizes_are_the_models_own():
    for name, (family, size, _) in training_plan.PRESETS.items():
        config, vocabulary = planned_config(name)
        made = getattr(models.GPTConfig, family)(size)
        assert plan(config, vocabulary, cluster.of_machine(TWO_CORES, 1)).parameters == made.parameter_count, name


def test_what_settings_change():
    base, _ = planned("gpt")
    parts, _ = planned("gpt", "accumulate=4")
    assert parts.memory["activations"] == base.memory["activations"] / 4 and parts.memory["weights"] == base.memory["weights"]
    assert parts.flops == base.flops and parts.step >= base.step
    again, _ = planned("gpt", "model.recompute=true")
    assert again.memory["activations"] < base.memory["activations"] / 2 and again.step > base.step and again.flops > base.flops
    two, _ = planned("gpt", devices=2)
    assert two.wire == 4 * two.parameters and two.memory["activations"] == base.memory["activations"] / 2
    assert planned("gpt", devices=4)[0].wire == 1.5 * two.wire and base.wire == 0
    sgd, _ = planned("gpt", "optimizer.name=sgd", "average=0.9")
    assert sgd.memory["optimizer"] == 0 and sgd.memory["average"] == base.memory["weights"]


@pytest.mark.skipif(
    "shard_optimizer" not in training_plan.RunConfig.__dataclass_fields__, reason="there is no shard_optimizer yet"
)
def test_zero_1_shares_the_optimizer():
    two, sharded = planned("gpt", devices=2)[0], planned("gpt", "shard_optimizer=true", devices=2)[0]
    assert sharded.memory["optimizer"] == two.memory["optimizer"] / 2 and sharded.wire == two.wire


def test_a_batch_that_cannot_be_shared():
    config, _ = planned_config("gpt", ["batch=10"])
    with pytest.raises(ValueError, match="batch=10 rows cannot be shared by 4 devices and accumulate=1: give a multiple of 4"):
        plan(config, V, cluster.of_machine(TWO_CORES, 4))


def test_variants_name_what_would_fit():
    config, _ = planned_config("gpt", [*SMALL["gpt"], "batch=64", "time=64"])
    whole = variants(config, V, cluster.of_machine(TWO_CORES, 1))
    assert [each.change for each in whole] == ["as it is", "model.recompute=true", "accumulate=64", "all of these"]
    assert whole[0].memory > whole[1].memory > whole[3].memory


# --- the command ---------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path, capsys):
    TWO_CORES.save(tmp_path / "machine.json")
    machine = ["--machine", str(tmp_path / "machine.json")]
    assert cli.main(["plan", "--model", "lstm", "--tokens", "1e6", *machine]) == 0
    out = capsys.readouterr().out
    assert "memory of a device" in out and "device-hours" in out and "activations" in out
    assert cli.main(["plan", "--model", "gpt3-175b", "--gpus", "1024", "--device", "h100", "--set", "precision=bf16"]) == 1
    assert "minilm does not split a model over devices" in capsys.readouterr().out
    assert cli.main(["plan", "--model", "gpt2", "--gpus", "2", "--device", "a100", "--json", "--tokens", "1e9"]) in (0, 1)
    content = json.loads(capsys.readouterr().out)
    assert content["parameters"] == 124_439_808 and content["total"]["flops"] == 1e9 * content["flops"]
    assert {"as it is", "model.recompute=true"} <= {each["change"] for each in content["variants"]}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "gpt4"], "there is no model 'gpt4' to plan; did you mean 'gpt"),
        (["--model", "gpt2", "--device", "a10"], "there is no device 'a10'; did you mean 'a100'"),
        (["--model", "gpt2", "--gpus", "0"], "--gpus must lie in"),
        (["--model", "gpt2", "--device", "a100", "--set", "model.n_layers=3"], "unknown"),
    ],
)
def test_mistakes_are_one_line(words, says, capsys):
    assert cli.main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1


def test_a_kind_without_a_plan_is_refused_in_one_line(capsys):
    assert cli.main(["plan", "--model", "transformer", "--device", "a100"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("family", ["gemma2", "qwen3", "mixtral"])
def test_relatives_of_llamas(family):
    """Parameters exactly; of a mixture k of E experts compute, and the others weigh all the same."""
    result, config = planned("llama", f"model.family={family}", "model.head_dim=32")
    assert result.parameters == models.from_config({**config.model, "vocab_size": V}, seed=0).parameters.count
    if family == "mixtral":
        fewer, _ = planned("llama", f"model.family={family}", "model.head_dim=32", "model.num_experts_per_tok=1")
        assert fewer.flops < result.flops and fewer.parameters == result.parameters


def test_published_llamas():
    for name, parameters, keys in (("llama2-7b", 6_738_415_616, 32 * 128), ("llama3-8b", 8_030_261_248, 8 * 128)):
        config, vocabulary = planned_config(name)
        result = plan(config, vocabulary, cluster.cluster("h100", 64, "bf16"))
        assert result.parameters == parameters
        assert result.cache == 2 * 4 * 32 * keys * config.time  # keys and values in float32, 32 layers
        maps = parameters - 4096 * vocabulary  # all but the table, which is looked up
        attention = 12 * 32 * 4096 * config.time / 2  # of a token, forward and backward, half of the keys on average
        assert result.flops == pytest.approx(6 * maps + attention * 7 / 6, rel=0.01)  # with the scores' recomputation
    config, vocabulary = planned_config("mixtral-8x7b")
    result = plan(config, vocabulary, cluster.cluster("h100", 64, "bf16"))
    assert result.parameters == 46_702_792_704 and 12.5e9 < result.flops / 6 < 13.5e9  # "13B active", and attention


def test_a_window_bounds_keys_and_work():
    sets = ["model.family=mistral", "time=512", "model.max_position_embeddings=512"]
    whole, near = planned("llama", *sets)[0], planned("llama", *sets, "model.sliding_window=32")[0]
    assert near.flops < whole.flops and near.cache == whole.cache / 16


@pytest.mark.parametrize("device", ["a100", "h100"])
@pytest.mark.parametrize("name", ["gpt2", "gpt2-xl", "llama3-1b", "lstm", "bert"])
def test_no_step_is_quicker_than_its_products(name, device):
    for precision in ("float32", "bf16"):
        config, vocabulary = planned_config(name, [f"precision={precision}"])
        result = plan(config, vocabulary, cluster.cluster(device, 1, precision))
        assert 0 < result.products <= result.seconds["forward and backward"]
