"""Generation from text to text: prompts, streams, stop strings, seeds, and the same tokens as without a carried state."""

import numpy as np
import pytest

import minilm
from minilm import generation, models, tokenizers
from minilm.generation import generate, generate_many, loop, stream, stream_ids
from minilm.random import Key
from tests.generation.fakes import Pairs, Script, random_pairs

LETTERS = tokenizers.Character("abcdefgh \n")
WORDS = tokenizers.WordLevel(("the", "cat", "dog", "sat", "."))


def script(text, tokenizer=LETTERS):
    return Script(tokenizer.encode(text).tolist(), tokenizer.vocab_size)


def rnn(cell="lstm", **settings):
    config = models.RNNLanguageModelConfig(vocab_size=LETTERS.vocab_size, cell=cell, embedding_size=6, hidden_size=9, **settings)
    model = models.RNNLanguageModel(config, seed=1)
    for value in model.parameters.values():
        value *= 3  # so that the text is no mere repetition
    return model


# --- text and pieces -------------------------------------------------------------------------------------------------


def test_generate_gives_the_continuation_alone():
    assert generate(script("cab"), LETTERS, "fed ", tokens=7) == "cabcabc"
    assert generate(script("cab"), LETTERS, "fed ", tokens=0) == ""
    assert generate(script("cab"), LETTERS, "fed ", tokens=1) == "c"


@pytest.mark.parametrize("options", [{}, {"greedy": True}, {"temperature": 0.7, "top_k": 4, "top_p": 0.9}, {"stop": ["ab", "h"]}])
def test_the_pieces_join_to_the_text(options):
    model = random_pairs(LETTERS.vocab_size)
    pieces = list(stream(model, LETTERS, "ab", 60, seed=3, **options))
    assert "".join(pieces) == generate(model, LETTERS, "ab", 60, seed=3, **options)
    assert all(pieces)


def test_a_piece_comes_with_its_token():
    model = script("cab")
    pieces = stream(model, LETTERS, "a", None)
    assert [next(pieces) for _ in range(5)] == list("cabca")


def test_words_go_on_where_the_prompt_ends():
    model = script("cat sat. dog", WORDS)
    assert generate(model, WORDS, "the", 3) == " cat sat ."
    assert generate(model, WORDS, "the ", 3) == "cat sat ."  # the prompt's space is there already
    assert generate(model, WORDS, "the\n", 3) == "cat sat ."
    assert generate(model, WORDS, "", 3) == "cat sat ."
    assert generate(script(".\nthe", WORDS), WORDS, "cat", 3) == " .\nthe"


@pytest.mark.parametrize(
    "tokenizer, first",
    [
        (WORDS, "<eos>"),
        (LETTERS, "\n"),
        (tokenizers.Character("!ab "), " "),
        (tokenizers.Character("cab"), "a"),
        (tokenizers.Character("ab\n", special_tokens=["<eos>"]), "\n"),
    ],
)
def test_an_empty_prompt_begins_a_line(tokenizer, first):
    V = tokenizer.vocab_size
    model = Pairs(np.zeros((V, V, V)))
    text = generate(model, tokenizer, tokens=5)
    read = np.ravel(model.read)
    assert tokenizer.id_to_token(read[0]) == first
    assert len(read) == 5 and text.startswith(tokenizer.decode(read[1:]))


def test_unknown_characters():
    with pytest.raises(ValueError, match=r"character 2: '€' \(U\+20AC\) is not in the vocabulary"):
        generate(script("a"), LETTERS, "ab€")
    with pytest.raises(ValueError, match="€"):  # at the call, before anything is printed
        stream(script("a"), LETTERS, "ab€")
    with pytest.raises(TypeError, match="text must be a str, got NoneType"):
        generate(script("a"), LETTERS, None)


