"""Templates with agreement: the machine under the stories.

A template is a text with three kinds of holes:

``[one|two|]``
    one of the parts, which are templates themselves;
``<rule>``
    one of the templates of a rule of the grammar, which may hold further rules, its own among them;
``{form entity}``
    a form of somebody or something: ``{hero}`` Mara, ``{a key}`` a silver key, ``{the key}`` the key, ``{the full key}``
    the silver key, ``{bare key}`` silver key, ``{noun key}`` key, ``{they hero}`` she, ``{them hero}`` her, ``{their hero}``
    her, ``{themself hero}`` herself; ``{i hero}``, ``{me hero}``, ``{my hero}`` for what they say; any other form is a verb
    that agrees, ``{is hero}``, ``{was hero}``, ``{sings hero}``. A capital makes a capital.

An entity that the story does not know is drawn from the words of that class: ``{a tool}`` one tool, ``{a tools}`` several,
``{a anytool}`` either; ``{a tool2}`` is another one. Within a rule's template it stays the same one.
"""

from __future__ import annotations

import dataclasses
import functools
import re

DEEPEST = 6  # rules within rules; below that, templates that hold no further rule are preferred


class Draw:
    """Random choices that no version of Python changes: SplitMix64.

    References
    ----------
    Steele, Lea, Flood: Fast splittable pseudorandom number generators. OOPSLA 2014.
    """

    def __init__(self, seed: int):
        self.state = seed

    def below(self, n: int) -> int:
        """A whole number in [0, n)."""
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return (z ^ z >> 31) * n >> 64

    def choice(self, options):
        """One of a sequence."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) < percent


@dataclasses.dataclass(frozen=True)
class Entity:
    """Somebody or something a story speaks of."""

    noun: str  # in its number: "key", "keys"
    adjective: str = ""
    name: str = ""
    gender: str = "n"  # f, m or n
    plural: bool = False
    count: str = "some"  # before a plural that is new


PRONOUNS = {  # form -> by f, m, n, plural
    "they": ("she", "he", "it", "they"),
    "them": ("her", "him", "it", "them"),
    "their": ("her", "his", "its", "their"),
    "themself": ("herself", "himself", "itself", "themselves"),
    "i": ("I", "I", "I", "we"),
    "me": ("me", "me", "me", "us"),
    "my": ("my", "my", "my", "our"),
}
VERBS = {"is": "are", "am": "are", "was": "were", "has": "have", "does": "do"}
LIKE_A_CONSONANT = ("one-", "useful", "unicorn")


class Teller:
    """Expands templates for one story.

    Parameters
    ----------
    draw : Draw
    rules : mapping, rule -> list of templates
    words : mapping, class -> {"nouns": [(singular, plural), ...], "adjectives": [...], "genders": {noun or "": any of "fmn"}}
    cast : mapping, name -> Entity
        Whom the whole story knows.
    alias : mapping, rule -> rule
        Rules that this story takes in the place of others.
    """

    def __init__(self, draw: Draw, rules, words, cast, alias=None):
        self.draw, self.rules, self.words, self.alias = draw, rules, words, alias or {}
        self.scopes = [dict(cast)]
        self.told: dict[str, set[int]] = {}

    def tell(self, template: str) -> str:
        """Expand a template, as a scope of its own."""
        self.scopes.append({})
        text = self._expand(parse(template))
        self.scopes.pop()
        return text

    def _expand(self, parts) -> str:
        return "".join(part if isinstance(part, str) else getattr(self, f"_{part[0]}")(part[1]) for part in parts)

    def _choose(self, options) -> str:
        return self._expand(self.draw.choice(options))

    def _rule(self, name) -> str:
        """A template of a rule: one that this story has not used, as long as there are any."""
        name = self.alias.get(name, name)
        templates = self.rules[name]
        told = self.told.setdefault(name, set())
        options = [i for i in range(len(templates)) if i not in told] or list(range(len(templates)))
        if len(self.scopes) > DEEPEST:
            options = [i for i in options if "<" not in templates[i]] or options
        chosen = self.draw.choice(options)
        told.add(chosen)
        return self.tell(templates[chosen])

    def _slot(self, content) -> str:
        *form, reference = content
        entity = self.entity(reference.lower())
        text = inflect(" ".join(form).lower() or ("name" if entity.name else "the"), entity)
        return capital(text) if content[0][0].isupper() else text

    def entity(self, reference: str) -> Entity:
        """Whom a reference means, in this template or in the whole story; drawn if nobody has been meant by it."""
        for scope in (self.scopes[-1], self.scopes[0]):
            if reference in scope:
                return scope[reference]
        self.scopes[-1][reference] = entity = self.drawn(reference.rstrip("0123456789"))
        return entity

    def drawn(self, kind: str) -> Entity:
        """One of a class of words, whose noun is not yet in use."""
        plural = False
        if kind.startswith("any"):
            kind, plural = kind[3:], self.draw.chance(50)
        elif kind not in self.words:
            kind, plural = kind[:-1], True
        words = self.words[kind]
        used = {entity.noun for scope in self.scopes for entity in scope.values()}
        nouns = [pair for pair in words["nouns"] if not used & set(pair)] or words["nouns"]
        noun = self.draw.choice(nouns)[plural]
        count = self.draw.choice(("two", "three", "four", "some", "a few", "several"))
        gender = words["genders"].get(noun) or self.draw.choice(words["genders"][""])
        return Entity(noun, self.draw.choice(words["adjectives"]), gender=gender, plural=plural, count=count)


def inflect(form: str, entity: Entity) -> str:
    """A form of an entity: see the module's text."""
    bare = f"{entity.adjective} {entity.noun}".strip()
    if form in PRONOUNS:
        return PRONOUNS[form][3 if entity.plural else "fmn".index(entity.gender)]
    if form == "a":
        return f"{entity.count} {bare}" if entity.plural else f"{article(bare)} {bare}"
    forms = {"the": f"the {entity.noun}", "the full": f"the {bare}", "bare": bare, "noun": entity.noun, "name": entity.name}
    if form in forms:
        return forms[form]
    return plural_verb(form) if entity.plural else form


