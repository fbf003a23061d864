"""ROUGE against the figures of the package rouge-score, and BLEU as sacrebleu has it."""

import sys

import pytest

from minilm.metrics import bleu, rouge


def test_rouge_by_hand():
    assert rouge.rouge_n("the cat the", "the the dog") == (2 / 3, 2 / 3, 2 / 3)
    assert rouge.rouge_n("a b c", "a b d e", 2) == (1 / 2, 1 / 3, 0.4)
    assert rouge.rouge_l("a x b y c", "a b c") == pytest.approx((3 / 5, 1.0, 0.75))
    assert rouge.rouge_l("", "a") == rouge.rouge_n("a", "a", 2) == (0, 0, 0)
    assert rouge.words("It's 3,000 Füße_x") == ["it", "s", "3", "000", "füße", "x"]
    assert rouge.words("हिन्दी, cafe\u0301!") == ["हिन्दी", "cafe\u0301"]  # a word's combining marks are its own
    assert rouge.rouge(["a b", "c"], ["a b", "d"]) == {"rouge_1": 0.5, "rouge_2": 0.5, "rouge_l": 0.5}
    with pytest.raises(ValueError, match="as many"):
        rouge.rouge(["a"], [])
    with pytest.raises(ValueError, match="at least one"):
        rouge.rouge([], [])


@pytest.mark.parametrize(
    ("given", "wanted", "scores"),
    [
        ("the cat sat on the mat", "the cat was on a mat today", [0.6153846154, 0.1818181818, 0.6153846154]),
        ("Police killed the gunman.", "the gunman police killed", [1.0, 0.6666666667, 0.5]),
        ("A b a b a", "b a b b", [0.6666666667, 0.5714285714, 0.6666666667]),
        ("nothing alike", "completely different words", [0.0, 0.0, 0.0]),
        ("Its 3,000 homes - without power!", "its 3 000 homes had no power", [0.7692307692, 0.5454545455, 0.7692307692]),
    ],
)
def test_rouge_is_that_of_rouge_score(given, wanted, scores):
    ours = [rouge.rouge_n(given, wanted, 1), rouge.rouge_n(given, wanted, 2), rouge.rouge_l(given, wanted)]
    assert [score.f1 for score in ours] == pytest.approx(scores, abs=1e-9)


def test_bleu():
    pytest.importorskip("sacrebleu")
    text = ["a man in a red hat walks along the street", "two dogs play"]
    assert bleu.corpus_bleu(text, text) == pytest.approx(100)
    matches = (9 / 10) * (8 / 9) * (7 / 8) * (6 / 7)  # n-grams of each length but the one that ends in another word
    assert bleu.corpus_bleu(["a man in a red hat walks along the road"], text[:1]) == pytest.approx(100 * matches**0.25)
    assert bleu.corpus_bleu(["x y z w"], ["a b c d"]) < 15
    with pytest.raises(ValueError, match="as many"):
        bleu.corpus_bleu(text, text[:1])


def test_without_sacrebleu_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"pip install 'minilm\[tasks\]'"):
        bleu.corpus_bleu(["a"], ["a"])
