"""Added tokens: strings that are one token wherever a text spells them, such as "<|endoftext|>".

`token` says what one is, `table` keeps those of a tokenizer, `matching` finds them in a text and says where a text must not be
cut because of them, by the automaton of `automaton`.
"""

from .table import AddedTokens
from .token import AddedToken

__all__ = ["AddedToken", "AddedTokens"]


def __dir__() -> list[str]:
    return sorted(__all__)
