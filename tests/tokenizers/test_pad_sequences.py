import numpy as np
import pytest

from minilm.tokenizers import pad_sequences

RAGGED = [[1], [2, 3], [4, 5, 6], []]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6], [0, 0, 0]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6], [0, 0, 0]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6], [0, 0]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5], [0, 0]]),
        ({"maxlen": 2, "truncating": "post", "padding": "post", "value": 9}, [[1, 9], [2, 3], [4, 5], [9, 9]]),
        ({"maxlen": 4, "value": -1}, [[-1, -1, -1, 1], [-1, -1, 2, 3], [-1, 4, 5, 6], [-1, -1, -1, -1]]),
        ({"maxlen": 0}, [[], [], [], []]),
        ({"maxlen": 0, "truncating": "post", "padding": "post"}, [[], [], [], []]),
    ],
)
@pytest.mark.parametrize("container", [list, np.array, tuple])
def test_values(options, expected, container):
    padded = pad_sequences([container(each) for each in RAGGED], **options)
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded, np.array(expected, np.int32))


def test_dtypes():
    np.testing.assert_array_equal(pad_sequences([[1.5], [2.5, 3]], dtype="float32"), np.array([[0, 1.5], [2.5, 3]], np.float32))
    assert pad_sequences([[1.5]], dtype="float32").dtype == np.float32
    assert pad_sequences([[1.9]]).tolist() == [[1]]  # cast as NumPy casts
    words = pad_sequences([["a"], ["longer", "word"]], dtype=object, value="<pad>", padding="post")
    assert words.tolist() == [["a", "<pad>"], ["longer", "word"]]
    assert pad_sequences([["a"], ["b", "c"]], dtype="<U1", value="x").tolist() == [["x", "a"], ["b", "c"]]


def test_sequences_of_vectors():
    padded = pad_sequences([[], [[1, 2]], [[3, 4], [5, 6], [7, 8]]], maxlen=2, value=9)
    np.testing.assert_array_equal(padded, [[[9, 9], [9, 9]], [[9, 9], [1, 2]], [[5, 6], [7, 8]]])
    with pytest.raises(ValueError, match=r"after axis 0: expected \(2,\), got \(3,\) at position 1"):
        pad_sequences([[[1, 2]], [[1, 2, 3]]])


def test_no_sequences():
    assert pad_sequences([], maxlen=3).shape == (0, 3)
    assert pad_sequences([[], []]).shape == (2, 0)


@pytest.mark.parametrize(
    "sequences, options, message",
    [
        (5, {}, "sequences must be a list of sequences, got int"),
        (iter([[1]]), {}, "sequences must be a list of sequences"),
        ([[1], 2], {}, r"sequences must hold sequences, got 2 \(int\) at position 1"),
        ([[1], {2}], {}, r"got \{2\} \(set\) at position 1"),
        ([], {}, "at least one sequence if maxlen is None"),
        ([[1]], {"maxlen": -1}, "maxlen must be at least 0, got -1"),
        ([[1]], {"padding": "left"}, "padding must be 'pre' or 'post', got 'left'"),
        ([[1]], {"truncating": "right"}, "truncating must be 'pre' or 'post', got 'right'"),
        ([[1]], {"value": "x"}, "value must suit dtype int32, got the str 'x'; dtype=object"),
        ([["a"]], {}, "invalid literal"),
    ],
)
def test_errors(sequences, options, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(sequences, **options)
