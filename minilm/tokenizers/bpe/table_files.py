"""Tables of large vocabularies kept on disk, so that they are made once: a fifth of a second for a hundred thousand tokens.

A file's name is a hash of all that the tables are made of: the vocabulary, the pattern, and the source code that makes them. A
file is read whole: of one that is mapped into memory, and then shortened, or no longer on its server, the process would die::

    bytes 0 - 7    the checksum of all others, see `_checksum`
    header         length of the pickled part, number of arrays, and the length of each, 64 bits each
    pickled part   the tables without what is in their arrays
    arrays         each from a multiple of 64 bytes on
    zeros          up to a multiple of 512 bytes

As with compiled kernels (`minilm.compiled.kernel_cache`) a file is read only if it belongs to this user and nobody else may write
to it, since a part of it is unpickled. One that is damaged is made anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import marshal
import os
import pathlib
import pickle
import time

import numpy as np

from minilm import cache_folders, files
from minilm.compiled import kernel_cache
from minilm.tokenizers.bpe import large_pages
from minilm.tokenizers.bpe.tables import Tables, make_tables

FOLDER = "tables"  # of the cache
LEAST = 10_000  # tokens of a vocabulary whose tables are worth a file
_LINE, _SECTOR = 64, 512  # bytes of a line of a processor's cache, and of what a disk writes or loses at a time


def tables_of(
    expressions: tuple[str, ...], byte_ids: np.ndarray, merges: np.ndarray, tokens: list[bytes], whole: bool = False
) -> Tables:
    """What `make_tables` makes, from the cache if it is there."""
    arguments = expressions, byte_ids, merges, tokens, whole
    if len(tokens) < LEAST:
        return make_tables(*arguments)
    folder = cache_folders.own_cache_folder(FOLDER)[0]
    path = os.path.join(folder, _name(*arguments))
    if (tables := read(path)) is None:
        tables = make_tables(*arguments)
        kernel_cache.prune(folder)
        with contextlib.suppress(OSError):  # a full disk: the next process makes them again
            write(path, tables)
    return tables


def _name(expressions, byte_ids, merges, tokens, whole) -> str:
    versions = kernel_cache.VERSIONS, sources_hash(os.path.dirname(__file__))  # of the libraries, and of our source code
    digest = hashlib.sha256(repr((versions, expressions, whole, merges.shape)).encode())
    for content in (byte_ids, np.ascontiguousarray(merges), marshal.dumps(tokens, 2)):  # version 2: the same bytes for equal ones
        digest.update(content)
    return digest.hexdigest()[:32]


@functools.cache
def sources_hash(folder: str) -> str:
    """Hash of all source files in a folder and those inside it: patterns and Unicode's categories decide the tables too."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read(path: str) -> Tables | None:
    """The tables of a file; None if it is not there, damaged, or somebody else's."""
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not cache_folders.is_own(status) or status.st_size < _SECTOR or status.st_size % _SECTOR:
                return None
            words = large_pages.empty((status.st_size // 8,))  # (size / 8,)
            if file.readinto(words) < status.st_size:
                return None
    except OSError:
        return None
    if _checksum(words) != words[0]:
        return None
    if time.time() - status.st_mtime > 86400:
        with contextlib.suppress(OSError):
            os.utime(path)  # still in use: see `kernel_cache.prune`
    pickled, count = words[1:3].tolist()
    lengths = words[3 : 3 + count].tolist()
    begin, content = 8 * (3 + count), memoryview(words.view(np.uint8))
    skeleton = content[begin : begin + pickled]
    place, arrays = begin + pickled, []
    for length in lengths:
        place += -place % _LINE
        arrays.append(content[place : place + length])
        place += length
    return pickle.loads(skeleton, buffers=arrays)


def write(path: str, tables: Tables) -> None:
    """Put tables into a file, whole or not at all."""
    buffers: list[pickle.PickleBuffer] = []
    skeleton = pickle.dumps(tables, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    header = np.array([len(skeleton), len(arrays), *(array.nbytes for array in arrays)], np.uint64).tobytes()
    content = bytearray(bytes(8) + header + skeleton)
    for array in arrays:
        content += bytes(-len(content) % _LINE)
        content += array
    content += bytes(-len(content) % _SECTOR)
    words = np.frombuffer(content, np.uint64)
    words[0] = _checksum(words)
    with files.written_whole(path, mode=0o600) as file:  # with any other, a umask of 002 would make it one that is not read
        file.write(content)


def _checksum(words: np.ndarray) -> np.uint64:
    """1 + sum_i (2 i + 1) s_i modulo 2**64, where s_i is the sum of sector i, the file's first word left out.

    So zeros are not what a file of zeros begins with, and sectors that changed places are seen.
    """
    sums = words.reshape(-1, _SECTOR // 8).sum(axis=1, dtype=np.uint64)  # (sectors,)
    sums[:1] -= words[:1]
    sums[:1] += np.uint64(1)
    return (sums * np.arange(1, 2 * len(sums), 2, dtype=np.uint64)).sum(dtype=np.uint64)
