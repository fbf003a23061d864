"""Time grows with the length of the worst inputs, not with its square; memory of the tables does not grow at all."""

import time

import numpy as np
import pytest

from minilm.tokenizers import ByteLevelBPE

from .helpers import small
from .test_gpt1 import ours as gpt1


def fastest(function, *arguments):
    """Seconds of the processor."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        function(*arguments)
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("unit", ["a", " ", "7", "😀", "es", "\n", "the", "漢字", " \n", ".", "\u0301"])
def test_encoding_is_linear_in_the_worst_input(unit):
    """Four times the length takes about four times the time; sixteen times would be the square."""
    n = 100_000
    small().encode(unit)
    once, four = fastest(small().encode, unit * n), fastest(small().encode, unit * (4 * n))
    assert four < 9 * once + 0.02
    assert small().decode(small().encode(unit * n)) == unit * n


def test_words_of_gpt1_too():
    gpt1().encode("a")
    once, four = fastest(gpt1().encode, "a" * 100_000), fastest(gpt1().encode, "a" * 400_000)
    assert four < 9 * once + 0.02


@pytest.mark.parametrize("unit", ["a", "ab", "the"])
def test_training_on_one_long_word(unit):
    def learn(n):
        return ByteLevelBPE.train_from_chunks(unit * n, vocab_size=270)

    learn(10)
    assert fastest(learn, 200_000) < 9 * fastest(learn, 50_000) + 0.05


def test_tables_of_pieces_never_grow():
    tokenizer = ByteLevelBPE(small().vocabulary, small().merges)
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(3):
        tokenizer.encode(" ".join("".join(rng.choice(list("etaoins漢"), rng.integers(1, 30))) for _ in range(20_000)))
        (state,) = tokenizer._encoder.states
        sizes.add(sum(array.nbytes for array in state.values))  # with views, so the large ones twice
    assert len(sizes) == 1 and sizes.pop() < 27e6  # two of 12 MB, and what is small
