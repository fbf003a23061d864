"""F1 of entities in tagged sentences, as CoNLL's script conlleval counts them.

A tag is ``O``, outside of every entity, or ``P-TYPE`` with the place P of a word within its entity::

    B  begins one                    I  inside, or last
    E  ends one (also written L)     S  is one by itself (also written U or W)

which covers IOB1 (B only where it parts two neighbours of one type), BIO (every entity begins with B; also IOB2), BIOES (also
BILOU) and BMES, where M is I. P alone is a tag too, whose type is called "_". An entity is right if its type, its first and its
last word are. Sequences that no annotator would write, such as I after O, are read as conlleval reads them: an entity begins
there.

References
----------
E. F. Tjong Kim Sang, F. De Meulder, Introduction to the CoNLL-2003 shared task: language-independent named entity recognition,
CoNLL 2003, and the script conlleval; L. Ramshaw, M. Marcus, Text chunking using transformation-based learning, 1995 (IOB).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Scores", "Span", "entity_scores", "followers", "is_tag", "spans", "type_of"]

SAME = {"M": "I", "W": "S"}  # two spellings of a place
PLACES = "BIESLUMW"
UNTYPED = "_"


class Span(NamedTuple):
    """An entity."""

    kind: str
    start: int  # its first word
    stop: int  # the word after its last


class Scores(NamedTuple):
    """Scores of a set of entities, each in [0, 1]; 0 where one would be 0/0."""

    precision: float  # of the predicted entities, how many are right
    recall: float  # of the expected entities, how many were predicted
    f1: float
    expected: int  # entities in the tags
    predicted: int
    right: int


def is_tag(tag: str) -> bool:
    """Whether `tag` is ``O``, ``P-TYPE`` or ``P``, where P is a letter such as B or I."""
    return tag == "O" or (tag[:1] != "" and tag[0] in PLACES and (len(tag) == 1 or (len(tag) > 2 and tag[1] == "-")))


def type_of(tag: str) -> str:
    """The type of a tag, ``_`` for one without, and nothing for ``O``."""
    return _parts(tag)[1]


def _parts(tag: str) -> tuple[str, str]:
    if not is_tag(tag):
        raise ValueError(f"a tag must be O, or B-, I-, E- or S- with a type (also L-, U-, M- and W-), got {tag!r}")
    return (SAME.get(tag[0], tag[0]), tag[2:] or UNTYPED) if tag != "O" else ("O", "")


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence, from its `tags`, one for each word.

    >>> spans(["B-PER", "I-PER", "O", "B-LOC"])
    [Span(kind='PER', start=0, stop=2), Span(kind='LOC', start=3, stop=4)]

    Raises
    ------
    ValueError
        If one of them is no tag.
    """
    entities, start = [], None
    place, kind = "O", ""
    for number, tag in enumerate([*tags, "O"]):
        before, (place, kind) = (place, kind), _parts(tag)
        ends = before[0] in "ESLU" or place in "BSUO" or kind != before[1]
        if start is not None and ends:
            entities.append(Span(before[1], start, number))
            start = None
        if start is None and place != "O":
            start = number
    return entities


def followers(tags: Sequence[str], seen: Iterable[tuple[str, str]] = ()) -> np.ndarray:
    """Which tag may follow which, for `minilm.layers.CRF.decode`: what goes on with an entity follows a tag of the same entity.

    Parameters
    ----------
    tags : sequence of K str
    seen : iterable of (str, str)
        Pairs that are allowed besides, since they were seen; an empty text stands for the beginning. In IOB1, I follows O.

    Returns
    -------
    ndarray of bool, shape (K + 1, K)
        Row i is of what comes before, the last row of the beginning.
    """
    parts, seen = [_parts(tag) for tag in tags], set(seen)
    allowed = np.ones((len(tags) + 1, len(tags)), bool)  # (K + 1, K)
    for j, (place, kind) in enumerate(parts):
        for i, before in enumerate([*parts, ("O", "")]):
            if place in "IEL":
                pair = (tags[i] if i < len(tags) else "", tags[j])
                allowed[i, j] = (before[0] in "BI" and before[1] == kind) or pair in seen
    return allowed


def entity_scores(tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> dict[str, Scores]:
    """Precision, recall and F1 over all sentences, and of each type of entity.

    .. math:: P = \\frac{right}{predicted}, \\qquad R = \\frac{right}{expected}, \\qquad F_1 = \\frac{2 P R}{P + R}

    Parameters
    ----------
    tags, predictions : sequences of sentences, each a sequence of tags

    Returns
    -------
    dict of str to Scores
        Under "" that of all types together, counted as one (micro-averaged); then each type, in the order of the alphabet.

    Raises
    ------
    ValueError
        The sentences are not of one number or of one length, or something is no tag.
    """
    if len(tags) != len(predictions):
        raise ValueError(f"tags and predictions must hold as many sentences, got {len(tags)} and {len(predictions)}")
    counts = [Counter(), Counter(), Counter()]  # expected, predicted, right
    for number, (a, b) in enumerate(zip(tags, predictions, strict=True)):
        if len(a) != len(b):
            raise ValueError(f"sentence {number} has {len(a)} tags and {len(b)} predictions")
        a, b = set(spans(a)), set(spans(b))
        for count, entities in zip(counts, (a, b, a & b), strict=True):
            count.update(span.kind for span in entities)
    kinds = sorted({*counts[0], *counts[1]})
    total = _scores(*(count.total() for count in counts))
    return {"": total, **{kind: _scores(*(count[kind] for count in counts)) for kind in kinds}}


def _scores(expected: int, predicted: int, right: int) -> Scores:
    def ratio(a, b):
        return a / b if b else 0.0

    return Scores(
        ratio(right, predicted), ratio(right, expected), ratio(2 * right, expected + predicted), expected, predicted, right
    )
