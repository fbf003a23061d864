"""A run that starts from another model: its weights and tokenizer to the bit, and nothing else of it."""

import numpy as np
import pytest

from minilm import data, models, tokenizers, training
from minilm.cli import main
from minilm.data import corpus
from minilm.training import configuration, load_run
from minilm.training.replay import read_record, replay

SMALL = {"batch": 2, "time": 8, "steps": 3, "log_every": 1, "corpus": "stories", "evaluate_tokens": 64, "sample": {"tokens": 4}}
NONE = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """A run of a character LSTM, and folders of a GPT and a Llama with more ids than their tokenizer has."""
    folder = tmp_path_factory.mktemp("parents")
    settings = {**SMALL, "model": {"model_type": "rnn_lm", "cell": "lstm", "embedding_size": 8, "hidden_size": 16}}
    training.train(configuration(options=settings), out=folder / "lstm")
    with open(corpus("stories"), encoding="utf-8") as file:
        tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(file.read(5000), vocab_size=270)
    gpt = models.GPTConfig(vocab_size=272, n_positions=32, n_embd=16, n_layer=1, n_head=2, **NONE)
    llama = models.LlamaConfig(
        vocab_size=272,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    for name, model in (("gpt", models.GPT(gpt, seed=1)), ("llama", models.Llama(llama, seed=1))):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("kind", ["lstm", "gpt", "llama"])
def test_the_first_step_sees_the_parents_loss(kind, parents, tmp_path):
    parent = load_run(parents / kind)
    settings = {**SMALL, "init_from": str(parents / kind)}
    config = configuration(options=settings)
    usual = configuration(options={**SMALL, "model": {"model_type": config.model["model_type"]}})
    assert np.isclose(config.optimizer.lr, usual.optimizer.lr / 10)
    result = training.train(config, out=tmp_path / "run")
    text = data.text("stories").split(0.1)[0]
    batches = data.batches(data.tokens(text, parent.tokenizer), 2, 8, seed=0, carried=config.carried)
    ids, targets = batches.batch(0)
    loss = parent.model.forward(ids, targets)[0]
    record = read_record(tmp_path / "run")
    assert record.rows[1][1] == float(loss)
    assert result.tokenizer == parent.tokenizer
    again = load_run(tmp_path / "run")
    assert again.tokenizer == parent.tokenizer and again.model.config.vocab_size == parent.model.config.vocab_size
    before, after = parent.model.parameters.state_dict(), again.model.parameters.state_dict()
    assert all(0 < np.abs(before[name] - after[name]).max() < 0.1 for name in before)
    assert replay(record, 0).fault is None
    more = configuration(options={**settings, "steps": 5})
    training.train(config, out=tmp_path / "run", overwrite=True)
    (parents / kind).rename(parents / "away")  # a run that has begun needs its parent no longer
    try:
        stored = training.train(more.replace(init_from=str(parents / kind)), out=tmp_path / "run", resume=True)
    finally:
        (parents / "away").rename(parents / kind)
    assert stored.state.step == 5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model.n_layer": 2}, "model.n_layer is 2, and 1 in "),
        ({"model.layer_norm_epsilon": 0.5}, "model.layer_norm_epsilon is 0.5, and 1e-05 in "),
        ({"tokenizer.kind": "character"}, "the tokenizer is that of init_from"),
        ({"init_from": "/no/such"}, "there is no folder /no/such"),
        ({"init_from": 3}, "init_from must be a str|expected str|not int"),
        ({"time": 64}, "time must be at most model.n_positions"),
    ],
)
def test_what_does_not_go_on(options, message, parents, tmp_path):
    with pytest.raises((ValueError, OSError, TypeError), match=message):
        training.train(configuration(options={**SMALL, "init_from": str(parents / "gpt"), **options}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_dropout_may_differ_and_the_command_says_where_it_starts(parents, tmp_path, capsys):
    words = ["train", "--init-from", str(parents / "gpt"), "--steps", "1", "--out", str(tmp_path / "run")]
    sets = ["--set", "time=8", "--set", "batch=2", "--set", "model.resid_pdrop=0.5", "--set", "sample.tokens=0"]
    assert main([*words, *sets]) == 0
    assert f"from       {parents / 'gpt'}" in capsys.readouterr().err
    run = load_run(tmp_path / "run")
    assert run.config.model["resid_pdrop"] == 0.5 and run.config.init_from == str(parents / "gpt")


def test_a_text_of_ones_own_is_a_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("minilm.data.sources.cache_folder", lambda *parts: str(tmp_path))
    text = data.text(["one two", "three"])
    assert (
        configuration(options={"corpus": text}).corpus
        == text.path
        == configuration(options={"corpus": tmp_path / "a"}).replace(corpus=text).corpus
    )
    with pytest.raises(ValueError, match="corpus must be a whole text.*got a part of one"):
        configuration(options={"corpus": text.split(0.5)[0]})


def test_a_folder_of_another_kind_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"recipe": "sentiment"}')
    with pytest.raises(ValueError, match=f"{tmp_path} holds a model of the recipe sentiment: wanted a language model"):
        configuration(options={"init_from": str(tmp_path)})
