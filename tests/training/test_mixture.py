"""A run on several texts: as one, or in proportions of one's own."""

import shutil

import numpy as np
import pytest

from minilm import cli, data, training
from minilm.data.joined import joined
from minilm.training.build import corpus_parts, make_batches

A, B = "the cat sat on the mat. " * 40, "0123456789 " * 30
SMALL = ["--set", "model.hidden_size=8", "--set", "model.embedding_size=8", "--set", "sample.tokens=0", "--set", "batch=4"]


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "a.txt").write_text(A)
    (tmp_path / "b.txt").write_text(B)
    return str(tmp_path / "a.txt"), str(tmp_path / "b.txt")


def run(capsys, *words):
    status = cli.main(["train", *map(str, words), "--set", "time=8", *SMALL, "--quiet"])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.333])
def test_each_text_gives_its_last_part_for_validation(fraction, texts):
    whole = joined([data.text(path) for path in texts], fraction)
    train, validation = data.text(whole.path).split(fraction)
    assert train.length == sum(whole.parts) and whole == joined([data.text(path) for path in texts], fraction)
    train, validation = "".join(train), "".join(validation)
    first, second = train[: whole.parts[0]], train[whole.parts[0] :]
    assert A.startswith(first[:-1]) and B.startswith(second[:-1]) and first[-1] == second[-1] == "\n"
    assert validation == A[len(first) - 1 :] + "\n" + B[len(second) - 1 :] + "\n"
    assert len(second) - 1 == int(len(B) * (1 - fraction))


def test_rows_are_drawn_by_weights_and_cross_no_border(texts):
    config = training.configuration(
        options={"corpus": list(texts), "mixture": [1, 3], "batch": 400, "time": 8, "steps": 1, "validation": 0.1}
    )
    config = training.corpora.with_text(config)
    assert not config.carried
    tokenizer, parts = corpus_parts(config)
    ids, _ = make_batches(config, parts, tokenizer).batch(0)
    rows = [tokenizer.decode(row) for row in ids]
    digits = [sum(character in "0123456789" for character in row) for row in rows]
    assert all(count == 0 or count >= 6 for count in digits)  # no row of both texts
    assert np.mean([count > 0 for count in digits]) == pytest.approx(0.75, abs=0.07)


def test_by_the_command(texts, tmp_path, capsys):
    """Stopped and gone on with, it ends with the bits of the run that was not; and it is evaluated on its own texts."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    both = ["--corpus", ",".join(texts), "--mixture", "3,1", "--set", "schedule.name=constant"]
    assert run(capsys, *both, "--steps", 6, "--out", whole)[0] == 0
    assert run(capsys, "--corpus", texts[0], "--corpus", texts[1], *both[2:], "--steps", 3, "--out", parted)[0] == 0
    assert run(capsys, *both, "--steps", 6, "--out", parted, "--resume")[0] == 0
    assert (whole / "model.safetensors").read_bytes() == (parted / "model.safetensors").read_bytes()
    state = training.load_run(whole).config
    assert state.mixture == (3.0, 1.0) and len(state.parts) == 2
    assert cli.main(["verify", str(whole), "--steps", "2"]) == 0
    capsys.readouterr()
    assert run(capsys, "--corpus", ",".join(texts), "--steps", 2, "--out", tmp_path / "one")[0] == 0
    assert training.load_run(tmp_path / "one").config.carried


def test_what_is_joined_can_be_made_again(texts, tmp_path, capsys, monkeypatch):
    """A run's text that lies in the cache alone is named by its parts, where it is gone."""
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path / "cache"))
    both = ["--corpus", ",".join(texts)]
    assert run(capsys, *both, "--mixture", "3,1", "--steps", 2, "--out", tmp_path / "run")[0] == 0
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out.splitlines()[1:]
    shutil.rmtree(tmp_path / "cache" / "texts")
    for command in ("evaluate", "verify"):
        assert cli.main([command, str(tmp_path / "run")]) == 2
        assert "--corpus with what it was made of" in capsys.readouterr().err
    assert run(capsys, "--out", tmp_path / "run", "--resume", "--steps", 3)[0] == 2
    assert cli.main(["evaluate", str(tmp_path / "run"), *both]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == printed  # the same part of the same text
    shutil.rmtree(tmp_path / "cache" / "texts")
    assert run(capsys, "--out", tmp_path / "run", "--resume", "--steps", 3, *both)[0] == 0
    assert cli.main(["verify", str(tmp_path / "run")]) == 0


def test_what_is_refused_in_one_line(texts, tmp_path, capsys):
    a, b = texts
    (tmp_path / "short.txt").write_text("x")
    for words, message in [
        (["--corpus", f"{a},{b}", "--mixture", "1"], "mixture must have a weight for each of several texts, got 1 for 2"),
        (["--corpus", a, "--mixture", "1"], "got 1 for 1"),
        (["--corpus", f"{a},{b}", "--mixture", "1,x"], "--mixture wants numbers with a comma between them"),
        (["--corpus", f"{a},{b}", "--mixture", "1,-1"], "mixture must"),
        (["--corpus", f"{a},{b}", "--mixture", "0,0"], "mixture must have a weight that is not 0"),
        (["--corpus", f"{a},{b}", "--mixture", "1,1", "--set", "carried=true"], "carried=false"),
        (["--corpus", f"{a},{tmp_path / 'nothing.txt'}"], "nothing.txt"),
        (["--corpus", f"{a},{tmp_path / 'short.txt'}"], "short.txt"),
    ]:
        status, text = run(capsys, *words, "--steps", 1, "--out", tmp_path / "out")
        assert status == 2 and message in text and len(text.splitlines()) == 1, text
