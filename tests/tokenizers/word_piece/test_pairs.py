import numpy as np
import pytest

from minilm.tokenizers import WordPiece
from minilm.tokenizers.word_piece.pairs import cut_to

from .helpers import VOCABULARY

TOKENIZER = WordPiece(VOCABULARY)


def spelled(ids):
    return " ".join(TOKENIZER.id_to_token(id) for id in ids)


def test_single():
    made = TOKENIZER.encode_pair("The dogs!")
    assert spelled(made.input_ids) == "[CLS] the dog ##s ! [SEP]"
    assert made.token_type_ids.tolist() == [0] * 6 and made.attention_mask.tolist() == [1] * 6
    assert made.word_ids.tolist() == [-1, 0, 1, 1, 2, -1]
    assert made.sequence_ids.tolist() == [-1, 0, 0, 0, 0, -1]
    assert made.offsets.tolist() == [[0, 0], [0, 3], [4, 7], [7, 8], [8, 9], [0, 0]]
    assert all(array.dtype == np.int32 for array in made[:5])


def test_pair():
    made = TOKENIZER.encode_pair("dogs", "the [MASK]", max_length=9, padding="max_length")
    assert spelled(made.input_ids) == "[CLS] dog ##s [SEP] the [MASK] [SEP] [PAD] [PAD]"
    assert made.token_type_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert made.attention_mask.tolist() == [1] * 7 + [0] * 2
    assert made.word_ids.tolist() == [-1, 0, 0, -1, 0, 1, -1, -1, -1]
    assert made.sequence_ids.tolist() == [-1, 0, 0, -1, 1, 1, -1, -1, -1]
    assert made.offsets[4:6].tolist() == [[0, 3], [4, 10]]


def test_words_that_are_given():
    made = TOKENIZER.encode_pair(["unaffable", "don't", "", "a b"])
    assert spelled(made.input_ids) == "[CLS] un ##aff ##able don ' t a b [SEP]"
    assert made.word_ids.tolist() == [-1, 0, 0, 0, 1, 1, 1, 3, 3, -1]
    assert made.offsets[4:7].tolist() == [[0, 3], [3, 4], [4, 5]]
    assert TOKENIZER.encode_pair([]).input_ids.size == 2


def test_batch():
    made = TOKENIZER.encode_pairs(["the", "the dogs"], ["a", "b"])
    assert made.input_ids.shape == (2, 7) and made.offsets.shape == (2, 7, 2)
    assert spelled(made.input_ids[0]) == "[CLS] the [SEP] a [SEP] [PAD] [PAD]"
    np.testing.assert_array_equal(made.attention_mask.sum(1), [5, 7])
    assert TOKENIZER.encode_pairs(["the", "the dogs"], multiple_of=8).input_ids.shape == (2, 8)
    assert TOKENIZER.encode_pairs(["the"], max_length=6, padding="max_length").input_ids.shape == (1, 6)
    assert TOKENIZER.encode_pairs([]).input_ids.shape == (0, 0)
    for row, text in enumerate(["the", "the dogs"]):
        alone = TOKENIZER.encode_pair(text, "ab"[row])
        for array, wanted in zip(made, alone, strict=True):
            np.testing.assert_array_equal(array[row][: wanted.shape[0]], wanted)


@pytest.mark.parametrize(
    "lengths, room, truncation, wanted",
    [
        ((5,), 3, "longest_first", (3,)),
        ((5,), 5, None, (5,)),
        ((5, 2), 5, "longest_first", (3, 2)),
        ((2, 5), 5, "longest_first", (2, 3)),
        ((9, 8), 5, "longest_first", (3, 2)),
        ((8, 9), 5, "longest_first", (2, 3)),
        ((8, 8), 5, "longest_first", (2, 3)),
        ((9, 2), 0, "longest_first", (0, 0)),
        ((5, 2), 5, "only_first", (3, 2)),
        ((5, 4), 6, "only_second", (5, 1)),
        ((1, 2), 9, "only_second", (1, 2)),
    ],
)
def test_truncation(lengths, room, truncation, wanted):
    assert cut_to(lengths, room, truncation) == wanted


def test_the_longer_text_loses_tokens_first():
    """Of every two lengths and every room: the shorter keeps what it has unless that is more than half."""
    for first in range(10):
        for second in range(10):
            for room in range(first + second):
                kept = cut_to((first, second), room, "longest_first")
                short, long = sorted(kept)
                assert sum(kept) == room and short == min(first, second, room // 2) and long == room - short
                assert kept[0] <= first and kept[1] <= second


def test_truncated_sequence():
    made = TOKENIZER.encode_pair("a b a b a", "the dog", max_length=7)
    assert spelled(made.input_ids) == "[CLS] a b [SEP] the dog [SEP]"
    assert made.offsets[1:3].tolist() == [[0, 1], [2, 3]]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="cannot shorten 2 tokens by 3"):
        TOKENIZER.encode_pair("a b a b", "a b", max_length=6, truncation="only_second")
    with pytest.raises(ValueError, match="'only_second' needs a pair"):
        TOKENIZER.encode_pair("a b a b", max_length=3, truncation="only_second")
    with pytest.raises(ValueError, match="3 tokens longer than max_length"):
        TOKENIZER.encode_pair("a b a b", max_length=3, truncation=None)
    with pytest.raises(ValueError, match="room for 3 special tokens, got 2"):
        TOKENIZER.encode_pair("a", "b", max_length=2)
    with pytest.raises(ValueError, match="truncation must be one of 'longest_first'.* got True"):
        TOKENIZER.encode_pair("a", truncation=True)
    with pytest.raises(ValueError, match="padding must be one of 'longest'.* got 'all'"):
        TOKENIZER.encode_pair("a", padding="all")
    with pytest.raises(ValueError, match="encode_pairs makes batches"):
        TOKENIZER.encode_pair("a", padding="longest")
    with pytest.raises(ValueError, match="needs max_length"):
        TOKENIZER.encode_pairs(["a"], padding="max_length")
    with pytest.raises(ValueError, match="for a batch, got None"):
        TOKENIZER.encode_pairs(["a"], padding=None)
    with pytest.raises(ValueError, match="multiple_of must be at least 1, got 0"):
        TOKENIZER.encode_pairs(["a"], multiple_of=0)
    with pytest.raises(ValueError, match="of one length, got 1 and 2"):
        TOKENIZER.encode_pairs(["a"], ["a", "b"])
    with pytest.raises(TypeError, match="use encode_pair"):
        TOKENIZER.encode_pairs("a")
    with pytest.raises(TypeError, match="pair must be a str or a list of str, got int"):
        TOKENIZER.encode_pair("a", 3)
    with pytest.raises(TypeError, match="text must be a str or a list of str, got list"):
        TOKENIZER.encode_pair(["a", 3])
    with pytest.raises(ValueError, match="no cls_token"):
        WordPiece(["[UNK]"], cls_token=None, sep_token=None, pad_token=None, mask_token=None).encode_pair("a")
    with pytest.raises(ValueError, match="no pad_token"):
        WordPiece(["[UNK]", "[CLS]", "[SEP]"], pad_token=None, mask_token=None).encode_pairs(["a", "a b"])