def article(words: str) -> str:
    """a or an."""
    return "an" if words[0] in "aeiou" and not words.startswith(LIKE_A_CONSONANT) or words.startswith(("hour", "honest")) else "a"


def plural_verb(verb: str) -> str:
    """The plural of a verb's third person: sings -> sing."""
    if verb in VERBS:
        return VERBS[verb]
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb[:-2] if verb.endswith(("shes", "ches", "sses", "xes")) else verb[:-1]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def read_rules(text: str) -> dict[str, list[str]]:
    """The rules of a grammar file, rule -> templates."""
    rules: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.endswith(":") and not line.startswith(("-", " ")):
            templates = rules.setdefault(line[:-1], [])
        elif line.startswith("- "):
            templates.append(line[2:].strip())
        elif line.startswith("  "):
            templates[-1] += " " + line.strip()
        else:
            raise ValueError(f"line {number} is neither a rule nor a template: {line!r}")
    return rules


@functools.cache
def parse(template: str):
    """A template as a tuple of texts and holes: ("choose", parts), ("rule", name), ("slot", words)."""
    return _sequence(re.split(r"([\[\]|]|<\w+>|\{[^}]*\})", template), 0, "")[0]


def _sequence(pieces, at: int, ends: str):
    """The parts from place `at` up to one of `ends`, and the place of that."""
    parts = []
    while at < len(pieces):
        piece = pieces[at]
        if piece and piece in ends:
            return tuple(parts), at
        if piece == "[":
            options = []
            while pieces[at] != "]":
                option, at = _sequence(pieces, at + 1, "|]")
                options.append(option)
            parts.append(("choose", tuple(options)))
        elif piece.startswith("<") and piece.endswith(">"):
            parts.append(("rule", piece[1:-1]))
        elif piece.startswith("{"):
            parts.append(("slot", tuple(piece[1:-1].split())))
        elif piece in ("]", "|"):
            raise ValueError(f"a bracket too many in {''.join(pieces)!r}")
        elif piece:
            parts.append(piece)
        at += 1
    if ends:
        raise ValueError(f"a bracket is not closed in {''.join(pieces)!r}")
    return tuple(parts), at
