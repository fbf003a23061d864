"""Recipes that know words by a vector each; the vectors may start from those of a file that somebody else has trained.

::

    counts                                         how often the part for training has each word, in lower case
    learned = words that occur min_count times, or that have a vector in the file
    further = of the file's vectors_most commonest words those that training does not have
    ids     = <unk>, learned, further

Learned words start from the file's vectors, and those that it does not have from random ones of the same deviation. Further
words keep the file's vectors (`minilm.models.word_embedding`), so that new texts may have them: the data for validation decide
nothing here. The vectors become part of the model, and nobody needs the file again.

A word's vector is that of its own spelling in lower case, or that of the commonest other spelling: "paris", else "Paris".
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minilm import tokenizers
from minilm.models import vector_files
from minilm.recipes.base import Recipe
from minilm.typing import PathLike

__all__ = ["VECTORS", "PretrainedWords", "WordRecipe", "key_of", "read_vectors"]

UNKNOWN = "<unk>"
VECTORS: dict[str, Any] = {
    "vectors": None,  # a file of word2vec, GloVe or fastText; embedding_size is its own then
    "vectors_most": 100_000,  # of the file's commonest words, those that the model knows beside the words of the data
    "freeze_vectors": False,  # whether the words' vectors stay as they are
}


class PretrainedWords(NamedTuple):
    """What a file of vectors has for some data."""

    known: Collection[str]  # words of the data that have a vector
    further: list[str]  # words that the data do not have
    vectors: np.ndarray | None  # (len(known) + len(further), E); None for a run that goes on, whose model has them
    sha256: str  # of the words and their vectors


def key_of(word: str) -> str:
    """A word as the vocabulary has it: in lower case, without white space."""
    return "_".join(word.lower().split()) or "_"


def read_vectors(path: PathLike, counts: Mapping[str, int], most: int) -> PretrainedWords:
    """The vectors of words that are in `counts`, and of the others among the file's first `most`.

    Raises
    ------
    OSError
    ValueError
        It is no file of vectors, or has none of the words.
    """

    def chosen(number: int, word: str) -> bool:
        return number < most or key_of(word) in counts

    words, vectors = vector_files.read(path, errors="replace", chosen=chosen)
    rows: dict[str, int] = {}  # key -> row
    for row, word in enumerate(words):
        key = key_of(word)
        if key not in rows or (word == key != words[rows[key]]):
            rows[key] = row
    rows.pop(UNKNOWN, None)
    known = [word for word in counts if word in rows]
    if not known:
        raise ValueError(f"{os.fspath(path)}: none of the {len(counts):,} words of the data has a vector there")
    further = [word for word in rows if word not in counts]
    vectors = vectors[[rows[word] for word in (*known, *further)]]
    digest = hashlib.sha256("\n".join((*known, *further)).encode() + vectors.tobytes()).hexdigest()
    return PretrainedWords(known, further, vectors, digest)


class WordRecipe(Recipe):
    """Base of recipes whose model knows words by vectors, in ``model.embedding``, a `minilm.models.word_embedding.WordEmbedding`.

    `prepare` calls `word_level`, and keeps `vector_facts` among the facts; `make_model` takes `word_sizes` and ends in `started`.
    """

    first_word = 0  # the model's id of the vocabulary's first word

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._recalled: PretrainedWords | None = None  # of the run that goes on
        self._start: PretrainedWords | None = None
        path = self.options["vectors"]
        if path is None:
            changed = [name for name, usual in VECTORS.items() if self.options[name] != usual]
            if changed:
                raise ValueError(f"{changed[0]} is of the file that vectors=FILE names, and there is none")
        elif not isinstance(path, str):
            raise TypeError(f"vectors must be the path of a file of words' vectors, got {path!r}")
        else:
            self.options["vectors"] = os.path.abspath(path)

    def words_of(self, example: Any) -> Iterable[str]:
        """The words of an example, for counting."""
        raise NotImplementedError(f"{type(self).__name__} has no words_of")

    # --- the vocabulary ------------------------------------------------------------------------------------------------

    def word_level(self, counts: Counter[str], *, lower: bool = True) -> tokenizers.WordLevel:
        """The vocabulary, from the counts of the words (as `key_of` has them) of the part for training.

        With `lower` it takes words as they are spelled.
        """
        self._start = start = self._pretrained(counts)
        least, known = self.options.get("min_count", 1), set() if start is None else set(start.known)
        learned = [word for word, count in counts.items() if (count >= least or word in known) and word != UNKNOWN]
        learned.sort(key=lambda word: (-counts[word], word))
        if not learned and not self.options.get("characters"):
            raise ValueError(f"no word occurs {least} times (min_count) in the part for training: there is nothing to learn from")
        words = [*(learned or ["a"]), *([] if start is None else start.further)]
        return tokenizers.WordLevel(words, split="spaces", lower=lower, eos_token=None)

    def vector_facts(self) -> dict[str, Any]:
        """What the model must know of the file of vectors; nothing where there is none."""
        start = self._start
        return {} if start is None else {"vectors": {"further": len(start.further), "sha256": start.sha256}}

    def _pretrained(self, counts: Mapping[str, int]) -> PretrainedWords | None:
        recalled, self._recalled = self._recalled, None
        path = self.options["vectors"]
        if recalled is not None or path is None:
            return recalled
        start = read_vectors(path, counts, self.options["vectors_most"])
        E = start.vectors.shape[1]  # type: ignore[union-attr]
        if "embedding_size" in self.chosen and self.options["embedding_size"] != E:
            came = self.options["embedding_size"]
            raise ValueError(f"embedding_size must be that of the vectors in {path}, which is {E}, or be left out, got {came}")
        self.options["embedding_size"] = E
        return start

    def recall(self, facts: Mapping[str, Any], vocabularies: Mapping[str, Any]) -> None:
        if "vectors" in facts:
            words, further = vocabularies["words"].vocabulary, facts["vectors"]["further"]
            learned, rest = words[: len(words) - further], words[len(words) - further :]
            self._recalled = PretrainedWords(learned, list(rest), None, facts["vectors"]["sha256"])

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        """How many words, of the vocabulary and of the texts, have a vector of the file."""
        start = self._start
        if start is None or start.vectors is None:
            return super().remarks(train, validation)
        have = {*start.known, *start.further}
        counts = [Counter(key_of(word) for each in part for word in self.words_of(each)) for part in (train, validation)]
        shares = [sum(n for word, n in each.items() if word in have) / max(1, each.total()) for each in counts]
        line = (
            f"{os.path.basename(self.options['vectors'])}: vectors of {len(start.known):,} of the {len(counts[0]):,} different "
            f"words for training, {shares[0]:.1%} of that text, and of {shares[1]:.1%} of the one for validation; "
            f"{len(start.further):,} further words are known"
        )
        return [*super().remarks(train, validation), line]

    # --- the model -----------------------------------------------------------------------------------------------------

    def word_sizes(self) -> tuple[int, dict[str, int]]:
        """How many words the model learns, and what else its constructor is to know of words."""
        words = self.vocabularies["words"]
        further = self.facts.get("vectors", {}).get("further", 0)
        return self.first_word + words.vocab_size - further, {"unk_id": words.unk_token_id, "fixed_words": further}

    def started(self, model: Any, seed: int) -> Any:
        """A new model, its words' vectors those of the file."""
        start, embedding = self._start, model.embedding
        if start is not None and start.vectors is not None:
            words, n = self.vocabularies["words"], len(start.known)
            V, E = self.word_sizes()[0], embedding.embedding_dim
            deviation = start.vectors[:n].std()
            others = np.random.default_rng([seed, 0x70D5]).normal(0, deviation, (V, E))  # (V, E)
            others[embedding.padding_idx] = 0
            embedding.weight.value[:V] = others
            ids = np.array([self.first_word + words.token_to_id(word) for word in start.known])  # (n,)
            embedding.put(ids, start.vectors[:n], start.vectors[n:])
        if self.options["freeze_vectors"]:
            embedding.freeze()
        return model
