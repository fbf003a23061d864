"""Ids to text, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from .checks import check_ids

if TYPE_CHECKING:
    from .base import Tokenizer


class DecodeStream:
    """Decodes ids piece by piece; the pieces' texts join to what `Tokenizer.decode` gives for all ids at once.

    Examples
    --------
    >>> stream = tokenizer.decode_stream()
    >>> for id in generated:
    ...     print(stream.feed(id), end="", flush=True)
    >>> print(stream.flush())
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._state = None

    def feed(self, ids: ArrayLike) -> str:
        """The text that one id, or an array of them, adds."""
        text, self._state = self.tokenizer._decode(check_ids(ids, self.tokenizer.vocab_size), self._state)
        return text

    def flush(self) -> str:
        """The text still held back, at the end; the stream then starts anew."""
        text, self._state = self.tokenizer._flush(self._state), None
        return text
