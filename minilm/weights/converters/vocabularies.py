"""Lists of tokens that lie beside weights, and the tokenizers that they are.

Characters are sorted by code point in minilm, and unknown and end tokens stand first among words. So a tokenizer may have another
order of the ids than the weights; then the rows of the tables of tokens are put into its order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from minilm.files import shallow
from minilm.mistaken import mistaken_for
from minilm.tokenizers import Character, Tokenizer, WordLevel
from minilm.typing import Array
from minilm.weights.loose import as_array

__all__ = ["beside", "characters", "lines_of", "read_tokens", "reordered", "spelled_rules", "words"]

NAMES = ("vocab.json", "ptb_vocab.json", "date_vocab.json", "textgenrnn_vocab.json", "vocab.txt")
MOST_BYTES = 1 << 26


def beside(path: str, vocabulary: str | None, names: Iterable[str] = NAMES) -> str | None:
    """The file of tokens: that of the user, or one of these names in the folder of the weights; None without one."""
    if vocabulary is not None:
        return os.path.expanduser(vocabulary)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return next((file for name in names if os.path.isfile(file := os.path.join(folder, name))), None)


def read_tokens(path: str, size: int) -> list[str]:
    """The `size` tokens in a file, in the order of their ids.

    The file holds a JSON list, a JSON object from tokens to ids, or a token on each line. An object may leave out id 0, which
    then stands for padding: "".

    Raises
    ------
    ValueError
        It is none of these, or has another number of tokens.
    """
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES)
    try:
        value = shallow(json.loads(content)) if content.lstrip()[:1] in (b"[", b"{") else content.decode("utf-8").splitlines()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no list of tokens: {mistaken_for(content) or error}") from None
    if isinstance(value, dict):
        if not all(type(id) is int for id in value.values()):
            raise ValueError(f"{path}: a vocabulary's object must give every token its number")
        if 0 not in value.values() and len(value) == size - 1:
            value = {"": 0, **value}
        ordered = sorted(value, key=value.__getitem__)
        if [value[token] for token in ordered] != list(range(len(value))):
            raise ValueError(f"{path}: the ids must be 0 ... {len(value) - 1}, each once")
        value = ordered
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value) or len(set(value)) != len(value):
        raise ValueError(f"{path}: wanted a list of different tokens, or an object from tokens to ids")
    if len(value) != size:
        raise ValueError(f"{path} has {len(value):,} tokens, and the model {size:,}")
    return value


def lines_of(path: str) -> list[str]:
    """The tokens of a file that has one on each line."""
    with open(path, encoding="utf-8") as file:
        return file.read(MOST_BYTES).removesuffix("\n").split("\n")


def characters(tokens: list[str], end: int | None = None) -> tuple[Character, Array]:
    """A tokenizer of characters, and which of `tokens` each of its ids is.

    A token of several characters is a special one; but that which ends a text, `end`, is the end of a line where no other token
    is: a model of names, one a line, then reads and writes lines.
    """
    spelled = list(tokens)
    if end is not None and "\n" not in spelled and len(spelled[end]) != 1:
        spelled[end] = "\n"
    spelled = [token or "<pad>" for token in spelled]
    single = [token for token in spelled if len(token) == 1]
    tokenizer = Character(single, special_tokens=[token for token in spelled if len(token) != 1])
    return tokenizer, _order(tokenizer, spelled)


def words(tokens: list[str], unk_token: str | None = "<unk>", eos_token: str | None = "<eos>") -> tuple[WordLevel, Array]:
    """A tokenizer of words between spaces, and which of `tokens` each of its ids is; special tokens only where they are there."""
    unk_token, eos_token = (token if token in tokens else None for token in (unk_token, eos_token))
    plain = [token for token in tokens if token not in (unk_token, eos_token)]
    tokenizer = WordLevel(plain, split="spaces", unk_token=unk_token, eos_token=eos_token)
    return tokenizer, _order(tokenizer, tokens)


def spelled_rules(tokenizers: dict[str, WordLevel], most: int, source_end: str | None = None) -> dict[str, Any]:
    """What generation_config.json says of an encoder-decoder whose targets begin with <s> and end with </s>.

    Nothing, {}, where the target's list lacks one of these, so that it is not known how a target begins.
    """
    if not {"source.json", "target.json"} <= set(tokenizers):
        return {}
    source, target = tokenizers["source.json"], tokenizers["target.json"]
    begin, end = (target.token_to_id(each) for each in ("<s>", "</s>"))
    if begin is None or end is None:
        return {}
    plain = [token for token in source.vocabulary if not re.fullmatch(r"<.+>", token)]
    rules = {"decoder_start_token_id": begin, "eos_token_id": end, "max_new_tokens": most}
    return {**rules, "spelled": all(len(token) == 1 for token in plain), "source_end": source_end}


def _order(tokenizer: Tokenizer, tokens: list[str]) -> Array:
    place = {token: id for id, token in enumerate(tokens)}
    return np.array([place[token] for token in tokenizer.vocabulary], np.int64)


def reordered(arrays: dict[str, Any], order: Array, names: Iterable[str]) -> dict[str, Any]:
    """The arrays, with the rows of some in another order."""
    return {**arrays, **{name: as_array(arrays[name])[order] for name in names if name in arrays}}
