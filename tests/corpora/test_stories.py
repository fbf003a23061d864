"""The built-in corpus: the same bytes everywhere, and sentences that agree with themselves."""

import hashlib
import os
import re
import subprocess
import sys

import pytest

from corpora import stories, words
from corpora.templates import Draw, Entity, Teller, article, inflect, parse, plural_verb, read_rules
from minilm import data


@pytest.fixture(scope="module")
def text():
    return stories.write()


@pytest.fixture(scope="module")
def rules():
    with open(os.path.join(stories.HERE, "grammar.txt"), encoding="utf-8") as file:
        return {**words.verb_rules(), **read_rules(file.read())}


def test_the_generator_writes_the_file(text):
    entry = data.corpora()["stories"]
    assert hashlib.sha256(text.encode()).hexdigest() == entry.sha256 and len(text) == entry.bytes
    assert entry.fault() is None


def test_hash_seeds_do_not_matter():
    command = [sys.executable, "-m", "corpora.stories", "--size", "20000", "--out", "-"]
    root = os.path.dirname(stories.HERE)
    runs = {
        subprocess.run(command, cwd=root, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert runs == {stories.write(size=20000).encode()}


def test_another_seed_tells_other_stories(text):
    other = stories.write(seed=2, size=50_000)
    ours, theirs = (set(part.split("\n\n")) for part in (text, other))
    assert len(theirs - ours) > 0.8 * len(theirs)


def test_splitmix64_is_the_published_one():
    draw = Draw(1234567)
    numbers = [draw.below(2**64) for _ in range(3)]
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_it_is_plain_and_well_formed(text):
    assert text.isascii() and len(set(text)) < 70
    assert not re.search(r"[\[\]{}<>|/_\d]|  | \n|\n\n\n| [.,;:?!]|\(\)", text)
    for story in text.split("\n* * *\n\n"):
        title, *paragraphs = story.rstrip("\n").split("\n\n")
        assert title[0].isupper() and title[-1] not in ".!" and len(paragraphs) >= 5
        for paragraph in paragraphs:
            assert paragraph.count('"') % 2 == 0, paragraph
            assert re.search(r"""[.!?:]["']?$""", paragraph) or "\n" in paragraph, paragraph
            assert paragraph[0].isupper() or paragraph[0] == '"', paragraph
    assert not re.search(r"[.?!] [a-z]", re.sub(r'[.?!]"', "", text))  # sentences begin with a capital


def test_it_is_rich(text):
    assert 1_000_000 <= len(text) < 1_010_000
    assert len(set(re.findall(r"[a-z']+", text.lower()))) > 1500
    sentences = re.split(r'(?<=[.!?"])\s+', text)
    assert len(set(sentences)) > 0.6 * len(sentences)


def test_agreement(text):
    """The n of an, and numbers with their verbs: the whole text has no exception."""
    assert not re.search(r"\ba (?=[aeiou])(?!useful|one|uni)\w+|\ban (?![aeiou]|hour|honest)\w+", text)
    counts = "two|three|four|some|a few|several"
    nouns = {kind: [plural for _, plural in entry["nouns"]] for kind, entry in words.WORDS.items()}
    animals = "|".join(nouns["bird"] + [noun for noun in nouns["beast"] if noun != "deer"])
    found = re.findall(rf"\b(?:{counts}) \w+ (?:{animals}) (was|were|has|have|is|are)\b", text, re.IGNORECASE)
    assert len(found) > 50 and set(found) <= {"were", "have", "are"}
    singular = "|".join(noun for kind in ("bird", "beast") for noun, _ in words.WORDS[kind]["nouns"] if noun != "deer")
    found = re.findall(rf"(?:^|[.,] )An? \w+ (?:{singular}) (was|were|has|have|is|are)\b", text, re.MULTILINE)
    assert len(found) > 50 and set(found) <= {"was", "has", "is"}


def test_every_rule_is_told(rules):
    """No template has a hole that nothing fills: each is expanded, in every one of several casts."""
    aliases = {"trouble", "aim", "have", "home"}
    named = {name for templates in rules.values() for template in templates for name in re.findall(r"<(\w+)>", template)}
    assert named <= set(rules) | aliases
    used = named | {f"{name}_{goal}" for name in aliases for goal in stories.GOALS}
    used |= {name for plot in stories.PLOTS for name in (plot, f"title_{plot}")}
    assert {name for name in rules if not re.search("_(base|third|past|done|doing)$", name)} <= used
    for seed in range(6):
        draw = Draw(seed)
        for goal in stories.GOALS:
            cast = stories.characters(draw, "journey", goal)
            teller = Teller(draw, rules, words.WORDS, cast, {name: f"{name}_{goal}" for name in aliases})
            for templates in rules.values():
                for template in templates:
                    assert not re.search(r"[\[\]{}<>|]", teller.tell(template))


def test_grammar_errors_are_found():
    for template in ("[a|b", "a]", "a|b"):
        with pytest.raises(ValueError, match="bracket"):
            parse(template)
    with pytest.raises(ValueError, match="line 2"):
        read_rules("rule:\nnothing")


def test_forms():
    owls, mara = Entity("owls", "old", plural=True, count="two"), Entity("girl", "brave", "Mara", "f")
    assert [inflect(form, owls) for form in ("a", "the", "the full", "they", "their", "was", "sings", "flies")] == [
        "two old owls", "the owls", "the old owls", "they", "their", "were", "sing", "fly",
    ]  # fmt: skip
    assert [inflect(form, mara) for form in ("name", "a", "noun", "them", "themself", "i", "am", "was")] == [
        "Mara", "a brave girl", "girl", "her", "herself", "I", "am", "was",
    ]  # fmt: skip
    assert [article(word) for word in ("owl", "useful tool", "hour", "honest man", "mill")] == ["an", "a", "an", "an", "a"]
    verbs = ("watches", "carries", "makes", "has")
    assert [plural_verb(verb) for verb in verbs] == ["watch", "carry", "make", "have"]


def test_verbs():
    table = {
        "hurry": "hurries hurried hurried hurrying",
        "creep": "creeps crept crept creeping",
        "wrap": "wraps wrapped wrapped wrapping",
        "dance": "dances danced danced dancing",
        "watch": "watches watched watched watching",
        "see": "sees saw seen seeing",
        "enjoy": "enjoys enjoyed enjoyed enjoying",
    }
    for verb, forms in table.items():
        assert " ".join(list(words.conjugation(verb).values())[1:]) == forms
