"""Lines of a text file, as the readers of data need them, and what happens to rows that cannot be read.

::

    for line in lines(path):                 # plain or gzip, with or without a byte order mark, with any line ends
        with bad_rows:                       # refuses the file at a BadRow, or leaves the row out and counts it
            rows.append(parse(line.text))
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, NamedTuple

from minilm.files import unpacked_limit
from minilm.typing import PathLike

__all__ = ["REFUSE", "BadRow", "BadRows", "Line", "lines", "opened", "require_text", "whole_text"]

GZIP, BYTE_ORDER_MARK = b"\x1f\x8b", b"\xef\xbb\xbf"
STANDARD_INPUT = "-"


class BadRow(ValueError):
    """One row of a file is wrong, and the rows behind it may be right. Says file and line, what came and what was wanted."""


class BadRows:
    """What becomes of bad rows: as a context, it lets a `BadRow` through, or leaves the row out.

    Parameters
    ----------
    skip : bool
        Leave them out.

    Attributes
    ----------
    count : int
        How many were left out.
    first : str
        What was wrong with the first of them.
    """

    def __init__(self, skip: bool = False):
        self.skip, self.count, self.first = skip, 0, ""

    def __enter__(self) -> BadRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if not self.skip or not isinstance(error, BadRow):
            return False
        self.first = self.first or str(error)
        self.count += 1
        return True

    def require(self, rows: Sequence, message: str) -> None:
        """ValueError with `message` where there are no rows; with the first bad one where that is why."""
        if not rows:
            raise ValueError(f"all of the {self.count:,} rows are bad; the first: {self.first}" if self.count else message)

    def __str__(self):
        return f"left out {self.count:,} bad row{'s' * (self.count != 1)}; the first: {self.first}"


REFUSE = BadRows()


def require_text(text: str, where: str) -> str:
    r"""The text; `BadRow` if it holds half of a character, as JSON's escape "\ud83d" alone makes it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise BadRow(f"{where}: holds a lone surrogate, U+{code:04X}, which is half of a character: {text[:60]!r}") from None
    return text


class Line(NamedTuple):
    """A line of a file."""

    path: str
    number: int  # from 1
    content: bytes  # without its end

    @property
    def where(self) -> str:
        """FILE:NUMBER."""
        return f"{self.path}:{self.number}"

    @property
    def text(self) -> str:
        """The line; `BadRow` if it is not UTF-8."""
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            wrong = self.content[error.start]
            raise BadRow(f"{self.where}: byte {error.start + 1} of the line is not UTF-8 (0x{wrong:02x}); wanted UTF-8") from None


@contextlib.contextmanager
def opened(path: PathLike) -> Iterator[IO[bytes]]:
    """A file to read bytes from, unpacked where its name or its content is gzip's; "-" is the standard input."""
    name = os.fspath(path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened_raw(name))
        if name.endswith(".gz") or file.peek(2)[:2] == GZIP:
            file = io.BufferedReader(stack.enter_context(_Unpacked(name, file)), 1 << 16)
        yield file


class _Unpacked(io.RawIOBase):
    """What a file of gzip's unpacks to: a ValueError where that is more than `unpacked_limit` allows."""

    def __init__(self, name: str, file):
        if not file.peek(1):
            raise EOFError("it is empty")
        self._name, self._packed, self._size = name, _Counted(file), 0
        self._unpacked = gzip.GzipFile(fileobj=self._packed, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, target) -> int:
        count = self._unpacked.readinto1(target)
        self._size += count
        if self._size > unpacked_limit(self._packed.count):
            raise ValueError(
                f"{self._name}: {self._packed.count:,} bytes of gzip's unpack to more than {self._size:,}, which no text does; "
                f"unpack it first (gunzip --keep) if it is meant"
            )
        return count


class _Counted:
    """A file, and how many bytes of it were read: a pipe cannot tell where it stands."""

    def __init__(self, file):
        self._file, self.count = file, 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self.count += len(content)
        return content


def opened_raw(name: str):
    """A file as it is, or the standard input, which stays open afterwards."""
    if name != STANDARD_INPUT:
        return open(name, "rb")
    if sys.stdin is None:
        raise ValueError("the standard input is closed")
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:  # a stand-in that has text alone
        buffer = io.BufferedReader(io.BytesIO(sys.stdin.read().encode("utf-8", "surrogateescape")))
    return contextlib.nullcontext(buffer)


def lines(path: PathLike) -> Iterator[Line]:
    r"""The lines of a file: "\n" or "\r\n" ends them, or "\r" where there is no "\n" at all.

    Parameters
    ----------
    path : str or os.PathLike
        Packed by gzip or not; "-" is the standard input. A byte order mark is left out.

    Raises
    ------
    OSError
    ValueError
        A packed file is damaged.
    """
    name, number = os.fspath(path), 0
    try:
        with opened(path) as file:
            for number, content in enumerate(_contents(file), 1):
                yield Line(name, number, content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a whole gzip file after line {number}: {error}") from None


def _contents(file) -> Iterator[bytes]:
    """The lines of an open file, without their ends."""
    first = file.readline().removeprefix(BYTE_ORDER_MARK)
    if b"\r" in first and not first.endswith(b"\n"):  # the whole file: line ends of the old Macintosh
        yield from first.removesuffix(b"\r").split(b"\r")
        return
    if first:
        yield first.rstrip(b"\r\n")
    for content in file:
        yield content.rstrip(b"\r\n")


def whole_text(path: PathLike) -> str:
    """All of a UTF-8 file, without a byte order mark.

    Raises
    ------
    OSError
    ValueError
        It is not UTF-8, or packed and damaged.
    """
    name = os.fspath(path)
    try:
        with opened(path) as file:
            content = file.read().removeprefix(BYTE_ORDER_MARK)
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        where = "the standard input" if name == STANDARD_INPUT else name
        raise ValueError(f"{where}: byte {error.start} is not UTF-8 (0x{content[error.start]:02x}); wanted UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a whole gzip file: {error}") from None
