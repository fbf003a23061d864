"""What a tokenizer.json puts around a text once it is ids: its section "post_processor".

TemplateProcessing     as the file writes it, such as Llama 3's ``<|begin_of_text|> A``, for one text and for a pair
RobertaProcessing      ``<s> A </s>``, ``<s> A </s> </s> B </s>``
BertProcessing         ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]``
ByteLevel              nothing; it, and RobertaProcessing, may take white space out of the tokens' offsets
Sequence               several of these, of which one at most adds tokens
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .files import field

ADDING = ("TemplateProcessing", "RobertaProcessing", "BertProcessing")
BLANK = "\u0120"  # in GPT-2's byte alphabet
Template = tuple[int | str, ...]  # ids, and "A" and "B" where the texts stand


class PostProcessor(NamedTuple):
    """The tokens around one text, and around two.

    Attributes
    ----------
    single : tuple
        Ids, and "A" where the text's ids stand.
    pair : tuple
        Ids, "A" and "B".
    trim_offsets : bool
        Whether the white space at a token's ends is no part of its offsets.
    keep_first_blank : bool
        Whether the first token keeps one blank all the same, as if it had been put before the text.
    tokens : tuple of (str, int)
        The tokens of these ids, as the file names them.
    section : dict
        The section of tokenizer.json, which is written as it was read.
    """

    single: Template = ("A",)
    pair: Template = ("A", "B")
    trim_offsets: bool = False
    keep_first_blank: bool = False
    tokens: tuple[tuple[str, int], ...] = ()
    section: Mapping[str, Any] | None = None

    def joined(
        self, parts: Sequence[np.ndarray], add_special_tokens: bool = True, blank: Sequence[int] | None = None
    ) -> np.ndarray:
        """The arrays of one or two texts, (T_1, ...) and (T_2, ...), between those of the added tokens: (T, ...).

        Parameters
        ----------
        parts : sequence of one or two ndarrays
            Ids (T_i,), or what belongs to ids, such as offsets (T_i, 2).
        add_special_tokens : bool
            False: the texts alone.
        blank : sequence of int, optional
            What stands for an added token, in the place of its id.

        Returns
        -------
        joined : ndarray, shape (T, ...)
            Of the first part's dtype.
        """
        template = self.single if len(parts) == 1 else self.pair
        texts = dict(zip("AB", parts, strict=False))
        pieces = [parts[0][:0]]
        for each in template:
            if isinstance(each, str):
                pieces.append(texts[each])
            elif add_special_tokens:
                pieces.append(np.array([each if blank is None else blank], parts[0].dtype))
        return np.concatenate(pieces)

    def trimmed(self, offsets: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
        """Offsets without the blanks at the tokens' ends, if `trim_offsets`; else as they are.

        Parameters
        ----------
        offsets : (T, 2) int64
        tokens : sequence of T str
            Written in GPT-2's byte alphabet.

        Returns
        -------
        offsets : (T, 2) int64
        """
        if not self.trim_offsets:
            return offsets
        offsets = offsets.copy()
        for t, token in enumerate(tokens):
            begin, end = offsets[t].tolist()
            plain = token.replace(BLANK, " ")
            leading, trailing = len(plain) - len(plain.lstrip()), len(plain) - len(plain.rstrip())
            if self.keep_first_blank and leading == 1 and (t == 0 or begin == 0):
                leading = 0
            start = min(begin + leading, end)
            offsets[t] = start, max(end - trailing, start) if end >= trailing else end
        return offsets


def framed(begin: tuple[str, int] | None, end: tuple[str, int] | None) -> PostProcessor | None:
    """``begin A end`` and ``begin A end begin B end``, for tokens with their ids: what add_bos_token and add_eos_token mean."""
    if begin is None and end is None:
        return None

    def of(text: str, kind: int) -> list[dict]:
        tokens = [None if token is None else {"SpecialToken": {"id": token[0], "type_id": kind}} for token in (begin, end)]
        return [each for each in (tokens[0], {"Sequence": {"id": text, "type_id": kind}}, tokens[1]) if each is not None]

    named = {token: {"id": token, "ids": [id], "tokens": [token]} for token, id in filter(None, (begin, end))}
    pieces = {"single": of("A", 0), "pair": [*of("A", 0), *of("B", 1)]}
    return read_post_processor({"post_processor": {"type": "TemplateProcessing", **pieces, "special_tokens": named}})


def roberta(begin: tuple[str, int], end: tuple[str, int]) -> PostProcessor | None:
    """RoBERTa's, which its folders without a tokenizer.json do not tell."""
    section = {"type": "RobertaProcessing", "sep": list(end), "cls": list(begin), "trim_offsets": True, "add_prefix_space": False}
    return read_post_processor({"post_processor": section})


