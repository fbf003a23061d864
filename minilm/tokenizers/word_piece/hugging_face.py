"""The files of BERT's tokenizers: vocab.txt, tokenizer.json, tokenizer_config.json."""

from __future__ import annotations

import json
import os

from minilm.mistaken import refuse_mistaken
from minilm.typing import PathLike

from .. import config_files, files
from ..added.matching import SPACES
from ..added.token import to_json as to_json_token
from ..post_processor import checked, read_post_processor
from ..sections import check_sections

VOCABULARY = "vocab.txt"
BLANKS = "".join(map(chr, SPACES))
ROLES = ("cls", "sep", "pad", "mask")
NORMALIZER = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "split_cjk",
    "strip_accents": "strip_accents",
    "lowercase": "lower",
}
USUAL = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", *ROLES)}
LIKE_BERT = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer")
LIKE_BERT += ("SqueezeBertTokenizer", "LayoutLMTokenizer", "LxmertTokenizer", "RetriBertTokenizer")
FAMILY = config_files.Family("BERT", dict.fromkeys(LIKE_BERT, USUAL))
CONFIGURED = {"do_lower_case": "lower", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_cjk"}


# --- reading ---------------------------------------------------------------------------------------------------------


def is_vocabulary(path: PathLike) -> bool:
    """Whether `path` is a vocab.txt by its name, or a folder that has one and no tokenizer.json."""
    path = os.fspath(path)
    if os.path.isdir(path):
        exist = [os.path.exists(os.path.join(path, name)) for name in (files.FILE_NAME, VOCABULARY)]
        return exist == [False, True]
    return path.endswith(VOCABULARY)  # also as "bert-base-uncased-vocab.txt"


def load(cls, path):
    """What `WordPiece.load` does."""
    path = os.fspath(path)
    folder = path if os.path.isdir(path) else None
    folder_config = config_files.NOTHING if folder is None else config_files.read(folder)
    if is_vocabulary(path):
        vocabulary_file = path if folder is None else os.path.join(folder, VOCABULARY)
        places = {token: id for id, token in enumerate(read_vocabulary(vocabulary_file)) if token}
        try:
            return assembled(cls, places, [], folder_config, {}, whole=False)
        except ValueError as error:
            raise ValueError(_named(error, vocabulary_file, folder)) from None
    if folder is not None and not os.path.exists(files.file_in(path)):
        raise FileNotFoundError(f"there is neither {files.FILE_NAME} nor {VOCABULARY} in {folder}")
    return files.tokenizer_of(path, files.read_tokenizer(path), {cls.__name__: cls}, folder_config)


def _named(error, file: str, folder: str | None) -> str:
    return str(error) if folder is not None and str(error).startswith(folder) else f"{file}: {error}"


def read_vocabulary(path) -> list[str]:
    """The tokens of a vocab.txt, a line each: without the white space at its end; of equal ones all but the last are empty.

    An empty line is an id that no token has.
    """
    with open(path, "rb") as file:
        content = file.read()
    refuse_mistaken(path, content)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}): save the file as UTF-8") from None
    tokens = [line.rstrip(BLANKS) for line in text.split("\n")]  # not splitlines: U+2028 and its like may be in tokens
    if tokens[-1] == "":
        del tokens[-1]
    last = {token: id for id, token in enumerate(tokens)}
    return [token if last[token] == id else "" for id, token in enumerate(tokens)]


def settings_of(config: dict) -> dict:
    """The constructor's arguments that a tokenizer_config.json sets."""
    return {
        key: files.field(config, name, bool, optional=name == "strip_accents")
        for name, key in CONFIGURED.items()
        if name in config
    }


def from_fields(cls, fields: dict, folder_config=config_files.NOTHING):
    """The tokenizer that a tokenizer.json describes, with what is beside it.

    Raises
    ------
    ValueError
        If it is not of BERT's making: another normalizer, another way to cut words. Says which part.
    """
    check_sections(fields)
    model = files.field(fields, "model", dict)
    settings = {
        "unk_token": files.field(model, "unk_token", str),
        "prefix": files.field(model, "continuing_subword_prefix", str) if "continuing_subword_prefix" in model else "##",
        "max_word_chars": files.field(model, "max_input_chars_per_word", int) if "max_input_chars_per_word" in model else 100,
        **read_normalizer(fields),
        **read_frame(fields),
    }
    component(fields, "pre_tokenizer", ("BertPreTokenizer",))
    decoder = component(fields, "decoder", ("WordPiece",), optional=True)
    if decoder is not None:
        if decoder.get("prefix", settings["prefix"]) != settings["prefix"]:
            raise ValueError(f"prefix of decoder must be the model's, {settings['prefix']!r}, got {decoder['prefix']!r}")
        settings["clean_up"] = files.field(decoder, "cleanup", bool) if "cleanup" in decoder else True
    listed = config_files.written(fields) if fields.get("added_tokens") is not None else []
    return assembled(cls, dict(files.field(model, "vocab", dict)), listed, folder_config, settings, whole=True)


