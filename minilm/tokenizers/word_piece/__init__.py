"""WordPiece: BERT's tokenizer.

The page to open first is `kernels`: the two loops, cut into words and words into pieces. `characters` says what becomes of a
character, `trie` how the vocabulary is laid out, `pairs` how a sequence is made for BERT, `train` where a vocabulary comes from.
"""

from .hugging_face import is_vocabulary
from .pairs import Encoding
from .tokenizer import WordPiece
from .train import SPECIAL_TOKENS

__all__ = ["SPECIAL_TOKENS", "Encoding", "WordPiece", "is_vocabulary"]


def __dir__() -> list[str]:
    return sorted(__all__)
