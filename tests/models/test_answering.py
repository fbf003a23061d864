"""Memory network and span reader: what they compute, and what they refuse."""

import numpy as np
import pytest

from minilm.gradcheck import catalogue
from minilm.models import MemoryNetwork, Reader
from minilm.models.spans import best_spans
from minilm.random import Key


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def by_hand(model, sentences, question, scale):
    """Logits of one question, word by word as the paper has it; sentences and question are lists of ids."""
    D = model.embed_dim

    def bag(ids, E):
        J, total = len(ids), np.zeros(D)
        for j, word in enumerate(ids, 1):
            for d in range(1, D + 1):
                weight = (1 - j / J) - (d / D) * (1 - 2 * j / J) if model.position_encoding else 1.0
                total[d - 1] += (scale if model.position_encoding else 1.0) * weight * E[word, d - 1]
        return total

    tables = [table.weight.value for table in model.tables]
    times = [time.weight.value for time in model.times]
    u, looked = bag(question, model.question.weight.value), []
    for hop in range(model.hops):
        A, C = (hop, hop + 1) if model.tying == "adjacent" else (0, 1)
        ages = [min(len(sentences) - 1 - i, model.memory_size - 1) for i in range(len(sentences))]
        m = np.array([bag(ids, tables[A]) + times[A][age] for ids, age in zip(sentences, ages, strict=True)])
        c = np.array([bag(ids, tables[C]) + times[C][age] for ids, age in zip(sentences, ages, strict=True)])
        if model.empty_place:
            m, c = np.vstack([m, times[A][-1:]]), np.vstack([c, times[C][-1:]])
        p = softmax(m @ u)
        u = (u if model.hop is None else model.hop.weight.value @ u) + p @ c
        looked.append(p)
    return model.output.weight.value @ u, np.array(looked)


@pytest.mark.parametrize("tying", ["adjacent", "layerwise"])
@pytest.mark.parametrize(("position_encoding", "empty_place"), [(True, False), (False, False), (True, True)])
def test_the_memory_network_is_the_papers(tying, position_encoding, empty_place):
    scale = 2.0 if empty_place else 1.0
    options = {"tying": tying, "position_encoding": position_encoding, "position_scale": scale, "empty_place": empty_place}
    model = MemoryNetwork(11, 6, hops=3, memory_size=3, **options, dtype=np.float64, seed=1)
    for value in model.parameters.values():
        value *= 8
    stories = [[[1, 2, 3, 4], [5, 2], [7, 8, 9], [10, 1, 1]], [[3, 4, 5]]]
    questions = [[9, 5, 10], [6]]
    story, question = np.zeros((2, 4, 4), int), np.zeros((2, 3), int)
    for b in range(2):
        question[b, : len(questions[b])] = questions[b]
        for i, ids in enumerate(stories[b]):
            story[b, i, : len(ids)] = ids
    found = model.read(story, question)
    for b in range(2):
        logits, looked = by_hand(model, stories[b], questions[b], scale)
        np.testing.assert_allclose(found.logits[b], logits, rtol=1e-9)
        np.testing.assert_allclose(found.attention[b, :, : len(stories[b])], looked[:, : len(stories[b])], rtol=1e-9)
    total = found.attention.sum(axis=2)  # (B, K)
    assert total.min() < 0.99 if empty_place else np.allclose(total, 1, rtol=1e-12)
    loss, _ = model.forward(story, question, np.array([3, 4]))
    wanted = [-np.log(softmax(found.logits[b])[answer]) for b, answer in enumerate((3, 4))]
    np.testing.assert_allclose(loss, np.mean(wanted), rtol=1e-9)


@pytest.mark.parametrize("name", ["MemoryNetwork", "Reader"])
def test_gradients(name):
    row = catalogue.run(name, "cpu")
    assert row.passed, row.problems
    assert row.worst < 5e-9 and row.checks == len(catalogue.MODELS[name])


def test_position_encoding_knows_the_order_of_words():
    story, question = np.array([[[1, 2, 3]], [[3, 2, 1]]]), np.array([[4], [4]])
    for encoding in (True, False):
        logits = MemoryNetwork(6, 8, position_encoding=encoding, seed=0).read(story, question).logits
        assert np.allclose(logits[0], logits[1], atol=1e-7) != encoding


