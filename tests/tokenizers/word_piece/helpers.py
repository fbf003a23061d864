"""A small vocabulary of our own, strings that reach every rule, and the trained encoder's folder."""

import os

import pytest
from hypothesis import strategies as st

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "un",
    "cafe",
    "the",
    "The",
    "dog",
    "do",
    "not",
    "don",
    "t",
    "s",
    "i",
    "可",
    "能",
    "カ",
    "ガ",
    "σας",
    "é",
    "strasse",
    "straße",
    "😀",
]
PIECES = ["##aff", "##able", "##s", "##a", "##b", "##ed", "##\u1165", "##e", "##t"]
MARKS = list("!\"'(),-.:;?[]_`$^")
VOCABULARY = [*SPECIAL, *MARKS, *WORDS, "a", "b", "\u1100", "e", *PIECES]

# Fragments for which BERT has a rule, between characters from all planes.
FRAGMENTS = [
    *(
        "unaffable",
        "Café",
        "cafe\u0301",
        "The dogs",
        "don't",
        "do not",
        "[MASK]",
        "[mask]",
        "[SEP]a",
        "##s",
        "a" * 100,
        "a" * 101,
    ),
    *("\u1100\u1165", "거", "可能", "カガ", "ΣΑΣ", "ΣΑς", "İ", "ẞ", "😀", "👩\u200d🚀", "\ufb01", "\u212b", "\u0958"),
    *(
        " ",
        "\t",
        "\r\n",
        "\x0b",
        "\x0c",
        "\x85",
        "\xa0",
        "\u2003",
        "\u2028",
        "\u3000",
        "\u200b",
        "\x00",
        "\ufffd",
        "\x1c",
        "\ufeff",
    ),
    *(
        "\u0301",
        "\u0327\u0301",
        "\U0001d15e",
        "\u302e",
        "\u1b44",
        "$^`",
        "\u061d",
        "\u2e52",
        "\U0002b820",
        "\uf900",
        "\U0002f800",
    ),
    *("\ue000", "\u0378", "\U000e0041", "\U00011938", "\u1734", "\u166d"),
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), CHARACTERS, st.text(CHARACTERS, max_size=5)), max_size=25).map("".join)


def trained_folder() -> str:
    """The folder of all-MiniLM-L6-v2, if the environment names it."""
    folder = os.environ.get("MINILM_TEST_MINILM_L6")
    if not folder:
        pytest.skip("MINILM_TEST_MINILM_L6 names no folder with the encoder all-MiniLM-L6-v2")
    return folder
