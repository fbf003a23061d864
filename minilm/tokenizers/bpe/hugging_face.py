"""The files in which OpenAI and Hugging Face's libraries keep a BPE.

vocab.json, encoder.json      {"!": 0, ...}: tokens and their ids; GPT-2's are in its byte alphabet
merges.txt, vocab.bpe         "#version: 0.2", then two tokens a line, the first to be merged first
tokenizer.json                both in one, with the special tokens and how texts are cut and joined
"""

from __future__ import annotations

import json
import os
from typing import cast

from minilm.files import read_json
from minilm.hub import tokenizer_folder
from minilm.mistaken import existing_folder, refuse_mistaken
from minilm.tokenizers import config_files, files
from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.added.token import to_json as to_json_token
from minilm.tokenizers.bpe.vocabulary import check_merges
from minilm.tokenizers.files import field
from minilm.tokenizers.sections import check_sections
from minilm.typing import PathLike

END_OF_TEXT = "<|endoftext|>"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
HEADER = "#version: 0.2"
TYPE = "BPE"  # of the model in a tokenizer.json


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
    merges = [tuple(line.split(" ")) for line in lines]
    for number, merge in enumerate(merges):
        if len(merge) != 2 or not merge[0] or not merge[1]:
            raise ValueError(f"{what}: merge {number} must be two tokens with a space between, got {lines[number][:80]!r}")
    return cast("list[tuple[str, str]]", merges)


def read_vocabulary(path) -> dict[str, int]:
    """The tokens of a vocab.json and their ids, which are those of `in_order`."""
    ids = read_json(path)
    in_order(ids, os.fspath(path))
    return ids


def read_merges(path) -> list[tuple[str, str]]:
    """The merges of a merges.txt."""
    with open(path, "rb") as file:
        content = file.read()
    refuse_mistaken(path, content)
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")  # other line ends are tokens' characters
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: invalid UTF-8 at byte {error.start}") from None
    if lines[0].removeprefix("\ufeff").startswith("#version"):  # a byte order mark, as some editors write one
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return pairs(lines, os.fspath(path))


def is_vocabulary(path: PathLike) -> bool:
    """Whether `path` is a folder with a vocabulary and merges, and no tokenizer.json."""
    path = os.fspath(path)
    exist = [all(os.path.isfile(os.path.join(path, name)) for name in pair) for pair in PAIRS]
    return any(exist) and not os.path.exists(os.path.join(path, files.FILE_NAME))


def from_files(cls, vocabulary, merges, special_tokens):
    """A tokenizer of class `cls` from a vocabulary and its merges."""
    ids, merge_pairs = read_vocabulary(vocabulary), read_merges(merges)
    try:
        tokenizer = cls(in_order(ids, os.fspath(vocabulary)), merge_pairs, special_tokens=special_tokens)
        check_merges(tokenizer, os.fspath(merges))
        return tokenizer
    except ValueError as error:
        raise ValueError(_named(error, vocabulary, merges)) from None


def _named(error, *paths, inside=()) -> str:
    """An error's message with the names of the files, unless it begins with one of them, or of another in the same folder."""
    names = tuple(map(os.fspath, paths))
    return str(error) if str(error).startswith((*names, *inside)) else f"{', '.join(names)}: {error}"


def from_folder(cls, folder):
    """A tokenizer of class `cls` from a folder, whichever of the files it holds, with what is beside them."""
    folder = existing_folder(tokenizer_folder(folder))
    path = os.path.join(folder, files.FILE_NAME)
    fields = files.read_tokenizer(path) if os.path.isfile(path) else None
    if fields is not None and fields["type"] == TYPE:
        return files.tokenizer_of(path, fields, {TYPE: cls}, config_files.read(folder))
    for vocabulary, merges in PAIRS:
        paths = os.path.join(folder, vocabulary), os.path.join(folder, merges)
        if os.path.isfile(paths[0]) and os.path.isfile(paths[1]):
            ids, merge_pairs = read_vocabulary(paths[0]), read_merges(paths[1])
            try:
                return from_parts(cls.like(merge_pairs), ids, merge_pairs, [], config_files.read(folder), paths[1])
            except ValueError as error:
                raise ValueError(_named(error, *paths, inside=(folder,))) from None
    if fields is not None:
        return files.tokenizer_of(path, fields, {TYPE: cls})  # says what it is instead
    raise FileNotFoundError(missing(folder))


def missing(folder: PathLike, others: str = "") -> str:
    """What to say of a folder that holds no tokenizer; `others` are files that would do as well."""
    for pair in PAIRS:
        for name, other in (pair, pair[::-1]):
            if os.path.isfile(os.path.join(folder, name)):
                return f"{folder} holds {name} but no {other}, and without that no {files.FILE_NAME}: a BPE needs both"
    expected = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in PAIRS)
    return f"{folder} holds no tokenizer: wanted {others}{expected} or {files.FILE_NAME}"


