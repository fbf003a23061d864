"""Ids to text, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from .checks import check_ids

if TYPE_CHECKING:
    from .base import Tokenizer


class DecodeStream:
    """Decodes ids piece by piece; the pieces' texts join to what `Tokenizer.decode` gives for all ids at once.

    Parameters
    ----------
    tokenizer : Tokenizer
        The one that the ids are of.

    Examples
    --------
    >>> from minilm.tokenizers import Character, DecodeStream
    >>> tokenizer = Character("abc")
    >>> stream = DecodeStream(tokenizer)
    >>> for id in tokenizer.encode("cab"):
    ...     print(stream.feed(id), end="", flush=True)
    cab
    >>> stream.flush()
    ''
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._state = None

    def feed(self, ids: ArrayLike) -> str:
        """The text that further ids add.

        Parameters
        ----------
        ids : array_like of int, shape (T,) or ()

        Returns
        -------
        text : str
            Without what these ids only begin, such as a character some of whose bytes are still to come.

        Raises
        ------
        TypeError, ValueError
            As of `Tokenizer.decode`; the stream is then as it was before.
        """
        text, self._state = self.tokenizer._decode(check_ids(ids, self.tokenizer.vocab_size), self._state)
        return text

    def flush(self) -> str:
        """The text still held back when no id follows; the stream then begins a new text.

        Returns
        -------
        text : str
        """
        text, self._state = self.tokenizer._flush(self._state), None
        return text
