"""Words and vectors as word2vec, GloVe and fastText write them: as text, with a first line "V D" or without, and binary.

::

    text      word 0.1 -0.2 ...                  a line a word; a blank or tab separates, and no other white space
    binary    word, a blank, D float32 in little endian, and perhaps a line feed

What these files have that they should not is read as gensim reads it: of a word that comes twice the first vector counts, the
first line's V ends the reading. A word may hold blanks, as five of GloVe's do: the numbers are the last D fields of a line.

References
----------
T. Mikolov et al., Distributed representations of words and phrases and their compositionality, NIPS 2013: the program word2vec.
R. Řehůřek, P. Sojka, Software framework for topic modelling with large corpora, LREC 2010: gensim, KeyedVectors.
"""

from __future__ import annotations

import gzip
import itertools
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from minilm.data.lines import Line, lines, opened
from minilm.data.pipes import on_disk
from minilm.typing import PathLike

__all__ = ["read"]

CHUNK = 1 << 20
WIDEST = 1 << 20  # numbers of a vector: more is no file of vectors
NUMBERS = frozenset(b"0123456789+-.eEnaifNAIFty \t\r\n")  # bytes of numbers as text
NOT_YET = np.zeros(0, np.float32)  # in the place of a vector
BLOCK = 4096  # lines that are read at once
ERRORS = ("strict", "replace", "ignore")


def read(
    path: PathLike,
    most: int | None = None,
    binary: bool | None = None,
    errors: str = "strict",
    chosen: Callable[[int, str], bool] | None = None,
) -> tuple[list[str], np.ndarray]:
    """Words and vectors of a file; see `minilm.models.WordVectors.load`.

    `chosen(number, word)` says of each word, numbered from 0, whether it is wanted: the numbers of others are not looked at.
    """
    if errors not in ERRORS:
        raise ValueError(f"errors must be one of {', '.join(map(repr, ERRORS))}, got {errors!r}")
    path = on_disk(path)
    try:
        binary = _is_binary(path) if binary is None else binary
        collected = _Collected(path, errors, chosen)
        (_read_binary if binary else _read_text)(path, collected, most)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from None
    return collected.result()


class _Collected:
    """What has been read."""

    def __init__(self, path: str, errors: str, chosen: Callable[[int, str], bool] | None):
        self.path, self.errors, self.chosen = path, errors, chosen
        self.rows: dict[str, np.ndarray] = {}  # word -> (D,)
        self.width = 0
        self.read = 0  # words, those that came twice too
        self.twice = 0
        self.first_twice = ""

    def wants(self, word: bytes, where: str) -> str | None:
        """The next word as text; None where its vector is not wanted, or is there."""
        try:
            text = word.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            raise ValueError(f'{where}: not UTF-8 ({error.reason}); errors="replace" reads U+FFFD in its place') from None
        self.read += 1
        if self.chosen is not None and not self.chosen(self.read - 1, text):
            return None
        if text in self.rows:
            self.twice += 1
            self.first_twice = self.first_twice or f"{text!r} at {where}"
            return None
        self.rows[text] = NOT_YET
        return text

    def require(self, count: int | None, most: int | None, more: bool) -> None:
        """Compare with the first line's count; `more` says whether something follows."""
        if count is None:
            return
        expected = count if most is None else min(count, most)
        if self.read < expected:
            raise ValueError(f"{self.path}: the first line tells of {count} words, there are {self.read}: the file is cut short")
        if more and expected == count:
            warnings.warn(f"{self.path}: the first line tells of {count} words, what follows them is left out", stacklevel=5)

    def result(self) -> tuple[list[str], np.ndarray]:
        if not self.read:
            raise ValueError(f"{self.path}: there are no vectors in it")
        if self.twice:
            times = f"{self.twice:,} words come again, first {self.first_twice}; the first vector of each is kept"
            warnings.warn(f"{self.path}: {times}", stacklevel=4)
        rows = list(self.rows.values())
        return list(self.rows), np.stack(rows) if rows else np.zeros((0, self.width), np.float32)


def _header(content: bytes) -> tuple[int, int] | None:
    """V and D, where a line holds two whole numbers and nothing else."""
    fields = content.split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 16 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


# --- text ------------------------------------------------------------------------------------------------------------


def _read_text(path: str, collected: _Collected, most: int | None) -> None:
    rows = (line for line in lines(path) if line.content)
    first = next(rows, None)
    if first is None:
        return
    count, width = _header(first.content) or (None, _width(first))
    if count is None:
        rows = itertools.chain([first], rows)
    if not 1 <= width <= WIDEST:
        raise ValueError(f"{first.where}: {width} numbers for each word, wanted between 1 and {WIDEST:,}")
    ends = [end for end in (count, most) if end is not None]
    collected.width, counted = width, itertools.islice(rows, min(ends) if ends else None)
    while block := list(itertools.islice(counted, BLOCK)):
        _add_lines(block, collected)
    collected.require(count, most, next(rows, None) is not None)


