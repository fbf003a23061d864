"""What to say of a mistaken name, file or folder: in a few words, with what helps."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which imports NumPy, and the command's help needs none
    from minilm.typing import PathLike

__all__ = ["did_you_mean", "existing_folder", "mistaken_for", "nearest", "refuse_mistaken"]

PICKLE = "a Python pickle, which is not read here: if torch.save wrote it, `minilm convert` reads it, and runs nothing of it"
PAGE = "an HTML page that a server gave in the file's place: download the file again"
BEGINNINGS = (  # of files, those of HTML in any case; what they then are
    (b"version https://git-lfs", "a Git LFS pointer that stands for the file: `git lfs pull` fetches the file itself"),
    (b"<!doctype html", PAGE),
    (b"<html", PAGE),
    (b"Entry not found", "a server's message that there is no such file: download it again, by its right name"),
    (b"PK\x03\x04", "a zip archive such as torch.save writes: `minilm convert` reads it"),
    *((bytes([0x80, protocol]), PICKLE) for protocol in range(2, 6)),
    (b"\x89HDF", "an HDF5 file: `minilm convert` and sequential.load_model read Keras's"),
    (b"GGUF", "a GGUF file: `minilm convert` reads it"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
)


def nearest(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to `count` of the known names that are spelled most like `name`, in whichever case; the nearest first."""
    folded = {each.lower(): each for each in reversed(list(known))}
    return [folded[each] for each in difflib.get_close_matches(str(name).lower(), folded, n=count, cutoff=cutoff)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """How an error about an unknown name ends: "did you mean 'lstm'?", or without a near one "there are rnn, lstm, gru"."""
    near = nearest(name, known)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def mistaken_for(content: bytes) -> str | None:
    """What a file is that does not hold what was wanted, by its first bytes: "it is ..."; None where they do not say."""
    head = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    heads = head, head.lower()
    return next((f"it is {kind}" for beginning, kind in BEGINNINGS if any(each.startswith(beginning) for each in heads)), None)


def refuse_mistaken(path: PathLike, content: bytes) -> None:
    """ValueError with the file's name if `mistaken_for` knows what it is: for files of text, where anything may stand."""
    kind = mistaken_for(content)
    if kind is not None:
        raise ValueError(f"{os.fspath(path)}: {kind}")


def existing_folder(path: PathLike) -> str:
    """The path of a folder that exists, with ``~`` for one's home.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        In one line that says what helps: for a file, its folder; for a name on the Hugging Face Hub, how to download it.
    """
    path = os.path.expanduser(os.fspath(path))
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise NotADirectoryError(f"{path} is a file, and wanted is a folder: give {os.path.dirname(path) or '.'}, where it lies")
    hint = ""  # for what may be a name, such as gpt2, or openai-community/gpt2
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", path) and not path.endswith(".gguf"):
        fetch = f"`hf download {path} --local-dir FOLDER` brings it into one"
        hint = f"; if that is a name on the Hugging Face Hub: pip install 'minilm[hub]' lets it be fetched, and {fetch}"
    kind = "file" if path.endswith(".gguf") else "folder"
    raise FileNotFoundError(f"there is no {kind} {path}{hint}")
