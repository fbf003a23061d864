"""The components of a byte-level BPE's tokenizer.json: how it normalises a text, and how it cuts it before the merges."""

from __future__ import annotations

import re

from minilm.tokenizers.bpe import encoder, patterns
from minilm.tokenizers.bpe.hugging_face import model_parts, part, tokenizer_json, want
from minilm.tokenizers.files import field
from minilm.tokenizers.post_processor import read_post_processor


def byte_level_parts(content: dict) -> tuple[tuple, dict]:
    """What the tokenizer.json of a byte-level BPE holds.

    Returns
    -------
    parts : (dict, list, list)
        Vocabulary, merges and added tokens.
    settings : dict
        Arguments of `ByteLevelBPE`.

    Raises
    ------
    ValueError
        Naming the component that no `ByteLevelBPE` has.
    """
    settings = {"normalizer": _normalizer(content), "pattern": _pattern(content)}
    settings["post_processor"] = read_post_processor(content)
    part(content, "decoder", "ByteLevel", "GPT-2's")
    whole = field(content, "model", dict).get("ignore_merges", False)
    want(whole, (False, True), "ignore_merges of model")
    return model_parts(content, (None, "")), {**settings, "ignore_merges": whole}


def _steps(content: dict, name: str) -> list[dict]:
    """A component, or those of a sequence."""
    component = (field(content, name, dict, optional=True) if name in content else None) or {}
    steps = component.get({"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}[name])
    steps = steps if component.get("type") == "Sequence" and isinstance(steps, list) else [component] if component else []
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise ValueError(f"{name} must be an object with a type, got {step!r}"[:200])
    return steps


def _normalizer(content: dict) -> str | None:
    kinds = [step["type"] for step in _steps(content, "normalizer")]
    if kinds not in ([], [encoder.NFC]):
        raise ValueError(f"normalizer must be null or 'NFC', got {', '.join(map(repr, kinds))}")
    return encoder.NFC if kinds else None


def _pattern(content: dict) -> tuple[str, ...]:
    """The expressions that a pre-tokenizer cuts by, one after the other."""
    expressions: list[str] = []
    steps = _steps(content, "pre_tokenizer")
    for step in steps:
        expressions += _expressions(step)
    if not steps or steps[-1]["type"] != "ByteLevel":
        kinds = ", ".join(step["type"] for step in steps) or "none"
        raise ValueError(f"pre_tokenizer must be or end with ByteLevel in a tokenizer like GPT-2's, got {kinds}")
    if not expressions:
        raise ValueError("use_regex of pre_tokenizer must be True where no Split comes before it, got False")
    try:
        return patterns.of(expressions)
    except ValueError as error:
        raise ValueError(f"pre_tokenizer: {error}") from None


def _expressions(step: dict) -> list[str]:
    """The expressions of one step of a pre-tokenizer."""
    kind = step["type"]
    if kind == "ByteLevel":
        want(step.get("add_prefix_space", True), (False,), "add_prefix_space of pre_tokenizer")
        want(step.get("use_regex", True), (False, True), "use_regex of pre_tokenizer")
        return [patterns.GPT2] if step.get("use_regex", True) else []
    if kind == "Digits":
        want(step.get("individual_digits", False), (False, True), "individual_digits of pre_tokenizer")
        return [patterns.DIGITS if step.get("individual_digits") else patterns.DIGITS + "+"]
    if kind != "Split":
        raise ValueError(f"pre_tokenizer must be made of Split, Digits and ByteLevel, got {kind}")
    written = step.get("pattern")
    regex = written.get("Regex") if isinstance(written, dict) else None
    literal = written.get("String") if isinstance(written, dict) else None
    if not isinstance(regex, str) and not isinstance(literal, str):
        raise ValueError(f"pattern of pre_tokenizer's Split must have a Regex or a String, got {written!r}"[:200])
    # What an inverted one removes is nothing, since its pattern matches every text; it then cuts as any other.
    cuts = (("Isolated", False), ("Removed", True))
    if (step.get("behavior"), step.get("invert", False)) not in cuts:
        raise ValueError(f"behavior of pre_tokenizer's Split must be 'Isolated', got {step.get('behavior')!r}")
    if isinstance(regex, str) and "$" in re.sub(r"\\.|\[[^\]]*\]", "", regex):
        raise ValueError("pre_tokenizer: '$' of a pattern, which also means the end of a line there, is not supported")
    if step.get("invert") and not patterns.covers(regex or ""):
        raise ValueError("pre_tokenizer: a Split that removes what its pattern does not match is not supported")
    return [regex if isinstance(regex, str) else re.escape(literal)]


def byte_level_json(tokenizer) -> dict:
    """The tokenizer.json of a `ByteLevelBPE`."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    cut = level
    if tokenizer.pattern != (patterns.GPT2,):
        level = {**level, "use_regex": False}
        splits = [
            {"type": "Split", "pattern": {"Regex": each}, "behavior": "Isolated", "invert": False} for each in tokenizer.pattern
        ]
        cut = {"type": "Sequence", "pretokenizers": [*splits, level]}
    cutting = {
        "normalizer": {"type": tokenizer.normalizer} if tokenizer.normalizer else None,
        "pre_tokenizer": cut,
        "post_processor": level if tokenizer.post_processor is None else dict(tokenizer.post_processor.section),
        "decoder": level,
    }
    return tokenizer_json(tokenizer, cutting, ignore_merges=tokenizer.ignore_merges)
