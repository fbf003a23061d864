"""The built-in corpus: short tales from a grammar.

``python -m corpora.stories`` in the repository writes corpora/stories.txt anew, byte for byte the same; another seed gives other
tales. The words are in words.py, the grammar in grammar.txt, and what makes a sentence agree with itself in templates.py.
"""

from __future__ import annotations

import argparse
import os
import re
import sys

from . import words
from .templates import Draw, Entity, Teller, capital, read_rules

SEED, SIZE = 1, 1_000_000
HERE = os.path.dirname(os.path.abspath(__file__))
PLOTS = {"journey": 50, "contest": 10, "quarrel": 10, "guest": 10, "wish": 10, "build": 10}  # of a hundred stories
GOALS = ("lost", "pet", "herb", "fire", "letter")
RIDDLES = [  # question, answer
    ("What has teeth but cannot bite?", "a comb"),
    ("What runs all day and never leaves its bed?", "a river"),
    ("What grows shorter the longer it lives?", "a candle"),
    ("What has a neck but no head?", "a bottle"),
    ("What gets wetter the more it dries?", "a towel"),
    ("What can you break without touching it?", "a promise"),
    ("What goes up when the rain comes down?", "an umbrella"),
    ("What has many leaves and is not a tree?", "a book"),
    ("What has one eye and cannot see?", "a needle"),
    ("What is yours, and yet others use it more?", "a name"),
    ("What is full of holes and still holds water?", "a sponge"),
    ("What has hands but cannot hold a spoon?", "a clock"),
    ("What has four legs and cannot walk?", "a table"),
    ("What falls in winter and never breaks?", "snow"),
    ("What speaks every language and was never at school?", "an echo"),
    ("What is always coming and never arrives?", "tomorrow"),
    ("What follows you in the sun and leaves you in the dark?", "a shadow"),
    ("What grows bigger the more you take away from it?", "a hole"),
    ("What can fill a whole room and weighs nothing?", "light"),
    ("What has a bed and does not sleep, a mouth and does not eat?", "a river"),
    ("What goes through the window and does not break it?", "the sun"),
    ("What has keys but no doors?", "a piano"),
]
SMALL_WORDS = {"a", "an", "and", "at", "for", "from", "in", "of", "on", "the", "to", "where", "it", "with"}


def write(seed: int = SEED, size: int = SIZE) -> str:
    """Stories until there are at least `size` characters, separated by lines of three stars."""
    with open(os.path.join(HERE, "grammar.txt"), encoding="utf-8") as file:
        rules = {**words.verb_rules(), **read_rules(file.read())}
    draw = Draw(seed)
    stories, length = [], 0
    while length < size:
        stories.append(story(draw, rules))
        length += len(stories[-1]) + len("\n* * *\n\n")
    return "\n* * *\n\n".join(stories)


def story(draw: Draw, rules) -> str:
    """One story: its title, an empty line, and its paragraphs."""
    plot = draw.choice([plot for plot, share in PLOTS.items() for _ in range(share)])
    goal = draw.choice(GOALS)
    cast = characters(draw, plot, goal)
    alias = {name: f"{name}_{goal}" for name in ("trouble", "aim", "have", "home")}
    teller = Teller(draw, rules, words.WORDS, cast, alias)
    title = " ".join(word if word in SMALL_WORDS else capital(word) for word in teller.tell(f"<title_{plot}>").split())
    paragraphs = [layout(paragraph) for paragraph in teller.tell(f"<{plot}>").split("//")]
    return capital(title) + "\n\n" + "\n\n".join(paragraphs) + "\n"


def layout(paragraph: str) -> str:
    """Lines of a song on lines of their own, and one space between words."""
    return "\n".join(" ".join(line.split()) for line in re.split(r"\s/\s", paragraph.strip()))


def characters(draw: Draw, plot: str, goal: str) -> dict[str, Entity]:
    """Who and what a story is about."""
    teller = Teller(draw, {}, words.WORDS, {})
    hero = _hero(draw, alone=plot == "quarrel")
    kin_gender = draw.choice("fm")
    kin = Entity(draw.choice(words.KIN[kin_gender]), gender=kin_gender)
    noun, gender = draw.choice(words.FOES)
    foe = Entity(noun, draw.choice(words.FOE_TEMPERS), gender=gender or draw.choice("fm"))
    other = {"f": "m", "m": "f"}.get(hero.gender) or draw.choice("fm")  # so that "he" and "she" are told apart
    helper = Entity(
        draw.choice([noun for noun in words.HELPERS if noun not in (hero.noun, foe.noun)]),
        draw.choice(words.HELPER_TEMPERS),
        draw.choice([name for name in words.PETS + (words.GIRLS if other == "f" else words.BOYS) if name not in hero.name]),
        other,
    )
    if plot == "journey":
        prize = {
            "lost": lambda: teller.drawn("thing"),
            "pet": lambda: teller.drawn("pet"),
            "herb": lambda: teller.drawn("herb"),
            "fire": lambda: Entity(draw.choice(("ember", "coal", "torch")), draw.choice(("glowing", "burning", "red"))),
            "letter": lambda: Entity(draw.choice(("letter", "parcel")), draw.choice(("sealed", "thick", "grey", "urgent"))),
        }[goal]()
    else:
        prize = teller.drawn("thing")
    first = draw.choice(RIDDLES)
    second = draw.choice([riddle for riddle in RIDDLES if riddle != first])
    return {
        "hero": hero,
        "kin": kin,
        "foe": foe,
        "helper": helper,
        "prize": prize,
        "village": Entity("village", name=draw.choice(words.VILLAGES)),
        "land": teller.drawn("wild"),
        "river": teller.drawn("water"),
        "riddle": Entity(first[1], name=first[0]),
        "riddle2": Entity(second[1], name=second[0]),
    }


def _hero(draw: Draw, alone: bool) -> Entity:
    """A child, somebody with a craft, an animal, or two children."""
    gender = draw.choice("fm")
    name = draw.choice(words.GIRLS if gender == "f" else words.BOYS)
    temper = draw.choice(words.TEMPERS)
    kind = draw.below(3 if alone else 4)
    if kind == 0:
        return Entity("girl" if gender == "f" else "boy", temper, name, gender)
    if kind == 1:
        return Entity(draw.choice(words.CRAFTS), temper, name, gender)
    if kind == 2:
        return Entity(draw.choice(words.HEROES), temper, draw.choice(words.PETS), gender)
    sister, brother = draw.choice(words.GIRLS), draw.choice(words.BOYS)
    return Entity("children", temper, f"{sister} and {brother}", plural=True, count="two")


def main() -> None:
    """Write the stories to a file, or to the standard output."""
    parser = argparse.ArgumentParser(description="Write the stories anew.")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--size", type=int, default=SIZE, help="characters, at least")
    parser.add_argument("--out", default=os.path.join(HERE, "stories.txt"), help="the file; - for the standard output")
    args = parser.parse_args()
    text = write(args.seed, args.size)
    if args.out == "-":
        sys.stdout.write(text)
    else:
        with open(args.out, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


if __name__ == "__main__":
    main()