# --- stop strings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, stop, text",
    [
        ("abcd", "c", "ab"),
        ("abcd", "bcd", "a"),  # three tokens
        ("abcd", "a", ""),
        ("abcd", "h", "abcdabcd"),
        ("aabaac", "aac", "aab"),  # the first a of aab might begin it, the second too
        ("aaab", "aab", "a"),
        ("abcd", ["d", "c"], "ab"),
        ("abcd", ["cd", "bc"], "a"),
        ("abcd", ["cd", "bcd"], "a"),  # both end with the same token
        ("abcd", ["bcdaX", "c"], "ab"),
        ("abcd", ["cdabh", "dabg"], "abcdabcd"),  # held back to the end, and then given
        ("abcd", (), "abcdabcd"),
    ],
)
def test_stop(written, stop, text):
    model = script(written)
    assert generate(model, LETTERS, "e", 8, stop=stop)[: len(text)] == text
    if len(text) < 8:
        assert generate(model, LETTERS, "e", 8, stop=stop) == text
        assert generate_many(model, LETTERS, "e", 2, 8, stop=stop) == [text, text]


def test_a_stop_crosses_the_borders_of_words():
    model = script("the dog sat . cat", WORDS)
    assert generate(model, WORDS, "the", 9, stop="t .") == " the dog sa"
    assert generate(model, WORDS, "the", 9, stop="g s") == " the do"
    assert generate(model, WORDS, "the", 9, stop=" the") == ""


def test_a_stream_holds_back_what_may_begin_a_stop():
    pieces = list(stream(script("abcabd"), LETTERS, "e", 9, stop="abd"))
    assert pieces == ["abc"]
    pieces = list(stream(script("abcabd"), LETTERS, "e", 5, stop="abd"))
    assert pieces == ["abc", "ab"]  # the end decides
    assert list(stream(script("ab"), LETTERS, "e", 4, stop="h")) == ["a", "b", "a", "b"]


def test_nothing_is_drawn_after_a_stop():
    model = Pairs(np.zeros((10, 10, 10)))
    text = generate(model, LETTERS, "a", None, stop=["a", "b", "c"], seed=2)
    assert len(model.read) == len(text) + 1  # the prompt, and each letter given


def test_wrong_stops():
    with pytest.raises(ValueError, match="stop must not be an empty string"):
        generate(script("a"), LETTERS, "a", stop=["b", ""])
    with pytest.raises(TypeError, match="stop must be a str or several, got int 3"):
        generate(script("a"), LETTERS, "a", stop=[3])


# --- seeds and batches -----------------------------------------------------------------------------------------------


def test_the_seed_decides():
    model = random_pairs(LETTERS.vocab_size)
    texts = [generate(model, LETTERS, "ab", 50, seed=seed) for seed in (0, 0, 1, 2**64 - 1)]
    assert texts[0] == texts[1] and len(set(texts)) == 3
    assert generate(model, LETTERS, "ab", 20, seed=0) == texts[0][:20]


def test_texts_do_not_depend_on_how_many_there_are():
    model = random_pairs(LETTERS.vocab_size)
    many = generate_many(model, LETTERS, "ab", 20, 30, seed=4)
    assert len(set(many)) == 20
    assert generate_many(model, LETTERS, "ab", 3, 30, seed=4) == many[:3]
    assert generate(model, LETTERS, "ab", 30, seed=4) == many[0]


def test_texts_side_by_side_stop_each_by_itself():
    model = random_pairs(LETTERS.vocab_size)
    whole = generate_many(model, LETTERS, "ab", 20, 40, seed=4)
    stopped = generate_many(model, LETTERS, "ab", 20, 40, seed=4, stop=["ca", "dd"])
    assert stopped == [min((text.partition("ca")[0], text.partition("dd")[0]), key=len) for text in whole]
    assert len(set(map(len, stopped))) > 5
    model.read.clear()
    short = generate_many(model, LETTERS, "ab", 3, 10_000, seed=4, stop=["a", "b", "c", "d"])
    assert len(model.read) == 2 + max(map(len, short)) < 100, "no token is drawn once all have ended"


def test_greedy():
    model = random_pairs(LETTERS.vocab_size)
    text = generate(model, LETTERS, "ab", 30, greedy=True)
    ids = LETTERS.encode("ab").tolist()
    for _ in range(30):
        ids.append(int(model.table[ids[-2], ids[-1]].argmax()))
    assert text == LETTERS.decode(ids[2:])
    assert generate(model, LETTERS, "ab", 30, temperature=0) == text
    assert generate(model, LETTERS, "ab", 30, top_k=1, seed=5) == text
    assert generate_many(model, LETTERS, "ab", 2, 30, greedy=True) == [text, text]


