"""Word: Keras's text tokenizer. (Language models use `WordLevel`, which shares the interface of the other tokenizers.)"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minilm.typing import PathLike

from . import files, word_config, word_matrix
from .files import field

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(text: str, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[str]:
    """Cut a text into words: lower-case it, put `split` in place of every character of `filters`, cut at `split`.

    Parameters
    ----------
    text : str
    filters : str
        Characters that separate words; the default is ASCII punctuation without the apostrophe, tab and line feed.
    lower : bool
    split : str
        What separates words. Note that a line feed that is not in `filters`, or "\\r", stays part of its word.

    Returns
    -------
    words : list of str
        None of them empty.

    Raises
    ------
    ValueError
        `split` is empty.

    Examples
    --------
    >>> text_to_word_sequence("The cat, don't you know?")
    ['the', 'cat', "don't", 'you', 'know']
    """
    if lower:
        text = text.lower()
    return [word for word in text.translate(dict.fromkeys(map(ord, filters), split)).split(split) if word]


class Word:
    """Words to indices with the semantics of `Tokenizer` of Keras 2 (tf.keras.preprocessing.text).

    Parameters
    ----------
    num_words : int, optional
        Only indices below it are used: the ``num_words - 1`` most frequent words (`oov_token` counts as one). The other words
        become `oov_token`, or are left out if there is none. None (or 0) uses all.
    filters, lower, split
        As in `text_to_word_sequence`.
    char_level : bool
        Every character is a word.
    oov_token : str, optional
        The word for all unknown ones; it gets index 1.
    analyzer : callable, optional
        ``analyzer(text)`` returns the words of a text, in place of `text_to_word_sequence`. It is not saved.
    document_count : int
        Texts seen before.

    Attributes
    ----------
    word_counts : OrderedDict
        Occurrences of every word, in order of first appearance.
    word_docs : dict
        Number of texts that hold the word.
    index_docs : dict
        The same by index.
    word_index, index_word : dict
        Word to index and back. Indices begin at 1 (0 is for padding), by falling count; ties go to the word that appeared first.
    document_count : int
        Texts seen.

    Notes
    -----
    A text is a str, or a list of words, which is only lower-cased. `word_counts` and the indices hold all words whatever
    `num_words` is. If a text holds `oov_token` itself as a word, it keeps the index of its rank, and index 1 belongs to no word.

    As in Keras, one str in place of a list of texts is a list of one-character texts.

    Where Keras fails by accident, this class says what is wrong (an unfitted `oov_token`, a text that is no str). It goes on
    counting after a JSON round trip, and orders `word_docs` by first appearance instead of by hash.

    References
    ----------
    Keras 2 documentation, tf.keras.preprocessing.text.Tokenizer and tf.keras.utils.pad_sequences.

    Examples
    --------
    >>> word = Word(num_words=100, oov_token="<oov>")
    >>> word.fit_on_texts(["The cat sat.", "The dog sat on the cat."])
    >>> word.texts_to_sequences(["the bird sat"])
    [[2, 1, 4]]
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Iterable[str]] | None = None,
        document_count: int = 0,
    ):
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.analyzer = analyzer
        self.document_count = document_count
        self.word_counts = OrderedDict()
        self.word_docs = defaultdict(int)
        self.index_docs = defaultdict(int)
        self.word_index = {}
        self.index_word = {}

    # Fitting

    def fit_on_texts(self, texts: Iterable) -> None:
        """Count the words of texts and give indices; may be called again with more texts.

        Parameters
        ----------
        texts : iterable of str or of lists of str
            Texts, or texts that are cut into words already.

        Raises
        ------
        TypeError
            A text is neither.
        """
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in dict.fromkeys(words):
                self.word_docs[word] += 1
        ranked = sorted(self.word_counts, key=self.word_counts.get, reverse=True)  # stable: ties keep the order of appearance
        vocabulary = ranked if self.oov_token is None else [self.oov_token, *ranked]
        self.word_index = {word: index for index, word in enumerate(vocabulary, 1)}
        self.index_word = {index: word for word, index in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Iterable) -> None:
        """Count, for `sequences_to_matrix`, in how many sequences every index occurs; needed only without `fit_on_texts`.

        Parameters
        ----------
        sequences : iterable of sequences of int
        """
        sequences = list(sequences)
        self.document_count += len(sequences)
        for sequence in sequences:
            for index in dict.fromkeys(sequence):
                self.index_docs[int(index)] += 1  # a NumPy integer would be no JSON key

    # Texts and sequences

    def texts_to_sequences(self, texts: Iterable) -> list[list[int]]:
        """The indices of every text's words.

        Parameters
        ----------
        texts : iterable of N texts
            Each as in `fit_on_texts`.

        Returns
        -------
        sequences : list of N lists of int
            Of different lengths; `pad_sequences` makes an array of them.

        Raises
        ------
        TypeError
            A text is neither a str nor a list of str.
        ValueError
            There is an `oov_token` and `fit_on_texts` was not called.
        """
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable) -> Iterator[list[int]]:
        """`texts_to_sequences`, one text at a time.

        Parameters
        ----------
        texts : iterable of texts

        Yields
        ------
        sequence : list of int

        Raises
        ------
        TypeError, ValueError
            As of `texts_to_sequences`.
        """
        oov_index = self._oov_index()
        for text in texts:
            indices = (self._kept(self.word_index.get(word), oov_index) for word in self._words(text))
            yield [index for index in indices if index is not None]

    def sequences_to_texts(self, sequences: Iterable) -> list[str]:
        """The words of every sequence, joined by spaces.

        Parameters
        ----------
        sequences : iterable of N sequences of int

        Returns
        -------
        texts : list of N str
            An unknown index, or one from `num_words` on, is `oov_token`, or nothing if there is none.

        Raises
        ------
        ValueError
            There is an `oov_token` and `fit_on_texts` was not called.
        """
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable) -> Iterator[str]:
        """`sequences_to_texts`, one sequence at a time.

        Parameters
        ----------
        sequences : iterable of sequences of int

        Yields
        ------
        text : str

        Raises
        ------
        ValueError
            As of `sequences_to_texts`.
        """
        oov_index = self._oov_index()
        for sequence in sequences:
            known = (index if index in self.index_word else None for index in sequence)
            kept = (self._kept(index, oov_index) for index in known)
            yield " ".join(self.index_word[index] for index in kept if index is not None)

    # Matrices

    def texts_to_matrix(self, texts: Iterable, mode: str = "binary") -> np.ndarray:
        """`sequences_to_matrix` of `texts_to_sequences`.

        Parameters
        ----------
        texts : iterable of N texts
            Each as in `fit_on_texts`.
        mode : {"binary", "count", "tfidf", "freq"}

        Returns
        -------
        matrix : ndarray, shape (N, num_words), or (N, len(word_index) + 1) without `num_words`; float64

        Raises
        ------
        TypeError, ValueError
            As of `texts_to_sequences` and `sequences_to_matrix`.
        """
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Iterable, mode: str = "binary") -> np.ndarray:
        """One row a sequence, one column an index.

        Parameters
        ----------
        sequences : iterable of sequences of int
            Indices from `num_words` on are left out.
        mode : {"binary", "count", "tfidf", "freq"}
            With c the occurrences of index j in the sequence, T its length, n the texts seen, d_j those that hold j:
            1 if c > 0; c; (1 + log c) log(1 + n / (1 + d_j)); c / T.

        Returns
        -------
        matrix : ndarray, shape (N, num_words), or (N, len(word_index) + 1) without `num_words`; float64

        Raises
        ------
        ValueError
            Neither `num_words` nor fitted, unknown mode, "tfidf" before fitting, or a negative index.
        """
        if not self.num_words and not self.word_index:
            raise ValueError("sequences_to_matrix needs num_words, or fit_on_texts first, to know the number of columns")
        columns = self.num_words or len(self.word_index) + 1
        return word_matrix.of_sequences(list(sequences), columns, mode, self.document_count, self.index_docs)

    # JSON: its form is in `minilm.tokenizers.word_config`

    def get_config(self) -> dict:
        """The settings and counts, as Keras writes them.

        Returns
        -------
        config : dict
            By the constructor's arguments and the attributes; every dictionary among these is a JSON text of its own.
        """
        return word_config.written(self)

    def to_json(self, **kwargs: Any) -> str:
        """The tokenizer as JSON, for `tokenizer_from_json` and Keras's function of that name.

        Parameters
        ----------
        **kwargs
            Of `json.dumps`.

        Returns
        -------
        content : str

        Raises
        ------
        ValueError
            There is an `analyzer`, or the counts hold something else than words and whole numbers.
        """
        return json.dumps({"class_name": "Tokenizer", "config": word_config.checked(self, Word)}, **kwargs)

    def save(self, path: PathLike) -> None:
        """Write the tokenizer to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder, which then gets a tokenizer.json.

        Raises
        ------
        OSError
            It cannot be written there.
        ValueError
            As of `to_json`.
        """
        files.write_tokenizer(path, "Word", {"config": word_config.checked(self, Word)})

    @classmethod
    def load(cls, path: PathLike) -> Word:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder that holds a tokenizer.json.

        Returns
        -------
        word : Word

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        return files.tokenizer_of(path, files.read_tokenizer(path), {"Word": cls})

    @classmethod
    def _from_fields(cls, fields: dict) -> Word:
        return word_config.read(cls, field(fields, "config", dict))

    # The two rules everything above uses

    def _words(self, text) -> list[str]:
        if isinstance(text, list | tuple):
            for element in text:
                if not isinstance(element, str):
                    raise TypeError(f"a text given as a list must hold str, got {type(element).__name__} {element!r}")
            return [word.lower() for word in text] if self.lower else list(text)
        if not isinstance(text, str):
            raise TypeError(f"texts must hold str or lists of str, got {type(text).__name__} {text!r}")
        if self.char_level:
            return list(text.lower() if self.lower else text)
        if self.analyzer is not None:
            return list(self.analyzer(text))
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def _oov_index(self) -> int | None:
        if self.oov_token is not None and self.oov_token not in self.word_index:
            raise ValueError("oov_token has no index yet: fit_on_texts first")
        return self.word_index.get(self.oov_token)

    def _kept(self, index: int | None, oov_index: int | None) -> int | None:
        """`index` if it is known (not None) and below num_words; otherwise the out-of-vocabulary index, None if there is none."""
        known = index is not None and (not self.num_words or index < self.num_words)
        return index if known else oov_index


def tokenizer_from_json(text: str) -> Word:
    """Read the JSON that `Word.to_json`, or Keras's `Tokenizer.to_json`, wrote.

    Parameters
    ----------
    text : str

    Returns
    -------
    word : Word

    Raises
    ------
    ValueError
        The text is not such JSON; says what is wrong.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not the JSON of a tokenizer: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"not the JSON of a tokenizer: expected an object, got {type(fields).__name__}")
    return word_config.read(Word, field(fields, "config", dict))
