"""Tokenizers: text to ids and back.

`Character`, `WordLevel` and `WordPiece` (BERT's) share the interface `Tokenizer`. `Word`, with `pad_sequences`, has the surface
of Keras's text preprocessing and serves classifiers.
"""

from . import base, files, word_piece
from .base import DecodeStream, Tokenizer
from .character import Character
from .files import read_text
from .sequences import pad_sequences
from .word import Word, text_to_word_sequence, tokenizer_from_json
from .word_level import WordLevel
from .word_piece import Encoding, WordPiece

__all__ = [
    "Character",
    "DecodeStream",
    "Encoding",
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

CLASSES = {each.__name__: each for each in (Character, WordLevel, WordPiece, Word)}


def load(path) -> Tokenizer | Word:
    """Read a tokenizer's file, of whatever class it is.

    Parameters
    ----------
    path : str or os.PathLike
        The file, or a folder that holds a tokenizer.json, such as a training run's; or BERT's vocab.txt, or its folder.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Naming the file and what is wrong: not JSON, a type or version this minilm does not know, a missing or wrong field.
    """
    if word_piece.is_vocabulary(path):
        return WordPiece.load(path)
    fields = files.read_tokenizer(path)
    if fields["type"] == WordPiece.__name__:
        return WordPiece.load(path)  # which also reads what lies beside the file
    return base.from_fields(path, fields, CLASSES)
