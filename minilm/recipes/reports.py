"""Built-in examples of the recipe `summarise`: short reports of matches, companies, councils and storms, and their headlines.

A headline tells what the report as a whole says: who won is a matter of which number is larger, and what stands around it varies.
"""

from __future__ import annotations

import numpy as np

from minilm.data.pairs import Pair

__all__ = ["generate"]

CITIES = (
    "Aldford", "Brenwick", "Carlow", "Dunmere", "Eastley", "Fernham", "Glenrock", "Harwell", "Ilmouth", "Kingsby", "Larkhill",
    "Marston", "Norwood", "Oakham", "Penrose", "Quinton", "Redcliff", "Selby", "Thornton", "Westbrook",
)  # fmt: skip
PEOPLE = (
    "Adams", "Bauer", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ivanov", "Jensen", "Keller", "Lopez", "Moreau",
    "Novak", "Olsen", "Petrov", "Rossi", "Silva", "Tanaka", "Weber",
)  # fmt: skip
COMPANIES = ("Altron", "Bellmont", "Corvex", "Delphia", "Ensor", "Fairlight", "Granite", "Helios", "Ionic", "Juniper")
THINGS = ("bridge", "library", "school", "theatre", "stadium", "tram line", "hospital", "park", "museum", "swimming pool")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = ("two", "three", "four", "five", "six")


def generate(count: int, seed: int) -> list[Pair]:
    """`count` different reports, each with its headline."""
    rng = np.random.default_rng(seed)
    reports: dict[str, str] = {}
    while len(reports) < count:
        sentences, headline = (_match, _company, _council, _storm)[rng.integers(4)](rng)
        reports.setdefault(" ".join(sentences), headline)
    return [Pair(*pair) for pair in reports.items()]


def _one(rng, words) -> str:
    return words[rng.integers(len(words))]


def _some(rng, *sentences: str) -> list[str]:
    """Each of the sentences, or not, in an order of chance: what is beside the point."""
    return [sentences[i] for i in rng.permutation(len(sentences)) if rng.random() < 0.5]


def _match(rng):
    home, away = (CITIES[i] for i in rng.choice(len(CITIES), 2, replace=False))
    goals = rng.integers(0, 6, 2)
    opening = (
        f"{home} and {away} met on {_one(rng, DAYS)} before {rng.integers(2, 60)},000 spectators.",
        f"On {_one(rng, DAYS)} {home} received {away}.",
    )
    beside = _some(
        rng, f"{_one(rng, PEOPLE)} saw the yellow card.", "It rained during the second half.", f"{_one(rng, PEOPLE)} was injured."
    )
    end = (
        f"In the end {home} had scored {goals[0]} and {away} {goals[1]}.",
        f"The result was {goals[0]} for {home} against {goals[1]} for {away}.",
    )
    if goals[0] == goals[1]:
        headline = f"{home} and {away} draw {goals[0]}-{goals[1]}"
    else:
        winner, loser = (home, away) if goals[0] > goals[1] else (away, home)
        headline = f"{winner} beat {loser} {goals.max()}-{goals.min()}"
    return [_one(rng, opening), *beside, _one(rng, end)], headline


def _company(rng):
    company, person, percent = _one(rng, COMPANIES), _one(rng, PEOPLE), rng.integers(2, 40)
    year = rng.integers(100, 900)
    rose = rng.random() < 0.5
    change = (
        f"Sales {'grew' if rose else 'shrank'} by {percent} percent to {year} million.",
        f"With {year} million, sales were {percent} percent {'above' if rose else 'below'} those of last year.",
    )
    beside = _some(
        rng, f"{person}, who leads the company, spoke of a new beginning.", f"It employs {rng.integers(2, 90)}00 people.",
        f"The share closed at {rng.integers(10, 90)}.",
    )  # fmt: skip
    opening = (f"{company} published its figures on {_one(rng, DAYS)}.", f"The figures of {company} are known.")
    return [_one(rng, opening), *beside, _one(rng, change)], f"{company} sales {'up' if rose else 'down'} {percent} percent"


def _council(rng):
    city, building = _one(rng, CITIES), _one(rng, THINGS)
    votes = rng.choice(np.arange(5, 40), 2, replace=False)
    passed = votes[0] > votes[1]
    opening = f"The council of {city} spent {_one(rng, HOURS)} hours on the plan of a new {building}."
    beside = _some(rng, f"{_one(rng, PEOPLE)} had asked for it.", f"It would cost {rng.integers(3, 80)} million.")
    vote = (
        f"{votes[0]} members voted for it and {votes[1]} against it.",
        f"Against {votes[1]} members there stood {votes[0]} who were for it.",
    )
    headline = f"{city} to build new {building}" if passed else f"{city} rejects new {building}"
    return [opening, *beside, _one(rng, vote)], headline


def _storm(rng):
    city, homes, kind = _one(rng, CITIES), rng.integers(2, 99), _one(rng, ("storm", "flood", "snowfall"))
    opening = (f"A {kind} reached {city} on {_one(rng, DAYS)}.", f"The people of {city} had a {kind} to live through.")
    beside = _some(
        rng, f"The fire brigade was called {rng.integers(20, 300)} times.", "Trains were late.",
        f"{_one(rng, PEOPLE)}, the mayor, asked for patience.",
    )  # fmt: skip
    power = (f"{homes}00 homes were without power.", f"There was no power in {homes}00 homes.")
    facts = [*beside, _one(rng, power)]
    headline = f"{kind.capitalize()} in {city} cuts power to {homes}00 homes"
    return [_one(rng, opening), *(facts[i] for i in rng.permutation(len(facts)))], headline
