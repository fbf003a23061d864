"""Two models side by side."""

import math

import numpy as np
import pytest

from minilm import cli, interpret
from tests.interpret.fakes import ids_of, made


@pytest.mark.parametrize("kinds", [("gpt", "lstm"), ("bert", "bert")])
def test_it_is_what_each_says_alone(kinds):
    (first, tokenizer), (second, _) = made(kinds[0]), made(kinds[1], seed=1)
    ids = ids_of(kinds[0], tokenizer)
    result = interpret.compare(first, second, ids, tokenizer=tokenizer)
    alone = [interpret.surprisal(model, ids, tokenizer=tokenizer) for model in (first, second)]
    np.testing.assert_array_equal(result.gain, alone[0].bits - alone[1].bits)
    np.testing.assert_array_equal(result.other.bits, alone[1].bits)
    assert result.divergence.shape == alone[0].places.shape and (0 < result.divergence).all() and (result.divergence < 1).all()
    same = interpret.compare(first, first, ids, tokenizer=tokenizer)
    assert np.nanmax(np.abs(same.gain)) == 0 and same.divergence.max() < 1e-12


def test_the_divergence_is_its_formula():
    (first, tokenizer), (second, _) = made("gpt"), made("gpt", seed=1)
    ids = ids_of("gpt", tokenizer)
    p, q = (np.exp(z - np.logaddexp.reduce(z)) for z in (m.lm_head(m._hidden(ids[None])[0])[0, -1] for m in (first, second)))
    m = (p + q) / 2
    wanted = sum((each * np.log(each / m)).sum() for each in (p, q)) / (2 * math.log(2))
    assert interpret.compare(first, second, ids).divergence[-1] == pytest.approx(wanted, rel=1e-9)


def test_what_cannot_be_compared():
    gpt, bert = made("gpt")[0], made("bert")[0]
    with pytest.raises(ValueError, match="one vocabulary"):
        interpret.compare(gpt, bert, [1, 2], tokenizer=made("bert")[1])


def test_the_command(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("The fox ran home to the hen.\n" * 100)
    small = ["--corpus", str(text), "--steps", "2", "--set", "time=8", "--set", "batch=2"]
    for name, more in (("one", ["--set", "model.hidden_size=8"]), ("two", ["--model", "gpt", "--set", "model.n_embd=8"])):
        more += ["--set", "model.n_layer=1", "--set", "model.n_head=2"] if name == "two" else []
        assert cli.main(["train", *small, "--out", str(tmp_path / name), *more]) == 0
    page = tmp_path / "page.html"
    wanted = ["explain", str(tmp_path / "one"), "--text", "The hen", "--out", str(page), "--against", str(tmp_path / "two")]
    assert cli.main(wanted) == 0
    out = capsys.readouterr().out
    assert "\nagainst     " in out and "GPT(" in page.read_text()
    other = tmp_path / "other.txt"
    other.write_text("Other letters, 0123.\n" * 100)
    assert (
        cli.main(["train", "--corpus", str(other), *small[2:], "--out", str(tmp_path / "three"), "--set", "model.hidden_size=8"])
        == 0
    )
    assert cli.main([*wanted[:-1], str(tmp_path / "three")]) == 2
    assert "has another tokenizer" in capsys.readouterr().err
