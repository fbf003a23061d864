"""The files of BERT's tokenizers: vocab.txt, tokenizer.json, tokenizer_config.json."""

from __future__ import annotations

import json
import os

from minilm.files import read_json

from .. import files
from ..base import from_fields as checked

VOCABULARY = "vocab.txt"
CONFIG = "tokenizer_config.json"
ROLES = ("cls", "sep", "pad", "mask")
NORMALIZER = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "split_cjk",
    "strip_accents": "strip_accents",
    "lowercase": "lower",
}
CONFIGURED = {"do_lower_case": "lower", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_cjk"}


# --- reading ---------------------------------------------------------------------------------------------------------


def is_vocabulary(path) -> bool:
    """Whether `path` is a vocab.txt by its name, or a folder that has one and no tokenizer.json."""
    path = os.fspath(path)
    if os.path.isdir(path):
        there = [os.path.exists(os.path.join(path, name)) for name in (files.FILE_NAME, VOCABULARY)]
        return there == [False, True]
    return path.endswith(VOCABULARY)  # also as "bert-base-uncased-vocab.txt"


def load(cls, path):
    """What `WordPiece.load` does."""
    path = os.fspath(path)
    folder = path if os.path.isdir(path) else None
    configured = {} if folder is None else read_config(os.path.join(folder, CONFIG))
    if is_vocabulary(path):
        vocabulary_file = path if folder is None else os.path.join(folder, VOCABULARY)
        tokens = read_vocabulary(vocabulary_file)
        try:
            return cls(tokens, **settings_for(tokens, configured))
        except ValueError as error:
            raise ValueError(f"{vocabulary_file}: {error}") from None
    if folder is not None and not os.path.exists(files.file_in(path)):
        raise FileNotFoundError(f"there is neither {files.FILE_NAME} nor {VOCABULARY} in {folder}")
    tokenizer = checked(path, files.read_tokenizer(path), {cls.__name__: cls})
    if not configured:
        return tokenizer
    try:
        return cls(tokenizer.vocabulary, **{**tokenizer.settings(), **configured})
    except ValueError as error:
        raise ValueError(f"{os.path.join(folder, CONFIG)}: {error}") from None


def read_vocabulary(path) -> list[str]:
    """The tokens of a vocab.txt."""
    text = "".join(files.read_text(path))
    lines = text.removeprefix("\ufeff").split("\n")  # not splitlines: U+2028 and its like may be tokens
    tokens = [line.removesuffix("\r") for line in lines]
    return tokens[:-1] if tokens[-1] == "" else tokens


def read_config(path) -> dict:
    """The constructor's arguments that a tokenizer_config.json sets; none if there is no such file."""
    try:
        given = read_json(path)
    except FileNotFoundError:
        return {}
    found = {}
    try:
        for name, ours in CONFIGURED.items():
            if name in given:
                found[ours] = files.field(given, name, bool, optional=name == "strip_accents")
        for role in ("unk", *ROLES):
            token = given.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if token is not None:
                found[f"{role}_token"] = files.field({f"{role}_token": token}, f"{role}_token", str)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return found


def settings_for(tokens, given: dict) -> dict:
    """`given`, and for the special tokens it does not name BERT's, or None where the vocabulary lacks that."""
    known = set(tokens)
    usual = {f"{role}_token": f"[{role.upper()}]" for role in ROLES}
    return {**{name: token if token in known else None for name, token in usual.items()}, **given}


def from_fields(cls, fields: dict):
    """The tokenizer that a tokenizer.json describes.

    Raises
    ------
    ValueError
        If it is not of BERT's making: another normalizer, another way to cut words. Says which part.
    """
    model = files.field(fields, "model", dict)
    tokens = read_tokens(model, fields)
    given = {
        "unk_token": files.field(model, "unk_token", str),
        "prefix": files.field(model, "continuing_subword_prefix", str) if "continuing_subword_prefix" in model else "##",
        "max_word_chars": files.field(model, "max_input_chars_per_word", int) if "max_input_chars_per_word" in model else 100,
        "special_tokens": [added["content"] for added in fields.get("added_tokens") or []],
        **read_normalizer(fields),
        **read_frame(fields),
    }
    wanted(fields, "pre_tokenizer", ("BertPreTokenizer",))
    decoder = wanted(fields, "decoder", ("WordPiece",), optional=True)
    if decoder is not None:
        given["clean_up"] = files.field(decoder, "cleanup", bool) if "cleanup" in decoder else True
    return cls(tokens, **settings_for(tokens, given))


def wanted(fields: dict, name: str, kinds: tuple[str, ...], optional: bool = False) -> dict | None:
    """A part of a tokenizer.json that must be of one of these kinds."""
    part = fields.get(name)
    if part is None and optional:
        return None
    kind = part.get("type") if isinstance(part, dict) else part
    if kind not in kinds:
        raise ValueError(f"field {name!r} must be of type {' or '.join(map(repr, kinds))}, got {kind!r}")
    return part


def read_tokens(model: dict, fields: dict) -> list[str]:
    """The tokens in the order of their ids, those added to the model's vocabulary included."""
    ids = dict(files.field(model, "vocab", dict))
    for added in files.field(fields, "added_tokens", list, optional=True) or [] if "added_tokens" in fields else []:
        if not isinstance(added, dict) or not isinstance(added.get("content"), str):
            raise ValueError(f"field 'added_tokens' must list objects with a content, got {added!r}")
        for option in ("single_word", "lstrip", "rstrip", "normalized"):
            if added.get(option):
                raise ValueError(f"added token {added['content']!r}: {option} is not supported")
        if ids.setdefault(added["content"], added.get("id")) != added.get("id"):
            raise ValueError(
                f"added token {added['content']!r} has id {added.get('id')!r}, but {ids[added['content']]!r} in vocab"
            )
    tokens: list = [None] * len(ids)
    for token, id in ids.items():
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id < len(ids):
            raise ValueError(f"ids must be 0 ... {len(ids) - 1}, got {id!r} for {token!r}")
        if tokens[id] is not None:
            raise ValueError(f"{tokens[id]!r} and {token!r} have the same id, {id}")
        tokens[id] = token
    return tokens


def read_normalizer(fields: dict) -> dict:
    """What a BertNormalizer sets; a tokenizer without one changes nothing."""
    part = wanted(fields, "normalizer", ("BertNormalizer",), optional=True)
    if part is None:
        return dict.fromkeys(NORMALIZER.values(), False)
    return {ours: files.field(part, name, bool, optional=name == "strip_accents") for name, ours in NORMALIZER.items()}


def read_frame(fields: dict) -> dict:
    """The tokens at a sequence's begin and end, if the file says so: ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]``."""
    part = wanted(fields, "post_processor", ("TemplateProcessing", "BertProcessing"), optional=True)
    if part is None:
        return {}
    try:
        if part["type"] == "BertProcessing":
            return {"cls_token": part["cls"][0], "sep_token": part["sep"][0]}
        single = [each.get("SpecialToken", each.get("Sequence"))["id"] for each in part["single"]]
        frame = {"cls_token": single[0], "sep_token": single[-1]}
        if template(*frame.values()) != {name: part[name] for name in ("single", "pair")}:
            raise ValueError
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise ValueError("field 'post_processor' must make [CLS] A [SEP] and [CLS] A [SEP] B [SEP]; this one does not") from None
    return frame


# --- writing ---------------------------------------------------------------------------------------------------------


def template(cls_token: str, sep_token: str) -> dict:
    """How tokenizer.json writes BERT's sequences."""

    def special(token, kind):
        return {"SpecialToken": {"id": token, "type_id": kind}}

    first, second = ({"Sequence": {"id": letter, "type_id": kind}} for kind, letter in enumerate("AB"))
    single = [special(cls_token, 0), first, special(sep_token, 0)]
    return {"single": single, "pair": [*single, second, special(sep_token, 1)]}


def to_json(tokenizer) -> str:
    """The text of a tokenizer.json."""
    ids = {token: id for id, token in enumerate(tokenizer.vocabulary)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    frame = None
    if tokenizer.cls_token is not None and tokenizer.sep_token is not None:
        used = {
            token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (tokenizer.cls_token, tokenizer.sep_token)
        }
        frame = {"type": "TemplateProcessing", **template(tokenizer.cls_token, tokenizer.sep_token), "special_tokens": used}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[token], "content": token, **flags} for token in tokenizer.special_tokens],
        "normalizer": {"type": "BertNormalizer", **{name: getattr(tokenizer, ours) for name, ours in NORMALIZER.items()}},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": frame,
        "decoder": {"type": "WordPiece", "prefix": tokenizer.prefix, "cleanup": tokenizer.clean_up},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.unk_token,
            "continuing_subword_prefix": tokenizer.prefix,
            "max_input_chars_per_word": tokenizer.max_word_chars,
            "vocab": ids,
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def config(tokenizer) -> dict:
    """The content of a tokenizer_config.json."""
    tokens = {f"{role}_token": getattr(tokenizer, f"{role}_token") for role in ("unk", *ROLES)}
    settings = {name: getattr(tokenizer, ours) for name, ours in CONFIGURED.items()}
    return {
        "tokenizer_class": "BertTokenizer",
        **settings,
        **{name: token for name, token in tokens.items() if token is not None},
    }


def save(tokenizer, path) -> None:
    """Write a tokenizer.json."""
    files.write_atomically(files.file_in(path), to_json(tokenizer).encode("utf-8"))


def save_vocabulary(tokenizer, path) -> None:
    """Write a vocab.txt."""
    path = os.fspath(path)
    for token in tokenizer.vocabulary:
        if "\n" in token or "\r" in token:
            raise ValueError(f"{VOCABULARY} has a token a line, so it cannot hold {token!r}")
    target = os.path.join(path, VOCABULARY) if os.path.isdir(path) else path
    files.write_atomically(target, "".join(f"{token}\n" for token in tokenizer.vocabulary).encode("utf-8"))


def save_pretrained(tokenizer, folder) -> None:
    """Write tokenizer.json, vocab.txt and tokenizer_config.json into a folder, which is made if it is not there."""
    os.makedirs(folder, exist_ok=True)
    save_vocabulary(tokenizer, folder)
    save(tokenizer, folder)
    content = json.dumps(config(tokenizer), ensure_ascii=False, indent=1) + "\n"
    files.write_atomically(os.path.join(folder, CONFIG), content.encode("utf-8"))
