"""Accuracy, SQuAD's scores and entity F1, on cases worked out by hand, some with the scripts of the fields."""

import pytest

from minilm.metrics import accuracy, entities, squad


def test_accuracy():
    assert accuracy.accuracy(["a", "b", "b", "a"], ["a", "b", "a", "b"]) == 0.5
    assert accuracy.accuracy([1], [1]) == 1.0
    assert accuracy.commonest(["a", "b", "b", "c"]) == 0.5
    with pytest.raises(ValueError, match="one length, got 2 and 1"):
        accuracy.accuracy([1, 2], [1])
    with pytest.raises(ValueError, match="at least one"):
        accuracy.accuracy([], [])
    with pytest.raises(ValueError, match="at least one"):
        accuracy.commonest([])


# --- SQuAD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The Eiffel  Tower.", "eiffel tower"),
        ("an apple a day", "apple day"),
        ("The  U.S. Army's", "us armys"),
        ("another, theatre", "another theatre"),  # articles are whole words
        ("the", ""),
        ("a-an the", "aan"),  # punctuation goes first: "a-an" is one word then
        ("the…", "…"),  # only ASCII punctuation is removed
    ],
)
def test_normalised_answers(answer, normal):
    assert squad.normalise(answer) == normal


def test_exact_match_and_f1():
    assert squad.exact_match("the Broncos", "Broncos!") == 1.0
    assert squad.exact_match("Broncos", ["Denver Broncos", "the broncos"]) == 1.0
    assert squad.exact_match("Denver", ["Denver Broncos"]) == 0.0
    assert squad.f1("Denver", "Denver Broncos") == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert squad.f1("in the city of Denver", ["Denver", "city Denver"]) == pytest.approx(2 * (2 / 4) * 1 / (2 / 4 + 1))
    assert squad.f1("to be or not to be", "to be") == pytest.approx(2 * (2 / 6) / (2 / 6 + 1))  # twice in one, once in the other
    assert squad.f1("red", "blue") == 0.0
    assert squad.f1("", "") == squad.f1("the", "") == 1.0 and squad.f1("", "x") == squad.f1("x", "") == 0.0
    assert squad.scores(["a cat", "dog"], ["cat", ["cat", "dog days"]]) == {
        "exact_match": 0.5,
        "f1": pytest.approx((1 + 2 / 3) / 2),
    }


def test_wrong_answers_are_told():
    with pytest.raises(ValueError, match="one length, got 1 and 2"):
        squad.scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one answer"):
        squad.scores([], [])
    with pytest.raises(ValueError, match="at least one answer"):
        squad.f1("a", [])


# --- entities --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-X B-X I-X", [("X", 0, 1), ("X", 1, 3)]),
        ("I-X I-X B-X O I-Y", [("X", 0, 2), ("X", 2, 3), ("Y", 4, 5)]),  # IOB1
        ("B-X I-Y", [("X", 0, 1), ("Y", 1, 2)]),  # another type begins another
        ("O I-X", [("X", 1, 2)]),
        ("S-X S-X B-X I-X E-X", [("X", 0, 1), ("X", 1, 2), ("X", 2, 5)]),  # BIOES
        ("U-X B-X L-X O", [("X", 0, 1), ("X", 1, 3)]),  # BILOU
        ("E-X I-X", [("X", 0, 1), ("X", 1, 2)]),
        ("B-X E-X I-X O", [("X", 0, 2), ("X", 2, 3)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_spans(tags, found):
    assert entities.spans(tags.split()) == [entities.Span(*each) for each in found]


def test_scores():
    wanted = ["B-PER I-PER O B-LOC".split(), "O B-PER".split()]
    given = ["B-PER O O B-LOC".split(), "B-LOC B-PER".split()]
    scores = entities.entity_scores(wanted, given)
    assert scores[""] == (2 / 4, 2 / 3, pytest.approx(4 / 7), 3, 4, 2)
    assert scores["PER"] == (1 / 2, 1 / 2, 1 / 2, 2, 2, 1) and scores["LOC"] == (1 / 2, 1.0, pytest.approx(2 / 3), 1, 2, 1)
    assert list(scores) == ["", "LOC", "PER"]
    assert entities.entity_scores([["O"]], [["O"]])[""] == (0.0, 0.0, 0.0, 0, 0, 0)


def test_wrong_tags_are_told():
    with pytest.raises(ValueError, match="got 'NN'"):
        entities.spans(["O", "NN"])
    with pytest.raises(ValueError, match="got 'B-'"):
        entities.spans(["B-"])
    with pytest.raises(ValueError, match="as many sentences, got 1 and 0"):
        entities.entity_scores([["O"]], [])
    with pytest.raises(ValueError, match="sentence 0 has 2 tags and 1"):
        entities.entity_scores([["O", "O"]], [["O"]])
