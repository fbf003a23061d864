"""Encoder-decoders, memory network, reader and word2vec on a GPU, which the CPU plays here: the CPU's numbers, and no wait."""

import numpy as np
import pytest

from minilm import devices, models, optimizers
from minilm.generation.sequences import beam_targets, greedy_targets
from minilm.gradcheck.cases import encoder_decoders, question_answering, word_vectors
from minilm.models.spans import best_spans
from minilm.models.word_vectors import WordVectors
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

CASES = {
    f"{kind}, {label}": build
    for family in (encoder_decoders.MODELS, question_answering.MODELS, word_vectors.MODELS)
    for kind, cases in family.items()
    for label, build in cases.items()
}


def steps(build, device, count=3):
    """Losses and gradients of some steps, and the weights after them; and what waited for the GPU meanwhile."""
    model, inputs, options = build()
    optimizer = optimizers.AdamW(model.to(device).parameters, lr=1e-2, clip_norm=1.0)
    inputs, options = devices.to(device, (inputs, options))
    seen = []
    fake_cupy.waits.clear()
    with devices.ids_are_checked():
        for _ in range(count):
            loss, saved = model.forward(*inputs, **options)
            model.backward(saved)
            seen.append((loss, model.parameters.gradient_flat.copy(), optimizer.step()))
    waits = list(fake_cupy.waits)
    return devices.to_host((seen, model.parameters.state_dict())), waits


def close(a, b, rtol=1e-8, atol=1e-11):
    for (path, x), (_, y) in zip(gpu.leaves(a), gpu.leaves(b), strict=True):
        np.testing.assert_allclose(y, x, rtol=rtol, atol=atol, err_msg=path)


@pytest.mark.parametrize("case", CASES)
def test_training_steps_are_those_of_the_cpu_and_wait_for_nothing(case):
    on_host, _ = steps(CASES[case], "cpu")
    with gpu.emulated():
        on_device, waits = steps(CASES[case], "cuda")
    close(on_host, on_device)
    assert waits == []


@gpu.on_a_real_one
@pytest.mark.parametrize("case", CASES)
def test_training_steps_on_a_real_one(case):
    close(steps(CASES[case], "cpu")[0], steps(CASES[case], "cuda")[0], rtol=1e-6, atol=1e-9)


# --- what trained models are asked for --------------------------------------------------------------------------------

WRITERS = [
    "Seq2Seq, lstm, bahdanau",
    "Seq2Seq, gru, input feeding",
    "Seq2Seq, lstm, all of it",
    "Seq2Seq, gru, attention first, peeky",
    "Transformer, post-norm",
    "Transformer, learned positions, not tied",
]


def written(build, device):
    """Greedy targets, hypotheses, logits, loss and attention; and what waited for the GPU while targets were written greedily."""
    model, (source, inputs, targets), options = build()
    lengths = options["lengths"]
    model.to(device)
    limit = {"begin": 1, "end": 2, "tokens": 5}
    there = devices.to(device, (source, inputs, lengths))
    fake_cupy.waits.clear()
    greedy = greedy_targets(model, source, lengths, **limit)
    waits = list(fake_cupy.waits)
    beams = beam_targets(model, source, lengths, beams=3, **limit)
    found = {
        "greedy": greedy,
        "ids": [hypothesis.ids for each in beams for hypothesis in each],
        "scores": np.array([hypothesis.score for each in beams for hypothesis in each]),
        "logits": model.logits(*there),
        "loss": model.loss(*there[:2], devices.to(device, targets), there[2]),
    }
    if getattr(model.config, "attention", "its own") is not None:
        found["attention"] = model.attention(*there)
    return devices.to_host(found), waits


@pytest.mark.parametrize("case", WRITERS)
def test_what_is_written_is_what_the_cpu_writes(case):
    on_host, _ = written(CASES[case], "cpu")
    with gpu.emulated():
        on_device, waits = written(CASES[case], "cuda")
    close(on_host, on_device)
    assert len(waits) == 1, waits  # the ids of the five steps are read back together
    assert all(isinstance(ids, np.ndarray) for ids in on_device["greedy"])


@gpu.on_a_real_one
@pytest.mark.parametrize("case", WRITERS)
def test_what_is_written_on_a_real_one(case):
    close(written(CASES[case], "cpu")[0], written(CASES[case], "cuda")[0], rtol=1e-6, atol=1e-9)


