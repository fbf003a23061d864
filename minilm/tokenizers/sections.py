"""The sections of a tokenizer.json: none of them is passed over in silence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from minilm.mistaken import did_you_mean

KNOWN = ("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
ADDED = ("type",)  # which `files.parse_tokenizer` adds
PER_CALL = {"truncation": "max_length", "padding": "length"}  # section: what of it to name


def check_sections(content: Mapping[str, Any]) -> None:
    """ValueError for a section that no tokenizer.json has, and a warning where one is for the caller to decide.

    Texts are cut and padded as each call asks (`WordPiece.encode_pairs`), as in transformers, and not as the file says: sentence
    encoders' files say 128 tokens, which a text for training must not be cut to.
    """
    for name in content:
        if name not in (*KNOWN, *ADDED):
            raise ValueError(f"section {name!r} of tokenizer.json is not known: {did_you_mean(name, KNOWN)}")
    if content.get("version", "1.0") != "1.0":
        raise ValueError(f"version must be '1.0', got {content['version']!r}")
    for name, detail in PER_CALL.items():
        section = content.get(name)
        if section is None:
            continue
        value = section.get(detail) if isinstance(section, dict) else section
        value = section.get("strategy") if value is None and isinstance(section, dict) else value
        warnings.warn(
            f"the {name} that the tokenizer.json asks for ({value}) is not applied, nor saved: ask for it in each call",
            stacklevel=2,
        )
