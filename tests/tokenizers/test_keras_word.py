"""`Word` case by case. Every case that is Keras's own also runs on Keras's class, where that is installed."""

import importlib
import json
from collections import OrderedDict

import numpy as np
import pytest

from minilm.tokenizers import Word, text_to_word_sequence, tokenizer_from_json

TEXTS = ["The cat sat on the mat.", "The dog sat on the log!", "Dogs and cats, and the end"]


@pytest.fixture(params=["minilm", "keras_preprocessing.text", "keras.src.legacy.preprocessing.text"])
def keras(request, monkeypatch):
    """The namespace with Tokenizer and its functions: ours, and each of Keras's that can be imported."""
    if request.param == "minilm":

        class Ours:
            Tokenizer = Word

        Ours.text_to_word_sequence = staticmethod(text_to_word_sequence)
        Ours.tokenizer_from_json = staticmethod(tokenizer_from_json)
        return Ours
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    try:
        return importlib.import_module(request.param)
    except ImportError as error:  # not installed, or without a backend
        pytest.skip(f"{request.param} cannot be imported: {error}")


@pytest.fixture
def fit(keras):
    def fit(texts=TEXTS, **options):
        tokenizer = keras.Tokenizer(**options)
        tokenizer.fit_on_texts(texts)
        return tokenizer

    return fit


@pytest.mark.parametrize(
    "text, options, words",
    [
        ("Hello, World! It's me.", {}, ["hello", "world", "it's", "me"]),
        ("a  b   c ", {}, ["a", "b", "c"]),
        ("Hello World", {"lower": False}, ["Hello", "World"]),
        ("a,b;c", {"filters": ","}, ["a", "b;c"]),
        ("a,b c", {"filters": ""}, ["a,b", "c"]),
        ("a,b c.d", {"split": ","}, ["a", "b c", "d"]),
        ("a,b//c", {"split": "//", "filters": ","}, ["a", "b", "c"]),
        ("tab\tnew\nline\r\nend", {}, ["tab", "new", "line\r", "end"]),
        ("non\u00a0breaking Straße İ", {}, ["non\u00a0breaking", "straße", "i̇"]),
        ("...", {}, []),
        ("", {}, []),
    ],
)
def test_text_to_word_sequence(keras, text, options, words):
    assert keras.text_to_word_sequence(text, **options) == words


def test_fit_on_texts(fit):
    tokenizer = fit()
    assert tokenizer.document_count == 3
    assert isinstance(tokenizer.word_counts, OrderedDict)
    assert list(tokenizer.word_counts.items()) == [
        *[("the", 5), ("cat", 1), ("sat", 2), ("on", 2), ("mat", 1), ("dog", 1), ("log", 1)],
        *[("dogs", 1), ("and", 2), ("cats", 1), ("end", 1)],
    ]
    # By falling count; ties in order of first appearance.
    order = ["the", "sat", "on", "and", "cat", "mat", "dog", "log", "dogs", "cats", "end"]
    assert tokenizer.word_index == {word: index for index, word in enumerate(order, 1)}
    assert list(tokenizer.word_index) == order
    assert tokenizer.index_word == dict(enumerate(order, 1))
    assert dict(tokenizer.word_docs) == {**dict.fromkeys(order, 1), "the": 3, "sat": 2, "on": 2}
    assert dict(tokenizer.index_docs) == {**dict.fromkeys(range(1, 12), 1), 1: 3, 2: 2, 3: 2}


def test_fitting_again_adds_and_ranks_anew(fit):
    tokenizer = fit(["a b b"])
    assert tokenizer.word_index == {"b": 1, "a": 2}
    tokenizer.fit_on_texts(["a a a c"])
    assert tokenizer.document_count == 2
    assert tokenizer.word_index == {"a": 1, "b": 2, "c": 3}
    assert dict(tokenizer.index_docs) == {1: 2, 2: 1, 3: 1}
    tokenizer.fit_on_texts(text for text in [])
    assert tokenizer.word_index == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "options, sequences",
    [
        ({}, [[1, 5, 2], [1]]),
        ({"num_words": 3}, [[1, 2], [1]]),  # indices 1 and 2 only
        ({"num_words": 0}, [[1, 5, 2], [1]]),
        ({"num_words": 1}, [[], []]),
        ({"oov_token": "<oov>"}, [[2, 6, 3], [2, 1]]),
        ({"oov_token": "<oov>", "num_words": 3}, [[2, 1, 1], [2, 1]]),
        ({"oov_token": "<oov>", "num_words": 1}, [[1, 1, 1], [1, 1]]),
        ({"oov_token": "<oov>", "num_words": 100}, [[2, 6, 3], [2, 1]]),
    ],
)
def test_texts_to_sequences(fit, options, sequences):
    tokenizer = fit(**options)
    assert tokenizer.texts_to_sequences(["the cat sat", "The zebra"]) == sequences
    generator = tokenizer.texts_to_sequences_generator(["the cat sat", "The zebra"])
    assert iter(generator) is generator and list(generator) == sequences
    assert tokenizer.texts_to_sequences([]) == [] and tokenizer.texts_to_sequences([""]) == [[]]
    assert len(tokenizer.word_index) == 11 + ("oov_token" in options)  # whatever num_words is


