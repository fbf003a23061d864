"""The words of the stories, by class."""

from __future__ import annotations

GIRLS = """
    Ada Agnes Alma Anna Bertha Clara Cora Dora Edith Ella Emma Flora Freda Greta Hanna Hilda Ida Ines Jana Julia
    Karin Lena Lina Lotte Mara Marta Mina Nell Nora Olga Paula Petra Rosa Ruth Selma Sonja Tilda Vera Wanda Zoe
""".split()
BOYS = """
    Adam Albert Anton Arne Arthur Ben Bruno Carl Daniel Emil Felix Frank Georg Hans Henry Hugo Ivan Jacob Jan Jonas
    Karl Leo Lukas Martin Max Nils Oskar Otto Paul Peter Piet Ralf Robin Simon Sven Theo Tom Victor Walter Willem
""".split()
PETS = """
    Amber Barley Bracken Bramble Burdock Clover Dapple Fern Flax Ginger Hazel Juniper Moss Nettle Nutmeg Pepper Pip
    Rusty Sorrel Thistle Tuft Willow
""".split()
VILLAGES = """
    Alderbrook Ashford Barrowby Brackenfield Coldwell Dunmere Eastmill Elmstead Fernhill Greenhollow Hartwick
    Kingsbarn Larkfield Longmeadow Millbridge Northwater Oakham Ravenhill Redbank Saltmarsh Stonebridge Thornwick
    Underhill Westbrook Willowdale
""".split()

CRAFTS = """
    baker blacksmith bookbinder candlemaker carpenter clockmaker cobbler cooper farmer fiddler gardener glassblower
    miller painter potter roofer saddler shepherd tailor weaver woodcutter
""".split()
TEMPERS = """
    brave careful cheerful clever curious gentle honest kind lively merry modest patient quiet shy stubborn
    thoughtful young
""".split()
KIN = {
    "f": ["mother", "grandmother", "aunt", "sister", "great-aunt"],
    "m": ["father", "grandfather", "uncle", "brother", "godfather"],
}
FOES = [  # noun, gender or "" for either
    ("fox", ""), ("magpie", ""), ("wolf", ""), ("troll", "m"), ("goblin", "m"), ("witch", "f"), ("giant", "m"),
    ("giantess", "f"), ("merchant", ""), ("peddler", ""), ("raven", ""), ("badger", ""), ("wizard", "m"), ("ogre", "m"),
    ("lynx", ""), ("landlord", "m"), ("innkeeper", ""), ("toll keeper", ""), ("duchess", "f"), ("duke", "m"),
]  # fmt: skip
FOE_TEMPERS = "greedy sly proud grumpy vain spiteful cunning boastful jealous lazy moody sour".split()
HEROES = "hare hedgehog mouse squirrel otter badger fox goose duck frog rabbit beaver".split()
HELPERS = """
    hedgehog hare owl otter squirrel goose toad beaver mole robin heron donkey goat swan crow mouse frog duck
    tortoise stork dove hermit beggar tinker pilgrim soldier sailor beekeeper bell-ringer knife-grinder juggler
""".split()
HELPER_TEMPERS = "old lame tired small thin lonely grey hungry wet shivering friendly brown".split()


def _nouns(text: str) -> list[tuple[str, str]]:
    """(singular, plural) of each word; "foot/feet" where the plural is not regular."""
    pairs = []
    for word in text.split():
        singular, _, plural = word.replace("_", " ").partition("/")
        if not plural:
            if singular.endswith(("s", "x", "ch", "sh")):
                plural = singular + "es"
            elif singular.endswith("y") and singular[-2] not in "aeou":
                plural = singular[:-1] + "ies"
            else:
                plural = singular + "s"
        pairs.append((singular, plural))
    return pairs


def _class(nouns: str, adjectives: str, genders: dict | None = None) -> dict:
    return {"nouns": _nouns(nouns), "adjectives": adjectives.split(), "genders": genders or {"": "n"}}


