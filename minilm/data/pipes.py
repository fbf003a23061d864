"""Data from a pipe: the standard input, /dev/stdin, <(command). It is read once, and kept as a file."""

from __future__ import annotations

import hashlib
import os

from minilm.cache_folders import cache_folder
from minilm.data.lines import STANDARD_INPUT, opened_raw
from minilm.files import written_whole
from minilm.typing import PathLike

__all__ = ["on_disk"]

DEVICES = ("/dev/", "/proc/")


def on_disk(path: PathLike) -> str:
    """The path of a file that can be read again and again.

    Parameters
    ----------
    path : str or os.PathLike
        "-" is the standard input.

    Returns
    -------
    str
        `path` itself, unless it is the standard input, a pipe or a device: then a copy in minilm's cache folder, named by its
        content, so that a run can be gone on with; or the file that /dev/stdin stands for.

    Raises
    ------
    ValueError
        Nothing comes through the pipe.
    OSError
    """
    name = os.fspath(path)
    if name != STANDARD_INPUT and not name.startswith(DEVICES):
        special = os.path.exists(name) and not os.path.isdir(name) and not os.path.isfile(name)
        return _kept(name) if special else name
    real = os.path.realpath(name)
    return real if name != STANDARD_INPUT and os.path.isfile(real) else _kept(name)


def _kept(name: str) -> str:
    """Read all of a stream, and keep it."""
    folder = cache_folder("streams")
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f"partial-{os.urandom(8).hex()}")
    digest, size = hashlib.sha256(), 0
    with opened_raw(name) as stream, written_whole(partial) as file:
        while chunk := stream.read(1 << 20):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if not size:
        os.remove(partial)
        raise ValueError(f"{'the standard input' if name == STANDARD_INPUT else name} is empty")
    kind = "stdin" if name in (STANDARD_INPUT, "/dev/stdin") else "pipe"
    path = os.path.join(folder, f"{kind}-{digest.hexdigest()[:16]}.txt")
    os.replace(partial, path)
    return path
