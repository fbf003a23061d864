"""What every tokenizer does: text to ids, ids to text, whole or in pieces, and one JSON file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minilm.typing import PathLike

from . import files
from .checks import check_text, several
from .decode_stream import DecodeStream
from .post_processor import PostProcessor
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self


class Tokenizer(Vocabulary, ABC):
    """A map between texts and sequences of ids 0 ... vocab_size - 1.

    A tokenizer is immutable once built: by `train` (from files), `train_from_chunks` (from strings), `load`, or its constructor.

    Notes
    -----
    Three promises hold for every tokenizer, and its tests check them:

    - however a text is cut into chunks, ``np.concatenate(list(encode_chunks(chunks)))`` equals
      ``encode("".join(chunks), add_special_tokens=False)``;
    - however ids are cut into pieces, the texts of a `DecodeStream` join to ``decode(ids)``;
    - ``encode(decode(ids))`` gives ids back whenever ids came from `encode` and hold no unknown token.

    A new tokenizer gives `vocabulary`, `special_tokens`, `_encode`, `_safe_cut`, `_decode`, `_train`, `_fields`, `_from_fields`.
    """

    post_processor: PostProcessor | None = None

    # Text to ids

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = True) -> np.ndarray:
        """Encode a text, or two.

        Parameters
        ----------
        text : str
        pair : str, optional
            A second text, whose ids come after those of the first.
        add_special_tokens : bool
            Put around them what the tokenizer's file says in its section "post_processor", such as the token that begins a text
            in Llama 3's. A tokenizer without one adds nothing. (BERT's sequences are `WordPiece.encode_pair`'s.)

        Returns
        -------
        ids : ndarray, shape (T,), int32

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            The tokenizer has no unknown token and the text holds something else than its vocabulary: names it and its position.
        """
        check_text(text)
        if pair is None:
            ids = self._encode(text, 0, "")  # (T,)
            return ids if self.post_processor is None else self._joined([ids], add_special_tokens)
        check_text(pair)
        return self._joined([self._encode(text, 0, ""), self._encode(pair, 0, "")], add_special_tokens)  # (T,)

    def _joined(self, parts: list[np.ndarray], add_special_tokens: bool, blank: Sequence[int] | None = None) -> np.ndarray:
        """The arrays of one or two texts with what the post-processor adds: `PostProcessor.joined`."""
        if self.post_processor is not None:
            return self.post_processor.joined(parts, add_special_tokens, blank)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Encode several texts, each on its own, with what `encode` puts around it.

        Parameters
        ----------
        texts : iterable of B str

        Returns
        -------
        ids : list of B ndarrays, shape (T_i,), int32

        Raises
        ------
        TypeError
            `texts` is one str, or holds something else than str.
        ValueError
            As of `encode`.
        """
        return [self.encode(text) for text in several(texts)]

    def encode_chunks(self, chunks: Iterable[str] | str, source: str = "") -> Iterator[np.ndarray]:
        """Encode one text that comes in pieces, in bounded memory.

        Parameters
        ----------
        chunks : iterable of str
            The pieces of one text, in order, cut anywhere, of any size.
        source : str
            What to call the text in an error, such as its file's name.

        Yields
        ------
        ids : ndarray, shape (T_i,), int32
            Joined, they are the ids of the whole text, with no tokens around it. A piece is encoded up to where no token can run
            on into the next one.
        """
        for start, text in self.safe_pieces(chunks):
            yield self._encode(text, start, source)  # (T_i,)

    def safe_pieces(self, chunks: Iterable[str] | str) -> Iterator[tuple[int, str]]:
        """Cut a text that comes in pieces anew, at places over which no token reaches.

        Parameters
        ----------
        chunks : iterable of str
            The pieces of one text, in order, cut anywhere, of any size.

        Yields
        ------
        position : int
            Where in the text the piece begins, in characters.
        piece : str
            The ids of these pieces, joined, are those of the whole text, with no tokens around it.
        """
        start, held = 0, []  # held: pieces in which there was no safe place to cut
        for piece in files.regroup(chunks):
            cut = self._safe_cut(piece)
            if cut == 0:
                held.append(piece)
                continue
            text = "".join([*held, piece[:cut]])
            yield start, text
            start += len(text)
            held = [piece[cut:]]
        if any(held):
            yield start, "".join(held)

    def encode_file(self, path: PathLike, errors: str = "strict", chunk_bytes: int = files.READ_BYTES) -> Iterator[np.ndarray]:
        """Encode a UTF-8 file of any size, in bounded memory.

        Parameters
        ----------
        path : str or os.PathLike
        errors : {"strict", "replace", "ignore"}
            What invalid UTF-8 becomes, see `minilm.tokenizers.read_text`.
        chunk_bytes : int
            Bytes read at a time.

        Yields
        ------
        ids : ndarray, shape (T_i,), int32
            Joined (``np.concatenate``), they are the ids of the file's text.

        Raises
        ------
        ValueError
            Naming the file and the position of invalid UTF-8, or of what the vocabulary lacks.
        """
        return self.encode_chunks(files.read_text(path, errors, chunk_bytes), os.fspath(path))

    # Ids to text

    def decode(self, ids: ArrayLike) -> str:
        """Decode ids.

        Parameters
        ----------
        ids : array_like of int, shape (T,) or ()

        Returns
        -------
        text : str

        Raises
        ------
        TypeError, ValueError
            `ids` are not integers, have more than one axis, or one is outside 0 ... vocab_size - 1: names it and its position.
        """
        stream = self.decode_stream()
        return stream.feed(ids) + stream.flush()

    def decode_batch(self, batch: Iterable[ArrayLike]) -> list[str]:
        """Decode several sequences of ids, each on its own.

        Parameters
        ----------
        batch : array_like of int, shape (B, T), or iterable of B array_likes, shape (T_i,)

        Returns
        -------
        texts : list of B str

        Raises
        ------
        TypeError, ValueError
            As of `decode`.
        """
        return [self.decode(ids) for ids in batch]

    def decode_stream(self) -> DecodeStream:
        """A decoder for ids that come one by one, as in generation.

        Returns
        -------
        stream : DecodeStream
            At the begin of a text.
        """
        return DecodeStream(self)

    # Training

    @classmethod
    def train(cls, paths: PathLike | Iterable[PathLike], *, errors: str = "strict", **options: Any) -> Self:
        """Build a tokenizer from the text of files, read in chunks.

        Parameters
        ----------
        paths : path or list of paths
            UTF-8 files. (A text in memory goes to `train_from_chunks`.)
        errors : {"strict", "replace", "ignore"}
            What invalid UTF-8 becomes, see `minilm.tokenizers.read_text`.
        **options
            As in `train_from_chunks`.

        Returns
        -------
        tokenizer : Tokenizer
            Of this class.

        Raises
        ------
        FileNotFoundError
        ValueError
            No file is named, a file is not UTF-8 (with its name and the position), or a text stands in place of a file's name.
        """
        if isinstance(paths, str | os.PathLike):
            paths = (paths,)
        paths = [os.fspath(path) for path in paths]
        if not paths:
            raise ValueError("paths must name at least one file, got none")
        for path in paths:
            if isinstance(path, str) and ("\n" in path or "\0" in path or len(path) > 4096):
                raise ValueError(f"paths must name files, got a text ({path[:40]!r} ...): use train_from_chunks")
        return cls._train((files.read_text(path, errors) for path in paths), ", ".join(map(str, paths)), **options)

    @classmethod
    @abstractmethod
    def train_from_chunks(cls, chunks: Iterable[str] | str, **options: Any) -> Self:
        """Build a tokenizer from one text.

        Parameters
        ----------
        chunks : str or iterable of str
            The text, or its pieces in order, cut anywhere; nothing is put between them.
        **options
            What the class lets one choose, such as `vocab_size`.

        Returns
        -------
        tokenizer : Tokenizer
            Of this class.
        """

    @classmethod
    @abstractmethod
    def _train(cls, texts: Iterable[Iterable[str] | str], source: str, **options) -> Self:
        """Build from several texts, each in chunks. `source` is what to call them in an error."""

    # One JSON file

    def to_json(self) -> str:
        """The content of the tokenizer's file.

        Returns
        -------
        content : str
            A JSON object, from which `load` makes an equal tokenizer.
        """
        return files.to_json(type(self).__name__, self._fields())

    def save(self, path: PathLike) -> None:
        """Write the tokenizer to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder, which then gets a tokenizer.json.

        Raises
        ------
        OSError
            It cannot be written there.
        """
        files.write_tokenizer(path, type(self).__name__, self._fields())

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a tokenizer of this class; `minilm.tokenizers.load` finds the class itself.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder that holds a tokenizer.json.

        Returns
        -------
        tokenizer : Tokenizer
            Of this class.

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        return files.tokenizer_of(path, files.read_tokenizer(path), {cls.__name__: cls})

    def __eq__(self, other):
        return type(self) is type(other) and self._fields() == other._fields()

    def __hash__(self):
        return hash(self._vocabulary)

    def __repr__(self):
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    # What a tokenizer has to give

    @abstractmethod
    def _encode(self, text: str, start: int, source: str) -> np.ndarray:
        """Ids (T,) of a text that begins at position `start` of `source`; the two serve errors only."""

    @abstractmethod
    def _safe_cut(self, text: str) -> int:
        """The largest n such that no token can cross from text[:n] into text[n:], whatever comes before and after; or 0."""

    @abstractmethod
    def _decode(self, ids: np.ndarray, state) -> tuple[str, object]:
        """Text of checked ids (T,), and the state to give with the ids that follow; the first state is None."""

    def _flush(self, state) -> str:
        """Text still held in the state when no id follows."""
        return ""

    @abstractmethod
    def _fields(self) -> dict:
        """What the tokenizer's file holds, beside type and version."""

    @classmethod
    @abstractmethod
    def _from_fields(cls, fields: dict) -> Self:
        """A tokenizer from what its file held; ValueError says what is wrong."""
