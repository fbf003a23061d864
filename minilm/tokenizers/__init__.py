"""Tokenizers: text to ids and back.

`Character` and `WordLevel` share the interface `Tokenizer` and serve language models. `Word`, with `pad_sequences`, has the
surface of Keras's text preprocessing and serves classifiers.
"""

from . import base, files
from .base import DecodeStream, Tokenizer
from .bpe import ByteLevelBPE
from .character import Character
from .files import read_text
from .sequences import pad_sequences
from .word import Word, text_to_word_sequence, tokenizer_from_json
from .word_level import WordLevel

__all__ = [
    "ByteLevelBPE",
    "Character",
    "DecodeStream",
    "Tokenizer",
    "Word",
    "WordLevel",
    "load",
    "pad_sequences",
    "read_text",
    "text_to_word_sequence",
    "tokenizer_from_json",
]

CLASSES = {each.__name__: each for each in (Character, WordLevel, ByteLevelBPE, Word)}


def load(path) -> Tokenizer | Word:
    """Read a tokenizer's file, of whatever class it is.

    Parameters
    ----------
    path : str or os.PathLike
        The file, or a folder that holds a tokenizer.json, such as a training run's.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Naming the file and what is wrong: not JSON, a type or version this minilm does not know, a missing or wrong field.
    """
    return base.from_fields(path, files.read_tokenizer(path), CLASSES)