def test_noise_in_time_and_linear_start_belong_to_training_alone():
    story = np.random.default_rng(0).integers(1, 9, (4, 12, 3))
    question, answers = np.full((4, 2), 3), np.array([1, 2, 3, 4])
    model = MemoryNetwork(9, 8, time_noise=0.5, linear_steps=10, memory_size=40, seed=0)
    plain = model.forward(story, question, answers)[0]
    assert plain == model.forward(story, question, answers)[0]
    ages = [model.forward(story, question, answers, key=Key(0, step))[1].sentences[0][1].ids for step in (3, 3, 4)]
    assert (ages[0] == ages[1]).all() and (ages[0] != ages[2]).any()
    assert (np.diff(ages[0], axis=1) <= -1).all() and (ages[0] > np.arange(12)[::-1]).any(), "later sentences are younger"
    assert model.forward(story, question, answers, key=Key(0, 9))[1].hops[0].attention is None
    assert model.forward(story, question, answers, key=Key(0, 10))[1].hops[0].attention is not None


def test_a_hop_that_looks_at_the_empty_place_reads_no_sentence():
    """Its row is longer than all others, along u: the story no longer matters."""
    model = MemoryNetwork(9, 4, hops=1, memory_size=5, empty_place=True, seed=0, dtype=np.float64)
    question = np.array([[3, 4]])
    u = model._read(np.array([[[1, 2]]]), question, None, False)[1].hops[0].u[0]  # (D,)
    logits = []
    for row in (0.0, 1e4 * u):
        model.times[0].weight.value[5] = row
        logits.append([model.read(story, question).logits for story in (np.array([[[1, 2]]]), np.array([[[5, 6], [7, 8]]]))])
    assert not np.allclose(*logits[0]) and np.allclose(*logits[1])


def test_best_spans_by_brute_force():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 6, 9))
    inside = rng.random((6, 9)) < 0.7
    for most, mask in ((1, None), (3, None), (20, None), (4, inside)):
        spans, scores = best_spans(start, end, most=most, inside=mask)
        for b in range(6):
            allowed = [
                (i, j) for i in range(9) for j in range(i, min(9, i + most)) if mask is None or (mask[b, i] and mask[b, j])
            ]
            wanted = max(allowed, key=lambda s: start[b, s[0]] + end[b, s[1]])
            assert tuple(spans[b]) == wanted
            np.testing.assert_allclose(scores[b], start[b, wanted[0]] + end[b, wanted[1]])


def test_padding_changes_nothing_of_the_reader():
    rng = np.random.default_rng(1)
    model = Reader(12, 5, 4, features=2, seed=0, dtype=np.float64)
    passage, question, features = rng.integers(1, 12, (1, 6)), rng.integers(1, 12, (1, 3)), rng.normal(size=(1, 6, 2))
    alone = model.logits(passage, question, features)
    padded = model.logits(
        np.pad(passage, ((0, 0), (0, 3))), np.pad(question, ((0, 0), (0, 2))), np.pad(features, ((0, 0), (0, 3), (0, 0)))
    )
    for one, other in zip(alone, padded, strict=True):
        np.testing.assert_allclose(other[:, :6], one, rtol=1e-9)
        assert (other[:, 6:] == -1e9).all()
    assert not np.allclose(model.logits(passage, (question % 11) + 1, features)[0], alone[0]), "the question matters"


STORY, QUESTION, ANSWER = np.array([[[1, 2]]]), np.array([[3]]), np.array([1])


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: MemoryNetwork(5, hops=0), ValueError, "hops"),
        (lambda: MemoryNetwork(5, tying="both"), ValueError, "tying"),
        (lambda: MemoryNetwork(5, time_noise=2.0), ValueError, "time_noise"),
        (lambda: MemoryNetwork(5, empty_place=1), TypeError, "empty_place"),
        (lambda: MemoryNetwork(5, position_scale=0.0), ValueError, "position_scale"),
        (lambda: MemoryNetwork(5).forward(STORY[0], QUESTION, ANSWER), ValueError, "story"),
        (lambda: MemoryNetwork(5).forward(STORY * 9, QUESTION, ANSWER), ValueError, "story"),
        (lambda: MemoryNetwork(5).forward(STORY * 0, QUESTION, ANSWER), ValueError, "story 0 has none"),
        (lambda: MemoryNetwork(5).forward(STORY, QUESTION[:0], ANSWER), ValueError, "question"),
        (lambda: MemoryNetwork(5).forward(STORY, QUESTION, ANSWER * 7), ValueError, "targets|answers"),
        (lambda: Reader(5, features=-1), ValueError, "features"),
        (lambda: Reader(5, 2, 2, features=0).forward(QUESTION, QUESTION, np.array([[0, 1]])), ValueError, "spans must lie"),
        (lambda: Reader(5, 2, 2, features=0).forward(QUESTION * 0, QUESTION, np.array([[0, 0]])), ValueError, "passage"),
        (
            lambda: Reader(5, 2, 2, features=1).forward(QUESTION, QUESTION, np.array([[0, 0]])),
            (TypeError, ValueError),
            "features",
        ),
        (lambda: best_spans(np.zeros((1, 2)), np.zeros((1, 3))), ValueError, "end"),
    ],
)
def test_mistakes(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
