"""Checks of a vocabulary and its merges, and the merges as ids."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np

from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.bpe import alphabet

MOST_IDS, MOST_MERGES = 2**21 - 1, 2**22 - 1  # what the table of merges has bits for


def merge_ids(merges: tuple[tuple[str, str], ...], ids: Mapping[str, int]) -> np.ndarray:
    """The ids of the left, the right and the joined token of every merge, (M, 3) int32.

    Raises
    ------
    ValueError
        There are too many tokens or merges, a merge is there twice, or a token of one is not in the vocabulary.
    """
    if len(ids) > MOST_IDS:
        raise ValueError(f"the vocabulary must have at most {MOST_IDS:,} tokens, got {len(ids):,}")
    if len(merges) > MOST_MERGES:
        raise ValueError(f"there must be at most {MOST_MERGES:,} merges, got {len(merges):,}")
    lefts, rights = zip(*merges, strict=True) if merges else ((), ())
    columns = lefts, rights, map(operator.add, lefts, rights)
    try:
        table = np.stack(
            [np.fromiter(map(ids.__getitem__, tokens), np.int32, len(merges)) for tokens in columns], axis=1
        )  # (M, 3)
    except KeyError as error:
        unknown = error.args[0]
        rank, (left, right) = next((rank, pair) for rank, pair in enumerate(merges) if unknown in (*pair, "".join(pair)))
        raise ValueError(f"merge {rank}, {left!r} and {right!r}: {unknown!r} is not in the vocabulary") from None
    pairs = np.sort(table[:, 0].astype(np.int64) << 32 | table[:, 1])  # (M,)
    if (pairs[1:] == pairs[:-1]).any():
        ranks = {pair: rank for rank, pair in enumerate(merges)}  # of the last one of each
        rank = next(rank for rank, pair in enumerate(merges) if ranks[pair] != rank)
        raise ValueError(
            f"merge {rank} of {merges[rank][0]!r} and {merges[rank][1]!r} is there twice, merge {ranks[merges[rank]]} too"
        )
    return table


def contents(vocabulary: tuple[str, ...], ids: Mapping[str, int], merges: np.ndarray, added: Iterable[AddedToken]) -> list[bytes]:
    """What every token stands for. An added token stands for its spelling, unless it is a byte or merges make it of bytes."""
    composed = {*merges[:, 2].tolist(), *map(ids.get, alphabet.characters())}
    spelled = {token.id for token in added if token.id not in composed}
    of_ids = alphabet.all_unspelled(vocabulary)
    for id in spelled:
        of_ids[id] = vocabulary[id].encode("utf-8")
    for token, content in zip(vocabulary, of_ids, strict=True):
        if not content:
            raise ValueError(f"token {token!r} is neither added nor written in GPT-2's byte alphabet")
    return cast("list[bytes]", of_ids)


def check_merges(tokenizer, source: str) -> None:
    """ValueError if merges are missing: for a token of several symbols, whose two parts are tokens, and that no merge makes.

    Added tokens need no merge. Others may be without one, too, such as a "<pad>" that no file names: its parts are no tokens.

    Parameters
    ----------
    tokenizer : ByteLevelBPE or GPT1BPE
    source : str
        Where the merges are from.
    """
    known = set(tokenizer.vocabulary)
    done = {left + right for left, right in tokenizer.merges} | {token.content for token in tokenizer.added_tokens}
    lacking = [
        token
        for token in tokenizer.vocabulary
        if token not in done
        and not tokenizer.is_symbol(token)
        and any(token[:cut] in known and token[cut:] in known for cut in range(1, len(token)))
    ]
    if lacking:
        more = f" nor {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise ValueError(f"{source}: merges are missing: none makes token {lacking[0]!r}{more} of the vocabulary")