def read_post_processor(content: Mapping[str, Any]) -> PostProcessor | None:
    """What the section "post_processor" of a tokenizer.json says; None where it adds nothing and trims nothing.

    Raises
    ------
    ValueError
        Naming what is not known in it.
    """
    section = field(dict(content), "post_processor", dict, optional=True) if "post_processor" in content else None
    if section is None:
        return None
    steps = [section]
    if section.get("type") == "Sequence":
        steps = field(section, "processors", list)
    parts, trims = PostProcessor(), []
    for number, step in enumerate(steps):
        kind = step.get("type") if isinstance(step, dict) else step
        if kind not in (*ADDING, "ByteLevel"):
            known = ", ".join((*ADDING, "ByteLevel", "Sequence"))
            raise ValueError(f"post_processor must be made of {known}, got {kind!r}"[:300])
        if kind in ADDING:
            if any(each["type"] in ADDING for each in steps[:number]):
                raise ValueError("post_processor must add tokens in one of its steps at most, got several")
            parts = _template(step) if kind == "TemplateProcessing" else _ends(step)
        if kind in ("ByteLevel", "RobertaProcessing"):
            trims.append((_flag(step, "trim_offsets"), _flag(step, "add_prefix_space")))
    keeps = [keep for trim, keep in trims if trim]
    if len(keeps) > 1:
        raise ValueError("post_processor must trim offsets in one of its steps at most, got several")
    result = parts._replace(trim_offsets=bool(keeps), keep_first_blank=keeps == [True], section=section)
    return None if result._replace(section=None) == PostProcessor() else result


def _flag(step: dict, name: str) -> bool:
    return field(step, name, bool) if name in step else True  # as the tokenizers library has it


def _ends(step: dict) -> PostProcessor:
    """BertProcessing and RobertaProcessing."""
    tokens = []
    for name in ("cls", "sep"):
        value = step.get(name)
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str) or not _is_id(value[1]):
            raise ValueError(f"{name} of post_processor must be a token and its id, got {value!r}"[:300])
        tokens.append((value[0], value[1]))
    (_, cls), (_, sep) = tokens
    between = (sep, sep) if step["type"] == "RobertaProcessing" else (sep,)
    return PostProcessor((cls, "A", sep), (cls, "A", *between, "B", sep), tokens=tuple(tokens))


def _template(step: dict) -> PostProcessor:
    """TemplateProcessing."""
    named = field(step, "special_tokens", dict)
    tokens: list[tuple[str, int]] = []
    templates: dict[str, list] = {}
    for name, texts in (("single", {"A"}), ("pair", {"A", "B"})):
        templates[name] = []
        for piece in field(step, name, list):
            kind, value = next(iter(piece.items())) if isinstance(piece, dict) and len(piece) == 1 else (None, None)
            id = value.get("id") if isinstance(value, dict) else None
            if kind == "Sequence" and id in texts:
                templates[name].append(id)
            elif kind == "SpecialToken" and isinstance(id, str):
                tokens += _special(named, id)
                templates[name] += [each for _, each in _special(named, id)]
            else:
                expected = f"Sequence {' or '.join(sorted(texts))} and SpecialToken"
                raise ValueError(f"{name} of post_processor must be made of {expected}, got {piece!r}"[:300])
        if not texts.issubset(templates[name]):
            raise ValueError(f"{name} of post_processor must have Sequence {' and '.join(sorted(texts))}")
    return PostProcessor(tuple(templates["single"]), tuple(templates["pair"]), tokens=tuple(dict.fromkeys(tokens)))


def _special(named: dict, name: str) -> list[tuple[str, int]]:
    """The tokens and ids that a special token of a template stands for: one, most of the time."""
    entry = named.get(name)
    ids, tokens = (entry.get("ids"), entry.get("tokens")) if isinstance(entry, dict) else (None, None)
    if not isinstance(ids, list) or not isinstance(tokens, list) or len(ids) != len(tokens) or not all(map(_is_id, ids)):
        raise ValueError(f"special_tokens of post_processor must give ids and tokens for {name!r}, got {entry!r}"[:300])
    return list(zip(map(str, tokens), ids, strict=True))


def _is_id(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def checked(post_processor: PostProcessor | None, ids: Mapping[str, int]) -> PostProcessor | None:
    """ValueError if it names a token that the vocabulary lacks, or has with another id."""
    for token, id in () if post_processor is None else post_processor.tokens:
        if ids.get(token) != id:
            known = f"{ids[token]} in the vocabulary" if token in ids else "not in the vocabulary"
            raise ValueError(f"post_processor: {token!r} has id {id}, and is {known}")
    return post_processor