@pytest.mark.parametrize(
    "options, texts",
    [
        ({}, ["the sat", "end", ""]),
        ({"num_words": 2}, ["the", "", ""]),
        ({"oov_token": "<oov>"}, ["<oov> the", "cats <oov>", "<oov> <oov>"]),
        ({"oov_token": "<oov>", "num_words": 2}, ["<oov> <oov>", "<oov> <oov>", "<oov> <oov>"]),
    ],
)
def test_sequences_to_texts(fit, options, texts):
    tokenizer = fit(**options)
    sequences = [[1, 2], [11, 99], [0, -1]]
    assert tokenizer.sequences_to_texts(sequences) == texts
    assert list(tokenizer.sequences_to_texts_generator(sequences)) == texts
    assert tokenizer.sequences_to_texts([np.array(each) for each in sequences]) == texts


def test_oov_token_is_first(fit):
    tokenizer = fit(["a b a"], oov_token="<oov>")
    assert tokenizer.word_index == {"<oov>": 1, "a": 2, "b": 3}
    assert tokenizer.index_word == {1: "<oov>", 2: "a", 3: "b"}
    assert "<oov>" not in tokenizer.word_counts and "<oov>" not in tokenizer.word_docs
    assert tokenizer.index_docs.get(1, 0) == 0


def test_oov_token_that_a_text_spells(fit):
    tokenizer = fit(["a x b a"], oov_token="x")
    assert tokenizer.word_index == {"x": 3, "a": 2, "b": 4}
    assert tokenizer.index_word == {3: "x", 2: "a", 4: "b"}
    assert tokenizer.texts_to_sequences(["a q x"]) == [[2, 3, 3]]
    assert tokenizer.sequences_to_texts([[1, 2, 3]]) == ["x a x"]


def test_oov_token_is_not_lower_cased(fit):
    tokenizer = fit(["oov a"], oov_token="OOV")
    assert tokenizer.word_index == {"OOV": 1, "oov": 2, "a": 3}
    assert tokenizer.texts_to_sequences(["OOV b"]) == [[2, 1]]


def test_char_level(fit):
    tokenizer = fit(["Abba!"], char_level=True)
    assert tokenizer.word_index == {"a": 1, "b": 2, "!": 3}  # no filters
    assert tokenizer.texts_to_sequences(["ab c!"]) == [[1, 2, 3]]
    assert tokenizer.sequences_to_texts([[1, 2]]) == ["a b"]
    assert fit(["Aa"], char_level=True, lower=False).word_index == {"A": 1, "a": 2}


def test_lists_of_words(fit):
    tokenizer = fit([["The", "the", "New York", "it."], ["", "the"]])
    assert tokenizer.word_index == {"the": 1, "new york": 2, "it.": 3, "": 4}  # lower-cased, neither filtered nor cut
    assert tokenizer.texts_to_sequences([["NEW YORK", "x"], "the it."]) == [[2], [1]]
    assert fit([["The", "the"]], lower=False).word_index == {"The": 1, "the": 2}


def test_lists_with_char_level(fit):
    tokenizer = fit([["Ab", "a"], "ba"], char_level=True)
    assert tokenizer.word_index == {"a": 1, "ab": 2, "b": 3}


def test_one_text_in_the_place_of_texts(fit):
    tokenizer = fit("aB a")
    assert tokenizer.document_count == 4 and tokenizer.word_index == {"a": 1, "b": 2}
    assert tokenizer.texts_to_sequences("ba") == [[2], [1]]


