r"""How a text is cut into the pieces that byte-pair merges never cross: patterns, by name or as regular expressions.

`sets` are sets of characters, `syntax` reads a pattern, `program` makes steps of it, and `automaton` a table that a kernel
follows (`minilm.tokenizers.bpe.pieces`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from minilm.tokenizers.bpe.patterns import automaton, syntax
from minilm.tokenizers.bpe.patterns.automaton import Automaton, build

__all__ = ["CL100K", "DIGITS", "GPT2", "NAMED", "O200K", "QWEN2", "automaton_of", "covers", "of"]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _REST
QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _REST
O200K = (
    f"{_CASED}*{_LOWER}+{_CONTRACTIONS}?|{_CASED}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DIGITS = r"\p{N}"  # each by itself

# By the names that tiktoken and the files of GGUF ("tokenizer.ggml.pre") have for them; cut by one after the other.
NAMED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt2", "gpt-2", "r50k_base", "p50k_base"), (GPT2,)),
    **dict.fromkeys(("cl100k", "cl100k_base", "llama3", "llama-bpe", "llama-v3"), (CL100K,)),
    **dict.fromkeys(("o200k", "o200k_base", "gpt-4o"), (O200K,)),
    **dict.fromkeys(("qwen2", "qwen3"), (QWEN2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r"), (DIGITS, GPT2)),
}


def of(pattern: str | Iterable[str]) -> tuple[str, ...]:
    """The regular expressions that a pattern means.

    Parameters
    ----------
    pattern : str or iterable of str
        A name of `NAMED`, a regular expression, or several, applied in turn.

    Raises
    ------
    TypeError, ValueError
        It is neither, or an expression is not supported.
    """
    if isinstance(pattern, str):
        expressions = NAMED.get(pattern) or (pattern,)
        if expressions == (pattern,) and pattern.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"pattern must be a regular expression or one of {', '.join(NAMED)}, got {pattern!r}")
    else:
        expressions = tuple(pattern)
        if not expressions or not all(isinstance(each, str) for each in expressions):
            raise TypeError(f"pattern must be a str or several, got {pattern!r}")
    automaton_of(expressions)
    return expressions


def covers(expression: str) -> bool:
    """Whether every character of every text is in some match of the regular expression `expression`."""
    return automaton.covers(syntax.parse(expression))


@functools.lru_cache(maxsize=8)
def automaton_of(expressions: tuple[str, ...]) -> Automaton:
    """The automaton of the regular expressions `expressions`, applied in turn; made once."""
    return build([syntax.parse(each) for each in expressions])


def __dir__() -> list[str]:
    return sorted(__all__)
