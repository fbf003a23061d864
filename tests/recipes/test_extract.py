"""The recipe extract: which sentence of a text says the most of it."""

import json

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.recipes.extract import Extract, Passage

SMALL = {"hidden_size": 12, "embedding_size": 12, "steps": 60, "lr": 1e-2, "dropout": 0.0, "word_dropout": 0.0}
CALLS = ("we propose a", "people like the", "there was a")


def passages(count, seed=0):
    """Texts of three sentences, in any order; the one that proposes something is the summary."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        nouns = rng.choice(["cat", "dog", "owl", "ant", "bee"], 3)
        sentences = [f"{call} {noun}." for call, noun in zip(CALLS, nouns, strict=True)]
        rows.append({"source": [sentences[i] for i in rng.permutation(3)], "target": [f"a {nouns[0]} is proposed", "we propose"]})
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_takes_the_sentence_and_opens_again(tmp_path):
    write(tmp_path / "train.jsonl", passages(60))
    write(tmp_path / "dev.jsonl", passages(20, 1))
    recipe = Extract(**SMALL)
    result = recipe.run(tmp_path, out=tmp_path / "run", progress=False)
    assert set(result.metrics) == {"rouge_1", "rouge_2", "rouge_l"} and result.metrics["rouge_l"] > result.chance + 0.1
    again = recipes.open_run(tmp_path / "run")
    text = "There was a bee. We propose a yak 2.5 times. People like the owl."
    assert again.answer(text) == recipe.answer(text) == "We propose a yak 2.5 times."
    assert again.explain(text).answer and again.explain(text, answer="People like the owl.").pieces[:2] == ["first+2", "last-0"]
    with pytest.raises(ValueError, match="a sentence of the text, such as 'There was a bee.', got 'x'"):
        again.explain(text, answer="x")
    assert again.answer("") == "" and cli.main(["try", str(tmp_path / "run"), text]) == 0


def test_it_learns_the_sentence_that_is_nearest_to_any_summary():
    passage = Passage.of(["One two three. Four five six. Seven."], ["x", "four five"])
    recipe = Extract()
    assert passage.sentences == ("One two three.", "Four five six.", "Seven.") and recipe.best(passage) == 1
    recipe.prepare([passage])
    ids, labels, lengths = recipe.batch([passage, passage])
    assert labels.tolist() == [0, 1, 0] * 2 and lengths.tolist() == [6, 6, 4] * 2  # two words of places, and the full stop
    words = recipe.vocabularies["words"]
    places = [[words.id_to_token(int(id)) for id in row[:2]] for row in ids[:3]]
    assert places == [["first+0", "last-2"], ["first+1", "last-1"], ["first+2", "last-0"]]


def test_sentences_of_a_list_stay_as_they_are(tmp_path):
    write(tmp_path / "one.jsonl", [{"source": ["No. 1 it is.", "B"], "target": "b"}] * 10)
    train, validation = Extract().read(tmp_path / "one.jsonl")
    assert train[0] == Passage(("No. 1 it is.", "B"), ("b",)) and (len(train), len(validation)) == (9, 1)


def test_built_in_and_tabbed_data(tmp_path):
    train, validation = Extract(examples=40).generate(0)
    assert len(train) + len(validation) == 40 and all(len(each.sentences) > 1 for each in train)
    (tmp_path / "pairs.tsv").write_text("".join(f"First {i}. Second {i}.\tsecond {i}\n" for i in range(20)))
    train, validation = Extract().read(tmp_path / "pairs.tsv")
    assert len(train) + len(validation) == 20 and len(train[0].sentences) == 2


@pytest.mark.parametrize("options", [{"examples": 1}, {"max_length": 2}, {"cell": "rnn"}])
def test_wrong_settings(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Extract(**options)
