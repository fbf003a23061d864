"""Built-in examples of the recipe `translate`: dates as people write them, and in ISO 8601."""

from __future__ import annotations

import datetime

import numpy as np

from minilm.data.pairs import Pair

__all__ = ["generate"]

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST, DAYS = datetime.date(1970, 1, 1), 50 * 365  # years in which two digits are not ambiguous


def generate(count: int, seed: int) -> list[Pair]:
    """`count` different dates as texts, each with its ISO form."""
    rng = np.random.default_rng(seed)
    dates: dict[str, str] = {}
    while len(dates) < count:
        date = FIRST + datetime.timedelta(days=int(rng.integers(DAYS)))
        dates.setdefault(_written(date, rng), date.isoformat())
    return [Pair(*pair) for pair in dates.items()]


def _written(date: datetime.date, rng) -> str:
    month, weekday = MONTHS[date.month - 1], WEEKDAYS[date.weekday()]
    day, year, short = date.day, date.year, f"{date.year % 100:02}"
    forms = (
        f"{month} {day}, {year}",
        f"{month[:3]} {day}, {year}",
        f"{day} {month} {year}",
        f"{day} {month[:3]} {year}",
        f"{weekday}, {month} {day}, {year}",
        f"{weekday}, {day} {month} {year}",
        f"the {_ordinal(day)} of {month} {year}",
        f"{month} {_ordinal(day)}, {year}",
        f"{date.month}/{day}/{short}",
        f"{day:02}.{date.month:02}.{year}",
        f"{year}/{date.month:02}/{day:02}",
    )
    text = forms[rng.integers(len(forms))]
    return (text, text.lower(), text.upper())[rng.choice(3, p=(0.6, 0.25, 0.15))]


def _ordinal(day: int) -> str:
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
