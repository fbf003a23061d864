"""An encoder-decoder that `minilm convert` wrote, as what answers texts: the same methods as a recipe's trained model.

The folder's generation_config.json says how text comes in and goes out; the first three names are transformers'::

    decoder_start_token_id   what a target begins with
    eos_token_id             what ends it; null where every target has max_new_tokens
    max_new_tokens           most tokens of a target, eos among them
    spelled                  the source's tokens are characters: a text without blanks is spelled, one character a token
    source_end               the token that ends a source, or null
    source_length            a source is filled up with blanks to so many characters, or null
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minilm import devices, models, tokenizers
from minilm.data.pairs import Pair
from minilm.files import read_json
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.recipes.pairs import BEGIN, END, PAD, PairRecipe
from minilm.typing import PathLike
from minilm.weights.saving import CONFIG, GENERATION

__all__ = ["ConvertedPairs", "PairEvaluation", "is_converted", "open_converted"]

KINDS = ("seq2seq", "transformer")  # model_type of the encoder-decoders
AT_ONCE = 64  # pairs of a batch


class PairEvaluation(NamedTuple):
    """How well an encoder-decoder predicts targets."""

    loss: float  # mean negative log likelihood of the targets' tokens, nats
    tokens: int  # that count, those that end a target among them
    exact: float  # share of the sources for which the target is written to the letter
    pairs: int


class ConvertedPairs(PairRecipe):
    """A model, its two tokenizers, and what the folder says of texts; made by `open_converted`."""

    name = "a converted encoder-decoder"
    prompt = "source"

    def __init__(self, model, source, target, rules: dict[str, Any]):
        super().__init__(model=model.config.cell if hasattr(model.config, "cell") else "transformer")
        self.model, self.vocabularies, self.rules = model, {"source": source, "target": target}, rules
        self.facts = {"longest_target": rules["max_new_tokens"] - 2}  # as `PairRecipe.write` counts

    def _ids(self, side: str, text: str) -> np.ndarray:
        if not text.strip():
            raise ValueError(f"the {side} is empty: a text is wanted")
        tokenizer, spelled = self._tokenizer(side), self.rules["spelled"] and not text.strip().count(" ")
        if side == "source":
            text = " ".join(text.strip()) if spelled else text
            text = text.ljust(self.rules["source_length"] or 0)
        ids = tokenizer.encode(text)  # (n,)
        if side == "source" and self.rules["source_end"] is not None:
            ids = np.append(ids, tokenizer.token_to_id(self.rules["source_end"]))
        return ids

    def _ended(self, text: str) -> np.ndarray:
        return self._ids("target", text) if self.rules["eos_token_id"] is None else super()._ended(text)

    def _special(self, tokens, side="target") -> np.ndarray:
        begin, end = self.rules["decoder_start_token_id"], self.rules["eos_token_id"]
        known = {BEGIN: begin, END: begin if end is None else end, PAD: 0}
        return np.array([known[token] for token in tokens])

    def _text(self, side: str, ids) -> str:
        ids = np.asarray(ids)
        return self._tokenizer(side).decode(ids[~np.isin(ids, self._special((BEGIN, END)))]).strip()

    def batch(self, examples: Sequence) -> tuple:
        source, inputs, labels, lengths = super().batch(examples)
        if self.rules["eos_token_id"] is None:  # what would stand in its place counts for nothing
            rows, counts = np.arange(len(labels)), (labels != -100).sum(axis=1)
            labels[rows, counts - 1] = -100
        return source, inputs, labels, lengths

    @property
    def limits(self) -> dict[str, int]:
        """The tokens before and after a target, as `minilm.generation.greedy_targets` takes them."""
        begin, end = map(int, self._special((BEGIN, END)))
        return {"begin": begin, "end": end}

    def sources(self, texts: Sequence[str]):
        """Ids of some sources side by side, (B, S), and how many of each count, (B,)."""
        return self._sources([self._ids("source", text) for text in texts])

    def target_text(self, ids) -> str:
        """The text of a target's tokens."""
        return self._text("target", ids)

    def measure(self, pairs: Sequence[Pair]) -> PairEvaluation:
        """Loss a token of the targets, and how many are written to the letter, greedily."""
        total, count, workspace = 0.0, 0, Workspace()
        for start in range(0, len(pairs), AT_ONCE):
            batch = self.batch(pairs[start : start + AT_ONCE])
            targets = self.weight(batch)
            with workspace.step():
                source, inputs, labels, lengths = devices.to(self.model.device, batch)
                total += targets * float(self.model.loss(source, inputs, labels, lengths))
            count += targets
        written = self.write([pair.source for pair in pairs])
        texts = [self._text("target", self._ids("target", pair.target)) for pair in pairs]
        exact = float(np.mean([a == b for a, b in zip(written, texts, strict=True)]))
        return PairEvaluation(total / count, count, exact, len(pairs))


def is_converted(folder: PathLike) -> bool:
    """Whether a folder holds an encoder-decoder that `minilm convert` wrote."""
    try:
        config = read_json(os.path.join(os.path.expanduser(os.fspath(folder)), CONFIG))
    except (OSError, ValueError):
        return False
    return "recipe" not in config and config.get("model_type") in KINDS


def open_converted(folder: PathLike, device: str = "cpu") -> ConvertedPairs:
    """The encoder-decoder of a folder, ready to ``answer`` a source.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is missing or damaged, in one line.
    """
    folder = os.path.expanduser(os.fspath(folder))
    model = models.load(folder).to(device)
    path = os.path.join(folder, GENERATION)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"there is no {path}, which says how texts come in: `minilm convert` writes it with the tokenizers"
        )
    source, target = (tokenizers.load(os.path.join(folder, f"{side}.json")) for side in ("source", "target"))
    try:
        rules = _checked(read_json(path), model.config.outputs, source)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    for side, tokenizer, size in (("source", source, model.config.vocab_size), ("target", target, model.config.outputs)):
        if tokenizer.vocab_size != size:
            raise ValueError(f"{folder}: {side}.json has {tokenizer.vocab_size} tokens, and the model {size}")
    return ConvertedPairs(model, source, target, rules)


def _checked(content: dict, outputs: int, source) -> dict[str, Any]:
    """All rules, those that the file leaves out being null; ValueError or TypeError for one that cannot be."""
    names = ("decoder_start_token_id", "eos_token_id", "max_new_tokens", "spelled", "source_end", "source_length")
    rules = {name: content.get(name) for name in names}
    checks.whole("decoder_start_token_id", rules["decoder_start_token_id"], 0, outputs)
    if rules["eos_token_id"] is not None:
        checks.whole("eos_token_id", rules["eos_token_id"], 0, outputs)
    rules["max_new_tokens"] = checks.whole("max_new_tokens", rules["max_new_tokens"] or 256, 1, 2**20)
    if rules["source_length"] is not None:
        checks.whole("source_length", rules["source_length"], 1, 2**20)
    if rules["source_end"] is not None and source.token_to_id(str(rules["source_end"])) is None:
        raise ValueError(f"source_end is {rules['source_end']!r}, which is no token of source.json")
    if rules["spelled"] not in (None, True, False):
        raise TypeError(f"spelled must be true or false, got {rules['spelled']!r}")
    return rules
