"""Generation with a key-value cache: cached and uncached logits, prompts of different lengths, a full context, beams."""

import numpy as np
import pytest

from minilm import generation, models, tokenizers
from tests.generation.fakes import Script

LETTERS = tokenizers.Character("abcdefgh \n")
V = LETTERS.vocab_size


def gpt(n_positions=32, **changes):
    settings = {"vocab_size": V, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": n_positions, **changes}
    model = models.GPT(models.GPTConfig(**settings), seed=1)
    rng = np.random.default_rng(2)
    for value in model.parameters.values():
        value[...] = 0.5 * rng.standard_normal(value.shape)
    return model


def uncached(model, ids, count):
    """Greedy, all of it computed anew for every token."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(model.logits(np.array([ids]))[0][0, -1].argmax()))
    return ids[-count:]


@pytest.mark.parametrize("changes", [{}, {"norm_first": False}, {"band": 3}])
@pytest.mark.parametrize("pieces", [(1,) * 9, (4, 1, 1, 3), (8, 1)])
def test_cached_logits_are_the_uncached_ones(changes, pieces):
    model = gpt(**changes).to(np.float64)
    ids = np.random.default_rng(3).integers(0, V, (2, 9))
    wanted, _ = model.logits(ids)
    state, found, start = model.initial_state(2), [], 0
    for count in pieces:
        logits, state = model.logits(ids[:, start : start + count], state)
        found.append(logits)
        start += count
    assert np.abs(np.concatenate(found, axis=1) - wanted).max() < 1e-12 * np.abs(wanted).max()
    logits, _ = model.logits(ids, last=True)
    assert np.abs(logits - wanted[:, -1]).max() < 1e-12 * np.abs(wanted).max()
    assert model.loss(ids[:, :-1], ids[:, 1:]) == pytest.approx(float(model.forward(ids[:, :-1], ids[:, 1:])[0]), rel=1e-12)


def test_prompts_of_different_lengths_are_read_side_by_side():
    model, prompts = gpt(), ["ab", "cafe bad", "h"]
    ids = [LETTERS.encode(prompt) for prompt in prompts]
    drawn = np.stack(list(generation.stream_ids(model, ids, 12, greedy=True)), axis=1)
    for row, prompt in zip(drawn, ids, strict=True):
        assert row.tolist() == uncached(model, prompt, 12)
    texts = generation.generate_many(model, LETTERS, prompts, 2, 12, greedy=True)
    assert texts[::2] == texts[1::2] == [LETTERS.decode(row) for row in drawn]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_recurrent_models_read_prompts_of_different_lengths_each_as_alone(cell):
    model, prompts = recurrent(cell), ["ab", "cafe bad", "h", "de", "a bad cafe"]
    ids = [LETTERS.encode(prompt) for prompt in prompts]
    drawn = np.stack(list(generation.stream_ids(model, ids, 12, greedy=True)), axis=1)  # (B, 12)
    for row, prompt in zip(drawn, ids, strict=True):
        assert row.tolist() == [int(id[0]) for id in generation.stream_ids(model, [prompt], 12, greedy=True)]
    sampled = np.stack(list(generation.stream_ids(model, ids, 12, seed=2)), axis=1)
    assert sampled[0].tolist() == [int(id[0]) for id in generation.stream_ids(model, ids[:1], 12, seed=2)]


def test_stop_strings_end_each_text_by_itself():
    model, prompts = gpt(), ["ab", "cafe bad", "h"]
    whole = generation.generate_many(model, LETTERS, prompts, 1, 20, greedy=True)
    stop = whole[0][3:5]
    cut = generation.generate_many(model, LETTERS, prompts, 1, 20, greedy=True, stop=stop)
    assert cut == [text.partition(stop)[0] for text in whole] and cut[0] != whole[0]


def recurrent(cell):
    config = models.RNNLanguageModelConfig(vocab_size=V, hidden_size=9, embedding_size=7, num_layers=2, cell=cell)
    model = models.RNNLanguageModel(config, seed=0)
    for value in model.parameters.values():
        value *= 3
    return model


@pytest.mark.parametrize("make", [gpt, *(lambda cell=cell: recurrent(cell) for cell in ("lstm", "gru", "rnn"))])
def test_a_state_may_be_continued_twice(make):
    """Both continuations go on as if there were no other: neither is written over."""
    model = make()
    _, state = model.logits(LETTERS.encode("bad")[None], last=True)
    continued = []
    for _ in range(2):
        for first in (1, 2):
            logits, after = model.step(np.array([first]), state)
            continued.append((first, [logits], after))
    for id in (3, 4, 5):
        for number, (first, logits, after) in enumerate(continued):
            more, after = model.step(np.array([id]), after)
            continued[number] = (first, [*logits, more], after)
    for first, logits, _ in continued:
        _, after = model.logits(LETTERS.encode("bad")[None], last=True)
        for id, found in zip((first, 3, 4, 5), logits, strict=True):
            wanted, after = model.step(np.array([id]), after)
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("changes", [{}, {"norm_first": False}, {"band": 3}, {"n_positions": 1}, {"n_positions": 2}], ids=str)
@pytest.mark.parametrize("prompts", [["abc"], ["abc", "h"], ["a", "bcdefg", "bcd", "efghabcd", "h"]])
def test_a_text_may_be_longer_than_the_context(prompts, changes):
    """And each is continued as if it stood alone, whatever padding its neighbours bring."""
    model = gpt(**{"n_positions": 8, **changes})
    context = model.context
    ids = [LETTERS.encode(prompt)[:context] for prompt in prompts]
    drawn = np.stack(list(generation.stream_ids(model, ids, 30, greedy=True)), axis=1)  # (B, 30)
    for prompt, row in zip(ids, drawn, strict=True):
        text, begin = [*prompt, *row], 0
        for n in range(len(prompt), len(text)):
            if n - begin > context:
                begin = n - 1 - context // 2  # the older half is forgotten
            logits, _ = model.logits(np.array([text[begin:n]]), last=True)
            assert text[n] == logits[0].argmax()


def test_drawn_texts_are_those_of_a_text_alone():
    """Row 0 is drawn by the same numbers alone and in company."""
    model, others = gpt(n_positions=8), [LETTERS.encode(text) for text in ("abcdefgh", "ab", "bcdef")]
    for first in ("h", "bad", "cafe bad"):
        first = LETTERS.encode(first)
        options = {"seed": 3, "temperature": 0.9, "top_p": 0.9}
        alone = [int(ids[0]) for ids in generation.stream_ids(model, [first], 40, **options)]
        assert [int(ids[0]) for ids in generation.stream_ids(model, [first, *others], 40, **options)] == alone


def test_a_state_of_some_of_the_texts_goes_on_as_each_alone():
    """Rows are taken twice, in another order, and without the longest one: padding and forgetting go with them."""
    model = gpt(n_positions=8).to(np.float64)
    texts = [LETTERS.encode(text) for text in ("a", "bcdefg", "bcd", "efgha")]
    ids, mask = generation.left_padded(texts)
    _, state = model.logits(ids, last=True, key_mask=mask)
    rows = np.array([2, 0, 0, 3])
    state = state.reorder(rows)
    alone = [model.logits(texts[row][None], last=True)[1] for row in rows]
    for number in range(20):
        drawn = np.random.default_rng(number).integers(0, V, len(rows))
        logits, state = model.step(drawn, state)
        for b, id in enumerate(drawn):
            wanted, alone[b] = model.step(np.array([id]), alone[b])
            assert np.abs(logits[b] - wanted[0]).max() < 1e-10 * np.abs(wanted).max()


@pytest.mark.parametrize("n_positions", [6, 32])
def test_beams_of_a_text_longer_than_the_context(n_positions):
    """Each found text has the log probability that its tokens have when they are fed one by one."""
    model, prompt = gpt(n_positions=n_positions).to(np.float64), LETTERS.encode("abc")
    for found in generation.beam_search(model, prompt, 12, 3):
        (logits, state), total = model.logits(prompt[None], last=True), 0.0
        for id in found.ids:
            total += logits[0, id] - np.log(np.exp(logits[0]).sum())
            logits, state = model.step(np.array([id]), state)
        assert found.log_probability == pytest.approx(total, rel=1e-10)


def test_a_prompt_longer_than_the_context():
    model, long = gpt(n_positions=8), LETTERS.encode("abcdefgha")
    with pytest.raises(ValueError, match="the prompt has 9 tokens, more than the model's context of 8"):
        generation.stream_ids(model, long[None])
    with pytest.raises(ValueError, match="the prompt has 9 tokens"):
        generation.beam_search(model, long)
    state = model.initial_state(1)
    with pytest.raises(ValueError, match="ids has 9 tokens a row, more than the context"):
        model.logits(long[None], state)
    _, state = model.logits(long[None, :5], state)
    with pytest.raises(ValueError, match="5 tokens and 4 more are too many for a context of 8"):
        model.logits(long[None, 5:], state)


def test_beam_search_equals_an_exhaustive_one():
    model, prompt = gpt(), LETTERS.encode("ab")
    found = generation.beam_search(model, prompt, 2, V)
    texts = np.stack(np.meshgrid(np.arange(V), np.arange(V), indexing="ij"), axis=-1).reshape(-1, 2)
    ids = np.concatenate([np.tile(prompt, (len(texts), 1)), texts], axis=1)
    logits = model.logits(ids)[0].astype(np.float64)  # (V V, 4, V)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    totals = log_p[np.arange(len(texts)), 1, texts[:, 0]] + log_p[np.arange(len(texts)), 2, texts[:, 1]]
    order = np.argsort(-totals)[:V]
    assert np.array_equal([hypothesis.ids for hypothesis in found], texts[order])
    assert np.allclose([hypothesis.log_probability for hypothesis in found], totals[order], atol=1e-5)


def test_what_is_refused():
    ids = [LETTERS.encode("ab"), LETTERS.encode("a")]
    with pytest.raises(ValueError, match="different lengths, which a Script cannot read side by side"):
        generation.stream_ids(Script([1], V), ids)
    with pytest.raises(ValueError, match=r"ids\[1\] must hold at least one token"):
        generation.stream_ids(gpt(), [ids[0], ids[0][:0]])
    bert = models.BERTForPreTraining(models.BERTConfig(vocab_size=V, hidden_size=4, num_attention_heads=1, num_hidden_layers=1))
    with pytest.raises(ValueError, match="a BERTForPreTraining does not write"):
        generation.stream_ids(bert, ids[:1])