def test_a_beam_search_reads_back_once_a_step():
    with gpu.emulated():
        model, (source, *_), options = CASES["Transformer, post-norm"]()
        model.to("cuda")
        counts = []
        for tokens in (2, 6):
            fake_cupy.waits.clear()
            beam_targets(model, source, options["lengths"], beams=2, begin=1, end=6, tokens=tokens, length_penalty=0.0)
            counts.append(len(fake_cupy.waits))
    assert counts[1] - counts[0] == 4, counts


def test_readings_of_a_memory_network_and_spans_of_a_reader():
    for case, ask in (("MemoryNetwork, adjacent", "read"), ("Reader, plain", "logits")):
        model, inputs, options = CASES[case]()
        given = (*inputs[:2], *([options["features"]] if "features" in options else []))
        wanted = getattr(model, ask)(*given)
        with gpu.emulated():
            model.to("cuda")
            found = getattr(model, ask)(*devices.to_device(given))
            spans = best_spans(*found) if ask == "logits" else None
            close(wanted, devices.to_host(found))
            with pytest.raises(TypeError, match="on the device"):
                getattr(model, ask)(*given)
            model.to("cpu")
        if spans is not None:
            np.testing.assert_array_equal(spans[0], best_spans(*wanted)[0])


def test_mistakes_are_told_where_ids_are_not_known_to_be_right():
    with gpu.emulated():
        model, (story, question, answers), _ = CASES["MemoryNetwork, adjacent"]()
        model.to("cuda")
        empty = np.zeros_like(story)
        with pytest.raises(ValueError, match="story 0 has none"):
            model.forward(*devices.to_device((empty, question, answers)))
        with pytest.raises(ValueError, match=r"story\[0, 0, 0\] is 99"):
            model.forward(*devices.to_device((np.full_like(story, 99), question, answers)))
        model, (passage, question, spans), options = CASES["Reader, no features"]()
        model.to("cuda")
        with pytest.raises(ValueError, match="spans must lie in the passage"):
            model.forward(*devices.to_device((passage, question, spans + 50)))
        model, (inputs, targets, negatives), _ = CASES["Word2Vec, cbow, small"]()
        model.to("cuda")
        with pytest.raises(ValueError, match="has no neighbour"):
            model.forward(*devices.to_device((np.full_like(inputs, -1), targets, negatives)))


@pytest.mark.parametrize("algorithm", ["skip-gram", "cbow"])
def test_words_are_trained_one_after_the_other_as_on_the_cpu(algorithm):
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 9, n) for n in (7, 1, 12, 5)]
    config = models.Word2VecConfig(vocab_size=9, size=6, algorithm=algorithm, negatives=2, window=2, subsample=0)

    def trained(device):
        model = models.Word2Vec(config, seed=0, dtype=np.float64).to(device)
        told = []
        losses = model.train(sentences, epochs=3, seed=1, lr=0.1, progress=told.append)
        assert told[-1].done == 1.0 and told[-1].words == 3 * 25
        vectors = WordVectors("abcdefghi", model.input.value)
        return losses, model.parameters.state_dict(), vectors.nearest("a", 3)

    losses, weights, near = trained("cpu")
    with gpu.emulated():
        on_device = trained("cuda")
    close((losses, weights), on_device[:2])
    assert [word for word, _ in near] == [word for word, _ in on_device[2]]


@pytest.mark.parametrize("algorithm", ["skip-gram", "cbow"])
def test_sentences_are_trained_side_by_side(algorithm):
    """Blocks run one after the other here: with a stream for each sentence in their order, with fewer in another."""
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 9, n) for n in (7, 1, 12, 5, 30, 8)]
    config = models.Word2VecConfig(vocab_size=9, size=40, algorithm=algorithm, negatives=2, window=2, subsample=0)

    def trained(device, **options):
        model = models.Word2Vec(config, seed=0, dtype=np.float64).to(device)
        return model.train(sentences, epochs=2, seed=1, lr=0.1, **options), model.parameters.state_dict()

    wanted = trained("cpu", streams=3)
    with gpu.emulated():
        close(wanted, trained("cuda", streams=6))
        losses, weights = trained("cuda", streams=2)
    assert losses == pytest.approx(wanted[0], rel=0.05)
    assert np.abs(weights["input"] - wanted[1]["input"]).max() > 1e-6, "another order of the sentences"
    with pytest.raises(ValueError, match="streams must lie in"):
        trained("cpu", streams=0)
