"""The recipes translate and summarise, small: better than chance, kept and read again, wrong data told."""

import datetime
import os

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.data.pairs import Pair
from minilm.recipes import dates, reports

SMALL = {"hidden_size": 32, "embedding_size": 24, "examples": 600, "evaluate_examples": 40}


def test_dates_are_right_and_of_many_forms():
    pairs = dates.generate(300, 0)
    assert pairs == dates.generate(300, 0) != dates.generate(300, 1) and len({pair.source for pair in pairs}) == 300
    read = 0
    for source, target in pairs:
        date = datetime.date.fromisoformat(target)
        assert 1970 <= date.year < 2020
        for form in ("%B %d, %Y", "%d %b %Y", "%A, %B %d, %Y", "%m/%d/%y", "%d.%m.%Y"):
            try:
                assert datetime.datetime.strptime(source, form).date() == date
                read += 1
            except ValueError:
                pass
    assert read > 80


def test_headlines_tell_what_reports_say():
    for source, target in reports.generate(200, 0):
        assert all(word in source for word in target.split() if word[0].isupper() and word not in ("Storm", "Flood", "Snowfall"))
        numbers = [int(n) for n in target.replace("-", " ").split() if n.isdigit()]
        assert all(str(n) in source for n in numbers)
        if " beat " in target:
            assert numbers[0] > numbers[1]


def share(given, examples):
    """Of characters in their places: what so small a run learns."""
    pairs = zip(given, examples, strict=True)
    return float(np.mean([a == b for text, example in pairs for a, b in zip(text.ljust(10), example.target, strict=False)]))


def test_translate_beats_chance():
    recipe = recipes.load("translate")(hidden_size=64, embedding_size=32, examples=3000, steps=400, lr=1e-2, evaluate_examples=40)
    result = recipe.run(progress=False)
    assert result.metrics["exact_match"] > result.chance + 0.2 and result.chance < 0.05


@pytest.mark.parametrize("model, more", [("gru", {"attention": "luong"}), ("transformer", {"heads": 2, "lr": 3e-3})])
def test_translate_learns_and_answers_again(tmp_path, model, more):
    recipe = recipes.load("translate")(**{**SMALL, "steps": 220, "model": model, "lr": 1e-2, **more})
    result = recipe.run(out=tmp_path / "run", progress=False)
    held = dates.generate(60, 5)
    guess = share([recipe.facts["commonest"]] * 60, held)
    assert share(recipe.write([pair.source for pair in held]), held) > guess + 0.1 and result.chance < 0.05
    again = recipes.open_run(tmp_path / "run")
    text = "May 19, 1985"
    assert again.answer(text) == recipe.answer(text) and len(again.answer("§")) >= 0
    assert (tmp_path / "run" / "attention.png").read_bytes().startswith(b"\x89PNG")
    weights, source, target = again.alignment(text)
    assert (
        weights.shape == (len(target), len(source)) and "".join(source) == text and np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    )


def test_summarise_beats_the_first_words():
    recipe = recipes.load("summarise")(**{**SMALL, "steps": 400, "vocab_size": 500, "lr": 1e-2, "dropout": 0.0})
    result = recipe.run(progress=False)
    assert result.metrics["rouge_l"] > result.chance + 0.1
    assert set(result.metrics) == {"rouge_1", "rouge_2", "rouge_l", "exact_match"}


def test_parallel_text_is_measured_by_bleu(tmp_path, capsys):
    pytest.importorskip("sacrebleu")
    nouns, verbs = {"hund": "dog", "mann": "man", "frau": "woman"}, {"sieht": "sees", "mag": "likes", "sucht": "looks for"}
    sentences = [
        (f"Der {a} {v} den {b} am {n}. Tag.", f"On day {n} the {nouns[a]} {verbs[v]} the {nouns[b]}.")
        for a in nouns for v in verbs for b in nouns for n in range(1, 25)
    ]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(sentences))
    for part, rows in (("train", order[40:]), ("val", order[:40])):
        for side, name in enumerate(("de", "en")):
            (tmp_path / f"{part}.{name}").write_text("".join(f"{sentences[i][side]}\n" for i in rows))
    sets = [
        "hidden_size=32",
        "layers=1",
        "heads=2",
        "vocab_size=330",
        "steps=150",
        "batch=32",
        "lr=0.01",
        "dropout=0.0",
        "average=0.9",
    ]
    argv = ["recipe", "translate", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--quiet"]
    assert cli.main([*argv, *(word for each in sets for word in ("--set", each))]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("bleu"))
    value, guess = float(line.split()[1]), float(line.split()[-1].rstrip(")"))
    assert value > guess + 15
    again = recipes.open_run(tmp_path / "run")
    assert again.facts["metric"] == "bleu" and again.answer("Der hund sieht den mann am 3. Tag.").startswith("On day")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("translate", "12+3_15\n12+4 16\n", ':2: no tab and no "_"'),
        ("summarise", "a long report\ta headline\nanother report\n", ":2: no tabs in 'another report'; wanted text<TAB>summary"),
    ],
)
def test_wrong_data_are_told_in_one_line(tmp_path, capsys, name, text, says):
    path = tmp_path / "data.txt"
    path.write_text(text)
    status = cli.main(["recipe", name, "--data", str(path), "--out", str(tmp_path / "run"), "--quiet"])
    err = capsys.readouterr().err
    assert status == 2 and says in err and err.count("\n") == 1


def test_without_attention_there_is_no_map(tmp_path, capsys):
    argv = ["recipe", "translate", "--out", str(tmp_path / "run"), "--quiet", "--steps", "2", "--set", "attention=none"]
    sets = ["examples=50", "hidden_size=8", "reverse=true", "peeky=true"]
    assert cli.main([*argv, *(word for each in sets for word in ("--set", each))]) == 0
    assert not (tmp_path / "run" / "attention.png").exists()
    assert recipes.open_run(tmp_path / "run").options["attention"] is None
    assert cli.main(["recipe", "translate", "--keys"]) == 0
    assert "attention = bahdanau   one of none, bahdanau, luong, dot" in capsys.readouterr().out


def test_data_by_path_choose_their_settings(tmp_path):
    recipe = recipes.load("translate")(dropout=0.4)
    recipe.facts = {"metric": "bleu"}
    recipe.adapt([Pair("a", "b")])
    assert recipe.options["model"] == "transformer" and recipe.options["dropout"] == 0.4 and recipe.options["tokens"] == "bpe"
    with pytest.raises(ValueError, match="attention must be one of none, 'bahdanau'"):
        recipes.load("translate")(attention="additive")


CORPORA = os.environ.get("MINILM_TEST_CORPORA", "")


@pytest.mark.slow
@pytest.mark.parametrize(("file", "minutes", "wanted"), [("date.txt", 0.4, 0.999), ("addition.txt", 0.7, 0.95)])
def test_published_files(file, minutes, wanted):
    path = os.path.join(CORPORA, file)
    if not os.path.isfile(path):
        pytest.skip(f"MINILM_TEST_CORPORA names no folder with {file}")
    recipe = recipes.load("translate")()
    assert recipe.run(path, minutes=minutes, progress=False).metrics["exact_match"] >= wanted
