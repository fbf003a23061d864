"""The recipe intents: a small run, its data, and files that are wrong."""

import pytest

from minilm import cli, recipes
from minilm.recipes import requests
from minilm.recipes.intents import Intents

SMALL = {"embedding_size": 24, "hidden_size": 24, "character_size": 8, "lr": 8e-3, "dropout": 0.1}


def write(folder, texts="play Abba\nwake me at six\n", slots="O B-artist\nO O O B-time\n", labels="Play\nAlarm\n"):
    for part in ("train", "valid"):
        (folder / part).mkdir(exist_ok=True)
        for name, content in (("seq.in", texts), ("seq.out", slots), ("label", labels)):
            (folder / part / name).write_text(content)
    return folder


def test_requests_repeat_and_have_all_intents():
    made = requests.requests(3, 300)
    assert made == requests.requests(3, 300) != requests.requests(4, 300)
    assert {each.intent for each in made} == set(requests.PATTERNS)
    assert all(len(each.words) == len(each.tags) and "B" in {tag[0] for tag in each.tags} for each in made)


def test_intents_and_slots_are_learned(tmp_path):
    recipe = Intents(**SMALL)
    result = recipe.run(out=tmp_path, steps=300, progress=False)
    assert result.metrics["f1"] > 0.85 > 0.8 > result.chance
    assert result.metrics["intent_accuracy"] > 0.98
    assert 0.6 < result.metrics["whole_accuracy"] <= min(result.metrics["f1"], result.metrics["intent_accuracy"])
    again = recipes.open_run(tmp_path)
    assert again.answer("put on the jazz album Moka") == "PlayMusic: put on the [genre jazz] album [title Moka]"
    assert again.answer("is it cold in Bramiko").startswith("GetWeather: is it cold in [city ")
    assert again.answer(" ") == ""


def test_files_are_read_side_by_side(tmp_path):
    train, valid = Intents().read(write(tmp_path))
    assert (
        train
        == valid
        == [(("play", "Abba"), ("O", "B-artist"), "Play"), (("wake", "me", "at", "six"), (*"OOO", "B-time"), "Alarm")]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"slots": "O\nO O O B-time\n"}, "seq.out:1: 1 slots for 2 words: 'play Abba'"),
        ({"slots": "O artist\nO O O B-time\n"}, "seq.out:1: the slot 'artist'; wanted O, or B-"),
        ({"labels": "Play\n \n"}, "label:2: an empty line; wanted an intent"),
        ({"labels": "Play\n"}, "seq.in has 2 lines, seq.out has 2 lines, label has 1 lines"),
    ],
)
def test_wrong_files_end_with_one_line(tmp_path, capsys, change, says):
    write(tmp_path, **change)
    assert cli.main(["recipe", "intents", "--data", str(tmp_path), "--quiet", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no training part; wanted a folder train"):
        Intents().read(tmp_path)
    write(tmp_path)
    (tmp_path / "valid" / "label").unlink()
    with pytest.raises(ValueError, match="there is no file label"):
        Intents().read(tmp_path)


def test_bad_requests_are_left_out(tmp_path):
    recipe = Intents(bad_rows="skip")
    train, _ = recipe.read(write(tmp_path, slots="O\nO O O B-time\n"))
    assert [each.intent for each in train] == ["Alarm"] and recipe.bad_rows.count == 2