WORDS = {
    "thing": _class(
        """key lantern ring bell drum flute clock cup crown whistle mirror compass brooch locket medal comb
        fiddle kettle spoon thimble coin bowl bracelet goblet horn lamp needlecase snuffbox statue trumpet vase""",
        """silver copper golden brass little old precious shining plain carved painted heavy tin ivory pewter
        cracked polished round black strange light lost""",
    ),
    "herb": _class(
        "moonflower star_moss bitterroot snowbell fireweed silverleaf marsh_lily bluecap ghost_fern sunwort",
        "blue white rare tiny golden pale crimson",
    ),
    "beast": _class(
        "fox/foxes hare hedgehog badger deer/deer rabbit squirrel wolf/wolves bear boar otter weasel lynx mouse/mice",
        """red grey brown young old shy lean sleepy hungry frightened tame wild swift lame silent fat striped
        patient curious nervous""",
    ),
    "cattle": _class(
        "cow sheep/sheep goat donkey horse pony goose/geese hen calf/calves ox/oxen pig turkey",
        """white black spotted fat old lazy noisy brown stubborn grey muddy young friendly thirsty well-fed
        gentle clever""",
    ),
    "pet": _class(
        "lamb kid foal puppy kitten calf/calves goat pony goose/geese duckling",
        "white black spotted little woolly brown grey clumsy",
    ),
    "bird": _class(
        "sparrow finch lark swallow thrush blackbird crow jay magpie wren owl starling heron raven woodpecker cuckoo",
        """small brown noisy grey bold black cheerful bright hungry tired young ragged lonely proud quick blue
        speckled solemn""",
    ),
    "insect": _class(
        "bee beetle cricket butterfly dragonfly moth ant firefly snail spider",
        "tiny green busy golden blue slow sleepy shiny black striped pale lazy brave bright",
    ),
    "tree": _class(
        "oak birch willow pine elm beech chestnut maple hazel alder apple_tree pear_tree cherry_tree",
        "old tall bent hollow mossy young bare great slender dead lonely crooked dark broad leafy",
    ),
    "flower": _class(
        "daisy poppy bluebell violet primrose thistle foxglove buttercup lily rose marigold",
        "white yellow wild pale small red late blue withered fragrant tall purple",
    ),
    "fruit": _class(
        "apple pear plum cherry nut turnip carrot onion pumpkin cabbage bean",
        "ripe red sweet hard small round green yellow sour juicy wormy fine big",
    ),
    "food": _class(
        "loaf/loaves cake pie cheese sausage pancake biscuit bun dumpling",
        "fresh warm round small honey barley sweet dark burnt plain salty steaming cold buttered",
    ),
    "tool": _class(
        """rope hammer needle ladder net basket spade knife/knives saw bucket broom axe/axes ribbon blanket
        candle sack shovel mirror""",
        "long old strong small good rusty new plain sturdy broken light borrowed blunt heavy useful patched",
    ),
    "trifle": _class(
        "feather button pebble acorn thread shell nutshell seed leaf/leaves whisker",
        "white golden smooth blue grey tiny red magic little",
    ),
    "wild": _class(
        "forest moor marsh mountain valley wood cliff glen heath swamp ravine",
        "dark lonely wide steep silent foggy green wild deep windy strange bare stony pathless misty",
    ),
    "water": _class(
        "river lake pond stream brook pool waterfall canal",
        "cold deep wide clear still broad dark quiet muddy narrow swift silver shallow frozen green",
    ),
    "house": _class(
        """cottage mill barn tower inn bakery forge stable castle hut farmhouse chapel bridge shed workshop
        lighthouse school gatehouse windmill""",
        "old stone crooked little ruined lonely wooden grey empty red tall thatched low white draughty sunny",
    ),
    "furniture": _class(
        "table chair bench chest cupboard bed stool shelf/shelves cradle door window",
        "wooden broken painted heavy low oak narrow three-legged dusty carved new wobbly",
    ),
    "cloth": _class(
        "coat cloak scarf hat shirt apron jacket shawl",
        "warm patched red blue woollen torn thick old green striped silk heavy borrowed",
    ),
    "kid": _class(
        "child/children boy girl shepherd pupil apprentice",
        "small loud curious barefoot laughing clever sleepy hungry freckled shy cheeky proud",
        {"boy": "m", "girl": "f", "": "fm"},
    ),
    "folk": _class(
        """neighbour farmer miller baker weaver sailor tailor traveller soldier musician cook teacher hunter
        carpenter butcher doctor judge beggar cobbler fisher gardener painter potter scribe widow""",
        "old friendly tired rich poor busy honest cheerful young tall stout bald thin grumpy clever forgetful gentle",
        {"widow": "f", "": "fm"},
    ),
}
VERBS = {  # class -> verbs; who or what they go with is in the grammar
    "make": """
        mend carry sell paint polish hide find lose borrow measure wrap drop admire weigh bring clean draw buy repair
        forget keep want count praise
    """.split(),
    "eat": "eat taste smell share steal cut like carry burn".split(),
    "go": "walk run creep wander hurry limp march hop swim climb jump fly crawl tumble slip".split(),
    "rest": "sleep sit stand wait dream sing laugh whistle cry tremble shiver listen dance yawn hide grumble".split(),
    "tell": """
        greet thank follow watch help scold tease comfort teach warn trust visit invite praise meet call know find see
    """.split(),
}
IRREGULAR = {  # base -> past, done
    "sell": "sold sold", "hide": "hid hidden", "find": "found found", "lose": "lost lost", "bring": "brought brought",
    "draw": "drew drawn", "buy": "bought bought", "forget": "forgot forgotten", "keep": "kept kept", "eat": "ate eaten",
    "steal": "stole stolen", "cut": "cut cut", "run": "ran run", "creep": "crept crept", "swim": "swam swum",
    "fly": "flew flown", "sleep": "slept slept", "sit": "sat sat", "stand": "stood stood", "sing": "sang sung",
    "teach": "taught taught", "meet": "met met", "know": "knew known", "see": "saw seen",
}  # fmt: skip
DOUBLED = set("wrap drop run hop swim slip sit cut forget".split())  # the last letter doubles before -ed and -ing


def verb_rules() -> dict[str, list[str]]:
    """Rules such as make_past, with the verbs of a class in one form."""
    rules: dict[str, list[str]] = {}
    for kind, verbs in VERBS.items():
        for verb in verbs:
            for form, word in conjugation(verb).items():
                rules.setdefault(f"{kind}_{form}", []).append(word)
    return rules


def conjugation(verb: str) -> dict[str, str]:
    """The forms of a verb: base, third (person), past, done and doing."""
    soft = verb.endswith("y") and verb[-2] not in "aeou"
    stem = verb + verb[-1] if verb in DOUBLED else verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb
    regular = (verb[:-1] + "i" if soft else stem) + "ed"
    past, done = IRREGULAR.get(verb, f"{regular} {regular}").split()
    third = verb[:-1] + "ies" if soft else verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")
    return {"base": verb, "third": third, "past": past, "done": done, "doing": stem + "ing"}
