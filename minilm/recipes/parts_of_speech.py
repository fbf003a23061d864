"""The recipe `pos`: the part of speech of each word."""

from __future__ import annotations

from collections.abc import Sequence

from minilm.metrics.accuracy import accuracy, commonest
from minilm.recipes import conll, roles
from minilm.recipes.conll import Sentence
from minilm.recipes.pretrained_words import key_of
from minilm.recipes.tag import OPTIONS, Tag
from minilm.typing import PathLike

__all__ = ["PartsOfSpeech", "part_of"]

LEXICON = {  # of the built-in sentences: part of speech -> words; others are names
    "DET": "the a my her his this",
    "PRON": "it who that",
    "AUX": "was",
    "ADP": "to by with from in behind near under outside on at before ago",
    "ADJ": " ".join(roles.ADJECTIVES) + " blue last",
    "NUM": "two",
    "NOUN": " ".join((*roles.PEOPLE, *roles.THINGS, *roles.TOOLS, *roles.SITES))
    + " beard limp hat village north yesterday week monday morning noon days war spring",
    "VERB": " ".join(form for forms in (*roles.VERBS, *roles.GIVING) for form in forms),
    "PUNCT": ". ,",
}
PARTS = {word: part for part, words in LEXICON.items() for word in words.split()}


def part_of(word: str) -> str:
    """The universal part of speech of a word of the built-in sentences."""
    return PARTS.get(word.lower(), "PROPN")


class PartsOfSpeech(Tag):
    """Parts of speech: a tag for each word, of any set of tags.

    Built-in data: sentences made by a grammar, with universal tags (NOUN, VERB, DET and so on); names are mostly new.

    Real data: in the form of CoNLL, as for the recipe tag: a word a line, its tag in the last column. Of CoNLL-U (a treebank
    of Universal Dependencies) the universal tags are read; --set tag_column=5 takes the language's own. The metric is
    accuracy of all words; accuracy_unknown is that of words that the training part does not have, or less often than
    min_count (and without a vector, where vectors=FILE has some).

    The model: as the recipe tag's; vectors=FILE too.
    """

    name, summary, metric = "pos", "the part of speech of each word", "accuracy"
    options = OPTIONS
    least = {"min_count": 1}

    def _example(self, words: tuple[str, ...], tags: tuple[str, ...]) -> Sentence:
        return Sentence(words, tuple(map(part_of, words)))

    def read(self, path: PathLike) -> tuple[list, list]:
        return conll.read(path, self.options["word_column"], self.options["tag_column"], self.bad_rows, spans=False)

    def _allowed(self):
        return None

    def score(self, predictions: Sequence[Sequence[str]], examples: Sequence) -> dict[str, float]:
        words = [word for example in examples for word in example.words]
        expected, predicted = [tag for e in examples for tag in e.tags], [tag for tags in predictions for tag in tags]
        scores = {"accuracy": accuracy(expected, predicted)}
        known, V = self._known(), self.word_sizes()[0]
        unknown = [i for i, word in enumerate(words) if known.get(key_of(word), V) >= V]
        if unknown:
            scores["accuracy_unknown"] = accuracy([expected[i] for i in unknown], [predicted[i] for i in unknown])
        return scores

    def chance(self, examples: Sequence) -> float:
        """The accuracy of the commonest tag for every word."""
        return commonest([tag for example in examples for tag in example.tags])

    def shown(self, words: Sequence[str], tags: Sequence[str]) -> str:
        return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
