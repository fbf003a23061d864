"""What the recipes that turn one text into another have in common: tokens, models, batches, decoding, and pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, tokenizers
from minilm.data.pairs import Pair
from minilm.generation.sequences import beam_targets, greedy_targets
from minilm.layers.base import Layer
from minilm.ops import checks
from minilm.recipes.base import Recipe
from minilm.recipes.padding import near_lengths, side_by_side

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["PairRecipe"]

PAD, BEGIN, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
AT_ONCE = 64  # sources that are decoded together

OPTIONS: dict[str, Any] = {
    "model": "lstm",
    "tokens": "characters",  # or pieces of words, one vocabulary for both sides
    "vocab_size": 8000,  # of pieces
    "embedding_size": 64,  # of recurrent models; a transformer's is hidden_size
    "hidden_size": 128,
    "layers": 1,
    "attention": "bahdanau",  # or none; of recurrent models, as the following six
    "bidirectional": True,
    "reverse": False,
    "peeky": False,
    "input_feeding": False,
    "attend_first": False,
    "copy": False,  # of recurrent models with attention and pieces of words: tokens may be taken from the source
    "follow": False,  # of models that copy: whether they are told where the target's last tokens stand in the source
    "heads": 4,  # transformer
    "feed_forward": 4,  # transformer: width of the position-wise networks, in hidden_size
    "norm_first": True,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "tied": False,
    "beams": 1,  # of the last evaluation, and of answers
    "length_penalty": 1.0,
    "no_repeat": 0,  # of a search: no target holds any run of so many tokens twice; 0: it may
    "longest": 256,  # tokens; what is longer is cut
    "source_column": None,  # of files with more than two columns between tabs, from 1
    "target_column": None,
}
CHOICES = {
    "model": ("lstm", "gru", "transformer"),
    "tokens": ("characters", "bpe"),
    "attention": (None, "bahdanau", "luong", "dot"),
}


class PairRecipe(Recipe):
    """A recipe whose examples are `Pair`s; a subclass gives data and metric."""

    options = OPTIONS
    choices = CHOICES
    least = {"beams": 1, "longest": 1}
    needs = {
        **dict.fromkeys(("heads", "feed_forward", "norm_first", "attention_dropout"), ("model", ("transformer",))),
        "attention": ("model", ("lstm", "gru")),
        "follow": ("copy", (True,)),
        "vocab_size": ("tokens", ("bpe",)),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._encoded: dict[tuple[str, str], np.ndarray] = {}

    def columns(self) -> tuple[int, int] | None:
        """Which columns of a file are source and target, where the settings say so; for `minilm.data.pairs.read_file`."""
        columns = [self.options[name] for name in ("source_column", "target_column")]
        if columns == [None, None]:
            return None
        for name, column in zip(("source_column", "target_column"), columns, strict=True):
            checks.whole(name, column, 1, 2**31)
        if columns[0] == columns[1]:
            raise ValueError(f"source_column and target_column must differ, got {columns[0]} for both")
        return tuple(columns)

    def refuse_idle(self, device: str = "cpu") -> None:
        super().refuse_idle(device)
        for key in ("length_penalty", "no_repeat"):
            value = self.options[key]
            if key in self.chosen and self.options["beams"] == 1 and value != self.defaults()[key]:
                raise ValueError(f"{key} is for a search of several beams, got {key}={value!r} and beams=1")

    # --- tokens and model ---------------------------------------------------------------------------------------------

    def prepare(self, train: Sequence) -> None:
        special = (PAD, BEGIN, END)
        if self.options["tokens"] == "bpe":
            texts = (
                f" {text}\n" for pair in train for text in (pair.source, pair.target)
            )  # a blank before the first word too: one token a word
            joint = tokenizers.ByteLevelBPE.train_from_chunks(
                texts, vocab_size=self.options["vocab_size"], special_tokens=special
            )
            self.vocabularies = {"joint": joint}
        else:
            make = tokenizers.Character.train_from_chunks
            self.vocabularies = {
                side: make((getattr(pair, side) for pair in train), unk_token=UNKNOWN, special_tokens=special)
                for side in ("source", "target")
            }
        self._encoded = {}
        most = max(len(self._ids("target", pair.target)) for pair in train)
        self.facts = {**self.facts, "longest_target": most}

    def _tokenizer(self, side: str):
        return self.vocabularies.get("joint") or self.vocabularies[side]

    def make_model(self, seed: int) -> Layer:
        from minilm import models

        o, sizes = self.options, [self._tokenizer(side).vocab_size for side in ("source", "target")]
        both = {
            "vocab_size": sizes[0],
            "target_vocab_size": sizes[1],
            "dropout": o["dropout"],
            "label_smoothing": o["label_smoothing"],
            "tied": o["tied"],
            "shared": "joint" in self.vocabularies,
        }
        if o["model"] == "transformer":
            config = models.TransformerConfig(
                d_model=o["hidden_size"],
                num_heads=o["heads"],
                encoder_layers=o["layers"],
                decoder_layers=o["layers"],
                hidden_dim=round(o["feed_forward"] * o["hidden_size"]),
                attention_dropout=o["attention_dropout"],
                norm_first=o["norm_first"],
                **both,
            )
            return models.Transformer(config, seed=seed)
        config = models.Seq2SeqConfig(
            cell=o["model"],
            embedding_size=o["embedding_size"],
            hidden_size=o["hidden_size"],
            num_layers=o["layers"],
            attention=o["attention"],
            **{name: o[name] for name in ("bidirectional", "reverse", "peeky", "input_feeding", "attend_first", "follow")},
            **both,
        )
        return (models.PointerGenerator if o["copy"] else models.Seq2Seq)(config, seed=seed)

    def _ids(self, side: str, text: str) -> np.ndarray:
        """Tokens of a text, (n,), at least one and at most `longest`."""
        tokenizer = self._tokenizer(side)
        if "joint" in self.vocabularies:
            ids = tokenizer.encode(f" {text}", allowed_special=())
        else:
            ids = tokenizer.encode(text)
        return ids[: self.options["longest"]] if len(ids) else self._special([UNKNOWN], side)

    def _ended(self, text: str) -> np.ndarray:
        """Tokens of a target and of its end, (n,)."""
        return np.append(self._ids("target", text), self._special([END]))

    def _known(self, side: str, text: str) -> np.ndarray:
        """`_ids`, kept for the next pass over the examples."""
        ids = self._encoded.get((side, text))
        if ids is None:
            ids = self._encoded[side, text] = self._ids(side, text)
        return ids

    def _special(self, tokens, side="target") -> np.ndarray:
        tokenizer = self._tokenizer(side)
        return np.array([tokenizer.token_to_id(token) or 0 for token in tokens])

    def _text(self, side: str, ids) -> str:
        tokenizer = self._tokenizer(side)
        ids = np.asarray(ids)
        ids = ids[~np.isin(ids, self._special((PAD, BEGIN, END), side))]
        return tokenizer.decode(ids).strip()

    # --- batches ------------------------------------------------------------------------------------------------------

    def length(self, example: Any) -> int:
        return len(self._known("target", example.target)) * 4096 + len(self._known("source", example.source))

    def batch(self, examples: Sequence) -> tuple:
        source, lengths = self._sources([self._known("source", pair.source) for pair in examples])
        targets = [self._known("target", pair.target) for pair in examples]
        begin, end, pad = self._special((BEGIN, END, PAD))
        shape = (len(examples), 1 + max(map(len, targets)))
        inputs, labels = np.full(shape, pad), np.full(shape, -100)  # (B, T) each
        for row, ids in enumerate(targets):
            inputs[row, 0], inputs[row, 1 : 1 + len(ids)] = begin, ids
            labels[row, : len(ids)], labels[row, len(ids)] = ids, end
        return source, inputs, labels, lengths

    def weight(self, batch: tuple) -> int:
        return int(np.count_nonzero(batch[2] != -100))  # tokens of the targets

    def _sources(self, texts: Sequence[np.ndarray]):
        """Ids side by side, (B, S), and how many of each count, (B,)."""
        return side_by_side(texts, self._special([PAD], "source")[0])

    # --- what the model writes ----------------------------------------------------------------------------------------

    def write(self, texts: Sequence[str], beams: int | None = None) -> list[str]:
        """The model's targets for some sources; `beams` is the setting's without it."""
        beams = self.options["beams"] if beams is None else beams
        encoded = [self._ids("source", text) for text in texts]
        begin, end = self._special((BEGIN, END))
        limit = {"begin": begin, "end": end, "tokens": self.facts["longest_target"] + 2}
        written = [""] * len(texts)
        for part in near_lengths(map(len, encoded), AT_ONCE):
            source, lengths = self._sources([encoded[i] for i in part])
            if beams <= 1:
                outputs = greedy_targets(self.model, source, lengths, **limit)
            else:
                options = {"beams": beams, **{name: self.options[name] for name in ("length_penalty", "no_repeat")}}
                hypotheses = beam_targets(self.model, source, lengths, **limit, **options)
                outputs = [each[0].ids if each else [] for each in hypotheses]
            for i, ids in zip(part, outputs, strict=True):
                written[i] = self._text("target", ids)
        return written

    def score(self, predictions: Sequence[str], examples: Sequence[Pair]) -> dict[str, float]:
        """The metrics of what was written for the examples."""
        raise NotImplementedError

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        return self.score(self.write([pair.source for pair in examples]), examples)

    def glance(self, examples: Sequence) -> float:
        return self.score(self.write([pair.source for pair in examples], beams=1), examples)[self.metric]

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:6]
        predictions = self.write([pair.source for pair in some])
        return [(pair.source, pair.target, text) for pair, text in zip(some, predictions, strict=True)]

    def answer(self, text: str) -> str:
        return self.write([text.strip()])[0]

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_target

        source, written = self._ids("source", text.strip()), self.write([text.strip()])[0] if answer is None else answer
        begin, end = self._special((BEGIN, END))
        target, other = (None if each is None else self._ended(each) for each in (written, foil))

        def spell(id: int) -> str:
            if id == end:
                return "(end)"
            return self._pieces("target", [id])[0] or self._tokenizer("target").id_to_token(id)

        pieces = {"source_pieces": self._pieces("source", source), "spell": spell, "foil": other}
        return explain_target(self.model, source, target, begin=int(begin), text=text, answer=written, **pieces)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def alignment(self, text: str) -> tuple[np.ndarray, list[str], list[str]]:
        """How much each token that the model writes for a text takes of each of the text's: (T, S), and the tokens."""
        source, lengths = self._sources([self._ids("source", text)])
        begin, end = self._special((BEGIN, END))
        tokens = self.facts["longest_target"] + 2
        ids = greedy_targets(self.model, source, lengths, begin=begin, end=end, tokens=tokens)[0]
        inputs = np.concatenate([[begin], ids])[None]  # (1, T)
        weights = devices.to_host(self.model.attention(*self.on_device((source, inputs, lengths)))[0])  # (T, S), or (H, T, S)
        weights = weights.mean(axis=0) if weights.ndim == 3 else weights
        return weights, self._pieces("source", source[0]), [*self._pieces("target", ids), "·"]

    def _pieces(self, side: str, ids) -> list[str]:
        return [self._tokenizer(side).decode(np.array([id])) for id in ids]

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        if self.options["model"] != "transformer" and self.options["attention"] is None:
            return []
        from minilm.recipes.plots import attention_maps

        some = sorted({pair.source: pair for pair in examples[:200]}.values(), key=lambda pair: len(pair.source))
        some = [some[i] for i in sorted({int(part * len(some)) for part in (0.2, 0.4, 0.6, 0.8)})]  # of four lengths
        path = os.path.join(folder, "attention.png")
        attention_maps(path, [self.alignment(pair.source) for pair in some])
        return [path]
