"""Random texts through `Word` and `pad_sequences` and through Keras's, where keras_preprocessing is installed."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.tokenizers import Word, pad_sequences, text_to_word_sequence, tokenizer_from_json

peer = pytest.importorskip("keras_preprocessing.text")
peer_sequence = pytest.importorskip("keras_preprocessing.sequence")

STRINGS = st.text("aAbBİß.,! \t\n\r-|é", max_size=25) | st.text(max_size=15)
TEXTS = st.lists(STRINGS | st.lists(st.text("aAbB ", max_size=3), max_size=6), max_size=6)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "num_words": st.none() | st.integers(0, 8),
        "filters": st.sampled_from(["", ",.", " |", "aA!"]),
        "lower": st.booleans(),
        "split": st.sampled_from([" ", "|", "--", "\n", "a"]),
        "char_level": st.booleans(),
        "oov_token": st.none() | st.sampled_from(["<oov>", "a", "B", ""]),
    },
)
SEQUENCES = st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=5)


@settings(max_examples=200)
@given(STRINGS, OPTIONS)
def test_text_to_word_sequence(text, options):
    options = {name: options[name] for name in ("filters", "lower", "split") if name in options}
    assert text_to_word_sequence(text, **options) == peer.text_to_word_sequence(text, **options)


@settings(max_examples=200)
@given(TEXTS, TEXTS, TEXTS, SEQUENCES, OPTIONS, st.booleans())
def test_tokenizer(first, second, new, sequences, options, through_json):
    ours, theirs = Word(**options), peer.Tokenizer(**options)
    for texts in (first, second):
        ours.fit_on_texts(texts)
        theirs.fit_on_texts(texts)
    if sequences and sum(map(len, sequences)) % 2:
        ours.fit_on_sequences(sequences)
        theirs.fit_on_sequences(sequences)
    if through_json:
        ours, theirs = tokenizer_from_json(theirs.to_json()), peer.tokenizer_from_json(ours.to_json())
    assert list(ours.word_counts.items()) == list(theirs.word_counts.items())
    assert list(ours.word_index.items()) == list(theirs.word_index.items())
    for name in ("index_word", "word_docs", "index_docs", "document_count"):
        assert getattr(ours, name) == getattr(theirs, name)
    config, wanted = ours.get_config(), theirs.get_config()
    for name in ("word_docs", "index_docs"):  # theirs come in the order of a set
        config[name], wanted[name] = json.loads(config[name]), json.loads(wanted[name])
    assert config == wanted
    assert ours.texts_to_sequences(new) == theirs.texts_to_sequences(new)
    assert ours.sequences_to_texts(sequences) == theirs.sequences_to_texts(sequences)
    for mode in ("binary", "count", "freq", "tfidf"):
        try:
            matrix = theirs.sequences_to_matrix(sequences, mode)
        except ValueError:
            with pytest.raises(ValueError):
                ours.sequences_to_matrix(sequences, mode)
        else:
            np.testing.assert_array_equal(ours.sequences_to_matrix(sequences, mode), matrix)
            np.testing.assert_array_equal(ours.texts_to_matrix(new, mode), theirs.texts_to_matrix(new, mode))


@settings(max_examples=200)
@given(
    SEQUENCES,
    st.none() | st.integers(1, 8),
    st.sampled_from(["int32", "float32", "int64", object]),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
    st.sampled_from([0.0, 7, -1.5]),
    st.booleans(),
)
def test_pad_sequences(sequences, maxlen, dtype, padding, truncating, value, arrays):
    if arrays:
        sequences = [np.array(each, int) for each in sequences]
    arguments = (sequences, maxlen, dtype, padding, truncating, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "unicode_", np.str_, raising=False)  # a name that NumPy 2 dropped and the peer uses
        try:
            expected = peer_sequence.pad_sequences(*arguments)
        except ValueError:
            with pytest.raises(ValueError):
                pad_sequences(*arguments)
            return
    padded = pad_sequences(*arguments)
    assert padded.dtype == expected.dtype and padded.shape == expected.shape
    np.testing.assert_array_equal(padded, expected)
