"""The recipe `answer`: its stories, its files, and that it learns."""

import json
import re

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.recipes import squad, stories
from minilm.recipes.answer import Answer

# --- the built-in stories --------------------------------------------------------------------------------------------


def replayed(story):
    """Where each person is and each thing was, in order, by reading the sentences."""
    at, holder, track = {}, {}, {}
    for sentence in story.sentences:
        person, *_, last = sentence.rstrip(".").split()
        if last in stories.PLACES:
            at[person] = last
            for thing in [thing for thing, who in holder.items() if who == person]:
                track[thing].append(last)
        elif any(f" {verb} " in sentence for verb in stories.TAKE):
            assert last not in holder and person in at
            before = track.setdefault(last, [])
            assert not before or before[-1] == at[person], "a thing is taken where it lies"
            if not before:
                before.append(at[person])
            holder[last] = person
        else:
            assert holder.pop(last) == person
    return at, track


@pytest.mark.parametrize("task", [1, 2, 3])
def test_answers_follow_from_the_stories(task):
    found = stories.generate(task, 300, np.random.default_rng(task))
    least, most = stories.LENGTHS[task]
    for story in found:
        at, track = replayed(story)
        if task == 1:
            wanted = at[re.fullmatch(r"Where is (\w+)\?", story.question)[1]]
        elif task == 2:
            wanted = track[re.fullmatch(r"Where is the (\w+)\?", story.question)[1]][-1]
        else:
            thing, place = re.fullmatch(r"Where was the (\w+) before the (\w+)\?", story.question).groups()
            assert track[thing].count(place) == 1
            wanted = track[thing][track[thing].index(place) - 1]
        assert story.answer == wanted and least <= len(story.sentences) <= most
        assert len(story.support) == task or (task == 3 and len(story.support) == 2), story
        assert any(story.answer in story.sentences[i] for i in story.support)
    answers = [story.answer for story in found]
    assert set(answers) == set(stories.PLACES) and max(map(answers.count, set(answers))) < 0.35 * len(found)


def test_equal_seeds_give_equal_stories_and_no_story_is_in_both_parts():
    one, two = (Answer(task=1, examples=500).generate(3) for _ in range(2))
    assert one == two != Answer(task=1, examples=500).generate(4)
    train, validation = one
    assert len(train) == 500 and len(validation) > 800
    assert not {(s.sentences, s.question) for s in train} & {(s.sentences, s.question) for s in validation}


# --- it learns -------------------------------------------------------------------------------------------------------


def test_memory_network_on_task_1(tmp_path):
    recipe = Answer(examples=2000, steps=900)
    result = recipe.run(out=tmp_path / "run", progress=False)
    assert result.chance < 0.25 and result.metrics["exact_match"] > 0.9 > result.chance
    assert result.metrics["support_seen"] > 0.8
    assert (tmp_path / "run" / "hops.png").exists()
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("Anna went to the attic. Boris ran to the garden. Anna moved to the stable.\nWhere is Boris?") == "garden"
    for text, says in (
        ("Where is Anna?", "a story and then a question"),
        ("Anna flew to Paris. Where is Anna?", "'flew', 'paris'"),
    ):
        with pytest.raises(ValueError, match=says):
            again.answer(text)


def test_layerwise_task_2_beats_chance():
    result = Answer(task=2, examples=3000, steps=1500, tying="layerwise", linear_start=0.1, evaluate_examples=50).run(
        progress=False
    )
    assert result.metrics["exact_match"] > result.chance + 0.1


def test_reader_on_stories(tmp_path):
    recipe = Answer(model="reader", examples=600, steps=180, batch=16, hidden_size=24, embedding_size=24, evaluate_examples=50)
    result = recipe.run(out=tmp_path / "run", progress=False)
    assert result.metrics["exact_match"] > 3 * result.chance and result.metrics["f1"] >= result.metrics["exact_match"] - 1e-9
    given = recipes.open_run(tmp_path / "run").answer("Anna went to the attic. Where is Anna?")
    assert given and given in "Anna went to the attic."


def squad_file(path, examples):
    data = []
    for e in examples:
        asked = {"question": e.question, "answers": [{"text": e.answers[0], "answer_start": e.start}]}
        data.append({"paragraphs": [{"context": e.passage, "qas": [asked]}]})
    path.write_text(json.dumps({"version": "1.1", "data": data}, indent=1))
    return path


def test_bert_and_windows_on_squads_json(tmp_path):
    made = [squad.of_story(s) for s in stories.generate(1, 120, np.random.default_rng(0))]
    path = squad_file(tmp_path / "train.json", made)
    squad_file(tmp_path / "dev.json", made[:20])
    options = {"model": "bert", "hidden_size": 32, "num_layers": 1, "vocab_size": 200, "max_length": 20, "batch": 8}
    recipe = Answer(**options, steps=40, lr=2e-3)
    result = recipe.run(path, out=tmp_path / "run", progress=False)
    assert result.metrics["f1"] > result.chance
    again = recipes.open_run(tmp_path / "run")
    assert again.evaluate(made[:20]) == result.metrics


