"""Tables of large vocabularies kept on disk, so that they are made once: a fifth of a second for a hundred thousand tokens.

A file's name is a hash of all that the tables are made of: the vocabulary, the pattern, and the source code that makes them. The
file is mapped into memory and read where a text needs it, so a short text does not pay for all of it::

    bytes 0 - 7    the sum of all other words of 64 bits, modulo 2**64
    header         length of the pickled part, number of arrays, and the length of each, 64 bits each
    pickled part   the tables without what is in their arrays
    arrays         each from a multiple of 64 bytes on

As with compiled kernels (`minilm.compiled.kernel_cache`) a file is read only if it belongs to this user and nobody else may write
to it, since a part of it is unpickled. One that is damaged is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import mmap
import os
import pickle
import time

import numpy as np

from minilm import files
from minilm.compiled import kernel_cache
from minilm.tokenizers.bpe.tables import Tables, make_tables

FOLDER = "tables"  # of the cache
LEAST = 10_000  # tokens of a vocabulary whose tables are worth a file
_LINE = 64


def tables_of(
    expressions: tuple[str, ...], byte_ids: np.ndarray, merges: np.ndarray, tokens: list[bytes], whole: bool = False
) -> Tables:
    """What `make_tables` makes, from the cache if it is there."""
    arguments = expressions, byte_ids, merges, tokens, whole
    if len(tokens) < LEAST:
        return make_tables(*arguments)
    folder = files.own_cache_folder(FOLDER)[0]
    path = os.path.join(folder, _name(*arguments))
    if (tables := read(path)) is None:
        tables = make_tables(*arguments)
        kernel_cache.prune(folder)
        with contextlib.suppress(OSError):  # a full disk: the next process makes them again
            write(path, tables)
    return tables


def _name(expressions, byte_ids, merges, tokens, whole) -> str:
    versions = kernel_cache.VERSIONS, kernel_cache.ingredients(make_tables)  # of the libraries, and of our source code
    digest = hashlib.sha256(repr((versions, expressions, whole, merges.shape)).encode())
    for content in (byte_ids, np.ascontiguousarray(merges), marshal.dumps(tokens, 2)):  # version 2: the same bytes for equal ones
        digest.update(content)
    return digest.hexdigest()[:32]


def read(path: str) -> Tables | None:
    """The tables of a file; None if it is not there, damaged, or somebody else's."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not files.is_own(status) or status.st_size < _LINE or status.st_size % _LINE:
                return None
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError:
        return None
    words = np.frombuffer(content, np.uint64)  # (size / 8,)
    if words[1:].sum(dtype=np.uint64) != words[0]:
        return None
    if time.time() - status.st_mtime > 86400:
        with contextlib.suppress(OSError):
            os.utime(path)  # still in use: see `kernel_cache.prune`
    pickled, count = words[1:3].tolist()
    lengths = words[3 : 3 + count].tolist()
    begin = 8 * (3 + count)
    skeleton = content[begin : begin + pickled]
    place, arrays = begin + pickled, []
    for length in lengths:
        place += -place % _LINE
        arrays.append(memoryview(content)[place : place + length])
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
    content += bytes(-len(content) % _LINE)
    words = np.frombuffer(content, np.uint64)
    with files.written_whole(path) as file:
        file.write(words[1:].sum(dtype=np.uint64).tobytes())
        file.write(memoryview(content)[8:])
