"""Requests to a machine, made by a grammar: what is wanted (an intent), and the words that say of what (slots).

The same words stand in different slots, which only the sentence tells: names are those of cities, places, books and musicians.
They are made of syllables, so that those of the validation part have mostly never been seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.recipes import roles

__all__ = ["Request", "requests"]

PATTERNS = {  # {slot} is filled in
    "GetWeather": (
        "what will the weather be in {city} {time}", "will it rain {time} in {city}", "is it cold in {city}",
        "{time} in {city} will it be {sky}", "tell me the forecast for {city}",
    ),
    "BookRestaurant": (
        "book a table for {number} in {city}", "i want to eat {dish} {time} with {number} friends",
        "find us a place for {dish} in {city} {time}", "a table for {number} {time} at {place}", "reserve {place} for {number}",
    ),
    "PlayMusic": (
        "play {title} by {artist}", "play some {genre}", "i want to hear {artist}", "put on the {genre} album {title}",
        "let me listen to {title}",
    ),
    "RateBook": (
        "give {title} {number} stars", "rate the novel {title} {number} out of {best}", "i give {number} points to {title}",
        "{title} by {artist} gets {number} stars",
    ),
    "SetAlarm": (
        "wake me at {number}", "set an alarm for {number} {time}", "remind me {time} to call {artist}",
        "i have to be up by {number} {time}",
    ),
}  # fmt: skip
WORDS = {
    "time": ("tomorrow", "tonight", "on Friday", "next week", "in two hours", "at noon"),
    "sky": ("sunny", "cloudy", "windy", "colder"),
    "number": ("two", "three", "four", "five", "six", "seven"),
    "best": ("six", "ten"),
    "dish": ("pizza", "noodle soup", "fish", "dumplings", "something sweet"),
    "genre": ("jazz", "folk", "piano music", "rock", "old songs"),
}


class Request(NamedTuple):
    """Words, the slots that they fill as tags, and the intent."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    intent: str


def _filler(rng, slot: str) -> str:
    if slot in WORDS:
        return roles.one(rng, WORDS[slot])
    names = [roles.name(rng) for _ in range(1 + int(rng.random() < 0.4))]
    return " ".join((["the"] if slot in ("title", "place") and rng.random() < 0.4 else []) + names)


def request(rng: np.random.Generator) -> Request:
    """One request."""
    intent = roles.one(rng, list(PATTERNS))
    words: list[str] = []
    tags: list[str] = []
    for word in roles.one(rng, PATTERNS[intent]).split():
        if not word.startswith("{"):
            words.append(word)
            tags.append("O")
            continue
        slot = word.strip("{}")
        filled = _filler(rng, slot).split()
        words += filled
        tags += [f"{'I' if place else 'B'}-{slot}" for place in range(len(filled))]
    return Request(tuple(words), tuple(tags), intent)


def requests(seed: int, count: int) -> list[Request]:
    """`count` different requests, the same for the same seed."""
    rng, by_words = np.random.default_rng([seed, 0x1A7]), {}
    while len(by_words) < count:
        each = request(rng)
        by_words.setdefault(each.words, each)
    return list(by_words.values())