def test_pretrained_weights_are_begun_with_and_then_needed_no_more(tmp_path):
    import shutil

    from minilm import models, tokenizers

    made = [squad.of_story(s) for s in stories.generate(1, 30, np.random.default_rng(0))]
    path = squad_file(tmp_path / "stories.json", made)
    pieces = tokenizers.WordPiece.train_from_chunks(" ".join(e.passage + e.question for e in made), vocab_size=150)
    config = models.BERTConfig(
        vocab_size=pieces.vocab_size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=128,
    )  # fmt: skip
    pretrained = models.BERTForPreTraining(config, seed=5)
    pretrained.save_pretrained(tmp_path / "bert")
    pieces.save_pretrained(tmp_path / "bert")
    recipe = Answer(model="bert", weights=str(tmp_path / "bert"), steps=1, lr=1e-9, batch=4)
    with pytest.warns(UserWarning, match="lacks qa_outputs.weight"):
        recipe.run(path, out=tmp_path / "run", progress=False)
    words_ = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_allclose(recipe.model.parameters[words_], pretrained.parameters[words_], atol=1e-6)
    shutil.rmtree(tmp_path / "bert")
    again = recipes.open_run(tmp_path / "run")
    assert again.answer("Anna went to the attic. Where is Anna?") == recipe.answer("Anna went to the attic. Where is Anna?")


# --- spans and words -------------------------------------------------------------------------------------------------


def test_spans_and_windows():
    text = "It's 3.5 km, he said."
    found = squad.words(text)
    assert [word.text for word in found] == ["It's", "3.5", "km", ",", "he", "said", "."]
    assert all(text[word.start : word.end] == word.text for word in found)
    places = [(word.start, word.end) for word in found]
    assert squad.span_of(places, 5, 11) == (1, 2) and squad.span_of(places, 4, 5) is None
    assert squad.windows(5, 10) == [(0, 5)] and squad.windows(25, 10) == [(0, 10), (5, 15), (10, 20), (15, 25)]
    for count in range(1, 40):
        covered = {i for a, b in squad.windows(count, 7) for i in range(a, b)}
        assert covered == set(range(count))


def test_an_answer_late_in_a_long_passage_is_found_in_its_window():
    from minilm.recipes.reading import LSTMReading

    passage = " ".join(f"word{i}" for i in range(100))
    example = squad.Question(passage, "which?", ("word77 word78",), passage.index("word77"))
    recipe = Answer(max_length=20)
    recipe.prepare([example])
    reading = LSTMReading(recipe.vocabularies, recipe.facts, recipe.options)
    window, (first, last) = reading._training(example)
    assert passage[window.places[first][0] : window.places[last][1]] == "word77 word78"
    ids, _, spans, _ = reading.batch([example])
    assert ids.shape == (1, 20) and (spans == [[first, last]]).all()


@pytest.mark.parametrize("task", [1, 2, 3])
def test_stories_as_passages(task):
    for story in stories.generate(task, 50, np.random.default_rng(1)):
        made = squad.of_story(story)
        assert made.passage[made.start : made.start + len(story.answer)] == made.answers[0] == story.answer
        places = np.cumsum([0] + [len(s) + 1 for s in story.sentences])
        assert int(np.searchsorted(places, made.start, "right")) - 1 in story.support


# --- files -----------------------------------------------------------------------------------------------------------

BABI = "1 Mary moved to the bathroom.\n2 John went to the hallway.\n3 Where is Mary?\tbathroom\t1\n4 John left.\n5 Where is John?\thallway\t2\n1 Sandra sat.\n2 Who sat?\tSandra,Mary\t1\n"  # noqa: E501


def test_babi_files(tmp_path):
    path = tmp_path / "qa1_train.txt"
    path.write_text(BABI)
    found = stories.read_babi(path)
    assert found[0] == stories.Story(
        ("Mary moved to the bathroom.", "John went to the hallway."), "Where is Mary?", "bathroom", (0,)
    )
    assert found[1].sentences[-1] == "John left." and found[1].support == (1,)
    assert found[2].sentences == ("Sandra sat.",) and found[2].answer == "Sandra,Mary"
    train, validation = Answer().read(path)
    assert (len(train), len(validation)) == (2, 1)
    (tmp_path / "qa1_test.txt").write_text(BABI)
    assert [len(part) for part in Answer().read(path)] == [3, 3]
    recipe = Answer(steps=30, batch=2, hidden_size=8, restarts=2)
    result = recipe.run(path, progress=False)
    assert set(result.metrics) == {"exact_match", "support_seen"}
    assert (recipe.options["optimizer"], recipe.model.embed_dim, recipe.model.empty_place) == ("sgd", 8, True)
    assert recipe.model.linear_steps == 3  # a fifth of a restart's 15 steps, and not of all 30


