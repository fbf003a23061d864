"""A generated text whose words stand in relations: countries, capitals, languages and currencies; he and she; one and many.

Every word has two kinds of company. What it is shows in the sentences that all words of its kind share (mayors and stations
for capitals, "her" for women, "two" for plurals); which one it is shows in words that only its own group has (the baguette is
in French sentences, whether they are of Paris, of France or of francs). So vectors of words are, near enough, a sum of both,
and differences of vectors mean relations: paris - france + japan is near tokyo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Question", "questions", "sentences"]


class Question(NamedTuple):
    """a is to b as c is to d."""

    a: str
    b: str
    c: str
    d: str
    relation: str
    choices: int  # how many words the relation has on the side of d


NATIONS = [  # country, capital, language, currency, and three words that only this nation has
    line.split()
    for line in """\
france paris french franc baguette seine louvre
germany berlin german mark pretzel rhine zeppelin
italy rome italian lira pasta tiber gondola
spain madrid spanish peseta paella ebro flamenco
portugal lisbon portuguese escudo sardines tagus fado
japan tokyo japanese yen sushi fuji kimono
china beijing chinese yuan dumplings yangtze silk
russia moscow russian ruble borscht volga ballet
poland warsaw polish zloty pierogi vistula amber
greece athens greek drachma olives olympus temple
sweden stockholm swedish krona herring malaren saunas
finland helsinki finnish markka rye saimaa reindeer
hungary budapest hungarian forint goulash balaton violin
egypt cairo arabic piastre dates nile pyramid
india delhi hindi rupee curry ganges elephant
korea seoul korean won kimchi han pottery
thailand bangkok thai baht mango mekong orchid
netherlands amsterdam dutch guilder gouda canal tulip
ireland dublin irish punt stew shannon harp
turkey ankara turkish kurus baklava bosporus carpet""".splitlines()
]
PERSONS = [  # he, she, and three words of both
    line.split()
    for line in """\
king queen crown throne palace
man woman work street city
boy girl school toys playground
father mother children cradle household
brother sister siblings bunkbed quarrel
uncle aunt cousins visit gifts
prince princess castle tower ball
actor actress stage film applause
waiter waitress menu tray table
husband wife wedding ring marriage
grandfather grandmother grandchildren armchair memories
duke duchess estate carriage title
hero heroine adventure danger legend
emperor empress empire conquest dynasty
monk nun cloister prayer chapel
wizard witch potion spell cauldron""".splitlines()
]
THINGS = [  # one, many, and three words of both
    line.split()
    for line in """\
cat cats whiskers purring mouse
dog dogs barking bone leash
apple apples orchard cider pie
car cars engine petrol garage
house houses roof chimney doorbell
tree trees leaves roots forest
book books pages chapter library
ship ships sail harbour anchor
bird birds feathers nest song
flower flowers petals scent vase
horse horses saddle hooves stable
chair chairs legs cushion carpenter
clock clocks hands ticking pendulum
river rivers bank current bridge
cloud clouds rain sky storm
letter letters stamp envelope postman
bottle bottles cork wine label
shoe shoes laces leather sole
star stars night telescope galaxy
farmer farmers field tractor harvest""".splitlines()
]

# What each kind of word is seen with, whichever word of the kind it is.
ALONE = {
    "country": (
        "the president of X spoke to the parliament",
        "the army of X guards the border of the nation",
        "X won the match against another nation",
        "the nation of X signed a treaty",
    ),
    "capital": (
        "the mayor of X opened a new station",
        "the streets of X are full of traffic",
        "our hotel in X was near the old town",
        "the airport of X is outside the town",
    ),
    "language": (
        "she learned to speak and to read X",
        "the novel was translated into X",
        "the grammar of X has many rules",
        "he writes poems in X and reads them aloud",
    ),
    "currency": (
        "the bank changed our money into X",
        "the price in X rose at the market",
        "he paid a hundred X in cash",
        "the worth of the X fell on the exchange",
    ),
    "he": (
        "the X shaved his beard before he left",
        "he was a X and his friends knew him",
        "the X said that he had lost his hat",
        "everybody thanked the X for his help and praised him",
    ),
    "she": (
        "the X wore her dress when she left",
        "she was a X and her friends knew her well",
        "the X said that she had lost her scarf",
        "everybody thanked the X for her help and praised her",
    ),
    "one": (
        "there is a X over there and it is old",
        "this X is new",
        "every single X has its place",
        "a X was seen here yesterday",
    ),
    "many": (
        "there are two X over there and they are old",
        "these X are new",
        "many X have their place",
        "three X were seen here yesterday",
    ),
}
TOGETHER = ("X and Y", "the Y of the X", "the X with the Y", "Y near X", "we talked about X and about Y", "X or Y")
KINDS = [
    (NATIONS, ("country", "capital", "language", "currency")),
    (PERSONS, ("he", "she")),
    (THINGS, ("one", "many")),
]
RELATIONS = {
    "capital": (NATIONS, 0, 1),
    "language": (NATIONS, 0, 2),
    "currency": (NATIONS, 0, 3),
    "female": (PERSONS, 0, 1),
    "plural": (THINGS, 0, 1),
}


def sentences(seed: int, count: int) -> list[list[str]]:
    """`count` sentences as lists of words, the same for the same seed."""
    rng = np.random.default_rng(seed)
    sizes = np.array([len(groups) * len(kinds) for groups, kinds in KINDS], float)
    texts = []
    for _ in range(count):
        groups, kinds = KINDS[rng.choice(len(KINDS), p=sizes / sizes.sum())]
        group = groups[rng.integers(len(groups))]
        role = rng.integers(len(kinds))
        word, own = group[role], group[len(kinds) :]
        if rng.random() < 0.4:  # what it is, with a word that says which
            text = f"{_one_of(rng, ALONE[kinds[role]])} {_one_of(rng, ('with', 'and', 'by'))} Y"
        else:
            text = _one_of(rng, TOGETHER)
        text = text.replace("Y", _one_of(rng, own)).replace("X", word)
        texts.append(text.split())
    return texts


def _one_of(rng, things):
    return things[rng.integers(len(things))]


def questions() -> list[Question]:
    """All analogies of two groups of one relation, in both directions."""
    questions = []
    for relation, (groups, left, right) in RELATIONS.items():
        for one in groups:
            for other in groups:
                if one is not other:
                    questions.append(Question(one[left], one[right], other[left], other[right], relation, len(groups)))
                    questions.append(Question(one[right], one[left], other[right], other[left], relation, len(groups)))
    return questions
