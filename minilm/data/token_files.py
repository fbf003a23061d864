"""A text's ids as one flat array: in memory if the text is small, else in a file that is memory-mapped."""

from __future__ import annotations

import hashlib
import os
import warnings

import numpy as np

from minilm.cache_folders import cache_folder
from minilm.data.texts import Text, text
from minilm.data.token_writer import HEADER_BYTES, NPY, encoded, write_token_file
from minilm.ops import checks
from minilm.threads import threads
from minilm.tokenizers import Tokenizer
from minilm.typing import PathLike

IN_MEMORY_BYTES = 1 << 26  # texts up to this size leave no file behind
FORMAT_VERSION = 2  # part of a file's name: raise it when the same text would be encoded otherwise


def tokens(
    source: Text | PathLike,
    tokenizer: Tokenizer,
    folder: PathLike | None = None,
    errors: str = "strict",
    processes: int | None = None,
) -> np.ndarray:
    """The ids of a text of any size.

    Parameters
    ----------
    source : Text, path or name of a corpus
        The text, such as one part of ``text.split()``.
    tokenizer : minilm.tokenizers.Tokenizer
        Anything with ``vocab_size``, ``encode_chunks(chunks, source)`` and ``to_json()``.
    folder : path, optional
        Where the token file is kept, and looked for. Without one, the ids of a text of at most 64 MiB are kept in memory only,
        and those of a larger one in ``tokens`` in minilm's cache folder.
    errors : {"strict", "replace", "ignore"}
        What invalid UTF-8 becomes, if `source` is a path or a name.
    processes : int, optional
        That encode for a token file; without it, of a text of more than 64 MiB one for each core.

    Returns
    -------
    tokens : ndarray, shape (N,), read-only
        uint16 if ``vocab_size <= 65536``, else int32. From a file it is memory-mapped: only the pages in use are in memory.

    Raises
    ------
    ValueError
        The text is empty, is not UTF-8 (names the byte), or holds what the tokenizer does not know; or a token file is damaged.
    OSError
        A file cannot be read or written. Nothing is left half written.

    Notes
    -----
    The text is read and encoded piece by piece; a token file of which a process that was killed has written some is gone on with,
    see `minilm.data.token_writer`. A token file is an ordinary .npy file (``np.load(path, mmap_mode="r")``),
    little-endian, and behind it a checksum of 32 bytes; a file that does not fit it is made anew, with a warning. Its name holds
    a fingerprint of the text's content, the range and the tokenizer, so that a file of another text is never taken for this one.
    """
    source = source if isinstance(source, Text) else text(source, errors)
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<i4")
    if folder is None and os.path.getsize(source.path) <= IN_MEMORY_BYTES:
        pieces = [np.asarray(ids, dtype) for _, ids in encoded(source, tokenizer)]  # (N_i,) each
        array = np.concatenate([np.empty(0, dtype), *pieces])  # (N,)
        if not array.size:
            raise ValueError(f"{source}: there is nothing in it to encode")
        array.flags.writeable = False
        return array
    folder = cache_folder("tokens") if folder is None else os.fspath(folder)
    digest = hashlib.sha256(f"{FORMAT_VERSION}\0{source.fingerprint()}\0{tokenizer.to_json()}".encode()).hexdigest()
    path = os.path.join(folder, f"{os.path.splitext(os.path.basename(source.path))[0]}-{digest[:16]}.npy")
    whole = os.path.isfile(path) and _is_whole(path)
    if not whole and os.path.lexists(path):
        warnings.warn(f"{path} is damaged, and is made anew", RuntimeWarning, stacklevel=2)
    if not whole:
        os.makedirs(folder, exist_ok=True)
        write_token_file(path, source, tokenizer, dtype, _count(processes, source))
    return load_tokens(path)


def _count(processes: int | None, source: Text) -> int:
    """How many processes encode."""
    if processes is not None:
        return checks.whole("processes", processes, 1, 1025)
    return threads() if os.path.getsize(source.path) > IN_MEMORY_BYTES else 1


def _is_whole(path: str) -> bool:
    """Whether the checksum at the file's end is that of the ids and the header before it.

    All of it is read: the text itself was, for the file's name, and is the larger of the two.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size - HEADER_BYTES - digest.digest_size
        header = file.read(HEADER_BYTES)
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
        digest.update(header)
        return file.read() == digest.digest()


def fault(path: PathLike) -> str | None:
    """What is wrong with a token file that minilm wrote, by its checksum; None if it is whole.

    An .npy file without one, of another program, is refused too: nothing says what it should hold.
    """
    path = os.fspath(path)
    if _is_whole(path):
        return None
    try:
        array = load_tokens(path)
    except ValueError as error:
        return str(error)
    size = os.path.getsize(path) - HEADER_BYTES - array.nbytes
    if size == 0:
        raise ValueError(f"{path} has no checksum: another program wrote it, and nothing says what it should hold")
    return f"{path} is damaged: its numbers have not the checksum at its end"


def load_tokens(path: PathLike) -> np.ndarray:
    """Memory-map a token file, or any .npy file of one axis of integers: (N,), read-only.

    Its numbers are not read, and so not held against the checksum at its end: `minilm verify` does that.

    Raises
    ------
    ValueError
        If the file is no array of one axis of integers.
    """
    _refuse_bare_numbers(path)
    path = os.fspath(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of a damaged header NumPy raises whatever its reader meets, tokenize.TokenError among others
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a whole token file ({reason}); remove it, and it is made anew") from None
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "ui":
        raise ValueError(f"{path} is not a token file: wanted one axis of integers")
    return np.asarray(array)  # (N,) no memmap object, whose slicing costs ten times as much; the map is its base


def _refuse_bare_numbers(path) -> None:
    with open(path, "rb") as file:
        if not NPY.startswith(file.read(len(NPY))):
            raise ValueError(
                f"{os.fspath(path)} is not a whole token file: it does not begin as a .npy file. If it holds bare numbers, as a "
                'train.bin of uint16 does, numpy.save(NAME, numpy.fromfile(FILE, "uint16")) makes one of it; if minilm made it, '
                "remove it, and it is made anew"
            )