def test_settings_of_real_stories_are_no_readers_and_grow_with_the_restarts(tmp_path):
    path = tmp_path / "qa1_train.txt"
    path.write_text(BABI[: BABI.index("1 Sandra")])
    wanted = {"auto": ("sgd", 1000), "memory": ("sgd", 1000), "reader": ("adam", 1000)}
    for model, expected in wanted.items():
        recipe = Answer(model=model)
        recipe.read(path)
        assert (recipe.options["optimizer"], recipe.options["steps"]) == expected
    recipe = Answer(restarts=3, lr=0.1)
    recipe.read(path)
    assert (recipe.options["steps"], recipe.options["lr"]) == (3000, 0.1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Mary moved.\n", ":1: got 'Mary moved.'; wanted a number"),
        ("1 Mary moved.\n3 Where?\ta\t1\n", ":2: got line 3 of a story; wanted 2"),
        ("1 Where?\ta\t1\n", ":1: a question before any sentence"),
        ("1 Mary moved.\n2 Where?\t\t1\n", ":2: the answer is empty"),
        ("1 Mary moved.\n2 \tbathroom\t1\n", ":2: "),
        ("1 Mary moved.\n2 Where?\tthe bathroom\t1\n", ":2: got the answer 'the bathroom'; wanted one word"),
        ("1 Mary moved.\n2 Where?\ta\t7\n", ":2: got the supporting line '7'"),
        ("1 Mary moved.\n2 Where?\ta\t1\tmore\n", ":2: got 4 columns"),
        ("1 Mary moved.\n2 ...\n", ":2: the sentence '...' has no words"),
        ("1 Mary moved.\n", "holds no question"),
        ("", "holds no question"),
    ],
)
def test_bad_babi_files(tmp_path, content, says):
    path = tmp_path / "stories.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        stories.read_babi(path)
    assert str(path) in str(raised.value)


def damaged(change):
    whole = {
        "data": [
            {
                "paragraphs": [
                    {"context": "A cat sat.", "qas": [{"question": "Who?", "answers": [{"text": "cat", "answer_start": 2}]}]}
                ]
            }
        ]
    }
    change(whole, whole["data"][0]["paragraphs"][0], whole["data"][0]["paragraphs"][0]["qas"][0])
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"data": [\n  {"paragraphs": oops}]}', ":2: not valid JSON"),
        ("[]", "data: wanted a list, got nothing"),
        (damaged(lambda w, p, q: q.update(question="Who \ud83d?")), "question: holds a lone surrogate, U+D83D"),
        (damaged(lambda w, p, q: p.pop("context")), "data[0].paragraphs[0].context: wanted a text, got nothing"),
        (damaged(lambda w, p, q: q.update(question="")), "data[0].paragraphs[0].qas[0]: the question is empty"),
        (damaged(lambda w, p, q: q.update(answers=[])), "qas[0]: has no answer"),
        (damaged(lambda w, p, q: q["answers"][0].update(answer_start=3)), "answers[0]: wanted 'cat' at 3 of the context"),
        (damaged(lambda w, p, q: q["answers"][0].update(answer_start="2")), "answer_start: wanted a whole number, got str"),
        (damaged(lambda w, p, q: q["answers"][0].update(text=" ")), "answers[0]: the answer is empty"),
        (damaged(lambda w, p, q: w.update(data=[])), "holds no question"),
    ],
)
def test_bad_json_files(tmp_path, content, says):
    path = tmp_path / "questions.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        squad.read_squad(path)
    assert str(path) in str(raised.value)


def test_questions_without_an_answer_are_left_out(tmp_path):
    path = tmp_path / "questions.json"
    more = {"question": "Why?", "answers": [], "is_impossible": True}
    path.write_text(damaged(lambda w, p, q: p["qas"].append(more)))
    assert [question.question for question in squad.read_squad(path)] == ["Who?"]


def test_the_command(tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["recipe", "answer", "--out", str(folder), "--quiet", "--steps", "60", "--set", "examples=200"]
    assert cli.main(argv) == 0
    assert "exact match" in capsys.readouterr().out
    assert cli.main(["try", str(folder), "Anna went to the attic. Where is Anna?"]) == 0
    assert capsys.readouterr().out.strip() in stories.PLACES
    (tmp_path / "bad.txt").write_text("1 x\n2 Where?\tthe house\t1\n")
    assert cli.main(["recipe", "answer", "--data", str(tmp_path / "bad.txt"), "--out", str(tmp_path / "other")]) == 2
    assert "bad.txt:2: got the answer" in capsys.readouterr().err


def test_real_stories_are_learned_from_in_a_hundred_passes_unless_steps_are_set(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text("1 Ada went home.\n2 Where is Ada?\thome\t1\n" * 640)
    recipe = Answer()
    recipe.read(path)
    assert recipe.options["steps"] == 100 * 640 // 32
    chosen = Answer(steps=7)
    chosen.read(path)
    assert chosen.options["steps"] == 7
