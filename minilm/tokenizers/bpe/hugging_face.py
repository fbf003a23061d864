"""The files in which GPT-2 and Hugging Face's libraries keep a byte-level BPE.

vocab.json, encoder.json      {"!": 0, ...}: tokens in GPT-2's byte alphabet, and their ids
merges.txt, vocab.bpe         "#version: 0.2", then two tokens a line, the first to be merged first
tokenizer.json                both in one, with the special tokens and how texts are cut and joined
"""

from __future__ import annotations

import json
import os

from minilm.tokenizers import files
from minilm.tokenizers.files import field

END_OF_TEXT = "<|endoftext|>"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
HEADER = "#version: 0.2"


def read_json(path) -> dict:
    """A JSON object from a file; ValueError names the file."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found


def in_order(ids: dict, what: str) -> list[str]:
    """The tokens of a map from tokens to ids, in the order of the ids, which must be 0, 1, 2 ... without a gap."""
    tokens: list = [None] * len(ids)
    for token, id in ids.items():
        if isinstance(id, bool) or not isinstance(id, int):
            raise ValueError(f"{what}: the id of {token!r} must be int, got {type(id).__name__}")
        if not 0 <= id < len(tokens):
            raise ValueError(f"{what}: ids must be 0 ... {len(tokens) - 1} without a gap, got {id} for {token!r}")
        if tokens[id] is not None:
            raise ValueError(f"{what}: id {id} belongs to {tokens[id]!r} and to {token!r}")
        tokens[id] = token
    return tokens


def pairs(lines: list[str], what: str) -> list[tuple[str, str]]:
    """Merges written as "left right"."""
    found = []
    for number, line in enumerate(lines):
        left, space, right = line.partition(" ")
        if not left or not right or " " in right:
            raise ValueError(f"{what}: merge {number} must be two tokens with a space between, got {line[:80]!r}")
        found.append((left, right))
    return found


def read_vocabulary(path) -> list[str]:
    """The tokens of a vocab.json, in the order of their ids."""
    return in_order(read_json(path), os.fspath(path))


def read_merges(path) -> list[tuple[str, str]]:
    """The merges of a merges.txt."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")  # other line ends are tokens' characters
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: invalid UTF-8 at byte {error.start}") from None
    if lines and lines[0].startswith("#version"):
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return pairs(lines, os.fspath(path))


def from_folder(cls, folder):
    """A tokenizer of class `cls` from a folder, whichever of the files it holds."""
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder")
    for vocabulary, merges in PAIRS:
        paths = os.path.join(folder, vocabulary), os.path.join(folder, merges)
        if os.path.isfile(paths[0]) and os.path.isfile(paths[1]):
            return cls.from_files(*paths, special_tokens=_special_tokens(folder, paths[0]))
    path = os.path.join(folder, files.FILE_NAME)
    if not os.path.isfile(path):
        wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in PAIRS)
        raise FileNotFoundError(f"{folder} holds no tokenizer: wanted {wanted} or {files.FILE_NAME}")
    content = read_json(path)
    return from_tokenizer_json(cls, content, path) if "model" in content else cls.load(path)


def _special_tokens(folder: str, vocabulary: str):
    """The special tokens that a tokenizer.json beside a vocab.json names; None if there is none of Hugging Face's."""
    path = os.path.join(folder, files.FILE_NAME)
    if not os.path.isfile(path):
        return None
    content = read_json(path)
    if "model" not in content:
        return None
    known = set(read_vocabulary(vocabulary))
    return [token for token in _added(content, path) if token in known]


def _want(found, wanted, what: str) -> None:
    if found not in wanted:
        raise ValueError(f"{what} must be {' or '.join(map(repr, wanted))} in a byte-level BPE like GPT-2's, got {found!r}")


def _part(content: dict, name: str, kind: str) -> dict:
    """The one component of a type, which may stand by itself or in a Sequence."""
    part = field(content, name, dict, optional=True) or {}
    parts = [part]
    if part.get("type") == "Sequence":
        parts = next((each for each in part.values() if isinstance(each, list)), [])
    if len(parts) != 1 or not isinstance(parts[0], dict) or parts[0].get("type") != kind:
        found = [each.get("type") if isinstance(each, dict) else each for each in parts]
        raise ValueError(f"{name} must be {kind} in a byte-level BPE like GPT-2's, got {found}")
    return parts[0]


def _added(content: dict, path: str) -> dict[str, int]:
    """The special tokens of a tokenizer.json and their ids."""
    found = {}
    for token in field(content, "added_tokens", list):
        if not isinstance(token, dict):
            raise ValueError(f"{path}: field 'added_tokens' must be a list of objects, got {type(token).__name__} in it")
        text = field(token, "content", str)
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag, False):
                raise ValueError(f"{path}: added token {text!r} has {flag}, which is not supported")
        found[text] = field(token, "id", int)
    return found


def from_tokenizer_json(cls, content: dict, path):
    """A tokenizer of class `cls` from Hugging Face's tokenizer.json; ValueError says why it is not one, or what is wrong."""
    try:
        model = field(content, "model", dict)
        _want(model.get("type", "BPE" if "merges" in model else None), ("BPE",), "the type of the model")
        _want(content.get("normalizer"), (None,), "normalizer")
        cut = _part(content, "pre_tokenizer", "ByteLevel")
        _want(cut.get("add_prefix_space", True), (False,), "add_prefix_space of pre_tokenizer")
        _want(cut.get("use_regex", True), (True,), "use_regex of pre_tokenizer")
        _part(content, "decoder", "ByteLevel")
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            _want(model.get(name), (None, "", 0), name)
        for name in ("byte_fallback", "ignore_merges"):
            _want(model.get(name, False), (False,), name)
        ids, merges = dict(field(model, "vocab", dict)), field(model, "merges", list)
        added = _added(content, path)
        for token, id in added.items():
            if ids.setdefault(token, id) != id:
                raise ValueError(f"special token {token!r} has id {id} in 'added_tokens' and {ids[token]} in 'vocab'")
        lines = [" ".join(merge) if _is_pair(merge) else merge for merge in merges]
        for number, line in enumerate(lines):
            if not isinstance(line, str):
                raise ValueError(f"field 'merges' must hold pairs of str, got {line!r} at position {number}"[:200])
        special = sorted(added, key=added.__getitem__)
        return cls(in_order(ids, "field 'vocab'"), pairs(lines, "field 'merges'"), special_tokens=special)
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def _is_pair(merge) -> bool:
    return isinstance(merge, list) and len(merge) == 2 and all(isinstance(each, str) for each in merge)


def tokenizer_json(tokenizer) -> dict:
    """What Hugging Face's tokenizer.json of a tokenizer holds."""
    ids = {token: id for id, token in enumerate(tokenizer.vocabulary)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[token], "content": token, **flags} for token in sorted(tokenizer.special_tokens, key=ids.__getitem__)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": ids,
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def write_folder(tokenizer, folder) -> None:
    """Write vocab.json, merges.txt and tokenizer.json, each whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    content = tokenizer_json(tokenizer)
    merges = "\n".join([HEADER, *map(" ".join, tokenizer.merges), ""])
    for name, text in (
        ("vocab.json", json.dumps(content["model"]["vocab"], ensure_ascii=False) + "\n"),
        ("merges.txt", merges),
        ("tokenizer.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n"),
    ):
        files.write_atomically(os.path.join(folder, name), text.encode("utf-8"))