def assembled(cls, ids: dict[str, int], listed, folder_config, settings: dict, whole: bool):
    """The tokenizer of a vocabulary, the added tokens in tokenizer.json, what is beside, and the constructor's arguments."""
    if not folder_config.generic:
        try:
            settings = {**settings, **settings_of(folder_config.config)}
        except ValueError as error:
            raise ValueError(f"{os.path.join(folder_config.folder, config_files.CONFIG)}: {error}") from None
    pieces = frozenset(ids)
    added, roles = config_files.completed(ids, listed, folder_config, FAMILY, whole)
    named = {role: token for role, token in roles.items() if role in USUAL and (token or role != "unk_token")}
    usual = {role: token if token in ids else None for role, token in USUAL.items() if role != "unk_token"}
    return cls(
        in_order(ids), special_tokens=(), added_tokens=added, outside=ids.keys() - pieces, **{**usual, **settings, **named}
    )


def in_order(ids: dict[str, int]) -> list[str]:
    """The tokens in the order of their ids; empty where an id has none, as where a vocab.txt has a token twice."""
    room = 2 * len(ids)
    tokens = [""] * (1 + max((id for id in ids.values() if isinstance(id, int) and id < room), default=-1))
    for token, id in ids.items():
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id < room:
            raise ValueError(f"ids must be 0 ... {len(ids) - 1}, or somewhat more with gaps, got {id!r} for {token!r}")
        if tokens[id]:
            raise ValueError(f"{tokens[id]!r} and {token!r} have the same id, {id}")
        tokens[id] = token
    return tokens


def component(fields: dict, name: str, kinds: tuple[str, ...], optional: bool = False) -> dict | None:
    """A part of a tokenizer.json that must be of one of these kinds."""
    part = fields.get(name)
    if part is None and optional:
        return None
    kind = part.get("type") if isinstance(part, dict) else part
    if kind not in kinds:
        raise ValueError(f"field {name!r} must be of type {' or '.join(map(repr, kinds))}, got {kind!r}")
    return part


def read_normalizer(fields: dict) -> dict:
    """What a BertNormalizer sets; a tokenizer without one changes nothing."""
    part = component(fields, "normalizer", ("BertNormalizer",), optional=True)
    if part is None:
        return dict.fromkeys(NORMALIZER.values(), False)
    return {key: files.field(part, name, bool, optional=name == "strip_accents") for name, key in NORMALIZER.items()}


def read_frame(fields: dict) -> dict:
    """The tokens at a sequence's begin and end, if the file says so: ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]``."""
    part = component(fields, "post_processor", ("TemplateProcessing", "BertProcessing"), optional=True)
    if part is None:
        return {}
    try:
        checked(read_post_processor(fields), every_id(fields))
    except ValueError as error:
        raise ValueError(f"field 'post_processor' must make [CLS] A [SEP] and [CLS] A [SEP] B [SEP]: {error}") from None
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


def every_id(fields: dict) -> dict[str, int]:
    """The ids of the vocabulary's tokens and of the added ones."""
    added = fields.get("added_tokens")
    listed = [each for each in added if isinstance(each, dict)] if isinstance(added, list) else []
    return {**files.field(fields["model"], "vocab", dict), **{each.get("content"): each.get("id") for each in listed}}


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
    ids = {token: id for id, token in enumerate(tokenizer.vocabulary) if token}
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
        "added_tokens": [to_json_token(token) for token in tokenizer.added_tokens],
        "normalizer": {"type": "BertNormalizer", **{name: getattr(tokenizer, key) for name, key in NORMALIZER.items()}},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": frame,
        "decoder": {"type": "WordPiece", "prefix": tokenizer.prefix, "cleanup": tokenizer.clean_up},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.unk_token,
            "continuing_subword_prefix": tokenizer.prefix,
            "max_input_chars_per_word": tokenizer.max_word_chars,
            "vocab": {token: id for token, id in ids.items() if token not in tokenizer.outside},
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def config(tokenizer) -> dict:
    """The content of a tokenizer_config.json."""
    roles = {f"{role}_token": getattr(tokenizer, f"{role}_token") for role in ("unk", *ROLES)}
    settings = {name: getattr(tokenizer, key) for name, key in CONFIGURED.items()}
    named = {name: token for name, token in roles.items() if token is not None}
    return config_files.config_of(tokenizer, "BertTokenizer", **settings, **named)


def save(tokenizer, path) -> None:
    """Write a tokenizer.json."""
    files.write_atomically(files.file_in(path), to_json(tokenizer).encode("utf-8"))


def save_vocabulary(tokenizer, path) -> None:
    """Write a vocab.txt, with an empty line for a token that is no piece, unless it is at the end."""
    path = os.fspath(path)
    lines = ["" if token in tokenizer.outside else token for token in tokenizer.vocabulary]
    while lines and not lines[-1]:
        lines.pop()
    for token in lines:
        if "\n" in token or token != token.rstrip(BLANKS):
            raise ValueError(f"{VOCABULARY} has a token a line, without white space at its end, so it cannot hold {token!r}")
    target = os.path.join(path, VOCABULARY) if os.path.isdir(path) else path
    files.write_atomically(target, "".join(f"{token}\n" for token in lines).encode("utf-8"))


def save_pretrained(tokenizer, folder) -> None:
    """Write tokenizer.json, vocab.txt and tokenizer_config.json into a folder, which is made if it is not there."""
    os.makedirs(folder, exist_ok=True)
    save_vocabulary(tokenizer, folder)
    save(tokenizer, folder)
    content = json.dumps(config(tokenizer), ensure_ascii=False, indent=1) + "\n"
    files.write_atomically(os.path.join(folder, config_files.CONFIG), content.encode("utf-8"))
