"""Settings of several layers: for every recipe, model and order, each given key arrives and each other one is the recipe's."""

import json

import pytest

from minilm import models, training
from minilm.training import settings
from minilm.training.starting_points import RECIPES
from tests.training.test_settings import model_option

GIVEN = {  # a key of each family that no recipe sets so
    "rnn_lm": {"hidden_size": 48, "dropout": 0.45},
    "gpt": {"n_embd": 96, "resid_pdrop": 0.45},
    "llama": {"hidden_size": 192, "attention_dropout": 0.45},
    "bert": {"hidden_size": 96, "hidden_dropout_prob": 0.45},
}
OTHER = {"batch": 6, "optimizer": {"lr": 0.00625}, "schedule": {"name": "constant"}, "steps": 7}


def family_of(model):
    return model if model in RECIPES else "rnn_lm"


def as_layer(where, given, tmp_path):
    """Arguments of `configuration` that give nested settings as a file, as --set or as options."""
    if where == "file":
        path = tmp_path / "run.toml"
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.flattened(given).items()))
        return {"file": path}
    if where == "sets":
        return {"sets": [f"{key}={json.dumps(value)}" for key, value in settings.flattened(given).items()]}
    return {"options": given}


PLACES = [(model, keys) for model in ("file", "sets", "options") for keys in ("file", "sets", "options") if model != keys]


@pytest.mark.parametrize("places", PLACES, ids="-".join)
@pytest.mark.parametrize("model", settings.MODELS)
@pytest.mark.parametrize("name", [None, *RECIPES])
def test_each_given_key_arrives_and_the_others_are_the_recipe_s(name, model, places, tmp_path):
    family = family_of(model)
    keys = {**OTHER, "model": GIVEN[family]}
    layers = as_layer(places[0], {"model": model_option(model)}, tmp_path) | as_layer(places[1], keys, tmp_path)
    config = training.configuration(name, **layers)
    stored = training.RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))  # as training.json keeps it
    assert stored == config and config.kind == model

    start = RECIPES[name or (family if family in RECIPES else "default")]
    same_family = start["model"].get("model_type", "rnn_lm") == family
    expected = start["model"] if same_family else {}
    expected = {key: value for key, value in expected.items() if key != "forget_bias" or model == "lstm"}
    usual = models.config_of({"model_type": family, "vocab_size": 1}).to_dict()
    expected = {**usual, **expected, **model_option(model), **GIVEN[family]}
    context = training.config_checks.CONTEXTS.get(family)
    expected |= {context: config.time} if context else {}
    assert {"vocab_size": 1, **config.model} == expected
    assert (config.batch, config.steps, config.epochs, config.optimizer.lr) == (6, 7, None, 0.00625)
    assert config.schedule == training.ScheduleConfig("constant")  # another kind: its own defaults
    assert config.optimizer == training.OptimizerConfig(**{**start["optimizer"], "lr": 0.00625})
    assert config.tokenizer == training.TokenizerConfig(**start.get("tokenizer", {}))
    assert config.time == start["time"] and config.sample == training.SampleConfig(**start.get("sample", {}))


@pytest.mark.parametrize("name", [None, "default", "minutes", "words"])
@pytest.mark.parametrize("model", [None, *settings.CELLS])
def test_keys_of_all_layers_add_up(name, model, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[model]\nnum_layers = 3\nlayer_norm = true\n")
    options = {} if model is None else {"model": model_option(model)}
    sets = ["model.hidden_size=40", "model.embedding_size=24"]
    found = training.configuration(name, file=path, sets=sets, options=options).model
    assert (found["num_layers"], found["layer_norm"], found["hidden_size"], found["embedding_size"]) == (3, True, 40, 24)
    start = RECIPES[name or "default"]["model"]
    assert found["dropout"] == start.get("dropout", 0.0) and found["tied"] == start.get("tied", False)
    assert found["cell"] == (model or "lstm")
    assert found["forget_bias"] == (start.get("forget_bias") if found["cell"] == "lstm" else None)


def test_a_key_given_before_its_kind_arrives(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[optimizer]\nlr = 0.1\nmomentum = 0.9\n[schedule]\nfactor = 3.0\n[tokenizer]\nlower = true\n")
    config = training.configuration(file=path, sets=["optimizer.name=sgd", "schedule.name=plateau", "tokenizer.kind=word"])
    assert config.optimizer == training.OptimizerConfig("sgd", lr=0.1, momentum=0.9)
    assert config.schedule == training.ScheduleConfig("plateau", factor=3.0)
    assert config.tokenizer == training.TokenizerConfig("word", lower=True)


def test_a_layer_of_another_kind_does_not_count(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[model]\nmodel_type = "gpt"\nn_embd = 64\n[optimizer]\nname = "sgd"\nmomentum = 0.9\n')
    config = training.configuration(file=path, options={"model": model_option("gru"), "optimizer": {"name": "adamw"}})
    assert config.recipe == "default" and config.model["hidden_size"] == 256 and config.model["cell"] == "gru"
    assert config.optimizer == training.OptimizerConfig("adamw")
    path.write_text('[model]\ncell = "gru"\n')
    config = training.configuration(file=path, options={"model": model_option("lstm")})
    assert config.model["forget_bias"] == 1.0  # the recipe's: that a GRU lay between takes nothing away
    with pytest.raises(ValueError, match="forget_bias is for cell='lstm', got cell='gru'"):
        training.configuration(sets=["model.forget_bias=2"], options={"model": model_option("gru")})
