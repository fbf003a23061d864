"""Standard streams that are missing (``2>&-``) or break: a pipe whose reader has ended, a terminal that has gone.

No computation depends on whether its progress can be read: output to stderr is dropped from then on, and the work goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["Guarded", "discard", "usable"]

STANDARD = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # in the order of their descriptors


class Guarded:
    """A text stream to tell of progress on; what it cannot take is dropped.

    Parameters
    ----------
    stream : text stream or None
        Such as ``sys.stderr``.
    """

    def __init__(self, stream: TextIO | None):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; the length of the text in any case."""
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        self._attempt("flush")

    def isatty(self) -> bool:
        """Whether it is shown on a terminal."""
        return self._writable and self._stream.isatty()

    @property
    def _writable(self) -> bool:
        return self._stream is not None and not getattr(self._stream, "closed", False)

    def _attempt(self, name: str, *arguments) -> None:
        if self._writable:
            try:
                getattr(self._stream, name)(*arguments)
            except OSError:
                discard(self._stream)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Inside this block the process has its three standard streams, and a stderr that breaks stops nothing.

    What cannot be written at its end is dropped, so that the interpreter does not stumble over it when it ends.
    """
    _complete()
    before, sys.stderr = sys.stderr, Guarded(sys.stderr)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        try:
            sys.stdout.flush()
        except OSError:
            discard(sys.stdout)


def _complete() -> None:
    """Open the null device in place of each standard stream that is closed: the next file would get its descriptor."""
    for number, (name, mode) in enumerate(STANDARD):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
                descriptor = os.open(os.devnull, os.O_RDWR)  # another file has that descriptor already
            except OSError:
                descriptor = _null_at(number)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))


def _null_at(number: int) -> int:
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)
    return number


def discard(stream: TextIO | None) -> None:
    """Let what is still to be written to a stream, and all that follows, go to the null device."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):  # no real file, as under a test's capture
        pass