def from_parts(cls, ids: dict[str, int], merges, listed: list[AddedToken], folder_config, source: str | None = None, **settings):
    """A tokenizer of class `cls` from what all its files hold.

    Parameters
    ----------
    cls : type
    ids : dict
        The vocabulary.
    merges : list of (str, str)
    listed : list of AddedToken
        Those that tokenizer.json lists.
    folder_config : config_files.FolderConfig
    source : str or None
        The file of the merges; None if all is from a tokenizer.json.
    **settings
        Of the constructor.
    """
    added, roles = config_files.completed(ids, listed, folder_config, cls.FAMILY, whole=source is None)
    tokens = in_order(ids, "field 'vocab'" if source is None else "the vocabulary")
    if source is not None:
        framing = {"post_processor": config_files.framing(ids, roles, folder_config)}
        settings = {**cls.FAMILY.cut.get(folder_config.kind, {}), **framing, **settings}
    tokenizer = cls(tokens, merges, special_tokens=(), added_tokens=added, **{**settings, **cls.roles(roles)})
    if not settings.get("ignore_merges"):
        check_merges(tokenizer, source or "field 'merges'")
    return tokenizer


def load(cls, path):
    """A tokenizer of class `cls` from its file, or from a folder."""
    path = os.fspath(path)
    return from_folder(cls, path) if os.path.isdir(path) else files.tokenizer_of(path, files.read_tokenizer(path), {TYPE: cls})


def want(value, allowed, what: str) -> None:
    """ValueError unless a setting is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{what} must be {' or '.join(map(repr, allowed))}, got {value!r}"[:300])


def part(content: dict, name: str, kind: str, like: str) -> dict:
    """The component `name` of type `kind`, which may also stand alone in a Sequence; `like` names the tokenizer meant."""
    component = field(content, name, dict, optional=True) if name in content else None
    parts = [component or {}]
    if component and component.get("type") == "Sequence":
        parts = next((each for each in component.values() if isinstance(each, list)), [])
    kinds = [each.get("type") if isinstance(each, dict) else each for each in parts]
    if kinds != [kind]:
        raise ValueError(f"{name} must be {kind} in a tokenizer like {like}, got {', '.join(map(str, kinds)) or 'none'}"[:300])
    return parts[0]


def model_parts(content: dict, suffix: tuple) -> tuple[dict[str, int], list[tuple[str, str]], list[AddedToken]]:
    """Vocabulary, merges and added tokens of a tokenizer.json whose model is BPE with one of these suffixes of words."""
    check_sections(content)
    model = field(content, "model", dict)
    want(model.get("type", TYPE), (TYPE,), "type of model")
    want(model.get("end_of_word_suffix"), suffix, "end_of_word_suffix of model")
    for name in ("dropout", "continuing_subword_prefix"):
        want(model.get(name), (None, "", 0), f"{name} of model")
    for name in ("byte_fallback", "fuse_unk"):
        want(model.get(name, False), (False,), f"{name} of model")
    ids, merges = dict(field(model, "vocab", dict)), field(model, "merges", list)
    added = config_files.written(content)
    return ids, _merges(merges, "field 'merges'"), added


def _merges(merges: list, what: str) -> list[tuple[str, str]]:
    """Merges written as ["left", "right"] or "left right"."""
    lines = []
    for number, merge in enumerate(merges):
        if isinstance(merge, list) and len(merge) == 2 and isinstance(merge[0], str) and isinstance(merge[1], str):
            lines.append(f"{merge[0]} {merge[1]}")
        elif isinstance(merge, str):
            lines.append(merge)
        else:
            raise ValueError(f"{what} must hold pairs of str, got {merge!r} at position {number}"[:200])
    return pairs(lines, what)


def tokenizer_json(tokenizer, cutting: dict, **model) -> dict:
    """What the tokenizer.json of a tokenizer holds; `cutting` are its normalizer and so on, `model` settings of the model."""
    ids = {token: id for id, token in enumerate(tokenizer.vocabulary)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [to_json_token(token) for token in tokenizer.added_tokens],
        **cutting,
        "model": {
            "type": TYPE,
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            **model,
            "vocab": ids,
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def to_json(content: dict) -> str:
    """The text of a tokenizer.json."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def write_folder(tokenizer, content: dict, folder, kind: str | None = None, **roles) -> None:
    """Write a tokenizer.json with its content and a tokenizer_config.json, each whole or not at all.

    And vocab.json and merges.txt, unless the class `kind` is named, which does not say how they are used.
    """
    os.makedirs(folder, exist_ok=True)
    model = content["model"]
    config = config_files.config_of(tokenizer, kind or next(iter(tokenizer.FAMILY.usual)), **roles)
    parts = {
        "vocab.json": json.dumps(model["vocab"], ensure_ascii=False) + "\n",
        "merges.txt": "\n".join([HEADER, *map(" ".join, model["merges"]), ""]),
    }
    for name, text in {
        **({} if kind else parts),
        files.FILE_NAME: to_json(content),
        config_files.CONFIG: to_json(config),
    }.items():
        files.write_atomically(os.path.join(folder, name), text.encode("utf-8"))