@pytest.mark.parametrize(
    "mode, rows",
    [
        ("binary", [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]),
        ("count", [[0, 3, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]),
        ("freq", [[0, 3 / 4, 1 / 4, 0], [0, 0, 0, 1], [0, 0, 0, 0]]),
        (
            "tfidf",
            [
                [0, (1 + np.log(3)) * np.log(1 + 2 / 3), np.log(1 + 2 / 2), 0],
                [0, 0, 0, np.log(1 + 2 / 2)],
                [0, 0, 0, 0],
            ],
        ),
    ],
)
def test_matrices(fit, mode, rows):
    tokenizer = fit(["a b a", "a c"])
    matrix = tokenizer.texts_to_matrix(["a a b a", "c z", "z"], mode=mode)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix, rows, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(tokenizer.sequences_to_matrix([[1, 1, 2, 1], [3], []], mode=mode), matrix)


def test_matrices_with_num_words(fit):
    tokenizer = fit(["a b a", "a c"], num_words=3, oov_token="?")
    np.testing.assert_array_equal(tokenizer.texts_to_matrix(["a b z c"], mode="count"), [[0, 3, 1]])
    # Indices from num_words on are left out, but count in the length.
    np.testing.assert_array_equal(tokenizer.sequences_to_matrix([[2, 2, 7, 3]], mode="freq"), [[0, 0, 0.5]])
    assert tokenizer.texts_to_matrix(["a"]).tolist() == [[0, 0, 1]]


def test_fit_on_sequences(keras):
    tokenizer = keras.Tokenizer(num_words=4)
    tokenizer.fit_on_sequences([[1, 2, 2], [2, 3], []])
    assert tokenizer.document_count == 3
    assert dict(tokenizer.index_docs) == {1: 1, 2: 2, 3: 1}
    expected = [[0, np.log(1 + 3 / 2), (1 + np.log(2)) * np.log(1 + 3 / 3), 0]]
    np.testing.assert_allclose(tokenizer.sequences_to_matrix([[1, 2, 2]], mode="tfidf"), expected, rtol=1e-15, atol=0)
    assert not tokenizer.word_index


def test_matrices_that_cannot_be(keras):
    for mode, options, fitted in [("binary", {}, False), ("tfidf", {"num_words": 3}, False), ("bogus", {"num_words": 3}, True)]:
        tokenizer = keras.Tokenizer(**options)
        if fitted:
            tokenizer.fit_on_texts(TEXTS)
        with pytest.raises(ValueError):
            tokenizer.sequences_to_matrix([[1, 2]], mode=mode)


def test_config_and_json(keras, fit):
    tokenizer = fit(["a B, b"], num_words=7, oov_token="é")
    config = tokenizer.get_config()
    assert list(config) == [
        *["num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count"],
        *["word_counts", "word_docs", "index_docs", "index_word", "word_index"],
    ]
    assert config["num_words"] == 7 and config["oov_token"] == "é" and config["document_count"] == 1
    assert config["word_counts"] == '{"a": 1, "b": 2}'
    assert config["index_word"] == '{"1": "\\u00e9", "2": "b", "3": "a"}'
    assert json.loads(config["index_docs"]) == {"2": 1, "3": 1}
    text = tokenizer.to_json()
    assert json.loads(text) == {"class_name": "Tokenizer", "config": config}
    assert tokenizer.to_json(indent=2) == json.dumps(json.loads(text), indent=2)
    for read in (keras.tokenizer_from_json, tokenizer_from_json):  # theirs is read by ours too
        again = read(text)
        assert json.loads(again.to_json()) == json.loads(text)
        assert again.texts_to_sequences(["b z a"]) == [[2, 1, 3]]
        assert again.sequences_to_texts([[2, 9]]) == ["b é"]
        np.testing.assert_array_equal(again.texts_to_matrix(["b"], "tfidf"), tokenizer.texts_to_matrix(["b"], "tfidf"))


def test_ours_is_read_by_keras(keras):
    word = Word(num_words=5, oov_token="?", lower=False, filters=",", split="|", char_level=False)
    word.fit_on_texts(["a|B,c|a", ["x y"]])
    again = keras.tokenizer_from_json(word.to_json())
    assert again.texts_to_sequences(["a|b,c"]) == word.texts_to_sequences(["a|b,c"]) == [[2, 1, 4]]
    assert json.loads(again.to_json()) == json.loads(word.to_json())


def test_options(keras):
    assert keras.Tokenizer(document_count=3).document_count == 3
    with pytest.raises(TypeError, match="bogus"):
        keras.Tokenizer(bogus=1)


# From here on: what is ours alone.


def test_counting_goes_on_after_a_json_round_trip():
    word = Word()
    word.fit_on_texts(["b a b"])
    again = tokenizer_from_json(word.to_json())
    for each in (word, again):
        each.fit_on_texts(["c c c a", "d"])
    assert again.get_config() == word.get_config()
    assert again.word_index == {"c": 1, "b": 2, "a": 3, "d": 4}


def test_analyzer(tmp_path):
    word = Word(analyzer=lambda text: text.upper().split("-"))
    word.fit_on_texts(["a-b-a", ["c"]])
    assert word.word_index == {"A": 1, "B": 2, "c": 3}
    assert word.texts_to_sequences(["b-A"]) == [[2, 1]]
    with pytest.raises(ValueError, match="analyzer cannot be saved"):
        word.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numpy_sequences():
    word = Word(num_words=4)
    word.fit_on_sequences(np.array([[1, 2], [2, 3]]))
    assert tokenizer_from_json(word.to_json()).index_docs == {1: 1, 2: 2, 3: 1}
    assert word.sequences_to_matrix(np.array([[1, 1]]), "count").tolist() == [[0, 2, 0, 0]]


def test_save_and_load(tmp_path):
    word = Word(num_words=5, oov_token="<oov>", lower=False)
    word.fit_on_texts(["Ein Wort, noch ein Wort", "\ud800 surrogate"])
    word.save(tmp_path)
    assert Word.load(tmp_path).get_config() == word.get_config()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Word().fit_on_texts([5]), TypeError, "texts must hold str or lists of str, got int 5"),
        (lambda: Word().texts_to_sequences([b"a"]), TypeError, "got bytes"),
        (lambda: Word().fit_on_texts([["a", 5]]), TypeError, "must hold str, got int 5"),
        (lambda: Word(oov_token="?").texts_to_sequences(["a"]), ValueError, "fit_on_texts first"),
        (lambda: Word(oov_token="?").sequences_to_texts([[1]]), ValueError, "fit_on_texts first"),
        (lambda: Word().sequences_to_matrix([[1]]), ValueError, "needs num_words, or fit_on_texts first"),
        (lambda: Word(num_words=3).sequences_to_matrix([[1]], "tfidf"), ValueError, "fit_on_texts or fit_on_sequences first"),
        (lambda: Word(num_words=3).sequences_to_matrix([[1]], "x"), ValueError, "'binary', 'count', 'tfidf', 'freq', got 'x'"),
        (lambda: Word(num_words=3).sequences_to_matrix([[1], [-1]]), ValueError, "got -1 in sequence 1"),
        (lambda: tokenizer_from_json("{"), ValueError, "not the JSON of a tokenizer"),
        (lambda: tokenizer_from_json("[]"), ValueError, "expected an object, got list"),
        (lambda: tokenizer_from_json("{}"), ValueError, "field 'config' is missing"),
        (lambda: tokenizer_from_json('{"config": {}}'), ValueError, "field 'num_words' is missing"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def _cut(word):
    word.word_index = {each: index for each, index in word.word_index.items() if index <= 2}


def _shifted(word):  # as for Keras's IMDB reviews
    word.word_index = {"<PAD>": 0, "<START>": 1, "<UNK>": 2, **{each: index + 3 for each, index in word.word_index.items()}}


def _oov_later(word):
    word.oov_token = "<oov>"


def _numpy(word):
    word.num_words = np.int64(3)
    word.word_index = {each: np.int32(index) for each, index in word.word_index.items()}


@pytest.mark.parametrize("change", [_cut, _shifted, _oov_later, _numpy])
def test_what_is_saved_is_loaded(change, tmp_path):
    word = Word()
    word.fit_on_texts(["a b a c", "b d"])
    change(word)
    known = "b a"
    word.save(tmp_path)
    for again in (Word.load(tmp_path), tokenizer_from_json(word.to_json())):
        assert again.get_config() == word.get_config()
        if change is _oov_later:
            for each in (word, again):
                with pytest.raises(ValueError, match="oov_token has no index yet"):
                    each.texts_to_sequences([known])
        else:
            assert again.texts_to_sequences([known]) == word.texts_to_sequences([known])
            assert again.sequences_to_texts([[1, 2]]) == word.sequences_to_texts([[1, 2]])


@pytest.mark.parametrize("name", ["word_index", "index_word", "word_counts"])
@pytest.mark.parametrize("content", [{"a": 1.5}, {("a", "b"): 1}, {3: 4}, {"a": None}])
def test_what_cannot_be_loaded_is_not_saved(name, content, tmp_path):
    word = Word()
    word.fit_on_texts(["a b"])
    setattr(word, name, content)
    with pytest.raises(ValueError, match="this tokenizer cannot be saved: ") as error:
        word.save(tmp_path)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="cannot be saved"):
        word.to_json()
