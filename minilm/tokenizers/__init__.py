"""Tokenizers: text to ids and back.

`Character`, `WordLevel`, `ByteLevelBPE` (GPT-2's), `GPT1BPE` and `WordPiece` (BERT's) share the interface `Tokenizer`. `Word`,
with `pad_sequences`, has the surface of Keras's text preprocessing and serves classifiers."""

from __future__ import annotations

import os

from minilm.hub import tokenizer_folder
from minilm.typing import PathLike

from . import bpe, files, word_piece
from .added import AddedToken
from .base import Tokenizer
from .bpe import GPT1BPE, ByteLevelBPE
from .character import Character
from .decode_stream import DecodeStream
from .files import read_text
from .sequences import pad_sequences
from .word import Word, text_to_word_sequence, tokenizer_from_json
from .word_level import WordLevel
from .word_piece import Encoding, WordPiece

__all__ = [
    "AddedToken",
    "ByteLevelBPE",
    "Character",
    "DecodeStream",
    "Encoding",
    "GPT1BPE",
    "Tokenizer",
    "Word",
    "WordLevel",
    "WordPiece",
    "load",
    "pad_sequences",
    "read_text",
    "text_to_word_sequence",
    "tokenizer_from_json",
]

CLASSES = {each.__name__: each for each in (Character, WordLevel, WordPiece, Word)} | {"BPE": bpe.AnyBPE}


def load(path: PathLike) -> Tokenizer | Word:
    """Read a tokenizer's file, of whatever class it is.

    Parameters
    ----------
    path : str or os.PathLike
        The file, or a folder that holds a tokenizer.json, such as a training run's; or BERT's vocab.txt, or its folder; or the
        folder of a BPE that has vocab.json and merges.txt, or encoder.json and vocab.bpe, and no tokenizer.json; or a file of
        tiktoken's that is named as it was published, such as cl100k_base.tiktoken; or a name on the Hugging Face Hub, such as
        openai-community/gpt2 (see `minilm.hub`).

    Returns
    -------
    tokenizer : Tokenizer or Word
        Of the class that the file names, or that its content is of.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Naming the file and what is wrong: not JSON, a type or version this minilm does not know, a missing or wrong field.
    """
    path = tokenizer_folder(path)
    if word_piece.is_vocabulary(path):
        return WordPiece.load(path)
    if os.fspath(path).endswith(".tiktoken"):
        return ByteLevelBPE.from_tiktoken(path)
    if bpe.is_vocabulary(path):
        return bpe.AnyBPE.from_pretrained(path)
    if os.path.isdir(path) and not os.path.exists(files.file_in(path)):
        raise FileNotFoundError(bpe.missing(path, "vocab.txt, "))
    fields = files.read_tokenizer(path)
    if os.path.isdir(path) and fields["type"] == bpe.TYPE:
        return bpe.AnyBPE.from_pretrained(path)  # which also reads what is beside the file
    if fields["type"] == WordPiece.__name__:
        return WordPiece.load(path)  # which also reads what is beside the file
    return files.tokenizer_of(path, fields, CLASSES)


def __dir__() -> list[str]:
    return sorted(__all__)
