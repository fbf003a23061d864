"""Sentences made by a grammar, in which each phrase has a role: who does what to whom, with what, where and when.

The same words fill different roles, which only the shape of the sentence tells: "the cook gave the baker a plum" and "the cook
was given a plum by the baker"; "with a hammer" is what is used, and "with a beard" belongs to the man who has it. Some of the
names are made of syllables, so that those of the validation part have mostly never been seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["name", "one", "sentence", "sentences"]

PEOPLE = (
    "cook", "baker", "teacher", "pilot", "nurse", "farmer", "singer", "clerk", "judge", "sailor", "neighbour", "painter",
    "tailor", "student",
)  # fmt: skip
THINGS = (
    "letter", "plum", "lamp", "book", "chair", "ring", "basket", "map", "kettle", "coat", "picture", "clock", "violin", "parcel",
)  # fmt: skip
ADJECTIVES = ("old", "young", "tall", "red", "small", "heavy", "new", "strange")
HABITS = ("with a beard", "with a limp", "with a red hat", "from the village", "from the north", "in the blue coat")
TOOLS = ("hammer", "rope", "brush", "knife", "pencil", "stick", "key", "torch")
# past, and participle for the passive
VERBS = (
    ("found", "found"), ("broke", "broken"), ("carried", "carried"), ("painted", "painted"), ("hid", "hidden"),
    ("lifted", "lifted"), ("mended", "mended"), ("stole", "stolen"), ("measured", "measured"), ("washed", "washed"),
)  # fmt: skip
GIVING = (
    ("gave", "given"), ("sent", "sent"), ("showed", "shown"), ("sold", "sold"), ("handed", "handed"), ("lent", "lent"),
    ("promised", "promised"),
)  # fmt: skip
PLACES = ("in", "behind", "near", "under", "outside")
SITES = ("garden", "station", "bridge", "kitchen", "market", "school", "harbour", "tower")
TIMES = ("yesterday", "last week", "on Monday", "in the morning", "at noon", "two days ago", "before the war", "this spring")
STARTS = ("Ka", "Mo", "Le", "Ti", "Bra", "So", "Ne", "Ru", "Vi", "Da", "Po", "Ha", "Ce", "Jo", "Fa", "Gu")
MIDDLES = ("ri", "la", "no", "ve", "do", "mi", "sta", "len", "bo", "ra", "")
ENDS = ("na", "ko", "ra", "lin", "s", "mir", "ta", "da", "ron", "le")


def one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of several, by chance."""
    return choices[int(rng.integers(len(choices)))]


def name(rng: np.random.Generator) -> str:
    """A name of two or three syllables."""
    return one(rng, STARTS) + one(rng, MIDDLES) + one(rng, ENDS)


def _person(rng) -> str:
    kind = rng.random()
    if kind < 0.4:
        return name(rng) + (f" {name(rng)}" if rng.random() < 0.3 else "")
    adjective = f"{one(rng, ADJECTIVES)} " if rng.random() < 0.3 else ""
    habit = f" {one(rng, HABITS)}" if rng.random() < 0.25 else ""
    return f"{one(rng, ('the', 'a', 'my', 'her'))} {adjective}{one(rng, PEOPLE)}{habit}"


def _item(rng) -> str:
    adjective = f"{one(rng, ADJECTIVES)} " if rng.random() < 0.4 else ""
    return f"{one(rng, ('the', 'a', 'his', 'this'))} {adjective}{one(rng, THINGS)}"


def sentence(rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words, and their roles as tags of the form BIO."""
    giver, taker, item = _person(rng), _person(rng), _item(rng)
    agent, patient, recipient = ("AGENT", giver), ("PATIENT", item), ("RECIPIENT", taker)
    if rng.random() < 0.5:
        past, participle = one(rng, GIVING)
        act, done = ("ACTION", past), ("ACTION", participle)
        order = (
            (agent, act, recipient, patient),
            (agent, act, patient, "to", recipient),
            (recipient, "was", done, patient, "by", agent),
            (patient, "was", done, "to", recipient, "by", agent),
            (patient, "was", done, "to", recipient),
            ("it", "was", agent, "who", act, recipient, patient),
        )
    else:
        past, participle = one(rng, VERBS)
        act, done = ("ACTION", past), ("ACTION", participle)
        if rng.random() < 0.3:
            patient = ("PATIENT", taker)
        order = (
            (agent, act, patient),
            (agent, act, patient),
            (patient, "was", done, "by", agent),
            (patient, "was", done),
            ("it", "was", patient, "that", agent, act),
        )
    phrases = list(one(rng, order))
    if rng.random() < 0.3:
        phrases += ["with", ("INSTRUMENT", f"a {one(rng, TOOLS)}")]
    if rng.random() < 0.4:
        phrases.append(("PLACE", f"{one(rng, PLACES)} the {one(rng, SITES)}"))
    if rng.random() < 0.4:
        when = ("TIME", one(rng, TIMES))
        phrases = [when, ",", *phrases] if rng.random() < 0.4 else [*phrases, when]
    words, tags = [], []
    for phrase in (*phrases, "."):
        role, text = phrase if isinstance(phrase, tuple) else (None, phrase)
        for place, word in enumerate(text.split()):
            words.append(word)
            tags.append("O" if role is None else f"{'I' if place else 'B'}-{role}")
    words[0] = words[0][0].upper() + words[0][1:]
    return tuple(words), tuple(tags)


def sentences(seed: int, count: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """`count` different sentences with their tags, the same for the same seed."""
    rng, tags_of = np.random.default_rng([seed, 0x7A6]), {}
    while len(tags_of) < count:
        words, tags = sentence(rng)
        tags_of.setdefault(words, tags)
    return list(tags_of.items())
