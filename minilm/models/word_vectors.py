"""Words with their vectors: the nearest words, analogies, and the formats of word2vec."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterable, Sequence

import numpy as np

from minilm import checksums, devices
from minilm.files import written_whole
from minilm.mistaken import nearest
from minilm.ops import checks
from minilm.typing import PathLike

__all__ = ["WordVectors"]

SEPARATORS = frozenset(" \t\r\n")  # of the formats: other white space may be part of a word


class WordVectors:
    """Words and a vector for each.

    Parameters
    ----------
    words : sequence of str
    vectors : ndarray, shape (V, D)
        From a GPU they are copied to the host, where words are looked up.

    Attributes
    ----------
    words : list of str
    vectors : ndarray, shape (V, D)
    ids : dict of str to int

    Examples
    --------
    >>> import numpy as np
    >>> found = WordVectors(["man", "woman", "king", "queen"], np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1]]))
    >>> found.analogy("man", "woman", "king", most=1)[0][0]
    'queen'
    >>> found.calculate("king - man + woman", most=1)[0][0]
    'queen'
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        self.words = list(words)
        vectors = np.asarray(devices.to_host(vectors))
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(self.words):
            raise ValueError(f"vectors must have shape ({len(self.words)}, D), one for each word, got {checks.describe(vectors)}")
        self.vectors = vectors
        self.ids = {word: i for i, word in enumerate(self.words)}
        if len(self.ids) < len(self.words):
            twice = next(word for i, word in enumerate(self.words) if self.ids[word] != i)
            raise ValueError(f"words must all be different, got {twice!r} twice")
        self._unit: np.ndarray | None = None

    @property
    def unit(self) -> np.ndarray:
        """The vectors divided by their lengths, (V, D); a vector of zeros stays one."""
        if self._unit is None:
            lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
            self._unit = self.vectors / np.where(lengths > 0, lengths, 1)
        return self._unit

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word):
        return word in self.ids

    def __getitem__(self, word: str) -> np.ndarray:
        """The vector of a word, (D,)."""
        return self.vectors[self.id(word)]

    def id(self, word: str) -> int:
        """The number of a word; ValueError with near ones if there is none."""
        if word not in self.ids:
            near = nearest(word, self.words, count=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"there is no vector of {word!r}{hint}")
        return self.ids[word]

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the angle between the vectors of words `a` and `b`."""
        return float(self.unit[self.id(a)] @ self.unit[self.id(b)])

    def nearest(self, query: str | np.ndarray, most: int = 10, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """The words nearest to a word or to a vector (D,), by cosine.

        Parameters
        ----------
        query : str or ndarray
            A word is itself left out.
        most : int
        without : iterable of str
            Words to leave out.

        Returns
        -------
        list of (word, cosine), nearest first
        """
        most = checks.whole("most", most, 0, 2**31)
        left_out = {self.id(word) for word in without}
        if isinstance(query, str):
            left_out.add(self.id(query))
            query = self.unit[self.id(query)]
        query = np.asarray(query)
        checks.check_shape("query", query, (self.vectors.shape[1],), "(D,)")
        cosines = self.unit @ (query / max(float(np.linalg.norm(query)), 1e-30))  # (V,)
        cosines[sorted(left_out)] = -np.inf
        most = min(most, len(self.words) - len(left_out))
        best = np.argsort(-cosines, kind="stable")[:most]
        return [(self.words[i], float(cosines[i])) for i in best]

    def analogy(self, a: str, b: str, c: str, most: int = 10) -> list[tuple[str, float]]:
        """What is to c as b is to a: the words nearest to b - a + c of unit vectors, these three left out (3CosAdd).

        Parameters
        ----------
        a, b, c : str
        most : int
            How many words.

        Returns
        -------
        list of (word, cosine), nearest first

        References
        ----------
        O. Levy, Y. Goldberg, Linguistic regularities in sparse and explicit word representations, CoNLL 2014.
        """
        unit = self.unit
        return self.nearest(unit[self.id(b)] - unit[self.id(a)] + unit[self.id(c)], most, (a, b, c))

    def calculate(self, text: str, most: int = 10) -> list[tuple[str, float]]:
        """The words nearest to a sum and difference of words, or to one word.

        Parameters
        ----------
        text : str
            Such as ``king - man + woman``.
        most : int
            How many words.

        Returns
        -------
        list of (word, cosine), nearest first

        Raises
        ------
        ValueError
            If there is no word in it, or one that has no vector.
        """
        terms = terms_of(text)
        if not terms:
            raise ValueError(f"wanted a word, or a sum such as 'king - man + woman', got {text!r}")
        total = sum(sign * self.unit[self.id(word)] for sign, word in terms)
        return self.nearest(total, most, {word for _, word in terms})

    def answers(self, questions: Sequence[Sequence[str]], block: int = 256) -> list[str]:
        """For many questions (a, b, c): the first word of `analogy`. `block` questions are answered by one matrix product."""
        ids = np.array([[self.id(word) for word in question[:3]] for question in questions], np.int64).reshape(-1, 3)  # (Q, 3)
        answers = []
        for start in range(0, len(ids), block):
            a, b, c = ids[start : start + block].T
            scores = (self.unit[b] - self.unit[a] + self.unit[c]) @ self.unit.T  # (Q, V)
            rows = np.arange(len(a))
            for each in (a, b, c):
                scores[rows, each] = -np.inf
            answers += [self.words[i] for i in scores.argmax(axis=1)]
        return answers

    # --- files ----------------------------------------------------------------------------------------------------------

    def save_text(self, path: PathLike) -> None:
        """Write word2vec's text format: a line "V D", then a line for each word with its numbers, in UTF-8.

        Packed by gzip where `path` ends in .gz. ValueError for a word that is empty or holds a blank, a tab or a line end.
        """
        with self._file(path) as file:
            for word, vector in zip(self.words, self.vectors, strict=True):
                file.write(f"{word} {' '.join(_shortest(number) for number in vector)}\n".encode())

    def save_binary(self, path: PathLike) -> None:
        """Write word2vec's binary format: a line "V D", then each word, a blank, and its numbers as float32, little endian.

        Packed by gzip where `path` ends in .gz. ValueError as for `save_text`.
        """
        with self._file(path) as file:
            for word, vector in zip(self.words, self.vectors.astype("<f4"), strict=True):
                file.write(word.encode() + b" " + vector.tobytes() + b"\n")

    @contextlib.contextmanager
    def _file(self, path):
        """A file of vectors to write into, behind its first line."""
        for word in self.words:
            if not word or not SEPARATORS.isdisjoint(word):
                raise ValueError(f"{os.fspath(path)}: the format has no place for the word {word!r}, which holds white space")
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(written_whole(path))
            if os.fspath(path).endswith(".gz"):
                file = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb", mtime=0))
            file.write(f"{len(self.words)} {self.vectors.shape[1]}\n".encode())
            yield file
        checksums.record_beside(path)

    @classmethod
    def load(cls, path: PathLike, most: int | None = None, *, binary: bool | None = None, errors: str = "strict") -> WordVectors:
        """Read vectors in word2vec's formats, text or binary, or in GloVe's, which is the text without the first line.

        Parameters
        ----------
        path : str or os.PathLike
            Packed by gzip or not.
        most : int, optional
            Read no more than so many words.
        binary : bool, optional
            Whether it is word2vec's binary format; without it the content tells.
        errors : {"strict", "replace", "ignore"}
            What invalid UTF-8 in a word becomes: an error that names the line, U+FFFD, or nothing.

        Raises
        ------
        OSError
        ValueError
            With the file and the line: what came and what was wanted. Also where the file ends before the number of words that
            its first line tells.

        Warns
        -----
        UserWarning
            Words come again, of which the first vector is kept, or something follows the number of words that the first line
            tells, and is left out; as in gensim.
        """
        from minilm.models import vector_files

        return cls(*vector_files.read(path, most, binary, errors))

    @classmethod
    def load_text(cls, path: PathLike, most: int | None = None, errors: str = "strict") -> WordVectors:
        """`load`, with its arguments, for a file that is text."""
        return cls.load(path, most, binary=False, errors=errors)

    def __repr__(self):
        return f"WordVectors({len(self.words):,} words, {self.vectors.shape[1]} numbers each)"


def terms_of(text: str) -> list[tuple[int, str]]:
    """The signs and words of a sum; a minus within a word belongs to it."""
    terms, sign = [], 1
    for part in text.replace("+", " + ").split():
        if part in "+-":
            sign = -1 if part == "-" else 1
            continue
        if part.startswith("-"):
            sign, part = -1, part[1:]
        terms.append((sign, part))
        sign = 1
    return terms


def _shortest(number) -> str:
    """The fewest digits that give the same float32 or float64."""
    return np.format_float_positional(number, unique=True, trim="-") if 1e-4 < abs(number) < 1e6 else repr(float(number))
