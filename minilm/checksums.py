"""Checksums beside what is written, in the form that ``sha256sum -c`` reads, and how files are held against them.

A folder has one file SHA256SUMS, a file that stands alone one of its own, NAME.sha256; a line each::

    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  model.safetensors
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from minilm.files import written_whole
from minilm.typing import PathLike

__all__ = ["SUFFIX", "SUMS", "content", "differing", "file_hash", "open_file_hash", "read", "record", "record_beside"]

SUMS, SUFFIX = "SHA256SUMS", ".sha256"
LINE = re.compile(r"([0-9a-f]{64})  ([^/\n\\]+)\n")


def file_hash(path: PathLike) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return open_file_hash(file)


def open_file_hash(file: BinaryIO) -> str:
    """The same of an open file, from where it stands."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def read(path: PathLike) -> dict[str, str]:
    """The sha256 of each file's name, as a file of checksums says; ValueError, naming file and line, if it is damaged."""
    with open(path, "rb") as file:
        lines = file.read().decode("utf-8", "replace").splitlines(keepends=True)
    digests = {}
    for number, line in enumerate(lines, 1):
        whole = LINE.fullmatch(line)
        if whole is None or whole[2] in digests:
            raise ValueError(f"{os.fspath(path)}:{number} is damaged: wanted a sha256, two blanks and a file's name, each once")
        digests[whole[2]] = whole[1]
    return digests


def content(digests: Mapping[str, str]) -> bytes:
    """What a file of checksums holds."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def record(folder: PathLike, names: Iterable[str]) -> None:
    """Bring the lines of some files of a folder in its SHA256SUMS up to date; those of files that are no longer there go."""
    folder = os.fspath(folder)
    path = os.path.join(folder, SUMS)
    digests = read(path) if os.path.exists(path) else {}
    digests |= {name: file_hash(os.path.join(folder, name)) for name in names}
    digests = {name: digest for name, digest in digests.items() if os.path.exists(os.path.join(folder, name))}
    with written_whole(path) as file:
        file.write(content(digests))


def record_beside(path: PathLike) -> None:
    """Write NAME.sha256 beside a file; beside what is no file (a pipe, a device) nothing."""
    path = os.path.abspath(os.fspath(path))
    if os.path.isfile(path):
        with written_whole(path + SUFFIX) as file:
            file.write(content({os.path.basename(path): file_hash(path)}))


def differing(sums: PathLike) -> tuple[list[str], list[str]]:
    """Hold files against a file of checksums.

    Returns
    -------
    names : list of str
        The files that it lists.
    faults : list of str
        Of those that are missing or differ, a line each.
    """
    folder, faults = os.path.dirname(os.path.abspath(os.fspath(sums))), []
    digests = read(sums)
    for name, expected in digests.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            faults.append(f"{path} is missing")
        elif (digest := file_hash(path)) != expected:
            faults.append(f"{path} is damaged or was changed: sha256 {digest[:16]}..., wanted {expected[:16]}...")
    return [*digests], faults