def _add_lines(block: list[Line], collected: _Collected) -> None:
    """Add the words of some lines, their numbers read at once, or line by line to say which is none."""
    kept = []
    for line in block:
        word, numbers = _word_and_numbers(line, collected.width)
        if (text := collected.wants(word, line.where)) is not None:
            kept.append((line, text, numbers))
    vectors = _numbers([numbers for _, _, numbers in kept], collected.width)
    if vectors is None:
        vectors = [_row(numbers.split(b" "), line, collected.width) for line, _, numbers in kept]
    for (_, text, _), row in zip(kept, vectors, strict=True):
        collected.rows[text] = row


def _word_and_numbers(line: Line, width: int) -> tuple[bytes, bytes]:
    """The word of a line, and its numbers with a blank between two."""
    content = line.content.rstrip(b" \r")
    if content.count(b" ") == width and b"\t" not in content and b"  " not in content:
        word, _, numbers = content.partition(b" ")
        return word, numbers
    word, fields = _fields(line, width)
    return word, b" ".join(fields)


def _numbers(rows: list[bytes], width: int) -> np.ndarray | None:
    """The numbers of some lines, (len(rows), width); None where something is no number."""
    try:
        return np.array(b" ".join(rows).split(b" ") if rows else [], np.float32).reshape(-1, width)
    except ValueError:
        return None


def _split(content: bytes) -> list[bytes]:
    return content.replace(b"\t", b" ").rstrip(b" \r").split(b" ")


def _width(line: Line) -> int:
    """How many numbers a line has: all fields but the first, or the numbers at the end behind a word with blanks."""
    fields = [*filter(None, _split(line.content)[1:])]
    numbers = len(list(itertools.takewhile(_is_number, reversed(fields))))
    return numbers or len(fields)


def _fields(line: Line, width: int) -> tuple[bytes, list[bytes]]:
    """The word of a line and its numbers."""
    fields = _split(line.content)
    if len(fields) == width + 1:
        return fields[0], fields[1:]
    fields = [fields[0], *filter(None, fields[1:])]  # several blanks between two fields
    if len(fields) < width + 1 or (len(fields) > width + 1 and _is_number(fields[-width - 1])):
        raise ValueError(f"{line.where}: {len(fields)} fields, wanted a word and {width} numbers")
    return b" ".join(fields[:-width]), fields[-width:]


def _row(numbers: list[bytes], line: Line, width: int) -> np.ndarray:
    try:
        return np.array(numbers, np.float32)
    except ValueError:
        wrong = next((number for number in numbers if not _is_number(number)), numbers[0]).decode("utf-8", "replace")
        raise ValueError(f"{line.where}: {wrong[:40]!r} is no number; wanted a word and {width} numbers") from None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- binary ----------------------------------------------------------------------------------------------------------


def _is_binary(path: str) -> bool:
    """Whether the bytes that follow the first word are no text of numbers."""
    with opened(path) as file:
        header = _header(file.readline(100))
        if header is None:
            return False
        _, blank, numbers = file.read(4096).partition(b" ")
        return blank != b"" and not NUMBERS.issuperset(numbers[: 4 * header[1]])


def _read_binary(path: str, collected: _Collected, most: int | None) -> None:
    with opened(path) as file:
        header = _header(file.readline(100))
        if header is None or not 1 <= header[1] <= WIDEST:
            raise ValueError(f'{path}: wanted a first line "V D": how many words, and how many numbers of each, up to {WIDEST:,}')
        count, width = header
        collected.width = width
        rows = _binary_rows(file, path, width)
        for number, (word, content) in enumerate(itertools.islice(rows, count if most is None else min(count, most)), 1):
            text = collected.wants(word.lstrip(b"\n"), f"{path}, word {number:,}")
            if text is not None:
                collected.rows[text] = np.frombuffer(content, "<f4").astype(np.float32)
        collected.require(count, most, next(rows, None) is not None)


def _binary_rows(file, path: str, width: int) -> Iterator[tuple[bytes, bytes]]:
    """A word and the bytes of its vector, until they end."""
    size, buffer, start = 4 * width, b"", 0
    while True:
        blank = buffer.find(b" ", start)
        if blank >= 0 and len(buffer) - blank - 1 >= size:
            yield buffer[start:blank], buffer[blank + 1 : blank + 1 + size]
            start = blank + 1 + size
            continue
        if blank < 0 and len(buffer) - start > CHUNK:
            raise ValueError(f"{path}: {CHUNK:,} bytes without a blank; wanted a word, a blank and {width} numbers in binary")
        more = file.read(max(CHUNK, size))
        if not more:
            return
        buffer, start = buffer[start:] + more, 0
