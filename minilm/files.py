"""Where minilm keeps files of its own, how a file is written whole or not at all, folders of runs, and how JSON is read."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys


def cache_folder(*parts: str) -> str:
    """The folder for what can be had again: downloaded corpora, encoded texts, compiled kernels. It need not exist yet.

    ``MINILM_CACHE`` if that is set; else ``minilm`` in the platform's cache folder (``LOCALAPPDATA`` on Windows,
    ``XDG_CACHE_HOME`` or ``~/.cache`` elsewhere).
    """
    base = os.environ.get("MINILM_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(os.environ.get("LOCALAPPDATA", home) if sys.platform == "win32" else home, "minilm")
    return os.path.join(base, *parts)


@contextlib.contextmanager
def written_whole(path):
    """A binary file to write into, which takes the name `path` only when all of it is on the disk.

    A crash at any moment leaves what was at `path` before, or all of the new content. If anything is raised (a full disk, an
    unwritable folder, Ctrl-C), the temporary file beside `path` is removed and `path` is as it was.

    Raises
    ------
    OSError
        Always with the file's name, which the system's own error of a full disk lacks.

    Examples
    --------
    >>> with written_whole("log.csv") as file:
    ...     file.write(b"step,loss\\n")
    """
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, path) from None
        raise
    # The rename itself lives in the folder. Not every system can flush one, and the new content stands already.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_folder(stem: str) -> str:
    """Make the folder STEM-1, or the first of STEM-2, STEM-3, ... that is not there; no two processes get the same one."""
    os.makedirs(os.path.dirname(stem) or ".", exist_ok=True)
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{stem}-{number}")
            return f"{stem}-{number}"
    raise AssertionError("unreachable")


def locked_folder(path) -> int | None:
    """A lock on a folder in which one process alone may train: a descriptor, whose `os.close` ends it, as the process's end does.

    None where the system or the file system has no locks.

    Raises
    ------
    ValueError
        Another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"{os.fspath(path)}: another process is training there") from None
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def read_json(path) -> dict:
    """The JSON object that a file holds.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
