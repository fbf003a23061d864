"""The recipe `roles`: who does what to whom, when and where, around a predicate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minilm.recipes import cutting, propositions
from minilm.recipes.pretrained_words import key_of
from minilm.recipes.propositions import VERB, Proposition
from minilm.recipes.tag import OPTIONS, Tag
from minilm.typing import PathLike

__all__ = ["SemanticRoles"]

ACTION = "ACTION"  # the built-in sentences' name of a predicate


class SemanticRoles(Tag):
    """Semantic roles: around a predicate of a sentence, which words are its agent, its patient, its time and place.

    Built-in data: two sentences of a grammar in one, of which the predicate says whose roles are wanted.

    Real data: PropBank's in the form of CoNLL-2012: document, part, index, word, part of speech, parse, lemma, frameset, then
    a column of bracketed roles for each predicate; a file, of which every tenth sentence is for validation, or a folder with
    train and dev (or valid, test) and the ending .conll, .gold_conll, .txt, .props or none, also with .gz. The predicates are
    given, and F1 counts the roles but not the predicates themselves, as the shared tasks do; phrases that go on (C-ARG1)
    count by themselves.

    The model: as the recipe tag's, which reads a mark of the predicate beside each word; vectors=FILE too.

    A text to try may name predicates by asterisks, as in "The cook *gave* her a plum"; else they are the words that mostly were
    one in training.
    """

    name, summary = "roles", "who does what to whom: the roles around a predicate"
    options = {**OPTIONS, "mark_size": 16}
    least = {"min_count": 1, "mark_size": 1}

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        train, validation = super().generate(seed)
        return _joined(train), _joined(validation)

    def read(self, path: PathLike) -> tuple[list, list]:
        return propositions.read(path, self.bad_rows)

    def adapt(self, train: Sequence) -> None:
        super().adapt(train)
        if len(train) >= 20_000:
            self.suggest(num_layers=2, steps=6000, dropout=0.3)

    def prepare(self, train: Sequence) -> None:
        super().prepare(train)
        words, predicates = Counter(), Counter()
        sentences = {example.words for example in train}
        words.update(key_of(word) for each in sentences for word in each)
        predicates.update(key_of(example.words[place]) for example in train for place in example.predicate)
        self.facts["predicates"] = sorted(word for word, count in predicates.items() if 2 * count > words[word])

    # --- model -------------------------------------------------------------------------------------------------------

    def _model_options(self) -> dict[str, Any]:
        return {**super()._model_options(), "marks": 2, "mark_size": self.options["mark_size"]}

    def _inputs(self, examples: Sequence) -> tuple:
        ids, lengths, spelling = super()._inputs(examples)
        marks = np.zeros(ids.shape, np.int64)  # (B, T): 1 for the words of the predicate
        for row, example in zip(marks, examples, strict=True):
            row[list(example.predicate)] = 1
        return ids, lengths, spelling, marks

    # --- results -----------------------------------------------------------------------------------------------------

    def score(self, predictions: Sequence[Sequence[str]], examples: Sequence) -> dict[str, float]:
        roles = [example._replace(tags=_without_predicate(example.tags)) for example in examples]
        return super().score([_without_predicate(tags) for tags in predictions], roles)

    def answer(self, text: str) -> str:
        """A line a predicate."""
        examples = self._propositions(text)
        return "\n".join(self.shown(each.words, tags) for each, tags in zip(examples, self._tags(examples), strict=True))

    def _example_of(self, text: str) -> Proposition:
        examples = self._propositions(text)
        if len(examples) != 1:
            raise ValueError(f"wanted one predicate, got {len(examples)}: mark it, as in 'The cook *gave* her a plum'")
        return examples[0]

    def _propositions(self, text: str) -> list[Proposition]:
        """A sentence with each of its predicates."""
        marked = text.split("*")
        if len(marked) > 1 and len(marked) % 2 == 0:
            raise ValueError("asterisks come in pairs, as in 'The cook *gave* her a plum'")
        parts = [cutting.words(part) for part in marked]
        words = tuple(word for part in parts for word in part)
        ends = np.cumsum([0, *map(len, parts)])
        chosen = [tuple(range(ends[i], ends[i + 1])) for i in range(1, len(parts), 2) if parts[i]]
        if len(parts) == 1:
            chosen = [(place,) for place, word in enumerate(words) if key_of(word) in set(self.facts["predicates"])]
        return [Proposition(words, (), predicate) for predicate in chosen]


def _without_predicate(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple("O" if tag[2:] == VERB else tag for tag in tags)


def _joined(sentences: Sequence) -> list[Proposition]:
    """Each two neighbours as one sentence, "... and ...", with the roles of the one and of the other in turn."""
    examples = []
    for number, (one, other) in enumerate(zip(sentences, [*sentences[1:], sentences[0]], strict=True)):
        words = (*one.words[:-1], "and", *other.words)
        roles = [*one.tags[:-1]] if number % 2 else ["O"] * (len(one.words) - 1)
        roles += ["O", *(["O"] * len(other.words) if number % 2 else other.tags)]
        tags = tuple(tag.replace(ACTION, VERB) for tag in roles)
        predicate = tuple(place for place, tag in enumerate(tags) if tag[2:] == VERB)
        examples.append(Proposition(words, tags, predicate))
    return examples
