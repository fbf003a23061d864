"""A token file is written piece by piece, by several processes if there are, and gone on with after a kill.

While it is written it is called .NAME.partial, and .NAME.progress says how much of it is whole: characters that were read, ids
that came of them, and the sha256 of these. A process that comes after one that was killed goes on from there. When all is written
and on the disk the partial file gets its name.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minilm.data.texts import Text
from minilm.files import Hashed, flush_folder, read_json, written_whole
from minilm.tokenizers import Tokenizer

__all__ = ["HEADER_BYTES", "NPY", "encoded", "header", "write_token_file"]

HEADER_BYTES = 128
NPY = b"\x93NUMPY"  # how a .npy file begins
SAVED = 1 << 26  # characters after which what is written is made to last
AHEAD = 4  # pieces that wait for each process


class Progress(NamedTuple):
    """How much of a partial file is whole."""

    characters: int = 0
    ids: int = 0
    sha256: str = ""


def write_token_file(path: str, source: Text, tokenizer: Tokenizer, dtype: np.dtype, processes: int = 1) -> None:
    """Write the ids of a text into a token file, or go on with what a process that was killed has left of it.

    Raises
    ------
    ValueError, OSError
        Nothing is left then. After Ctrl-C or a kill, and after a ChildProcessError (a worker was killed), the next call goes on.
    """
    folder, name = os.path.split(path)
    partial, notes = (os.path.join(folder, f".{name}.{end}") for end in ("partial", "progress"))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b"))
        if not _locked(file, partial):  # another process writes it: into a file of one's own then
            with written_whole(path) as own:
                _write(own, None, source, tokenizer, dtype, processes)
            return
        try:
            _write(file, notes, source, tokenizer, dtype, processes)
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
        except ChildProcessError:
            raise
        except Exception as error:
            _remove(partial, notes)
            if isinstance(error, OSError) and error.errno is not None and error.filename in (None, partial, notes):
                raise OSError(error.errno, error.strerror, path) from None
            raise
    flush_folder(folder)
    _remove(notes)


def _remove(*paths: str) -> None:
    """Remove a partial file, and notes; what is not there is removed."""
    for each in paths:
        for name in (each, f"{each}.next"):
            with contextlib.suppress(OSError):
                os.remove(name)


def _locked(file, path: str) -> bool:
    """Whether this process alone writes to a file."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # no locks here
        return True
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False  # the process that held the lock has given the file its name


def _write(file, notes: str | None, source: Text, tokenizer: Tokenizer, dtype: np.dtype, processes: int) -> None:
    """Write all of a token file."""
    hashed, done = Hashed(file), Progress()
    if notes is not None:
        done = _resumed(file, notes, hashed, dtype)
    file.seek(0)
    file.write(bytes(HEADER_BYTES))
    file.seek(HEADER_BYTES + done.ids * dtype.itemsize)
    rest = Text(source.path, source.start + done.characters, source.stop, source.errors) if done.characters else source
    count, saved = done.ids, done.characters
    for characters, ids in encoded(rest, tokenizer, processes):  # (N_i,)
        hashed.write(np.ascontiguousarray(ids, dtype).data)
        count, end = count + ids.size, done.characters + characters
        if notes is not None and end - saved >= SAVED:
            _save(file, notes, Progress(end, count, hashed.digest.hexdigest()))
            saved = end
    if not count:
        raise ValueError(f"{source}: there is nothing in it to encode")
    top = header(dtype, count)
    hashed.digest.update(top)
    file.write(hashed.digest.digest())
    file.truncate()
    file.seek(0)
    file.write(top)


def _save(file, notes: str, progress: Progress) -> None:
    file.flush()
    os.fsync(file.fileno())
    with open(f"{notes}.next", "wb") as saved:  # always of one name: a kill leaves no more than one
        saved.write(json.dumps(progress._asdict()).encode())
        saved.flush()
        os.fsync(saved.fileno())
    os.replace(saved.name, notes)


def _resumed(file, notes: str, hashed: Hashed, dtype: np.dtype) -> Progress:
    """How much of a partial file is whole by its notes; its digest is taken in."""
    try:
        progress = Progress(**read_json(notes))
        left = progress.ids * dtype.itemsize
        file.seek(HEADER_BYTES)
        digest = hashlib.sha256()
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
        if left or digest.hexdigest() != progress.sha256 or not 0 <= progress.characters:
            return Progress()
    except (OSError, ValueError, TypeError):
        return Progress()
    hashed.digest = digest
    return progress


def encoded(source: Text, tokenizer: Tokenizer, processes: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """The ids of a text, piece by piece: (characters up to the piece's end, ids of the piece).

    Tokenizers of a user's own, which have no `Tokenizer.safe_pieces`, tell no characters: 0 then.
    """
    pieces = _pieces(source, tokenizer, processes) if hasattr(tokenizer, "safe_pieces") else _foreign(source, tokenizer)
    for end, ids in pieces:
        # A cast would silently wrap an id that does not fit.
        if ids.size and not (0 <= ids.min() and ids.max() < tokenizer.vocab_size):
            raise ValueError(f"{source}: the tokenizer gave an id outside 0 ... {tokenizer.vocab_size - 1}")
        yield end, ids


def _foreign(source: Text, tokenizer) -> Iterator[tuple[int, np.ndarray]]:
    for ids in tokenizer.encode_chunks(source, str(source)):
        yield 0, ids


def _pieces(source: Text, tokenizer: Tokenizer, processes: int) -> Iterator[tuple[int, np.ndarray]]:
    if processes == 1:
        for start, text in tokenizer.safe_pieces(source):
            yield start + len(text), tokenizer._encode(text, start, str(source))
        return
    waiting: collections.deque = collections.deque()
    with _pool(processes, tokenizer, str(source)) as pool:
        for start, text in tokenizer.safe_pieces(source):
            waiting.append((start + len(text), pool.submit(_encode, text, start)))
            if len(waiting) >= AHEAD * processes:
                yield _result(*waiting.popleft(), source)
        while waiting:
            yield _result(*waiting.popleft(), source)


def _result(end: int, future: concurrent.futures.Future, source: Text) -> tuple[int, np.ndarray]:
    try:
        return end, future.result()
    except concurrent.futures.BrokenExecutor:
        raise ChildProcessError(
            f"{source}: a process that encoded was killed, perhaps for want of memory; the next call goes on with what there is"
        ) from None


def _pool(processes: int, tokenizer: Tokenizer, source: str) -> concurrent.futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)  # a fork needs no importable main module
    warnings.filterwarnings("ignore", r".*multi-threaded, use of fork", DeprecationWarning)  # `minilm.forks` sees to the locks
    return concurrent.futures.ProcessPoolExecutor(processes, context, _begin, (tokenizer, source))


_worker: tuple = ()  # of a process of the pool: the tokenizer, and what the text is called


def _begin(tokenizer: Tokenizer, source: str) -> None:
    global _worker
    _worker = tokenizer, source
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, which would wait for ever, and hold the lock on the partial file."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode(text: str, start: int) -> np.ndarray:
    tokenizer, source = _worker
    return tokenizer._encode(text, start, source)  # (T_i,)


def header(dtype: np.dtype, count: int) -> bytes:
    """The header of a .npy file, version 1.0, at a size that does not depend on the count, which is known last."""
    fields = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({count},), }}".encode("ascii")
    magic = NPY + b"\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return magic + fields.ljust(HEADER_BYTES - 11) + b"\n"
