"""The loss from a state of zeros, from which every text is begun, beside that from the state which was carried."""

import os

import numpy as np
import pytest

from minilm import data, training
from tests.training.conftest import WORDS

NAMES = ["SLY", "LORD", "HUNTSMAN", "PAGE", "HOSTESS", "KATHARINA"]


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """A text of speakers and speeches: what stands at the start of a text is rare in the middle of one."""
    drawn = np.random.default_rng(1)
    speeches = []
    for _ in range(700):
        lines = (" ".join(drawn.choice(WORDS, drawn.integers(4, 9))).capitalize() for _ in range(drawn.integers(1, 4)))
        speeches.append(f"{drawn.choice(NAMES)}:\n" + "\n".join(line + drawn.choice(list(".,;!?")) for line in lines) + "\n\n")
    path = tmp_path_factory.mktemp("play") / "play.txt"
    path.write_text("".join(speeches), encoding="utf-8")
    return str(path)


def window_losses(run, tokens, time=64):
    """The mean loss of each of some windows, from zeros and from the state after all the text before it: (2, N)."""
    starts = np.arange(time, tokens.size - time - 1, time)  # as the text goes, so that its state can be carried
    losses, state = np.zeros((2, starts.size)), run.model.logits(tokens[None, :time], None, last=True)[1]
    for number, start in enumerate(starts):
        ids, targets = tokens[None, start : start + time], tokens[None, start + 1 : start + time + 1]  # (1, T)
        losses[0, number] = run.model.loss(ids, targets)[0]
        losses[1, number], state = run.model.loss(ids, targets, state)
    return losses


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("recipe", ["default", "minutes"])
def test_a_text_that_begins_from_zeros_is_as_good_as_one_that_goes_on(play, tmp_path, recipe, cell):
    model = {"cell": cell, "hidden_size": 192}
    settings = {"corpus": play, "model": model, "optimizer": {"lr": 1e-2}, "steps": 60, "batch": 16, "time": 32}
    config = training.configuration(recipe, options={**settings, "sample": {"tokens": 0}, "validation": 0.2})
    run = training.train(config, out=tmp_path)
    tokens = np.asarray(data.tokens(data.text(play).split(0.2)[1], run.tokenizer), np.int64)
    zero, carried = window_losses(run, tokens)
    assert zero.mean() < carried.mean() + 0.1 and zero.max() < carried.max() + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [100, 150])
def test_a_short_run_on_shakespeare_writes_letters(tmp_path, steps):
    path = os.path.join(os.environ.get("MINILM_TEST_CORPORA", ""), "tinyshakespeare.txt")
    if not os.path.isfile(path):
        pytest.skip("MINILM_TEST_CORPORA names no folder with tinyshakespeare.txt")
    run = training.train(training.configuration("minutes", options={"corpus": path, "steps": steps}), out=tmp_path)
    tokens = np.asarray(data.tokens(data.text(path).split(0.1)[1], run.tokenizer), np.int64)[:20_000]
    zero, carried = window_losses(run, tokens)
    assert zero.mean() < carried.mean() + 0.1 and zero.max() < carried.max() + 1.0
    assert sum(character.isalpha() or character in " \n,.;:!?'-" for character in run.sample) > 0.97 * len(run.sample)
