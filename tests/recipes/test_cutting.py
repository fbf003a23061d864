"""The cutters of words of all recipes: combining marks and decimals belong to their words."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.recipes import cutting, squad, stories, vectors

CUTTERS = {
    "cutting": cutting.words,
    "squad": lambda text: [word.text for word in squad.words(text)],
    "vectors": lambda text: vectors.WORD.findall(text),
    "stories": stories.words_of,
}
WHOLE = [
    "हिन्दी",  # vowel signs and a virama
    unicodedata.normalize("NFD", "café"),
    "3.14",
    "1,000.5",
    "क्‍ष",  # a joiner of no width
    "می‌خواهم",  # and one that parts letters of a word
    "กำลัง",
    "مُحَمَّد",
    "\U00011103\U00011127",  # Chakma, beyond the first plane
]


@pytest.mark.parametrize("cut", CUTTERS.values(), ids=CUTTERS)
def test_words_stay_whole(cut):
    assert cut(" ".join(WHOLE)) == WHOLE
    assert [word for word in cut(", ".join(WHOLE) + "!") if word[0] not in ",!"] == (
        WHOLE if cut is not stories.words_of else [f"{word}," for word in WHOLE[:-1]] + WHOLE[-1:]
    )


@pytest.mark.parametrize("cut", CUTTERS.values(), ids=CUTTERS)
def test_a_full_stop_ends_a_sentence(cut):
    assert [word for word in cut("it was 1999. then 3.") if word != "."] == ["it", "was", "1999", "then", "3"]


def test_treebank_cuts_stay():
    text = "It isn't Anna's (well-made) film, v2.0 of 3.5-inch and/or -LRB- ... -- ``so''"
    assert cutting.words(text) == ("It is n't Anna 's ( well-made ) film , v2.0 of 3.5-inch and/or -LRB- ... -- `` so ''".split())
    assert cutting.words("❤️") == ["❤", "\ufe0f"] and cutting.words("a\u200bb") == ["a", "\u200b", "b"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1.,-/'n’t \u0301\u093fक\u200b()", max_size=20))
def test_nothing_is_lost_and_what_is_cut_stays_cut(text):
    once = cutting.words(text)
    assert "".join(once) == "".join(text.replace("’", "'").split())
    assert [(word.start, text[word.start : word.end]) for word in squad.words(text)] == [
        (word.start, word.text) for word in squad.words(text)
    ]
    assert "".join(word.text for word in squad.words(text)) == "".join(text.split())


def test_a_number_is_no_end_of_a_sentence():
    assert cutting.sentences("It is 3.14. Is it?") == ["It is 3.14.", "Is it?"]


def test_a_story_whose_answer_a_reader_cuts_otherwise():
    """The answer of bAbI's task 19 is a word with a comma, which stood nowhere among the words of a passage: IndexError."""
    story = stories.Story(("the way is n,w", "the well-made path"), "which way?", "n,w", (0,))
    assert squad.of_story(story).answers == ("n,w",) and squad.of_story(story).start == 11
    story = story._replace(answer="well-made", support=(1,))
    assert squad.of_story(story).answers == ("well-made",)
