"""A text: some of the characters of a UTF-8 file, of any size, read in pieces."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator

from minilm.checksums import file_hash
from minilm.data.manifest import corpus
from minilm.data.sources import Source, kept
from minilm.tokenizers.files import read_text
from minilm.typing import PathLike

LONGEST = 255  # characters of a file's name


class Text:
    """The characters [start, stop) of a UTF-8 file.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Nothing of it is changed: not its line ends, not a byte order mark.
    start, stop : int
        The range, in characters (code points); `stop` None means the end.
    errors : {"strict", "replace", "ignore"}
        What invalid UTF-8 becomes: an error that names the byte, U+FFFD, or nothing.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is empty, compressed or a folder, or the range is invalid; and, from what reads the text, the position of invalid
        UTF-8.

    Notes
    -----
    Iterating yields the text in pieces of about a megabyte, so memory does not grow with the file.
    """

    def __init__(self, path: PathLike, start: int = 0, stop: int | None = None, errors: str = "strict"):
        self.path, self.start, self.stop, self.errors = os.fspath(path), start, stop, errors
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"start and stop must be a range of characters, got {start} and {stop}")
        if os.path.isdir(self.path):
            raise ValueError(f"{self.path} is a folder, wanted a text file")
        if os.stat(self.path).st_size == 0:
            raise ValueError(f"{self.path} is empty")
        with open(self.path, "rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise ValueError(f"{self.path} is compressed by gzip: give the unpacked text (gunzip --keep {self.path})")
        self._pieces = functools.partial(read_text, self.path, errors)
        self._pieces()  # checks `errors` now

    def __iter__(self) -> Iterator[str]:
        position = 0  # of the piece's first character
        for piece in self._pieces():
            begin, end = max(self.start - position, 0), len(piece)
            if self.stop is not None:
                end = min(end, self.stop - position)
            if begin < end:
                yield piece[begin:end]
            position += len(piece)
            if self.stop is not None and position >= self.stop:
                return

    @functools.cached_property
    def length(self) -> int:
        """Characters; the first use reads the text once."""
        return sum(map(len, self))

    def split(self, fraction: float = 0.1) -> tuple[Text, Text]:
        """The text for training and the text for validation.

        Parameters
        ----------
        fraction : float
            How much of the text the second one gets, 0 < fraction < 1.

        Returns
        -------
        train, validation : Text
            The first ``int(length * (1 - fraction))`` characters, and the others: as nanoGPT cuts, tinyshakespeare gives
            1,003,854 and 111,540.

        Raises
        ------
        ValueError
            `fraction` is out of range, or leaves one of the two without a character.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must lie in (0, 1), got {fraction!r}")
        cut = self.start + int(self.length * (1 - fraction))
        if not self.start < cut < self.start + self.length:
            raise ValueError(f"{self.path}: {self.length} characters are too few to give a fraction of {fraction} to validation")
        return (
            Text(self.path, self.start, cut, self.errors),
            Text(self.path, cut, self.start + self.length, self.errors),
        )

    def fingerprint(self) -> str:
        """64 hexadecimal digits that name the file's content, the range and `errors`, whatever the file is called."""
        return hashlib.sha256(f"{file_hash(self.path)} {self.start} {self.stop} {self.errors}".encode()).hexdigest()

    def __str__(self):
        """What to call the text in an error; positions in it count from `start`."""
        return f"{self.path} from character {self.start} on" if self.start else self.path

    def __repr__(self):
        return f"Text({self.path!r}, {self.start}, {self.stop}, errors={self.errors!r})"


def text(source: PathLike | Source, errors: str = "strict", *, column: str = "text", separator: str = "\n") -> Text:
    """A text, wherever it comes from.

    Parameters
    ----------
    source : path, str, or iterable
        A file, or the name of a corpus (see `minilm.data.corpus`). A str with a line end in it, which no file's name has, is the
        text itself. An iterable gives the texts one after the other: a list, a pandas Series or table, a NumPy array, a
        generator, a Hugging Face dataset, rows that are mappings; ``pathlib.Path`` in it are files. What is no file is kept as
        one in minilm's cache folder, whose name is the ``path`` of the result (and what ``minilm train --corpus`` takes).
    errors : {"strict", "replace", "ignore"}
        What invalid UTF-8 in a file becomes.
    column : str
        Of a table, or of rows: where the texts are.
    separator : str
        What stands between two texts, such as "<|endoftext|>".

    Raises
    ------
    ValueError
        If `source` is a str with a blank in it or longer than a file's name may be, and no such file is there: a text itself goes
        into a list.

    Examples
    --------
    >>> text(["A first text.", "A second one."]).length
    27
    """
    if isinstance(source, os.PathLike) or (isinstance(source, str) and "\n" not in source):
        if isinstance(source, str) and (" " in source or len(source) > LONGEST) and not os.path.exists(source):
            raise ValueError(f"there is no file {source[:60]!r}: if that is the text, put it in a list, data.text([text])")
        return Text(corpus(source), errors=errors)
    return Text(kept(source, column, separator), errors=errors)
