"""tiktoken's files: a line a token, its bytes in base64 and its rank, which is its id.

There are no merges in it: tiktoken merges any two neighbours that are a token together, those of the lowest rank first. So every
way to make a token of two others is a merge here, in the order of the ranks, as in Hugging Face's conversion of such files.
"""

from __future__ import annotations

import base64
import os

from minilm.mistaken import refuse_mistaken
from minilm.tokenizers.bpe import alphabet

_TEXT = "<|endoftext|>"
_FILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
SPECIAL = {  # of the published files: token, id
    "r50k_base": {_TEXT: 50256},
    "p50k_base": {_TEXT: 50256},
    "cl100k_base": {_TEXT: 100257, **{token: 100258 + k for k, token in enumerate(_FILL)}, "<|endofprompt|>": 100276},
    "o200k_base": {_TEXT: 199999, "<|endofprompt|>": 200018},
}
SPARE = 1 << 18  # ids without a token, at most: a file of few ranks has the special tokens of its encoding


def name_of(path) -> str:
    """The name of the encoding that a file's name tells."""
    return os.path.basename(os.fspath(path)).removesuffix(".gz").removesuffix(".tiktoken")


def read_ranks(path) -> dict[bytes, int]:
    """The tokens of a file and their ranks.

    Raises
    ------
    ValueError
        Naming the file and the line that is wrong.
    """
    with open(path, "rb") as file:
        content = file.read()
    refuse_mistaken(path, content)
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError:  # binascii.Error is one
            raise ValueError(f"{path}: line {number} must be base64 and a rank, got {line[:60]!r}") from None
    if not ranks:
        raise ValueError(f"{path}: no tokens in it")
    return ranks


def vocabulary(ranks: dict[bytes, int], special: dict[str, int], path) -> list[str]:
    """All tokens in the order of their ids; what no token has for an id becomes "<|reserved N|>".

    Raises
    ------
    ValueError
        Two tokens have one id, or an id lies so high that more than `SPARE` below it would have no token.
    """
    ids = [*zip(alphabet.all_spelled(list(ranks)), ranks.values(), strict=True), *special.items()]
    most = len(ids) + SPARE
    for token, id in ids:
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < most:
            raise ValueError(f"{path}: the id of {token!r} must be a whole number in [0, {most}), got {id!r:.40}")
    tokens: list = [None] * (1 + max(id for _, id in ids))
    for token, id in ids:
        if tokens[id] is not None:
            raise ValueError(f"{path}: id {id} belongs to {tokens[id]!r} and to {token!r}")
        tokens[id] = token
    return [f"<|reserved {id}|>" if token is None else token for id, token in enumerate(tokens)]


def merges(ranks: dict[bytes, int]) -> list[tuple[str, str]]:
    """Every way to make a token of two others, in the order of the tokens' ranks, then of the two."""
    from minilm.tokenizers.bpe.halves import halves

    tokens = sorted(ranks, key=ranks.__getitem__)
    spelled = alphabet.all_spelled(tokens)
    lefts, rights, _ = halves(tokens).T.tolist()
    return list(zip(map(spelled.__getitem__, lefts), map(spelled.__getitem__, rights), strict=True))
