"""A setting that changes nothing beside the others is refused, and not passed over."""

import pytest

from minilm import cli, recipes

IDLE = [
    ("translate", {"heads": 8}, "heads is for model='transformer', got model='lstm'"),
    ("translate", {"vocab_size": 99}, "vocab_size is for tokens='bpe', got tokens='characters'"),
    (
        "translate",
        {"model": "transformer", "attention": "dot"},
        "attention is for model='lstm' or 'gru', got model='transformer'",
    ),
    ("summarise", {"norm_first": False, "model": "gru"}, "norm_first is for model='transformer', got model='gru'"),
    (
        "translate",
        {"length_penalty": 0.6},
        "length_penalty is for a search of several beams, got length_penalty=0.6 and beams=1",
    ),
    ("translate", {"no_repeat": 3}, "no_repeat is for a search of several beams, got no_repeat=3 and beams=1"),
    ("sentiment", {"ngrams": 3}, "ngrams is for model='words', got model='lstm'"),
    ("sentiment", {"pooling": "cls"}, "pooling is for model='bert', got model='lstm'"),
    ("sentiment", {"model": "words", "num_layers": 2}, "num_layers is for model='lstm' or 'gru', got model='words'"),
    ("tag", {"feature_size": 9}, "feature_size is for what feature_column names, got feature_size=9 alone"),
    ("tag", {"characters": False, "character_size": 9}, "character_size is for characters=True, got characters=False"),
    ("vectors", {"precision": "bf16"}, "the recipe vectors makes no use of precision, got precision='bf16'"),
    ("vectors", {"batch": 9}, "the recipe vectors makes no use of batch"),
]


@pytest.mark.parametrize("name, settings, message", IDLE)
def test_idle_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        recipes.load(name)(**settings).refuse_idle()


def test_of_a_new_run_and_in_one_line(tmp_path, capsys):
    words = ["recipe", "translate", "--set", "heads=8", "--steps", "1", "--out", str(tmp_path / "run")]
    assert cli.main(words) == 2 and not (tmp_path / "run").exists()
    assert capsys.readouterr().err == "minilm: heads is for model='transformer', got model='lstm'\n"


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_defaults_and_what_is_needed_pass(name):
    kind = recipes.load(name)
    kind().refuse_idle()
    for key, (other, values) in kind.needs.items():
        assert key not in kind.defaults() or other in kind.defaults(), (key, other)
        assert values is None or set(values) <= set(kind.among().get(other, values))
    assert set(kind.idle) <= set(kind.defaults())


def test_streams_are_for_a_gpu():
    vectors = recipes.load("vectors")(streams=2)
    vectors.refuse_idle("cuda")
    with pytest.raises(ValueError, match=r"streams is for a GPU \(device='cuda'\), got streams=2 on a CPU"):
        vectors.refuse_idle("cpu")
