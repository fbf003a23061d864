"""`minilm explain` of published BERTs that label texts or tokens, or answer questions."""

import json

import numpy as np
import pytest

from minilm import cli, models
from tests.cli.test_published import bert_folder, word_pieces  # noqa: F401

TEXT = "the cat sat on the mat"


@pytest.fixture(params=["BERTForSequenceClassification", "BERTForTokenClassification", "BERTForQuestionAnswering"])
def folder(request, tmp_path, word_pieces):  # noqa: F811
    bert_folder(tmp_path / "bert", word_pieces, request.param, **({} if "Answering" in request.param else {"num_labels": 3}))
    return tmp_path / "bert", request.param


def run(capsys, *argv):
    capsys.readouterr()
    status = cli.main(["explain", *map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_each_is_explained(folder, tmp_path, capsys):
    path, kind = folder
    text = f"{TEXT}. the cat sat on what?" if "Answering" in kind else TEXT
    numbers, page = tmp_path / "n.json", tmp_path / "e.html"
    status, out, err = run(capsys, "--weights", path, "--text", text, "--out", page, "--json", numbers, "--png", tmp_path / "png")
    assert (status, err) == (0, "") and page.exists() and f"wrote       {tmp_path / 'png' / 'decisions.png'}" in out
    data = json.loads(numbers.read_text())
    for decision in data["decisions"]:
        difference = decision["output"] - decision["baseline"]
        assert np.sum(decision["values"]) == pytest.approx(difference + decision["error"], abs=1e-4) and decision["steps"]
    if "Token" in kind:
        labels = [decision["answer"] for decision in data["decisions"]]
        assert len(labels) == 6 and "foil" in data["decisions"][0]
        assert capsys.readouterr().out == "" and cli.main(["try", str(path), text]) == 0
        assert capsys.readouterr().out.split() == [f"{word}/{label}" for word, label in zip(TEXT.split(), labels, strict=True)]


def test_outputs_are_the_models_own(tmp_path, word_pieces, capsys):  # noqa: F811
    """F of a label, and of a label and a foil, from the model's logits."""
    model = bert_folder(tmp_path / "bert", word_pieces, "BERTForSequenceClassification", num_labels=3)
    pair = word_pieces.encode_pair(TEXT)
    x = model.logits(pair.input_ids[None].astype(np.int64))[0].astype(np.float64)  # (C,)
    log_p = x - np.log(np.exp(x).sum())
    for options, wanted in (
        (["--answer", "LABEL_2"], log_p[2]),
        (["--answer", "LABEL_2", "--foil", "LABEL_0"], log_p[2] - log_p[0]),
    ):
        numbers = tmp_path / "n.json"
        assert run(capsys, tmp_path / "bert", "--text", TEXT, "--json", numbers, *options)[0] == 0
        assert json.loads(numbers.read_text())["decisions"][0]["output"] == pytest.approx(wanted, abs=1e-4)


def test_words_that_have_the_foil_are_left_out(tmp_path, word_pieces, capsys):  # noqa: F811
    bert_folder(tmp_path / "bert", word_pieces, "BERTForTokenClassification", num_labels=3)
    numbers = tmp_path / "n.json"
    tags = "LABEL_0 LABEL_1 LABEL_1 LABEL_0 LABEL_2 LABEL_1"
    words = [tmp_path / "bert", "--text", TEXT, "--answer", tags]
    assert run(capsys, *words, "--foil", "LABEL_1", "--json", numbers)[0] == 0
    decisions = json.loads(numbers.read_text())["decisions"]
    assert [each["name"] for each in decisions] == ["the", "on", "the"] and {each["foil"] for each in decisions} == {"LABEL_1"}
    words[-1] = " ".join(["LABEL_1"] * 6)
    status, _, err = run(capsys, *words, "--foil", "LABEL_1")
    assert status == 2 and "another label than the answer, got 'LABEL_1' for every word" in err and err.count("\n") == 1


def test_what_cannot_be_is_said_in_one_line(tmp_path, word_pieces, capsys):  # noqa: F811
    model = bert_folder(tmp_path / "bert", word_pieces, "BERTForSequenceClassification", num_labels=2)
    for options, says in (
        (["--foil", "LABEL_7"], "there is no label 'LABEL_7'"),
        (["--answer", "LABEL_1", "--foil", "LABEL_1"], "another label"),
        (["--against", "x"], "--against is for a language model"),
    ):
        status, _, err = run(capsys, tmp_path / "bert", "--text", TEXT, *options)
        assert status == 2 and says in err and err.count("\n") == 1
    again = models.BERTForSequenceClassification.from_pretrained(tmp_path / "bert")
    again.published.config["problem_type"] = "regression"
    again.save_pretrained(tmp_path / "bert")
    status, _, err = run(capsys, tmp_path / "bert", "--text", TEXT)
    assert status == 2 and "got one of regression" in err and model is not None
