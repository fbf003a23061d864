"""DPO: its loss from its definition, its gradient by differences, and that it teaches; masked targets of a chat."""

import numpy as np
import pytest

from minilm import models, optimizers
from minilm.generation.chat import ChatML, training_ids
from minilm.models.preference import DPO, Answer, Pair
from minilm.tokenizers import ByteLevelBPE

SIZES = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}


def llama(seed, dtype=np.float64):
    config = models.LlamaConfig(**SIZES, max_position_embeddings=16, initializer_range=0.5)
    return models.Llama(config, seed=seed, dtype=dtype)


def pairs(count=2):
    rng, result = np.random.default_rng(3), []
    for _ in range(count):
        answers = []
        for length in (5, 8):
            ids = rng.integers(0, 11, (1, length + 1))
            targets = ids[:, 1:].copy()
            targets[:, :2] = -100  # the prompt
            answers.append(Answer(ids[:, :-1], targets))
        result.append(Pair(*answers))
    return result


def log_probability(model, answer):
    logits, _ = model.logits(answer.ids)
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return sum(logp[0, t, target] for t, target in enumerate(answer.targets[0]) if target >= 0)


def test_the_loss_is_its_definition():
    model, reference = llama(0), llama(1)
    loss, _ = DPO(model, reference, beta=0.3).forward(pairs())
    wanted = []
    for better, worse in pairs():
        margins = [log_probability(model, each) - log_probability(reference, each) for each in (better, worse)]
        wanted.append(np.log1p(np.exp(-0.3 * (margins[0] - margins[1]))))
    assert loss == pytest.approx(np.mean(wanted), rel=1e-10)


def test_the_gradient_is_that_of_differences():
    model, reference = llama(0), llama(1)
    dpo, flat = DPO(model, reference, beta=0.3), model.parameters.flat
    dpo.backward(dpo.forward(pairs())[1])
    direction = np.random.default_rng(4).standard_normal(flat.size) * (flat != 0)
    slope, start = model.parameters.gradient_flat @ direction, flat.copy()
    ends = []
    for sign in (1, -1):
        flat[...] = start + sign * 1e-6 * direction
        ends.append(dpo.forward(pairs())[0])
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_it_teaches_and_starts_at_log_2():
    model, reference, data = llama(0), llama(0), pairs(3)
    dpo, adam = DPO(model, reference), optimizers.Adam(model.parameters, lr=0.02)
    losses = []
    for _ in range(20):
        loss, saved = dpo.forward(data)
        dpo.backward(saved)
        adam.step()
        losses.append(loss)
    assert losses[0] == pytest.approx(np.log(2)) and losses[-1] < 0.2


def test_an_answer_without_tokens_is_refused():
    answer = Answer(np.zeros((1, 2), int), np.full((1, 2), -100))
    with pytest.raises(ValueError, match="has no token that counts"):
        DPO(llama(0), llama(0)).forward([Pair(answer, answer)])


def test_a_chat_s_targets_are_what_the_assistant_wrote():
    tokenizer = ByteLevelBPE.train_from_chunks(["a b c"], vocab_size=257)
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "so"}]
    ids, targets = training_ids(tokenizer, ChatML(), messages)
    assert tokenizer.decode(ids[0]) == ChatML().text(messages, reply=False)[:-1]
    assert tokenizer.decode(targets[targets != -100]) == "yes<|im_end|>"
    first = int(np.flatnonzero(targets[0] != -100)[0])
    assert tokenizer.decode(ids[0, : first + 1]).endswith("<|im_start|>assistant\n")


def test_a_chat_without_an_answer_has_nothing_to_learn():
    tokenizer = ByteLevelBPE.train_from_chunks(["a b c"], vocab_size=257)
    with pytest.raises(ValueError, match="none of the assistant's"):
        training_ids(tokenizer, ChatML(), [{"role": "user", "content": "hi"}])


def test_a_chat_s_ids_are_those_of_its_whole_text():
    """Line ends with which a message begins are in a token with the line end before them; but not where an answer begins."""
    tokenizer = ByteLevelBPE.train_from_chunks(["\n" * 18], vocab_size=258)
    messages = [
        {"role": "user", "content": "\n\nhi"},
        {"role": "assistant", "content": "\n\nyes"},
        {"role": "user", "content": "\n\nso"},
    ]
    ids, targets = training_ids(tokenizer, ChatML(), messages)
    prompt = tokenizer.encode(ChatML().text(messages[:1]), add_special_tokens=False)
    assert len(tokenizer.encode("\n\n")) == 1 and np.array_equal(ids[0, : len(prompt)], prompt)
    assert (targets[0, : len(prompt) - 1] == -100).all() and targets[0, len(prompt) - 1] == ids[0, len(prompt)]
    assert tokenizer.decode(targets[targets != -100]) == "\n\nyes<|im_end|>"
    rest = tokenizer.encode("\n" + ChatML().text(messages[2:], reply=False)[:-1], add_special_tokens=False)
    assert np.array_equal(ids[0, -len(rest) :], rest)
