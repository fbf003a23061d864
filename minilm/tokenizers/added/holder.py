"""The part of a tokenizer that holds its added tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from numpy.typing import ArrayLike

from ..base import Tokenizer
from ..checks import check_ids
from .table import AddedTokens
from .token import AddedToken


class WithAddedTokens(Tokenizer):
    """A tokenizer whose texts may spell tokens: `ByteLevelBPE`, `GPT1BPE` and `WordPiece`."""

    def _add(
        self,
        special_tokens: Iterable[str],
        added_tokens: Iterable[AddedToken],
        normalize: Callable[[list[str]], list[str]] | None = None,
    ) -> None:
        self._added = AddedTokens(special_tokens, added_tokens, self._ids, normalize)
        self._special_tokens = self._added.special

    @property
    def added_tokens(self) -> tuple[AddedToken, ...]:
        """The tokens that a text may spell, special ones and others, in the order of their ids."""
        return self._added.tokens

    def decode(self, ids: ArrayLike, skip_special_tokens: bool = False) -> str:
        """Decode ids.

        Parameters
        ----------
        ids : array_like of int, shape (T,) or ()
        skip_special_tokens : bool
            Leave out `special_tokens`; added tokens that are not special stay.

        Returns
        -------
        text : str

        Raises
        ------
        TypeError, ValueError
            As of `Tokenizer.decode`.
        """
        if skip_special_tokens:
            ids = self._added.without_special(check_ids(ids, self.vocab_size))
        return super().decode(ids)