def test_suppressed_ids_are_never_drawn():
    model = random_pairs(LETTERS.vocab_size)
    text = generate(model, LETTERS, "ab", 300, suppress=LETTERS.encode("abc\n"))
    assert set(text) == set("defgh ")
    assert not {0, 1} & set(np.ravel(list(stream_ids(model, np.array([[2, 3]]), 200, suppress=(0, 1), greedy=True))))


# --- real models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("implementation", ["oracle", "cpu"])
def test_a_step_from_the_state_gives_what_the_whole_text_gives(cell, implementation):
    model = rnn(cell, num_layers=2, layer_norm=True, tied=True)
    with minilm.implementation(implementation):
        ids = LETTERS.encode("bad cab").tolist()
        drawn = [int(i) for (i,) in stream_ids(model, np.array([ids]), 25, seed=8, temperature=0.9)]
        for step, id in enumerate(drawn):
            logits, _ = model.logits(np.array([ids]))  # (1, T, V)
            assert generation.sample_ids(logits[:, -1], Key(8, step), 0.9)[0] == id
            ids.append(id)
    assert len(set(drawn)) > 3


@pytest.mark.parametrize("length", [1, 4, 5, 9])
def test_a_long_prompt_is_read_in_pieces(length, monkeypatch):
    model, ids = rnn("gru"), np.random.default_rng(0).integers(0, 10, (2, length))
    whole = model.logits(ids, last=True)[0]
    monkeypatch.setattr(loop, "WINDOW", 4)
    np.testing.assert_allclose(loop.read_prompt(model, ids)[0], whole, atol=1e-6)


def test_a_diverged_model_is_told():
    model = rnn()
    model.parameters["output.bias"][3] = np.nan
    with pytest.raises(ValueError, match="logits must have a finite largest number in every row, got nan"):
        generate(model, LETTERS, "ab")


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"tokens": -1}, ValueError, "tokens must lie in"),
        ({"tokens": 2.0}, TypeError, "tokens must be a whole number"),
        ({"seed": -1}, ValueError, r"seed must lie in \[0, 18446744073709551616\), got -1"),
        ({"temperature": -1}, ValueError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_p": 2}, ValueError, "top_p"),
        ({"temprature": 1}, TypeError, "temprature"),
    ],
)
def test_wrong_options(options, error, says):
    """Told at the call, not at the first piece."""
    for function in (generate, stream):
        with pytest.raises(error, match=says):
            function(script("a"), LETTERS, "a", **options)
    with pytest.raises(ValueError, match="count must lie in"):
        generate_many(script("a"), LETTERS, "a", 0)


def test_wrong_ids():
    for ids, error, says in (
        ([[1]], TypeError, r"ids\[0\] must be a numpy array"),
        (np.array([1]), ValueError, r"ids must have shape \(B, T\)"),
        (np.zeros((2, 0), int), ValueError, "at least one token"),
    ):
        with pytest.raises(error, match=says):
            stream_ids(script("a"), ids)
    with pytest.raises(ValueError, match=r"ids\[0, 1\] is 10, wanted an id in \[0, 10\)"):
        next(stream_ids(rnn(), np.array([[1, 10]])))
    with pytest.raises(ValueError, match="suppress"):
        next(stream_ids(rnn(), np.array([[1]]), suppress=(11,)))


def test_the_public_names():
    for name in generation.__all__:
        assert callable(getattr(generation, name))


@pytest.mark.parametrize("kind", ["rnn", "gpt"])
def test_a_stream_outlives_the_steps_in_which_it_is_asked(kind):
    config = models.GPTConfig.gpt2(vocab_size=7, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = rnn() if kind == "rnn" else models.GPT(config, seed=0)
    prompt, workspace = np.array([[1, 2, 3]]), minilm.Workspace(poison=True)
    alone = [ids.copy() for ids in stream_ids(model, prompt, 6, seed=0)]
    pieces, ids = stream_ids(model, prompt, 6, seed=0), []
    for _ in alone:
        with workspace.step():
            ids.append(next(pieces).copy())
        with workspace.step():
            minilm.ops.softmax.forward(np.ones((100, 100)))
    assert next(pieces, None) is None
    np.testing.assert_array_equal(ids, alone)


def test_what_is_no_tokenizer_is_named():
    with pytest.raises(TypeError, match=r"tokenizer must be a minilm.tokenizers.Tokenizer, got an array of shape \(3,\)"):
        generate(rnn(), np.array([1, 2, 3]), 4)
