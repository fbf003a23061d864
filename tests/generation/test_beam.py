"""Beam search, against looking at every text there is."""

import itertools

import numpy as np
import pytest

from minilm import models
from minilm.generation import beam_search, stream_ids
from tests.generation.fakes import Pairs, random_pairs

PROMPT = np.array([2, 1])


def log_softmax(x):
    x = x.astype(float)
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def log_probability(model, ids, prompt=PROMPT):
    total, text = 0.0, list(prompt)
    for id in ids:
        total += log_softmax(model.table[text[-2], text[-1]])[id]
        text.append(id)
    return total


def all_texts(V, tokens, end=None):
    """Every text of so many tokens, or that ends earlier."""
    if end is None:
        yield from itertools.product(range(V), repeat=tokens)
        return
    plain = [v for v in range(V) if v != end]
    for n in range(tokens):
        yield from ((*text, end) for text in itertools.product(plain, repeat=n))
    yield from itertools.product(plain, repeat=tokens)


@pytest.mark.parametrize("seed", range(4))
def test_wide_enough_it_finds_the_best_of_all(seed):
    model = random_pairs(3, seed)
    found = beam_search(model, PROMPT, tokens=4, beams=81)
    ranked = sorted((log_probability(model, text) for text in all_texts(3, 4)), reverse=True)
    assert len({tuple(h.ids) for h in found}) == 81
    for h, best in zip(found, ranked, strict=True):
        assert h.log_probability == h.score == pytest.approx(log_probability(model, h.ids), rel=1e-12)
        assert h.score == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("alpha", [0, 0.7, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_with_an_end_token(seed, alpha):
    model = random_pairs(3, seed)
    found = beam_search(model, PROMPT, tokens=4, beams=60, length_penalty=alpha, end=0)
    score = {text: log_probability(model, text) / len(text) ** alpha for text in all_texts(3, 4, end=0)}
    ranked = sorted(score, key=lambda text: -score[text])
    # the search ends once no text can come among the first 60, and all texts together are fewer
    assert {tuple(h.ids) for h in found} == set(ranked) and tuple(found[0].ids) == ranked[0]
    for h in found:
        assert h.score == pytest.approx(score[tuple(h.ids)], rel=1e-12)
    narrow = beam_search(model, PROMPT, tokens=4, beams=2, length_penalty=alpha, end=0)
    assert len(narrow) == 2 and narrow[0].score >= narrow[1].score
    assert all((h.ids[:-1] != 0).all() for h in narrow)


def by_definition(model, tokens, beams, alpha, end):
    """Beam search without a shortcut: every continuation is sorted, and nothing stops before its time."""
    living, ended = [((), 0.0)], []
    for _ in range(tokens):
        longer = [((*text, v), log_probability(model, (*text, v))) for text, _ in living for v in range(len(model.table))]
        longer.sort(key=lambda pair: -pair[1])
        living = [pair for pair in longer if pair[0][-1] != end][:beams]
        ended += [pair for pair in longer[:beams] if pair[0][-1] == end]
    scored = [(total / len(text) ** alpha, text) for text, total in living + ended]
    return sorted(scored, reverse=True)[:beams]


@pytest.mark.parametrize("alpha", [0, 1, 2])
@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_narrow_searches(seed, beams, alpha):
    for end in (None, 0, 2):
        model = random_pairs(6, seed)
        if end is not None:
            model.table[:, :, end] += 1
        expected = by_definition(model, 6, beams, alpha, end)
        found = beam_search(model, PROMPT, 6, beams, length_penalty=alpha, end=end)
        assert [tuple(h.ids) for h in found] == [text for _, text in expected]
        assert [h.score for h in found] == pytest.approx([score for score, _ in expected], rel=1e-12)


def test_what_is_ruled_out_is_not_found():
    table = np.full((4, 4, 4), -np.inf)
    table[:, np.arange(4), (np.arange(4) + 1) % 4] = 0  # after each token only the next
    assert [h.ids.tolist() for h in beam_search(Pairs(table), PROMPT, 4, beams=3)] == [[2, 3, 0, 1]]


def test_one_beam_is_greedy():
    model = random_pairs(6)
    (found,) = beam_search(model, PROMPT, tokens=20, beams=1)
    assert found.ids.tolist() == [int(i) for (i,) in stream_ids(model, PROMPT[None], 20, greedy=True)]


def test_more_beams_find_more():
    """A first step that looks worse and is better: greedy misses it, two beams do not."""
    table = np.full((3, 3, 3), -9.0)
    table[:, 0] = np.log([[0.5, 0.4, 0.1]])
    table[:, 1], table[:, 2] = np.log([0.4, 0.3, 0.3]), np.log([0.01, 0.01, 0.98])
    table[:, 0] = np.log([0.1, 0.5, 0.4])
    model, prompt = Pairs(table, np.float64), np.array([1, 0])
    assert beam_search(model, prompt, 2, 1)[0].ids.tolist() == [1, 0]
    found = beam_search(model, prompt, 2, 2)
    assert found[0].ids.tolist() == [2, 2] and np.exp(found[0].log_probability) == pytest.approx(0.4 * 0.98)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_real_model(cell):
    """The state of each beam goes with its text: the probabilities are those of the whole texts."""
    config = models.RNNLanguageModelConfig(vocab_size=7, cell=cell, embedding_size=5, hidden_size=6, num_layers=2)
    model = models.RNNLanguageModel(config, seed=0)
    for value in model.parameters.values():
        value *= 4
    found = beam_search(model, PROMPT, tokens=6, beams=5)
    assert len({tuple(h.ids) for h in found}) == 5
    for h in found:
        text = np.concatenate([PROMPT, h.ids])
        logits, _ = model.logits(text[None])
        total = sum(log_softmax(logits[0, t])[text[t + 1]] for t in range(1, len(text) - 1))
        assert h.log_probability == pytest.approx(total, rel=1e-4)


def test_wrong_arguments():
    model = random_pairs(3)
    for changes, error, says in (
        ({"beams": 0}, ValueError, "beams must lie in"),
        ({"tokens": 0}, ValueError, "tokens must lie in"),
        ({"length_penalty": -1}, ValueError, "length_penalty must lie in"),
        ({"ids": np.array([[1]])}, ValueError, r"ids must have shape \(T,\)"),
        ({"ids": np.zeros(0, int)}, ValueError, "at least one token"),
    ):
        with pytest.raises(error, match=says):
            beam_search(model, **{"ids": PROMPT, "tokens": 3, **changes})
    with pytest.raises(ValueError, match="finite"):
        beam_search(Pairs(np.full((3, 3, 3), np.nan)), PROMPT)


def test_of_equal_continuations_those_of_lower_ids_go_on():
    found = beam_search(Pairs(np.zeros((5, 5, 5))), PROMPT, tokens=2, beams=3)
    assert [h.ids.tolist() for h in found] == [[0, 0], [0, 1], [0, 2]]
