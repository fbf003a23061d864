"""Models of tasks explained: what is said of a decision against the model's own numbers, and parts that add up."""

import json

import numpy as np
import pytest

from minilm import models
from minilm.interpret import page
from minilm.interpret.tasks import explain_label, explain_span, explain_story, explain_tags, explain_target, explain_words
from minilm.models.tagger import Spelling

F64 = np.float64


def randomised(model, scale=0.6, seed=0):
    rng = np.random.default_rng(seed)
    for value in model.parameters.values():
        value[...] = rng.normal(0, scale, value.shape)
    return model


def log_p(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def complete(decision):
    """The pieces add up to F - F(x0), within what is said to be missing."""
    total = decision.values.sum()
    assert total == pytest.approx(decision.output - decision.baseline + decision.error, abs=1e-9)
    assert abs(decision.error) <= 2e-3 * max(1, abs(decision.output - decision.baseline)) and np.abs(decision.values).max() > 1e-4


# --- labels ----------------------------------------------------------------------------------------------------------

BERT = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
CLASSIFIERS = {
    "words": lambda: models.MeanClassifier(9, 3, embedding_size=5, buckets=16, hidden_size=4, label_smoothing=0.1, dtype=F64),
    "lstm": lambda: models.RecurrentClassifier(9, 3, embedding_size=5, hidden_size=4, label_smoothing=0.1, dtype=F64),
    "gru": lambda: models.RecurrentClassifier(9, 3, cell="gru", embedding_size=5, hidden_size=4, pooling="mean", dtype=F64),
    "bert": lambda: models.BERTClassifier(models.BERTConfig(**BERT), 3, frozen=True, label_smoothing=0.1, dtype=F64),
}
IDS, PIECES, LABELS = np.array([1, 4, 2, 8, 4]), list("abcde"), ["no", "so", "yes"]


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("foil", [None, 0])
def test_a_label_is_shared_out_among_the_words(kind, foil):
    model = randomised(CLASSIFIERS[kind]())
    gradients, settings = model.parameters.gradient_flat.copy(), (model.label_smoothing, getattr(model, "frozen", None))
    decisions = explain_label(model, IDS, PIECES, LABELS, text="a b c d e", answer=2, foil=foil)
    (decision,) = decisions.decisions
    complete(decision)
    p = log_p(model.logits(IDS[None]))[0]
    assert decision.output == pytest.approx(p[2] - (0 if foil is None else p[foil])) and decision.answer == "yes"
    assert dict(decision.choices) == pytest.approx(dict(zip(LABELS, np.exp(p), strict=True)))
    assert decision.foil == (None if foil is None else "no") and decision.values.shape == (5,)
    assert settings == (model.label_smoothing, getattr(model, "frozen", None))
    assert np.array_equal(model.parameters.gradient_flat, gradients)
    if kind == "lstm":
        np.testing.assert_allclose(decisions.maps["attention over the words"], model.attention(IDS[None]))


def test_without_its_vector_a_word_does_nothing():
    model = randomised(CLASSIFIERS["lstm"]())
    model.embedding.weight.value[8] = 0
    assert explain_label(model, IDS, PIECES, LABELS).decisions[0].values[3] == 0
    linear = randomised(models.MeanClassifier(9, 3, embedding_size=5, ngrams=1, dtype=F64))  # of logits: each word's own
    values = explain_label(linear, IDS, PIECES, LABELS, answer=2, foil=0).decisions[0].values
    W, table = linear.classifier.weight.value, linear.embedding.weight.value
    np.testing.assert_allclose(values, table[IDS] @ (W[2] - W[0]) / 5, atol=1e-10)
    with pytest.raises(ValueError, match="another label"):
        explain_label(linear, IDS, PIECES, LABELS, answer=1, foil=1)
    with pytest.raises(TypeError, match="must be a classifier of texts"):
        explain_label(models.Tagger(5, 3), IDS, PIECES, LABELS)


# --- targets ---------------------------------------------------------------------------------------------------------

SEQ2SEQ = {"vocab_size": 9, "target_vocab_size": 7, "embedding_size": 5, "hidden_size": 6, "label_smoothing": 0.1}
COPY = {"attention": "luong", "target_vocab_size": 9, "shared": True, "label_smoothing": 0.0}
TRANSFORMER = {"vocab_size": 9, "d_model": 8, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 1, "label_smoothing": 0.1}
WRITERS = {
    "lstm": lambda: models.Seq2Seq(models.Seq2SeqConfig(**SEQ2SEQ, attention="luong"), dtype=F64),
    "gru, reversed": lambda: models.Seq2Seq(models.Seq2SeqConfig(**SEQ2SEQ, cell="gru", reverse=True, attention=None), dtype=F64),
    "pointer": lambda: models.PointerGenerator(models.Seq2SeqConfig(**{**SEQ2SEQ, **COPY}), dtype=F64),
    "transformer": lambda: models.Transformer(models.TransformerConfig(target_vocab_size=7, **TRANSFORMER), dtype=F64),
    "shared": lambda: models.Transformer(models.TransformerConfig(shared=True, tied=True, **TRANSFORMER), dtype=F64),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_word_of_a_target_is_shared_out_among_the_source(kind):
    model = randomised(WRITERS[kind](), 0.4)
    source, target, smoothing = np.array([3, 8, 1, 5]), np.array([4, 2, 6]), model.config.label_smoothing
    options = {"begin": 0, "source_pieces": list("wxyz"), "spell": str}
    decisions = explain_target(model, source, target, **options)
    p = log_p(model.logits(source[None], np.array([[0, 4, 2]]))[0])  # (T, V)
    assert [each.output for each in decisions.decisions] == pytest.approx([p[0, 4], p[1, 2], p[2, 6]])
    assert [each.answer for each in decisions.decisions] == ["4", "2", "6"] and model.config.label_smoothing == smoothing
    for decision in decisions.decisions:
        complete(decision)
        assert all(np.exp(p).max() + 1e-12 >= each for _, each in decision.choices)
    for weights in decisions.maps.values():
        assert weights.shape == (3, 4)
        assert weights.min() >= 0 and (kind == "pointer" or np.allclose(weights.sum(axis=1), 1))  # what is not copied is written
    assert len(decisions.maps) == {"lstm": 1, "gru, reversed": 0}.get(kind, 1 if kind == "pointer" else 3)
    other = explain_target(model, source, target, foil=np.array([4, 3, 6]), **options)
    (decision,) = other.decisions
    complete(decision)
    assert (decision.answer, decision.foil) == ("2", "3") and decision.output == pytest.approx(p[1, 2] - p[1, 3])
    with pytest.raises(ValueError, match="another target"):
        explain_target(model, source, target, foil=target, **options)


def test_a_reversed_source_keeps_its_own_order():
    """A GRU whose gates let nothing of the past through: only the last one read, the first of the text, counts."""
    model = randomised(WRITERS["gru, reversed"](), 0.4)
    model.encoder.bias_ih_l0.value[:12] = -50
    (decision, *_) = explain_target(
        model, np.array([3, 8, 1, 5]), np.array([4]), begin=0, source_pieces=list("wxyz"), spell=str
    ).decisions
    assert abs(decision.values[0]) > 1e-3 and np.abs(decision.values[1:]).max() < 1e-6


# --- tags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("characters", [None, 5])
def test_a_tag_is_emission_and_transitions(characters):
    model = randomised(
        models.Tagger(9, 3, embedding_size=5, hidden_size=4, characters=characters, character_size=3, dtype=F64), 0.5
    )
    ids, names = np.array([2, 7, 4, 1]), ["O", "B", "I"]
    spelling = None
    if characters:
        spelling = Spelling(np.array([[1, 2], [3, 0], [4, 1]]), np.array([2, 1, 2]), np.array([[0, 1, 2, 1]]))
    best = model.decode(ids[None], None, spelling)[0]
    decisions = explain_tags(model, (ids[None], None, spelling), list("abcd"), names, best=best)
    e, A = model.emissions(ids[None], None, spelling)[0], model.crf.transitions.value
    start, end = model.crf.start_transitions.value, model.crf.end_transitions.value

    def score(tags):
        return start[tags[0]] + end[tags[-1]] + sum(e[t, tag] for t, tag in enumerate(tags)) + A[tags[:-1], tags[1:]].sum()

    for t, decision in enumerate(decisions.decisions):
        others = []
        for k in set(range(3)) - {int(best[t])}:
            changed = best.copy()
            changed[t] = k
            others.append((score(best) - score(changed), names[k]))
        assert (decision.output, decision.foil) == (pytest.approx(min(others)[0]), min(others)[1])
        foil = names.index(decision.foil)
        assert sum(share for _, share in decision.shares) == pytest.approx(decision.output)
        assert decision.shares[0][1] == pytest.approx(e[t, best[t]] - e[t, foil])
        if t:
            assert decision.shares[1][1] == pytest.approx(A[best[t - 1], best[t]] - A[best[t - 1], foil])
        complete(decision)
    chosen = explain_tags(model, (ids[None], None, spelling), list("abcd"), names, best=best, foil=(int(best[0]) + 1) % 3)
    assert chosen.decisions[0].foil == names[(int(best[0]) + 1) % 3] and decisions.labels[0] == f"a/{names[best[0]]}"


def test_an_intent_and_its_slots():
    model = randomised(models.IntentTagger(9, 3, 4, embedding_size=5, hidden_size=4, dtype=F64), 0.5)
    ids, names, intents = np.array([[2, 7, 4]]), ["O", "B", "I"], list("wxyz")
    p, best = (each[0] for each in model.read(ids))
    options = {"best": best, "classes": intents}
    explained = explain_tags(model, (ids, None, None), list("abc"), names, **options, answer="O B I")
    (first, *tags), order = explained.decisions, np.argsort(-p)
    assert explained.answer == f"{intents[order[0]]}: O B I" and explained.labels[0] == f"intent: {intents[order[0]]}"
    assert (first.answer, first.foil) == (intents[order[0]], intents[order[1]]) and len(tags) == 3
    assert first.output == pytest.approx(np.log(p[order[0]] / p[order[1]]))
    for decision in (first, *tags):
        complete(decision)
    other = explain_tags(model, (ids, None, None), list("abc"), names, **options, other_class=int(order[3])).decisions[0]
    assert other.output == pytest.approx(np.log(p[order[0]] / p[order[3]]))


def test_roles_of_a_marked_predicate():
    model = randomised(models.Tagger(9, 3, embedding_size=5, hidden_size=4, marks=2, mark_size=3, dtype=F64), 0.5)
    ids, marks = np.array([[2, 7, 4]]), np.array([[0, 1, 0]])
    best = model.decode(ids, None, None, marks)[0]
    for decision in explain_tags(model, (ids, None, None, marks), list("abc"), ["O", "B", "I"], best=best).decisions:
        complete(decision)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_span_of_a_reader():
    model = randomised(models.Reader(9, 5, 4, features=2, dtype=F64), 0.5)
    passage, question = np.array([[3, 5, 2, 8, 4]]), np.array([[7, 5, 1]])
    arrays = [passage, question, np.array([[[0, 0], [1, 1], [0, 0], [0, 1], [0, 0]]], F64)]
    start, end = (log_p(each)[0] for each in model.logits(*arrays))
    decisions = explain_span(model, arrays, (1, 2), list("qrsvwxyz"))
    (decision,) = decisions.decisions
    complete(decision)
    assert decision.output == pytest.approx(start[1] + end[2]) and decision.values.shape == (8,)
    assert sum(share for _, share in decision.shares) == pytest.approx(decision.output)
    assert decision.choices[0] == (f"starts at {'vwxyz'[start.argmax()]}", pytest.approx(np.exp(start.max())))
    other = explain_span(model, arrays, (1, 2), list("qrsvwxyz"), foil=(0, 3), foil_text="vwxy").decisions[0]
    complete(other)
    assert other.output == pytest.approx(start[1] + end[2] - start[0] - end[3])


def test_a_span_of_a_bert():
    model = randomised(models.BERTForQuestionAnswering(models.BERTConfig(**BERT), dtype=F64))
    ids = np.array([[1, 4, 2, 8, 4]])
    arrays = [ids, np.array([[0, 0, 1, 1, 1]]), np.ones((1, 5), bool)]
    logits = model.logits(*arrays)[0]
    (decision,) = explain_span(model, arrays, (2, 3), list("abcde")).decisions
    complete(decision)
    assert decision.output == pytest.approx(log_p(logits[:, 0])[2] + log_p(logits[:, 1])[3]) and not decision.shares


@pytest.mark.parametrize(("tying", "empty_place"), [("adjacent", False), ("layerwise", False), ("adjacent", True)])
def test_what_each_hop_read_adds_up_exactly(tying, empty_place):
    model = randomised(models.MemoryNetwork(9, 6, hops=3, tying=tying, empty_place=empty_place, dtype=F64), 0.5)
    story, question = np.array([[1, 2, 0], [3, 4, 5], [6, 2, 0]]), np.array([7, 3])
    answers = [("two", 2), ("five", 5), ("six", 6)]
    decisions = explain_story(model, story, question, list("abc"), answers)
    (decision,) = decisions.decisions
    logits = dict(zip("two five six".split(), model.read(story[None], question[None]).logits[0, [2, 5, 6]], strict=True))
    ranked = sorted(logits, key=logits.get, reverse=True)
    assert [decision.answer, decision.foil] == ranked[:2]
    assert decision.output == pytest.approx(logits[ranked[0]] - logits[ranked[1]])
    assert sum(share for _, share in decision.shares) == pytest.approx(decision.output)
    shares, looked = dict(decision.shares), decisions.maps["where each hop looked"].sum(axis=1)
    rest = shares["the question"] + shares.get("the empty place", 0.0)
    assert decision.values.sum() == pytest.approx(decision.output - rest) and decision.steps == 0
    assert ("the empty place" in shares) == empty_place
    assert (looked < 1).all() if empty_place else np.allclose(looked, 1)
    chosen = explain_story(model, story, question, list("abc"), answers, answer="six", foil="two").decisions[0]
    assert chosen.output == pytest.approx(logits["six"] - logits["two"])
    for options, message in (({"answer": "ten"}, "no answer that"), ({"answer": "two", "foil": "two"}, "another")):
        with pytest.raises(ValueError, match=message):
            explain_story(model, story, question, list("abc"), answers, **options)


def test_a_cosine_is_the_sum_of_its_words():
    vectors = models.WordVectors(["man", "woman", "king", "queen"], np.array([[1, 0, 0.1], [0, 1, 0], [1, 0, 1], [0, 1, 1.2]]))
    decisions = explain_words(vectors, "king - man + woman", foil="man")
    (decision,) = decisions.decisions
    total = vectors.unit[2] - vectors.unit[0] + vectors.unit[1]
    expected = total @ (vectors.unit[3] - vectors.unit[0]) / np.linalg.norm(total)
    assert decision.answer == "queen" and decision.output == pytest.approx(expected) == pytest.approx(decision.values.sum())
    assert decisions.pieces == ["king", "− man", "woman"] and decision.values[2] > 0


def test_numbers_and_page_hold_the_decisions():
    model = randomised(CLASSIFIERS["words"]())
    decisions = explain_label(model, IDS, ["</script>", *"bcde"], LABELS, text="</script> & \u202e")
    data = json.loads(decisions.to_json())
    assert data["decisions"][0]["values"] == pytest.approx(decisions.decisions[0].values.tolist(), rel=1e-5)
    text = page(decisions)
    assert text.count("</script>") == 2 and "\\u202e" not in text and "@@" not in text and "interpret" in repr(decisions)
