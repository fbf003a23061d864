"""Where settings come from, which wins, and what is said of wrong ones."""

import types
import warnings

import numpy as np
import pytest

from minilm import layers, training
from minilm.training import parallel, settings
from minilm.training.build import make_optimizer
from minilm.training.starting_points import RECIPES


def model_option(model):
    """What ``--model`` gives."""
    return {"model_type": "rnn_lm", "cell": model} if model in settings.CELLS else {"model_type": model}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_configuration(name):
    config = training.configuration(name)
    assert config.recipe == name
    assert training.RunConfig.from_dict(config.to_dict()) == config


def test_later_layers_win(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('corpus = "a"\nbatch = 3\ntime = 5\nseed = 1\n[optimizer]\nlr = 0.1\nbetas = [0.5, 0.6]\n')
    sets = ["batch=4", "optimizer.lr=0.2", "seed=2"]
    config = training.configuration(file=path, sets=sets, options={"seed": 3, "model": {"cell": "gru"}})
    assert (config.corpus, config.time, config.batch, config.seed) == ("a", 5, 4, 3)
    assert config.optimizer.lr == 0.2 and config.optimizer.betas == (0.5, 0.6)
    assert config.optimizer.clip_norm == RECIPES["default"]["optimizer"]["clip_norm"]
    assert config.model["cell"] == "gru" and config.model["forget_bias"] is None  # which is the LSTM's


def test_the_recipe_may_be_named_anywhere(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('recipe = "words"\n')
    assert training.configuration(file=path).tokenizer.kind == "word"
    assert training.configuration(sets=["recipe=words"]).tokenizer.kind == "word"
    assert training.configuration("default", file=path).tokenizer.kind == "character"
    assert training.configuration(file=path, sets=["recipe=gpt"]).recipe == "gpt"  # the last one that is named


def test_another_kind_starts_from_its_own_defaults():
    config = training.configuration("words", sets=["tokenizer.kind=character", "optimizer.name=sgd", "schedule.name=constant"])
    assert config.tokenizer == training.TokenizerConfig()
    assert config.optimizer == training.OptimizerConfig("sgd") and config.optimizer.lr == 1.0
    assert config.schedule == training.ScheduleConfig()
    assert training.configuration("words", sets=["optimizer.name=adam"]).optimizer.clip_norm == 0.5  # the same kind


def test_a_later_budget_replaces_the_earlier_one(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("epochs = 2\n")
    assert (training.configuration(file=path).steps, training.configuration(file=path).epochs) == (None, 2)
    config = training.configuration(file=path, sets=["steps=5"], options={"minutes": 1.5})
    assert (config.steps, config.minutes, config.epochs) == (None, 1.5, None)


def test_none_takes_a_setting_away(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('checkpoint_seconds = "none"\n[optimizer]\nclip_norm = "none"\n')
    config = training.configuration(file=path, sets=["model.forget_bias=none", "average=none"])
    assert config.checkpoint_seconds is config.optimizer.clip_norm is config.model["forget_bias"] is config.average is None
    with pytest.raises(TypeError, match="batch must be a whole number, got str 'none'"):
        training.configuration(sets=["batch=none"])


@pytest.mark.parametrize(
    "text, value",
    [
        ("a=1", 1),
        ("a = 0.5", 0.5),
        ("a=.5", 0.5),
        ("a=true", True),
        ("a=[0.9, 0.95]", [0.9, 0.95]),
        ("a=words", "words"),
        ('a="1"', "1"),
        ("a=C:\\x", "C:\\x"),
        ("a=x=y", "x=y"),
        ("a=", ""),
        ("a=1\nb=2", "1\nb=2"),
    ],
)
def test_values_of_set(text, value):
    found = settings.parse_set(text)["a"]
    assert found == value and type(found) is type(value)
    assert settings.parse_set("x.y." + text) == {"x": {"y": {"a": value}}}


BAD = [
    ("steps", "--set wants KEY=VALUE such as optimizer.lr=0.002, got 'steps'"),
    ("=3", "--set wants KEY=VALUE"),
    ("a..b=3", "--set wants KEY=VALUE"),
    ("lr=1", "unknown key 'lr' .* did you mean 'optimizer.lr'"),
    ("optimizer.lrate=1", "unknown key 'optimizer.lrate' .* did you mean 'optimizer.lr'"),
    ("hidden=1", "unknown key 'hidden' .* did you mean 'model.hidden_size'"),
    ("step=1", "unknown key 'step' .* did you mean 'steps'"),
    ("model.hiden_size=1", "unknown key 'hiden_size' .* did you mean 'hidden_size'"),
    ("model.vocab_size=7", "model.vocab_size follows from the tokenizer: set tokenizer.vocab_size"),
    ("model.model_type=gtp", "model_type must be one of 'rnn_lm', .*'gpt'.*, got 'gtp'"),
    ("zzz.zz=1", "unknown key 'zzz.zz' .* there are recipe, corpus"),
    ("optimizer=adam", "optimizer must be a table of keys such as optimizer.name, got str 'adam'"),
    ("model=lstm", "model must be a table of settings, got str 'lstm'"),
    ("corpus=3", "corpus must be a str, got int 3"),
    ("time=0", r"time must lie in \[1, 2147483648\), got 0"),
    ("batch=2.5", "batch must be a whole number, got float 2.5"),
    ("carried=yes", "carried must be True or False, got str 'yes'"),
    ("validation=1", r"validation must lie in \(0, 1\), got 1"),
    ("seed=-1", "seed must lie in"),
    ("minutes=0", "minutes must lie in"),
    ("epochs=nan", "epochs must lie in"),
    ("steps=none", "exactly one of them is wanted, got none"),
    ("errors=ignor", "errors must be one of 'strict', 'replace', 'ignore', got 'ignor'"),
    ("device=tpu", "device must be one of 'cpu', 'cuda', got 'tpu'"),
    ("precision=half", "precision must be one of 'float32', 'tf32', 'bf16', 'auto', got 'half'"),
    ("evaluate_every=often", "evaluate_every must be a number of steps or 'epoch', got 'often'"),
    ("optimizer.name=adagrad", "optimizer.name must be one of 'adam', 'adamw', 'sgd', 'rmsprop', 'lion', 'muon', got 'adagrad'"),
    ("optimizer.lr=fast", "optimizer.lr must be a number, got str 'fast'"),
    ("optimizer.lr=0", "optimizer.lr must lie in"),
    ("optimizer.betas=0.9", "optimizer.betas must be two numbers"),
    ("optimizer.momentum=0.9", "optimizer.momentum is for optimizer.name 'sgd' or 'rmsprop' or 'muon', got 'adam'"),
    ("schedule.warmup=1", "schedule.warmup must lie in"),
    ("schedule.patience=3", "schedule.patience is for schedule.name 'plateau', got 'cosine'"),
    ("tokenizer.lower=true", "tokenizer.lower is for tokenizer.kind 'word' or 'wordpiece', got 'character'"),
    ("model.dropout=1", r"dropout must lie in \[0, 1\), got 1"),
    ("model.cell=lsmt", "cell must be one of 'lstm', 'gru', 'rnn', got 'lsmt'"),
    ("sample.top_p=0", "sample.top_p must lie in"),
    ("recipe=word", "there is no recipe 'word'; did you mean 'words'"),
]


@pytest.mark.parametrize("text, message", BAD)
def test_wrong_settings(text, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        training.configuration(sets=[text])
    assert "\n" not in str(error.value)


def test_two_budgets_in_one_place(tmp_path):
    for layer in ({"sets": ["steps=1", "minutes=2"]}, {"options": {"steps": 1, "minutes": 2}}):
        with pytest.raises(ValueError, match="give one of them, got steps=1 and minutes=2"):
            training.configuration(**layer)
    path = tmp_path / "run.toml"
    path.write_text("steps = 1\nepochs = 2\n")
    with pytest.raises(ValueError, match="got steps=1 and epochs=2"):
        training.configuration(file=path)


def test_wrong_toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("batch = \n")
    with pytest.raises(ValueError, match=r"run.toml is not TOML: .*line 1, column 9"):
        training.configuration(file=path)
    path.write_bytes(b'corpus = "\xff"\n')
    with pytest.raises(ValueError, match="run.toml is not TOML"):
        training.configuration(file=path)
    with pytest.raises(FileNotFoundError):
        training.configuration(file=tmp_path / "none.toml")


def test_a_budget_in_minutes_starts_from_a_recipe_of_its_own(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("minutes = 2.0")
    assert training.configuration().recipe == "default"
    assert training.configuration(sets=["steps=5"]).recipe == "default"
    assert training.configuration(sets=["minutes=none"]).recipe == "default"
    assert training.configuration(options={"minutes": 1.0}).recipe == "minutes"
    assert training.configuration(file=path).recipe == "minutes"
    assert training.configuration(file=path, sets=["steps=5"]).recipe == "default"
    assert training.configuration("words", file=path).recipe == "words"


def test_the_settings_that_are_printed_give_the_same_run_and_may_be_changed(tmp_path, capsys):
    from minilm.cli import main

    assert main(["train", "--recipe", "words", "--model", "gru", "--set", "model.hidden_size=99", "--keys"]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "run.toml"
    path.write_text(printed)
    assert main(["train", "--config", str(path), "--keys"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["train", "--config", str(path), "--model", "lstm", "--minutes", "2", "--keys"]) == 0
    changed = {"model.cell": '"lstm"', "epochs": '"none"', "minutes": "2.0"}
    lines = [line.partition(" = ") for line in printed.splitlines()]
    assert capsys.readouterr().out.splitlines() == [f"{key} = {changed.get(key, value)}" for key, _, value in lines]


def test_a_section_is_no_value():
    for sets in (["model=lstm", "model.hidden_size=3"], ["model.hidden_size=3", "model=lstm"]):
        with pytest.raises(TypeError, match="model must be a table of settings, got str 'lstm'"):
            training.configuration(sets=sets)


@pytest.mark.parametrize("changes", [["model.hidden_size=16"], ["model.dropout=0.5"], ["optimizer.lr=0.1"]])
def test_a_resumed_run_refuses_another_value_whatever_else_is_said(changes):
    config = training.configuration("words", options={"model": model_option("gru")})
    assert settings.resumed(config, options={"model": model_option("gru")}) == config
    with pytest.raises(ValueError, match=f"--resume goes on with the run's own settings: {changes[0].partition('=')[0]} is"):
        settings.resumed(config, sets=changes, options={"model": model_option("gru")})


def test_what_a_file_gave_for_another_kind_is_told(tmp_path):
    file = tmp_path / "gpt.toml"
    file.write_text('[model]\nmodel_type = "gpt"\nn_layer = 3\n[optimizer]\nname = "sgd"\nmomentum = 0.9\n')
    with pytest.warns(UserWarning, match="left out: model.n_layer; model.model_type is 'rnn_lm' now, and they were given for"):
        config = training.configuration(file=file, options={"model": {"model_type": "rnn_lm", "cell": "gru"}})
    assert config.model["cell"] == "gru" and config.optimizer.momentum == 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing that a user gave is left out here
        training.configuration("words", options={"model": {"model_type": "rnn_lm", "cell": "gru"}})
        training.configuration("words", sets=["optimizer.name=sgd"])


DEEP = ["[" * 5000, "[" * 100 + "]" * 100, "{a=" * 5000, "9" * 5000, "9" * 400]


@pytest.mark.parametrize("value", DEEP)
@pytest.mark.parametrize("key", ["batch", "model.hidden_size", "optimizer.lr"])
def test_deep_and_huge_values_are_told_in_one_line(key, value, tmp_path):
    """Those of a file, and those of --set, where what is no TOML is a text."""
    path = tmp_path / "run.toml"
    path.write_text(f"{key} = {value}\n")
    for given in ({"file": path}, {"sets": [f"{key}={value}"]}):
        with pytest.raises((ValueError, TypeError)) as error:
            training.configuration(**given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [100, 5000])
def test_a_key_of_many_parts(count, tmp_path):
    key = ".".join("a" * count)
    (tmp_path / "run.toml").write_text(f"{key} = 1\n")
    with pytest.raises(ValueError, match="run.toml is not TOML: nested"):
        settings.read_toml(tmp_path / "run.toml")
    with pytest.raises(ValueError, match="--set wants KEY=VALUE"):
        settings.parse_set(f"{key}=1")


def test_dotted_options_are_nested_ones():
    nested = training.configuration(options={"model": {"hidden_size": 8, "num_layers": 2}, "optimizer": {"lr": 0.5}, "steps": 3})
    assert (
        training.configuration(options={"model.hidden_size": 8, "model.num_layers": 2, "optimizer.lr": 0.5, "steps": 3}) == nested
    )
    with pytest.raises(ValueError, match="unknown key 'optimizer.lrr' .* did you mean 'optimizer.lr'"):
        training.configuration(options={"optimizer.lrr": 1})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"non_finite": "skip"}, "non_finite='skip' is for one process"),
        ({"batch": 1}, "micro_shards must be at least 2"),
    ],
)
def test_what_several_processes_cannot_do(options, message, monkeypatch):
    monkeypatch.setattr(parallel.distributed, "current", lambda: types.SimpleNamespace(name="mpi", size=2))
    config = training.configuration(options={"batch": 4})
    assert parallel.settled(config).micro_shards == 4
    with pytest.raises(ValueError, match=message):
        parallel.settled(config.replace(**options))


def test_muon_has_as_many_iterations_as_the_settings_say():
    muon = ["optimizer.name=muon", "optimizer.clip_norm=none"]
    weights = []
    for sets in ([], ["optimizer.ns_steps=5"], ["optimizer.ns_steps=2"]):
        linear = layers.Linear(4, 6, seed=0)
        linear.parameters.gradient_flat[...] = np.arange(linear.parameters.flat.size) % 5 - 1.5
        make_optimizer(training.configuration("default", sets=[*muon, *sets]), linear.parameters).step(0.1)
        weights.append(linear.weight.value.copy())
    assert (weights[0] == weights[1]).all() and (weights[0] != weights[2]).any()
    with pytest.raises(ValueError, match="optimizer.ns_steps is for optimizer.name 'muon', got 'adam'"):
        training.configuration("default", sets=["optimizer.ns_steps=3"])
