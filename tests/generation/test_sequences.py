"""Greedy and beam decoding of many sources at once: each as if alone, the best of all where the beam is wide, and no worse."""

import itertools

import numpy as np
import pytest

from minilm import generation, models

V, BEGIN, END = 5, 3, 4
LENGTHS = np.array([4, 1, 3, 2])
SOURCE = np.random.default_rng(0).integers(0, V, (4, 4))
FED = {"attention": "bahdanau", "input_feeding": True, "reverse": True}
KINDS = {
    "lstm": lambda: models.Seq2Seq(
        models.Seq2SeqConfig(vocab_size=V, hidden_size=6, **FED),
        dtype=np.float64,
    ),
    "gru": lambda: models.Seq2Seq(
        models.Seq2SeqConfig(vocab_size=V, hidden_size=6, attention=None, peeky=True, cell="gru"), dtype=np.float64
    ),
    "transformer": lambda: models.Transformer(
        models.TransformerConfig(vocab_size=V, d_model=8, num_heads=2, encoder_layers=1, decoder_layers=2), dtype=np.float64
    ),
}


@pytest.fixture(params=KINDS)
def model(request):
    model = KINDS[request.param]()
    rng = np.random.default_rng(7)
    for value in model.parameters.values():
        value[...] = 0.6 * rng.standard_normal(value.shape)
    return model


def log_probability(model, row, ids, ended=True):
    """Of a target, by teacher forcing."""
    inputs = np.array([[BEGIN, *ids]])
    targets = np.array([[*ids, END if ended else -100]])
    source = SOURCE[row : row + 1, : LENGTHS[row]]
    return -float(model.loss(source, inputs, targets)) * (targets >= 0).sum()


def test_greedy_takes_the_likeliest_token(model):
    found = generation.greedy_targets(model, SOURCE, LENGTHS, begin=BEGIN, end=END, tokens=6)
    assert len({len(ids) for ids in found}) > 1 or len(found[0]) == 6  # rows that end leave the batch
    for row, ids in enumerate(found):
        logits = model.logits(SOURCE[row : row + 1, : LENGTHS[row]], np.array([[BEGIN, *ids[:5]]]))[0]
        wanted = logits.argmax(axis=-1)
        assert list(wanted) == ([*ids, END] if len(ids) < 6 else list(ids))


def test_beam_of_one_is_greedy(model):
    greedy = generation.greedy_targets(model, SOURCE, LENGTHS, begin=BEGIN, end=END, tokens=6)
    beam = generation.beam_targets(model, SOURCE, LENGTHS, begin=BEGIN, end=END, tokens=6, beams=1, length_penalty=0.0)
    for row, (ids, (best,)) in enumerate(zip(greedy, beam, strict=True)):
        assert list(ids) == list(best.ids)
        assert best.log_probability == pytest.approx(log_probability(model, row, ids, len(ids) < 6), rel=1e-9)


def test_a_wide_beam_finds_the_best_of_all(model):
    tokens = 3
    found = generation.beam_targets(
        model, SOURCE, LENGTHS, begin=BEGIN, end=END, tokens=tokens, beams=V**tokens, length_penalty=0.0
    )
    others = [id for id in range(V) if id != END]
    for row, hypotheses in enumerate(found):
        every = {ids: log_probability(model, row, ids) for n in range(tokens) for ids in itertools.product(others, repeat=n)}
        ended = [h for h in hypotheses if len(h.ids) < tokens]
        assert {tuple(h.ids.tolist()) for h in ended} == set(every)
        for h in ended:
            assert h.log_probability == pytest.approx(every[tuple(h.ids.tolist())], rel=1e-9)
        assert [h.score for h in ended] == sorted((h.score for h in ended), reverse=True)


def test_a_wider_beam_is_no_worse(model):
    ended = 0
    for end in range(V):
        options = {"begin": BEGIN, "end": end, "tokens": 6, "length_penalty": 0.0}
        greedy = generation.beam_targets(model, SOURCE, LENGTHS, beams=1, **options)
        wide = generation.beam_targets(model, SOURCE, LENGTHS, beams=6, **options)
        for (one,), several in zip(greedy, wide, strict=True):
            if len(one.ids) < 6:  # those that did not end come after those that did, whatever their probability
                ended += 1
                assert several[0].log_probability >= one.log_probability - 1e-12
    assert ended > 3


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_each_source_is_decoded_as_if_alone(model, alpha):
    options = {"begin": BEGIN, "end": END, "tokens": 7, "beams": 3, "length_penalty": alpha}
    together = generation.beam_targets(model, SOURCE, LENGTHS, **options)
    for row, hypotheses in enumerate(together):
        alone = generation.beam_targets(model, SOURCE[row : row + 1, : LENGTHS[row]], **options)[0]
        assert len(alone) == len(hypotheses) <= 3
        for a, b in zip(alone, hypotheses, strict=True):
            assert list(a.ids) == list(b.ids) and a.score == pytest.approx(b.score, rel=1e-9)
            assert a.score == pytest.approx(a.log_probability / (min(len(a.ids) + 1, 7)) ** alpha)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_run_of_tokens_is_written_twice(model, size):
    """The targets are those of a search for all that there are, without the ones that repeat a run."""

    def repeats(ids):
        runs = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
        return len(set(runs)) < len(runs)

    options = {"begin": BEGIN, "end": END, "tokens": 5, "beams": 5**5}
    every = generation.beam_targets(model, SOURCE[:1], LENGTHS[:1], **options)[0]
    fewer = generation.beam_targets(model, SOURCE[:1], LENGTHS[:1], no_repeat=size, **options)[0]
    wanted = {tuple(each.ids): each.score for each in every if not repeats(each.ids)}
    assert 0 < len(wanted) < len(every)
    assert {tuple(each.ids): each.score for each in fewer} == wanted


def test_a_state_may_be_continued_twice(model):
    """And each continuation further: neither is written over."""

    def continued(state, ids):
        logits = []
        for id in ids:
            found, state = model.step(np.full(len(SOURCE), id), state)
            logits.append(found)
        return state, logits

    state, _ = continued(model.encode(SOURCE, LENGTHS, tokens=8), [BEGIN, 1])
    first, second = (continued(state, [id])[0] for id in (0, 2))
    for after, id in ((first, 0), (second, 2)):
        wanted = continued(model.encode(SOURCE, LENGTHS, tokens=8), [BEGIN, 1, id, 1, 2])[1]
        assert np.array_equal(continued(after, [1, 2])[1], wanted[-2:])


def test_wrong_arguments(model):
    for changed, says in (
        ({"begin": 5}, "begin must lie in"),
        ({"end": -1}, "end must lie in"),
        ({"tokens": 0}, "tokens must lie in"),
        ({"beams": 0}, "beams must lie in"),
        ({"length_penalty": -1}, "length_penalty must lie in"),
        ({"no_repeat": -1}, "no_repeat must lie in"),
        ({"lengths": np.array([5, 1, 1, 1])}, r"lengths\[0\] is 5"),
    ):
        with pytest.raises(ValueError, match=says):
            generation.beam_targets(model, SOURCE, **{"begin": BEGIN, "end": END, **changed})
    next(iter(model.parameters.values()))[...] = np.nan
    with pytest.raises(ValueError, match="logits must have a finite"):
        generation.beam_targets(model, SOURCE, begin=BEGIN, end=END)
