"""The tokens of a tokenizer and their ids."""

from __future__ import annotations

from collections.abc import Iterable

from .checks import check_ids


class Vocabulary:
    """Tokens with ids 0 ... vocab_size - 1, each there once.

    Parameters
    ----------
    vocabulary : iterable of str
        The tokens in the order of their ids; an empty str for an id that no token has.
    special_tokens : iterable of str
        Those of them that stand for something other than their spelling.

    Raises
    ------
    ValueError
        A token is twice in the vocabulary, or holds a lone surrogate.
    """

    unk_token: str | None = None
    eos_token: str | None = None

    def __init__(self, vocabulary: Iterable[str], special_tokens: Iterable[str] = ()):
        self._vocabulary = tuple(vocabulary)
        self._special_tokens = tuple(special_tokens)
        self._ids = {token: index for index, token in enumerate(self._vocabulary) if token}
        if len(self._ids) + self._vocabulary.count("") < len(self._vocabulary):
            twice = next(token for index, token in enumerate(self._vocabulary) if token and self._ids[token] != index)
            raise ValueError(f"token {twice!r} is twice in the vocabulary")
        try:
            "".join(self._vocabulary).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"the vocabulary holds a lone surrogate, U+{ord(error.object[error.start]):04X}") from None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All tokens, special ones included; a token's place is its id. An empty str: no token has this id."""
        return self._vocabulary

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens included."""
        return len(self._vocabulary)

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokens that stand for something other than their spelling."""
        return self._special_tokens

    @property
    def unk_token_id(self) -> int | None:
        """The id that stands for everything the vocabulary lacks, or None."""
        return None if self.unk_token is None else self._ids[self.unk_token]

    @property
    def eos_token_id(self) -> int | None:
        """The id that ends a line or a text, or None."""
        return None if self.eos_token is None else self._ids[self.eos_token]

    def token_to_id(self, token: str) -> int | None:
        """The id of a token.

        Parameters
        ----------
        token : str

        Returns
        -------
        id : int or None
            None if the vocabulary lacks it.
        """
        return self._ids.get(token)

    def id_to_token(self, id: int) -> str:
        """The token of an id.

        Parameters
        ----------
        id : int

        Returns
        -------
        token : str
            Empty where no token has this id.

        Raises
        ------
        TypeError, ValueError
            `id` is no integer, or outside 0 ... vocab_size - 1.
        """
        return self._vocabulary[int(check_ids(id, self.vocab_size)[0])]
