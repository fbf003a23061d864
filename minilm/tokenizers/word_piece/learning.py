"""Training of a `WordPiece`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from minilm.typing import PathLike

from ..added.holder import WithAddedTokens
from .train import SPECIAL_TOKENS, train

if TYPE_CHECKING:
    from typing_extensions import Self


class Learning(WithAddedTokens):
    """Learning of a `WordPiece`'s vocabulary."""

    @classmethod
    def train(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        errors: str = "strict",
        vocab_size: int = 30_000,
        min_count: int = 2,
        limit_alphabet: int | None = 1000,
        special_tokens: Iterable[str] = SPECIAL_TOKENS,
        continuing: Iterable[str] = (),
        lower: bool = True,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        clean_text: bool = True,
        max_word_chars: int = 100,
        prefix: str = "##",
        clean_up: bool = True,
        unk_token: str = "[UNK]",
        cls_token: str | None = "[CLS]",
        sep_token: str | None = "[SEP]",
        pad_token: str | None = "[PAD]",
        mask_token: str | None = "[MASK]",
    ) -> Self:
        """`train_from_chunks` of the text of files, read in chunks.

        Parameters
        ----------
        paths, errors
            As in `Tokenizer.train`.
        vocab_size, min_count, limit_alphabet, special_tokens, continuing
            As in `train_from_chunks`; so are all others.

        Returns
        -------
        tokenizer : WordPiece

        Raises
        ------
        FileNotFoundError
        ValueError
            As of `Tokenizer.train` and `train_from_chunks`.
        """
        return super().train(
            paths,
            errors=errors,
            vocab_size=vocab_size,
            min_count=min_count,
            limit_alphabet=limit_alphabet,
            special_tokens=special_tokens,
            continuing=continuing,
            lower=lower,
            strip_accents=strip_accents,
            split_cjk=split_cjk,
            clean_text=clean_text,
            max_word_chars=max_word_chars,
            prefix=prefix,
            clean_up=clean_up,
            unk_token=unk_token,
            cls_token=cls_token,
            sep_token=sep_token,
            pad_token=pad_token,
            mask_token=mask_token,
        )

    @classmethod
    def train_from_chunks(
        cls,
        chunks: str | Iterable[str],
        *,
        vocab_size: int = 30_000,
        min_count: int = 2,
        limit_alphabet: int | None = 1000,
        special_tokens: Iterable[str] = SPECIAL_TOKENS,
        continuing: Iterable[str] = (),
        lower: bool = True,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        clean_text: bool = True,
        max_word_chars: int = 100,
        prefix: str = "##",
        clean_up: bool = True,
        unk_token: str = "[UNK]",
        cls_token: str | None = "[CLS]",
        sep_token: str | None = "[SEP]",
        pad_token: str | None = "[PAD]",
        mask_token: str | None = "[MASK]",
    ) -> Self:
        """Build the vocabulary of one text, as `minilm.tokenizers.word_piece.train.train` does.

        Parameters
        ----------
        chunks : str or iterable of str
            One text, or its pieces in order.
        vocab_size : int
            At most this many ids, unless the special tokens and the single characters are more.
        min_count : int
            Pairs that occur less often are not joined.
        limit_alphabet : int or None
            Keep this many characters, the most frequent ones.
        special_tokens : iterable of str
            They get the first ids. BERT's five are needed only where they are not given as None.
        continuing : iterable of str
            Characters whose ids inside words come first, in this order.
        lower, strip_accents, split_cjk, clean_text, max_word_chars, prefix, clean_up
        unk_token, cls_token, sep_token, pad_token, mask_token
            As in the constructor.

        Returns
        -------
        tokenizer : WordPiece

        Raises
        ------
        ValueError
            There are no words in the text, `vocab_size` is less than one or `min_count` negative, or as of the constructor.
        """
        return cls._train(
            [chunks],
            "text",
            vocab_size=vocab_size,
            min_count=min_count,
            limit_alphabet=limit_alphabet,
            special_tokens=special_tokens,
            continuing=continuing,
            lower=lower,
            strip_accents=strip_accents,
            split_cjk=split_cjk,
            clean_text=clean_text,
            max_word_chars=max_word_chars,
            prefix=prefix,
            clean_up=clean_up,
            unk_token=unk_token,
            cls_token=cls_token,
            sep_token=sep_token,
            pad_token=pad_token,
            mask_token=mask_token,
        )

    @classmethod
    def _train(cls, texts, source, **options):
        return train(cls, texts, source, **options)
