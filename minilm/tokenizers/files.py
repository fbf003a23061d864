"""Reading texts of any size, and writing a tokenizer's file whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import gc
import json
import os
from collections.abc import Iterable, Iterator

from minilm import checksums
from minilm.files import shallow, written_whole
from minilm.mistaken import mistaken_for
from minilm.typing import PathLike

FILE_NAME = "tokenizer.json"
FORMAT_VERSION = 1
READ_BYTES = 1 << 20
ERROR_MODES = ("strict", "replace", "ignore")


def read_text(path: PathLike, errors: str = "strict", chunk_bytes: int = READ_BYTES) -> Iterator[str]:
    r"""Read a UTF-8 file in chunks of bounded size.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Its line ends (``\n``, ``\r\n``) and a byte order mark, if it has one, are kept as they are.
    errors : {"strict", "replace", "ignore"}
        What invalid UTF-8 becomes: an error, U+FFFD for every invalid part, or nothing.
    chunk_bytes : int
        Bytes read at a time. A character whose bytes straddle two chunks comes out whole in the later one.

    Yields
    ------
    str
        Non-empty pieces; joined, they are the file's text.

    Raises
    ------
    ValueError
        `errors` is unknown, `chunk_bytes` is not positive, or (naming the byte's position) the file is not valid UTF-8.
    """
    if errors not in ERROR_MODES:
        raise ValueError(f"errors must be one of {', '.join(map(repr, ERROR_MODES))}, got {errors!r}")
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, got {chunk_bytes!r}")
    return _read_text(path, errors, chunk_bytes)


def _read_text(path, errors: str, chunk_bytes: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    consumed = 0  # bytes given to the decoder before this chunk
    with open(path, "rb") as file:
        while True:
            chunk = file.read(chunk_bytes)
            pending = len(decoder.getstate()[0])  # bytes of an unfinished character, which the decoder puts before the chunk
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                position = consumed - pending + error.start
                raise ValueError(
                    f"{os.fspath(path)}: invalid UTF-8 at byte {position} (0x{error.object[error.start]:02x}: {error.reason}); "
                    'errors="replace" (on the command line: --errors replace) reads U+FFFD in its place'
                ) from None
            if text:
                yield text
            if not chunk:
                return
            consumed += len(chunk)


def regroup(chunks: Iterable[str] | str, size: int = 1 << 20) -> Iterator[str]:
    """Cut and join the pieces of a text into pieces of `size` characters (the last may be shorter)."""
    parts, length = [], 0
    for chunk in (chunks,) if isinstance(chunks, str) else chunks:
        if not isinstance(chunk, str):
            raise TypeError(f"chunks must be an iterable of str, got a {type(chunk).__name__} in it")
        parts.append(chunk)
        length += len(chunk)
        if length >= size:
            text = "".join(parts)
            whole = length - length % size
            yield from (text[start : start + size] for start in range(0, whole, size))
            parts, length = [text[whole:]], length - whole
    if length:
        yield "".join(parts)


def write_atomically(path, content: bytes) -> None:
    """Write a file whole or not at all: see `minilm.files.written_whole`."""
    with written_whole(path) as file:
        file.write(content)


def file_in(path) -> str:
    """The tokenizer's file: `path` itself, or the tokenizer.json in it if `path` is a folder."""
    path = os.fspath(path)
    return os.path.join(path, FILE_NAME) if os.path.isdir(path) else path


def to_json(kind: str, fields: dict) -> str:
    """The text of a tokenizer's file."""
    return json.dumps({"type": kind, "version": FORMAT_VERSION, **fields}, ensure_ascii=False, indent=1) + "\n"


def write_tokenizer(path, kind: str, fields: dict) -> None:
    """Write a tokenizer's file, atomically; a folder that has checksums gets its."""
    path = os.path.abspath(file_in(path))
    write_atomically(path, to_json(kind, fields).encode("utf-8"))
    folder, name = os.path.split(path)
    if os.path.exists(os.path.join(folder, checksums.SUMS)):
        checksums.record(folder, [name])


def read_tokenizer(path) -> dict:
    """Read a tokenizer's file: a JSON object that has a type, and a version this code knows.

    A tokenizer.json of Hugging Face's `tokenizers` has neither at that place; it gets the type that `kind_of` finds.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Naming the file and what is wrong in it.
    """
    path = file_in(path)
    with open(path, "rb") as file:
        return parse_tokenizer(file.read(), path)


def parse_tokenizer(content: bytes, path) -> dict:
    """What `read_tokenizer` does with the content of a file; `path` is what to call it in an error."""
    try:
        with collector_paused():
            fields = shallow(json.loads(content.decode("utf-8")))
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"{path}: not a tokenizer file: not valid JSON ({mistaken_for(content) or error})") from None
    try:
        if not isinstance(fields, dict):
            raise ValueError(f"expected a JSON object, got {type(fields).__name__}")
        kind = kind_of(fields)
        if is_hugging_face(fields):
            return {**fields, "type": kind}
        version = field(fields, "version", int)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version} is unknown; this minilm reads version {FORMAT_VERSION}")
    except ValueError as error:
        raise ValueError(f"{path}: not a tokenizer file: {error}") from None
    return fields


def tokenizer_of(path, fields: dict, classes: dict, *folder_config):
    """The tokenizer that a file's fields, and what is beside it, describe; ValueError naming the file if none of `classes`."""
    path = file_in(path)
    kind = kind_of(fields)
    if kind not in classes:
        raise ValueError(f"{path}: tokenizer of type {kind!r}, expected {' or '.join(map(repr, classes))}")
    try:
        with collector_paused():
            return classes[kind]._from_fields({**fields, "type": kind}, *folder_config)
    except ValueError as error:
        named = any(each.folder and str(error).startswith(each.folder) for each in folder_config)  # a file beside this one
        raise ValueError(str(error) if named else f"{path}: {error}") from None


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Without Python's search for cycles, which goes through all of a vocabulary's tokens again and again while it is read."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def is_hugging_face(fields: dict) -> bool:
    """Whether these are the fields of a tokenizer.json as Hugging Face's `tokenizers` writes it."""
    return "type" not in fields and isinstance(fields.get("model"), dict)


def kind_of(fields: dict) -> str:
    """The class of tokenizer that a file's fields are of; for Hugging Face's, the type of its model, such as "WordPiece"."""
    if not is_hugging_face(fields):
        return field(fields, "type", str)
    # the oldest ones, GPT-2's too, do not name the model; then it is the one that has merges
    usual = {"type": "BPE"} if "merges" in fields["model"] else {}
    kind = field({**usual, **fields["model"]}, "type", str)
    return f"Hugging Face's {kind}" if kind == "WordLevel" else kind  # the `WordLevel` of this package is another


def field(fields: dict, name: str, kind, optional: bool = False):
    """The entry `name` of a tokenizer's file, of type `kind` (a type or a tuple of types; None too if `optional`)."""
    if name not in fields:
        raise ValueError(f"field {name!r} is missing")
    value = fields[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if optional and value is None:
        return None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        types = " or ".join([each.__name__ for each in kinds] + ["null"] * optional)
        raise ValueError(f"field {name!r} must be {types}, got {type(value).__name__}")
    return value


def strings(fields: dict, name: str) -> list[str]:
    """The entry `name` of a tokenizer's file, a list of strings."""
    values = field(fields, name, list)
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"field {name!r} must be a list of str, got {type(value).__name__} at position {position}")
    return values
