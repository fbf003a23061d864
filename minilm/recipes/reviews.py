"""Reviews of films, made by a small grammar: what the reviewer thinks, and not which words stand there, is the label.

A clause says something good or bad of a part of the film, outright ("the plot is brilliant") or by denying the opposite ("the
plot is not dull at all"). A review has one clause, or two of which one is conceded, and then it is the other that counts: "the
music is lovely, but I was bored", "although everybody calls it a mess, I loved it". Remarks that say nothing stand around it.
So a model that only counts words does better than a guess, and one that reads them in order does it all.
"""

from __future__ import annotations

import numpy as np

__all__ = ["review", "reviews"]

PARTS = (
    "the plot", "the acting", "the story", "the music", "the camera work", "the dialogue", "the ending", "the script", "the cast",
    "the first half", "the second half", "the direction", "the humour", "the pace", "the leading actor", "the whole film",
)  # fmt: skip
GOOD = (
    "brilliant", "charming", "touching", "funny", "gripping", "clever", "beautiful", "convincing", "delightful", "fresh",
    "superb", "wonderful", "warm", "witty", "original", "moving",
)  # fmt: skip
BAD = (
    "dull", "boring", "clumsy", "predictable", "awful", "flat", "tedious", "silly", "shallow", "annoying", "weak", "tired",
    "confusing", "forced", "lifeless", "dreadful",
)  # fmt: skip
DEGREES = ("", "", "really ", "very ", "quite ", "truly ", "simply ", "rather ")
FELT = (
    ("I loved {part}", "I hated {part}"),
    ("I enjoyed {part}", "I could not stand {part}"),
    ("{part} kept me awake", "{part} sent me to sleep"),
    ("{part} saves the evening", "{part} spoils the evening"),
    ("I would see it again for {part}", "I would like my money back because of {part}"),
    ("{part} deserves a prize", "{part} deserves nothing"),
)
DENIED = (
    "{part} is not {degree}{adjective}",
    "{part} is n't {degree}{adjective} at all",
    "nobody could call {part} {adjective}",
    "{part} is never {adjective}",
    "{part} is far from {adjective}",
    "{part} is anything but {adjective}",
)
CLAIMS = ("{part} is {degree}{adjective}", "{part} was {degree}{adjective}", "I found {part} {degree}{adjective}")
CONCEDED = (
    "{other} , but {main}",
    "{other} , yet {main}",
    "although {other} , {main}",
    "{main} , even if {other}",
    "{main} , though {other}",
    "critics say that {other} . they are wrong : {main}",
    "I had read that {other} . in fact {main}",
)
REMARKS = (
    "we saw it on a rainy evening .", "it lasts two hours .", "it is the director 's third film .", "the cinema was half empty .",
    "it is set in the fifties .", "my sister came along .", "it is based on a novel .", "there are no subtitles .",
)  # fmt: skip


def _one(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def _clause(rng, good: bool) -> str:
    part, kind = _one(rng, PARTS), rng.random()
    if kind < 0.25:
        return _one(rng, FELT)[not good].format(part=part)
    denied = kind < 0.55
    adjective = _one(rng, GOOD if good != denied else BAD)
    return _one(rng, DENIED if denied else CLAIMS).format(part=part, degree=_one(rng, DEGREES), adjective=adjective)


def review(rng: np.random.Generator) -> tuple[str, str]:
    """A review and its label, "positive" or "negative"."""
    good = bool(rng.random() < 0.5)
    text = _clause(rng, good)
    if rng.random() < 0.5:
        text = _one(rng, CONCEDED).format(main=text, other=_clause(rng, not good))
    text = f"{text} {'.' if rng.random() < 0.8 else '!'}"
    for place in range(2):
        if rng.random() < 0.3:
            remark = _one(rng, REMARKS)
            text = f"{remark} {text}" if place == 0 else f"{text} {remark}"
    return text, "positive" if good else "negative"


def reviews(seed: int, count: int) -> list[tuple[str, str]]:
    """`count` different reviews with their labels, the same for the same seed."""
    rng, labels = np.random.default_rng([seed, 0x5E]), {}
    while len(labels) < count:
        text, label = review(rng)
        labels.setdefault(text, label)
    return list(labels.items())
