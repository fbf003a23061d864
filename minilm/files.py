"""How a file is written whole or not at all, folders of runs, and how JSON is read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import stat

from minilm.mistaken import mistaken_for

DEPTH = 64  # of nested lists and objects in a file of settings
UNPACKED = 100  # times; a file of zeros, or one made to fill the memory, packs to a thousandth


class Hashed:
    """A file that is being written, and the sha256 of what was."""

    def __init__(self, file):
        self.file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def write(self, data) -> None:
        """Write, and take the bytes into `digest` and their number into `bytes`."""
        self.file.write(data)
        self.digest.update(data)
        self.bytes += memoryview(data).nbytes


@contextlib.contextmanager
def written_whole(path, mode: int = 0o666):
    """A binary file to write into, which takes the name `path` only when all of it is on the disk.

    `mode` is who may read and write a new file, less what the process's umask takes away.

    A crash at any moment leaves what was at `path` before, or all of the new content. If anything is raised (a full disk, an
    unwritable folder, Ctrl-C), the temporary file beside `path` is removed and `path` is as it was.

    A symbolic link that stands at `path` is replaced, and what it points to is left alone. What is no file but a way to somewhere
    (a pipe, a terminal, ``/dev/stdout``, ``/dev/null``) is written to as it is, and never replaced.

    Raises
    ------
    OSError
        Always with the file's name, which the system's own error of a full disk lacks. IsADirectoryError for a folder.

    Examples
    --------
    >>> with written_whole("log.csv") as file:
    ...     file.write(b"step,loss\\n")
    """
    path = os.path.abspath(os.fspath(path))
    if _is_no_file(path):
        try:
            with open(path, "wb") as file:  # of a folder this raises IsADirectoryError
                yield file
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
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
    flush_folder(folder)


@contextlib.contextmanager
def staged_folder(parent, name: str):
    """A new folder .NAME.XXXXXXXX.tmp in `parent`, in which files wait until all are whole. At the end it is removed.

    Those that killed processes have left are removed at first; one of a process that is at work has a lock.
    """
    for each in os.listdir(parent):
        if re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp", each):
            with contextlib.suppress(OSError, ValueError):
                lock = locked_folder(os.path.join(parent, each))
                if lock is not None:
                    shutil.rmtree(os.path.join(parent, each))
                    os.close(lock)
    staged = os.path.join(parent, f".{name}.{os.urandom(4).hex()}.tmp")
    os.mkdir(staged)
    lock = locked_folder(staged)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def flush_folder(path) -> None:
    """Make new names in a folder last: a rename itself lives there. Not every system can flush one, and the content stands."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
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


def open_in_place(path):
    """A binary file to read and to write from where it stands, made if it is not there.

    A symbolic link at `path` is replaced by a new file: its target is left alone.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        os.remove(path)
        descriptor = os.open(path, flags | os.O_EXCL, 0o666)
    return open(descriptor, "r+b")


def under_its_name(file, path):
    """An open file, or where somebody has removed its name `path`, a copy of that name which goes on with it."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    with contextlib.closing(file):
        copy = open_in_place(path)
        copy.truncate(0)
        file.seek(0)
        shutil.copyfileobj(file, copy)
    return copy


def _is_no_file(path: str) -> bool:
    """Whether something other than a file stands at `path`, or it is a name of an open file: ``/dev/stdout``, ``/proc/...``."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # nothing is there, or a link that leads nowhere
        return False
    return not stat.S_ISREG(mode) or path.startswith(("/dev/", "/proc/"))


def json_bytes(text: str) -> bytes:
    """A text of JSON in UTF-8. A path whose bytes are no UTF-8 is a str with lone surrogates, which become escapes of JSON's."""
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def named_errors(path):
    """An OSError without a file's name, as of a full disk, gets this one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def unpacked_limit(packed: int) -> int:
    """How many bytes a file that others packed may become: 64 MiB, or `UNPACKED` times its size; text packs to a third or so."""
    return max(1 << 26, UNPACKED * packed)


def read_json(path) -> dict:
    """The JSON object that a file holds.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file.
    """
    with open(path, "rb") as file:
        return json_object(path, file.read())


def json_object(path, content: bytes) -> dict:
    """The JSON object that the content of a file is; ValueError naming the file if it is not one, or nested too deeply."""
    try:
        value = shallow(json.loads(content.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({mistaken_for(content) or error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def shallow(value):
    """A value of JSON or TOML as it is; ValueError where it is nested deeper than what walks through it later can follow."""
    level = [value]
    for _ in range(DEPTH):
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list)))
        level = list(itertools.chain.from_iterable(inside))
        if not level:
            return value
    raise ValueError(f"nested more than {DEPTH} deep")
