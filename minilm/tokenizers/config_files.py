"""The files that Hugging Face's libraries keep next to a vocabulary, and what they say about its tokens.

tokenizer.json            added_tokens: [{"id": 5, "content": "<e>", "special": true, "lstrip": false, ...}]
tokenizer_config.json     added_tokens_decoder: {"5": {"content": ...}}; "eos_token": "</s>" and so on; tokenizer_class; settings
special_tokens_map.json   "eos_token": "</s>" and so on; additional_special_tokens: ["<e>"]
added_tokens.json         {"<e>": 5}

As in transformers: added_tokens_decoder goes before the two older files, which are not read where it is there; otherwise
special_tokens_map.json goes before tokenizer_config.json, and tokenizer.json before added_tokens.json. What a file names as a
token for some role, such as "eos_token", is special.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from minilm.files import read_json
from minilm.tokenizers import files
from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.added.token import flags, from_json
from minilm.tokenizers.post_processor import PostProcessor, framed, roberta

CONFIG, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE = ("extra_special_tokens", "additional_special_tokens")
ROBERTAS = ("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer")
GENERIC = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")  # as the tokenizer.json says


class Family(NamedTuple):
    """What transformers takes for granted of a kind of tokenizer.

    Attributes
    ----------
    like : str
        The tokenizer's name in messages.
    usual : dict
        From the names of classes to their default tokens: role, content.
    cut : dict
        From the names of classes to settings of the tokenizer that no file but tokenizer.json tells.
    """

    like: str
    usual: dict[str, dict[str, str]]
    cut: dict[str, dict] = {}


class FolderConfig(NamedTuple):
    """What the files in one folder say.

    Attributes
    ----------
    folder : str
    config : dict
        Of tokenizer_config.json; empty where there is none.
    kind : str or None
        The class named there, without "Fast".
    roles : dict
        From roles to the token named for each, an AddedToken, or None where a file says that there is none.
    more : list of AddedToken
        Further special tokens.
    added : list of AddedToken
        Those with an id.
    first : bool
        Whether `added` goes before what tokenizer.json says.
    """

    folder: str = ""
    config: dict = {}
    kind: str | None = None
    roles: dict[str, AddedToken | None] = {}
    more: list[AddedToken] = []
    added: list[AddedToken] = []
    first: bool = False

    @property
    def generic(self) -> bool:
        """Whether everything but tokens is as the tokenizer.json says."""
        return self.kind in GENERIC


NOTHING = FolderConfig()


def read(folder) -> FolderConfig:
    """Read what is beside the vocabulary of a folder.

    Raises
    ------
    ValueError
        Naming the file and what is wrong in it.
    """
    folder = os.fspath(folder)
    config, names, added = (_read(os.path.join(folder, name)) for name in (CONFIG, SPECIAL, ADDED))
    path = os.path.join(folder, CONFIG)
    try:
        kind = files.field(config, "tokenizer_class", str, optional=True) if "tokenizer_class" in config else None
        _refuse_settings(config)
        first = "added_tokens_decoder" in config
        roles, more = _named(config)
        tokens = _decoder(config["added_tokens_decoder"]) if first else []
        if not first:
            path = os.path.join(folder, SPECIAL)
            newer, further = _named(names)
            roles, more = {**roles, **newer}, [*more, *further]
            path = os.path.join(folder, ADDED)
            special = {token.content for token in (*roles.values(), *more) if token is not None}
            tokens = [_with_id(content, id, content in special) for content, id in added.items()]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    kind = kind if kind is None or kind in GENERIC else kind.removesuffix("Fast")
    return FolderConfig(folder, config, kind, roles, more, tokens, first)


def _read(path) -> dict:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}


def _refuse_settings(config: dict) -> None:
    for name in ("add_prefix_space", "split_special_tokens"):
        if config.get(name):
            raise ValueError(f"{name} must be false: minilm has no such tokenizer")


def _with_id(content: str, id, special: bool) -> AddedToken:
    if isinstance(id, bool) or not isinstance(id, int):
        raise ValueError(f"the id of {content!r} must be int, got {id!r}")
    if not content:
        raise ValueError(f"the token of id {id} is empty")
    return AddedToken(content, special, normalized=not special, id=id)


def _decoder(decoder) -> list[AddedToken]:
    if not isinstance(decoder, dict):
        raise ValueError(f"field 'added_tokens_decoder' must be dict, got {type(decoder).__name__}")
    tokens = []
    for id, token in decoder.items():
        if not id.isdecimal():
            raise ValueError(f"field 'added_tokens_decoder' must have ids, got {id!r}")
        if not isinstance(token, dict):
            raise ValueError(f"field 'added_tokens_decoder' must hold objects, got {token!r} for {id}")
        tokens.append(from_json(token, int(id)))
    return tokens


def _named(content: dict) -> tuple[dict[str, AddedToken | None], list[AddedToken]]:
    """The tokens that a file names for the roles, and the further ones."""
    roles, more = {}, []
    for name, value in content.items():
        if name in ROLES:
            if value is not None and not isinstance(value, str | dict):
                raise ValueError(f"field {name!r} must be str, got {type(value).__name__}")
            roles[name] = None if value is None else from_json(value, special=True)
        elif name.endswith("_token") and isinstance(value, str):  # "image_token", of a model that has one
            more.append(from_json(value))
        elif name in MORE:
            values = list(value.values()) if isinstance(value, dict) else value
            if values is not None and not isinstance(values, list):
                raise ValueError(f"field {name!r} must be list, got {type(values).__name__}")
            more += [from_json(each, special=True) for each in values or []]
    return roles, more


def written(content: dict) -> list[AddedToken]:
    """The added tokens that a tokenizer.json lists."""
    tokens = []
    for token in files.field(content, "added_tokens", list):
        if not isinstance(token, dict):
            raise ValueError(f"field 'added_tokens' must be a list of objects, got {type(token).__name__} in it")
        tokens.append(from_json(token))
        if tokens[-1].id is None:
            raise ValueError(f"added token {token['content']!r} lacks the field 'id'")
    return tokens


def checked(folder_config: FolderConfig, family: Family) -> None:
    """ValueError if tokenizer_config.json names a class of another family."""
    if folder_config.kind is not None and not folder_config.generic and folder_config.kind not in family.usual:
        raise ValueError(
            f"{os.path.join(folder_config.folder, CONFIG)}: tokenizer_class is {folder_config.kind!r}, which cuts texts "
            f"otherwise than {family.like}'s tokenizer; minilm reads {', '.join(family.usual)}"
        )


def completed(
    ids: dict[str, int], listed: list[AddedToken], folder_config: FolderConfig, family: Family, whole: bool
) -> tuple[list[AddedToken], dict[str, str | None]]:
    """The added tokens of a tokenizer, from all the files.

    Parameters
    ----------
    ids : dict
        The vocabulary; gets the tokens it lacks.
    listed : list of AddedToken
        Those of tokenizer.json, with their ids.
    folder_config : FolderConfig
    family : Family
    whole : bool
        Whether there is a tokenizer.json, which then names all special tokens unless a class is named.

    Returns
    -------
    added : list of AddedToken
    roles : dict
        From roles to the content of the token for each.

    Raises
    ------
    ValueError
        A token has two ids.
    """
    checked(folder_config, family)
    usual = {}
    if not folder_config.generic and (folder_config.kind is not None or not whole):
        usual = family.usual[folder_config.kind or next(iter(family.usual))]
    table: dict[str, AddedToken] = {}
    for token in (*listed, *folder_config.added) if folder_config.first else (*folder_config.added, *listed):
        content, id = token.content, token.id
        if ids.setdefault(content, id) != id:
            raise ValueError(f"added token {content!r} has id {id}, and {ids[content]} in the vocabulary")
        table[content] = token
    with_ids = frozenset(table)
    roles = {role: token for role, token in folder_config.roles.items() if token is not None}
    lacking = [content for role, content in usual.items() if role not in folder_config.roles and content not in ids]
    for token in (*(roles[role] for role in ROLES if role in roles), *folder_config.more):
        if token.content not in ids:
            if lacking:
                raise ValueError(f"special token {token.content!r} is not in the vocabulary, and no file gives it an id")
            ids[token.content] = 1 + max(ids.values(), default=-1)
        known = table[token.content] if token.content in with_ids else token  # of tokens for two roles the later one's flags
        table[token.content] = known._replace(special=True, id=ids[token.content])
    names = {role: token.content for role, token in roles.items()}
    for role, content in usual.items():
        if role not in folder_config.roles and content in ids:
            names[role] = content
            if content not in table:
                table[content] = AddedToken(content, special=True, id=ids[content])
            elif not table[content].special:
                table[content] = table[content]._replace(special=True)
    return list(table.values()), {**dict.fromkeys(folder_config.roles), **names}


def framing(ids: dict[str, int], roles: dict[str, str | None], folder_config: FolderConfig) -> PostProcessor | None:
    """What `encode` puts around a text where no tokenizer.json says it: what the class does, and add_bos_token, add_eos_token."""
    begin, end = ((roles[role], ids[roles[role]]) if roles.get(role) else None for role in ("bos_token", "eos_token"))
    if folder_config.kind in ROBERTAS:
        return roberta(begin, end)
    adds = (folder_config.config.get(f"add_{role}", False) for role in ("bos_token", "eos_token"))
    return framed(*(token if add else None for token, add in zip((begin, end), adds, strict=True)))


def config_of(tokenizer, kind: str, **more) -> dict:
    """What a tokenizer_config.json says of a tokenizer of class `kind`: its added tokens, roles and settings."""
    decoder = {str(token.id): {"content": token.content, **flags(token)} for token in tokenizer.added_tokens}
    return {"tokenizer_class": kind, **more, "added_tokens_decoder": decoder}
