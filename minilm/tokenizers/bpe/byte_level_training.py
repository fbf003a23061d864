"""Training of a `ByteLevelBPE`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from minilm.tokenizers.added.holder import WithAddedTokens
from minilm.tokenizers.added.table import names
from minilm.tokenizers.bpe import alphabet, patterns
from minilm.tokenizers.bpe.hugging_face import END_OF_TEXT
from minilm.tokenizers.bpe.vocabulary import MOST_IDS
from minilm.typing import PathLike

if TYPE_CHECKING:
    from typing_extensions import Self


class ByteLevelTraining(WithAddedTokens):
    """Learning of a `ByteLevelBPE`'s merges."""

    USUAL_SIZE = 4096  # of a vocabulary that is trained without a size

    @classmethod
    def train(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        errors: str = "strict",
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        pattern: str | Iterable[str] = "gpt2",
        progress: bool | None = False,
    ) -> Self:
        """`train_from_chunks` of the text of files, read in chunks.

        Parameters
        ----------
        paths, errors
            As in `Tokenizer.train`.
        vocab_size, min_frequency, special_tokens, pattern, progress
            As in `train_from_chunks`.

        Returns
        -------
        tokenizer : ByteLevelBPE

        Raises
        ------
        FileNotFoundError
        TypeError, ValueError
            As of `Tokenizer.train` and `train_from_chunks`.
        """
        return super().train(
            paths,
            errors=errors,
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            pattern=pattern,
            progress=progress,
        )

    @classmethod
    def train_from_chunks(
        cls,
        chunks: str | Iterable[str],
        *,
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        pattern: str | Iterable[str] = "gpt2",
        progress: bool | None = False,
    ) -> Self:
        """Learn the merges of a text.

        Parameters
        ----------
        chunks : str or iterable of str
            One text, or its pieces in order.
        vocab_size : int
            Ids in all: special tokens, 256 bytes and merges. A text may give fewer merges than there is room for.
        min_frequency : int
            Pairs that occur less often are not merged.
        special_tokens : iterable of str
            Get the first ids. In the text they are nothing special: the merges are learnt from all of it.
        pattern : str or iterable of str
            How the text is cut into the pieces that merges never cross, as of the class.
        progress : bool or None
            Whether to show a bar; None: if standard error is a terminal.

        Returns
        -------
        tokenizer : ByteLevelBPE

        Raises
        ------
        TypeError
            `vocab_size` or `min_frequency` is no whole number.
        ValueError
            One of them is out of range, the text is empty or holds a lone surrogate, or a special token is how a byte is
            written.

        Notes
        -----
        The merges and ids are those of Hugging Face's BpeTrainer with a ByteLevel pre-tokenizer, see `bpe.training`.
        """
        options = {"vocab_size": vocab_size, "min_frequency": min_frequency, "special_tokens": special_tokens}
        options["pattern"] = pattern
        return cls._train([chunks], "text", progress=progress, **options)

    @classmethod
    def _train(cls, texts, source, *, vocab_size, min_frequency=2, special_tokens=(END_OF_TEXT,), pattern="gpt2", progress=False):
        from minilm.tokenizers.bpe import training

        special_tokens = names(special_tokens)
        for token in special_tokens:
            if token in alphabet.characters():
                raise ValueError(f"special token {token!r} is also how a byte is written")
        least = 256 + len(special_tokens)
        for name, value, low in (("vocab_size", vocab_size, least), ("min_frequency", min_frequency, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be a whole number, got {value!r}")
            if not low <= value <= MOST_IDS:
                what = f" (256 bytes and {len(special_tokens)} special tokens)" if name == "vocab_size" else ""
                raise ValueError(f"{name} must be in {low} ... {MOST_IDS}{what}, got {value}")
        pattern = patterns.of(pattern)
        sizes = int(vocab_size), int(min_frequency)
        vocabulary, merges = training.train(texts, source, *sizes, special_tokens, progress, pattern)
        return cls(vocabulary, merges, special_tokens=special_tokens, pattern=pattern)
