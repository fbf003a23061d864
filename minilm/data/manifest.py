"""Corpora by name: the built-in text, and public ones that `minilm corpus fetch` downloads into the cache folder."""

from __future__ import annotations

import dataclasses
import functools
import os

from minilm.cache_folders import cache_folder
from minilm.checksums import file_hash
from minilm.data.pipes import on_disk
from minilm.files import read_json
from minilm.mistaken import did_you_mean
from minilm.typing import PathLike


@dataclasses.dataclass(frozen=True)
class Corpus:
    """An entry of corpora/manifest.json."""

    name: str
    file: str  # its name in the cache folder, or among the built-in texts
    url: str | None  # None: built in
    bytes: int
    sha256: str
    licence: str
    kind: str  # text, pairs or gzip
    description: str

    @property
    def path(self) -> str:
        """Where the file is, or belongs."""
        return os.path.join(builtin_folder() if self.url is None else cache_folder("corpora"), self.file)

    def fault(self) -> str | None:
        """What is wrong with the file at `path`: "missing", or how its size or hash differs; None if it is right."""
        if not os.path.isfile(self.path):
            return "missing"
        size = os.path.getsize(self.path)
        if size != self.bytes:
            return f"{size:,} bytes, wanted {self.bytes:,}"
        digest = file_hash(self.path)
        return None if digest == self.sha256 else f"sha256 {digest[:16]}..., wanted {self.sha256[:16]}..."

    def by_hand(self) -> str:
        """What to do without a network."""
        return f"get {self.url} ({self.bytes:,} bytes, sha256 {self.sha256}) some other way and put it at {self.path}"


@functools.cache
def builtin_folder() -> str:
    """The folder of the manifest and the built-in texts: in the package if installed from a wheel, else beside it."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [os.path.join(package, "corpora"), os.path.join(os.path.dirname(package), "corpora")]
    for folder in folders:
        if os.path.isfile(os.path.join(folder, "manifest.json")):
            return folder
    raise FileNotFoundError(f"minilm's built-in corpora are not where they belong, {folders[0]}: install minilm again")


@functools.cache
def corpora() -> dict[str, Corpus]:
    """All corpora that have a name, by it."""
    return _manifest(os.path.join(builtin_folder(), "manifest.json"))


def _manifest(path: str) -> dict[str, Corpus]:
    """The corpora that a manifest lists; ValueError that names the file if it is damaged."""
    entries, by_name = read_json(path).get("corpora"), {}
    if not isinstance(entries, list):
        raise ValueError(f"{path}: 'corpora' must be a list, got {type(entries).__name__}; install minilm again")
    for number, entry in enumerate(entries):
        wrong = _wrong(entry)
        if wrong:
            raise ValueError(f"{path}: corpora[{number}]: {wrong}; install minilm again")
        by_name[entry["name"]] = Corpus(**entry)
    return by_name


def _wrong(entry) -> str | None:
    """What is wrong with an entry of the manifest."""
    if not isinstance(entry, dict):
        return f"wanted an object, got {type(entry).__name__}"
    kinds = {field.name: int if field.name == "bytes" else str for field in dataclasses.fields(Corpus)}
    odd = sorted(kinds.keys() ^ entry.keys())
    if odd:
        return f"wanted {', '.join(kinds)}, got {', '.join(entry)}"
    for name, kind in kinds.items():
        value = entry[name]
        if type(value) is not kind and not (name == "url" and value is None):
            return f"{name} must be {'a number' if kind is int else 'a text'}, got {value!r}"
    return None


def named(name: str) -> Corpus:
    """The corpus of a name; ValueError with the nearest name if there is none."""
    known = corpora()
    if name not in known:
        raise ValueError(f"there is no corpus {name!r}; {did_you_mean(name, known)}")
    return known[name]


def corpus(name_or_path: PathLike) -> str:
    """The path of a text.

    Parameters
    ----------
    name_or_path : str or os.PathLike
        An existing file, a pipe, or "-", the standard input (see `minilm.data.pipes.on_disk`); else the name of a corpus: a
        built-in one ("stories"), or one in the cache folder.

    Returns
    -------
    path : str
        Of a corpus by name, the file was read and has the size and sha256 of the manifest.

    Raises
    ------
    ValueError
        It is neither (with the nearest name), or the corpus's file is missing or not the right one (with what to do).
    """
    path = on_disk(name_or_path)
    if os.path.isfile(path):
        return path
    if os.path.isdir(path) and path not in corpora():
        raise ValueError(f"{path} is a folder, wanted a text file or the name of a corpus")
    if os.path.basename(path) != path or os.path.splitext(path)[1]:  # it was meant as a path
        raise ValueError(f"there is no file {path}{_was_kept(path)}")
    entry = named(path)
    fault = entry.fault()
    if fault is None:
        return entry.path
    if entry.url is None:
        raise ValueError(f"the built-in corpus {entry.name} is damaged ({entry.path}: {fault}); install minilm again")
    if fault == "missing":
        raise ValueError(f"corpus {entry.name} is not here yet: `minilm corpus fetch {entry.name}`, or {entry.by_hand()}")
    raise ValueError(f"{entry.path} is not {entry.name} ({fault}): `minilm corpus fetch {entry.name}` puts the right one there")


def _was_kept(path: str) -> str:
    """What to do where a file is gone that minilm made of several texts or of a pipe."""
    if os.path.dirname(path) not in map(cache_folder, ("texts", "streams")):
        return ""
    return " in minilm's cache any more: --corpus with what it was made of, such as --corpus A,B, makes it again"
