"""Generation on a GPU, which the CPU plays here: the ids of the CPU, and a wait only where a block of them is read."""

import contextlib

import numpy as np
import pytest

from minilm import devices, generation, models, ops, tokenizers
from minilm.generation.sampling import probabilities, sample_ids
from minilm.random import Key
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

LETTERS = tokenizers.Character("abcdefgh \n")
V = LETTERS.vocab_size
PROMPTS = [LETTERS.encode("abc"), LETTERS.encode("defgh a")]  # of different lengths
OPTIONS = [{"greedy": True}, {"seed": 3}, {"seed": 5, "temperature": 0.8, "top_k": 4, "top_p": 0.9, "suppress": [0, 3]}]


def gpt(n_positions=64, **changes):
    settings = {"vocab_size": V, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": n_positions, **changes}
    model = models.GPT(models.GPTConfig(**settings), seed=1)
    rng = np.random.default_rng(2)
    for value in model.parameters.values():
        value[...] = 0.5 * rng.standard_normal(value.shape)
    return model


def recurrent(cell, **changes):
    config = models.RNNLanguageModelConfig(vocab_size=V, hidden_size=9, embedding_size=7, num_layers=2, cell=cell, **changes)
    model = models.RNNLanguageModel(config, seed=0)
    for value in model.parameters.values():
        value *= 3
    return model


MODELS = {
    "gpt": gpt,
    "short context": lambda: gpt(8),
    "post-norm": lambda: gpt(norm_first=False),
    "banded": lambda: gpt(band=3),
    "lstm": lambda: recurrent("lstm"),
    "gru": lambda: recurrent("gru"),
    "rnn": lambda: recurrent("rnn", tied=True, layer_norm=True),
}


@contextlib.contextmanager
def on_device(model):
    """The model where the CPU plays a GPU; what waited for it inside the block is in ``fake_cupy.waits``."""
    with gpu.emulated():
        model.to("cuda")
        fake_cupy.waits.clear()
        yield model


def drawn(model, ids, tokens, **options):
    return np.stack(list(generation.stream_ids(model, ids, tokens, **options)))  # (tokens, B)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_ids_are_those_of_the_cpu_and_are_read_in_blocks(name, options):
    make = MODELS[name]
    prompts = [np.stack([LETTERS.encode(text) for text in ("abca", "bcdh", "aaaa")])]
    for ids in [*prompts, PROMPTS]:
        wanted = drawn(make(), ids, 40, **options)
        with on_device(make()) as model:
            found = drawn(model, ids, 40, **options)
            assert fake_cupy.waits == ["get"] * 6  # after 1, 2, 4, 8, 16 and the last 9
            assert model.device == "cuda"
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", MODELS)
def test_cuda_graphs_draw_the_ids_of_the_cpu(name):
    """A prompt of one token: even a short context has room for a graph."""
    make, ids = MODELS[name], np.stack([LETTERS.encode("a"), LETTERS.encode("b")])
    options = OPTIONS[2]
    wanted = drawn(make(), ids, 20, **options)
    assert np.array_equal(drawn(make(), ids, 20, cuda_graphs=True, **options), wanted), "on a CPU they change nothing"
    with on_device(make()) as model:
        assert np.array_equal(drawn(model, ids, 20, cuda_graphs=True, **options), wanted)


def test_a_block_is_as_long_as_wanted_and_an_end_stops_the_work():
    with on_device(gpt()) as model:
        steps = []
        step = model.step
        model.step = lambda *arguments: steps.append(1) or step(*arguments)
        ids = generation.stream_ids(model, PROMPTS[0][None], None, block=3)
        for reads, done in ((1, 0), (2, 2), (2, 2), (3, 5), (3, 5), (3, 5), (4, 8)):
            next(ids)
            assert (len(fake_cupy.waits), len(steps)) == (reads, done)
    for wrong, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="block must"):
            generation.stream_ids(gpt(), PROMPTS[0][None], block=wrong)


def test_between_two_tokens_the_caller_s_ids_are_looked_at():
    """Ids are taken to be right only while the loop itself computes."""
    with on_device(gpt()) as model:
        for _ in generation.stream_ids(model, PROMPTS[0][None], 3):
            assert not devices.ids_checked()
            with pytest.raises(ValueError, match=r"ids\[0, 0\] is 99"):
                model.logits(devices.to_device(np.array([[99]])))


@pytest.mark.parametrize("stop", [None, "a", ["h", "\n"]])
def test_text_and_where_it_stops(stop):
    options = {"tokens": 30, "stop": stop, "seed": 4}
    prompts = ["abc", "hgfe d"]
    wanted = generation.generate_many(gpt(), LETTERS, prompts, 2, **options)
    assert stop is None or any(len(text) < 30 for text in wanted)
    with on_device(gpt()) as model:
        assert generation.generate_many(model, LETTERS, prompts, 2, **options) == wanted
        pieces = list(generation.stream(model, LETTERS, "abc", **options))
        assert "".join(pieces) == generation.generate(gpt(), LETTERS, "abc", **options)


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("name", ["gpt", "short context", "lstm", "gru"])
def test_beam_search_waits_once_a_token(name, end):
    make, options = MODELS[name], {"end": end, "length_penalty": 0.6}
    wanted = generation.beam_search(make(), PROMPTS[0], 12, 3, **options)
    with on_device(make()) as model:
        found = generation.beam_search(model, PROMPTS[0], 12, 3, **options)
        assert 1 <= len(fake_cupy.waits) <= 12 and set(fake_cupy.waits) == {"get"}
    assert [h.ids.tolist() for h in found] == [h.ids.tolist() for h in wanted]
    np.testing.assert_allclose([h.score for h in found], [h.score for h in wanted], rtol=1e-4)


def test_a_cache_is_allocated_once(monkeypatch):
    """Every step writes into the arrays of the first."""
    with on_device(gpt()) as model:
        stores = set()
        step = model.step

        def watched(ids, state):
            logits, after = step(ids, state)
            stores.update(array.data.ptr for array in (*after.cache._store.keys, *after.cache._store.values))
            return logits, after

        model.step = watched
        drawn(model, PROMPTS, 30)
        assert len(stores) == 2 * model.config.n_layer


def test_what_is_refused():
    with on_device(gpt()) as model:
        with pytest.raises(ValueError, match=r"ids\[0, 1\] is 99, wanted an id in \[0, "):
            next(generation.stream_ids(model, np.array([[0, 99]])))
        with pytest.raises(ValueError, match=r"suppress\[0\] is 99"):
            next(generation.stream_ids(model, PROMPTS[0][None], suppress=[99]))
        with pytest.raises(ValueError, match="the prompt has 65 tokens, more than the model's context of 64"):
            generation.stream_ids(model, np.zeros((1, 65), np.int64))
        with pytest.raises(TypeError, match="on the device"):
            model.logits(PROMPTS[0][None])
        model.parameters.flat[...] = float("nan")
        for options in ({"greedy": True}, {"top_k": 2}):
            with pytest.raises(ValueError, match="logits must have a finite largest number in every row, those of text 0"):
                drawn(model, PROMPTS[0][None], 20, **options)
        with pytest.raises(ValueError, match="finite largest number in every row, at token 0"):
            generation.beam_search(model, PROMPTS[0])


# --- the op ----------------------------------------------------------------------------------------------------------


def logits_of(kind, B, V):
    rng = np.random.default_rng(V)
    return {
        "smooth": lambda: 3 * rng.standard_normal((B, V)),
        "ties": lambda: rng.integers(-3, 4, (B, V)).astype(float),
        "flat": lambda: np.ones((B, V)),
        "peaked": lambda: 30 * rng.standard_normal((B, V)),
        "ruled out": lambda: np.where((np.arange(V) > 0) & (rng.random((B, V)) < 0.7), -np.inf, rng.standard_normal((B, V))),
        "far": lambda: rng.standard_normal((B, V)) - 1e9 * (rng.random((B, V)) < 0.5),
    }[kind]().astype(np.float32)


LIMITS = [
    {},
    {"temperature": 0},
    {"temperature": 1e-300},
    {"temperature": 1e300, "top_p": 0.3},
    {"top_k": 1},
    {"top_k": 40},
    {"top_p": 1e-9},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.95},
]


@pytest.mark.parametrize("kind", ["smooth", "ties", "flat", "peaked", "ruled out", "far"])
@pytest.mark.parametrize("V", [2, 33, 3000, 50_257])
def test_all_implementations_draw_the_same(V, kind):
    logits = logits_of(kind, 3, V)
    with gpu.emulated():
        there = devices.to_device(logits)
        for number, options in enumerate(LIMITS):
            key = Key(7, number)
            with devices.implementation("oracle"):
                wanted = ops.sampling.forward(logits, key, **options)
            assert (probabilities(logits, **options)[np.arange(3), wanted.ids] > 0).all()
            for found in (
                ops.sampling.forward(logits, key, **options),
                devices.to_host(ops.sampling.forward(there, key, **options)),
            ):
                assert np.array_equal(found.ids, wanted.ids), options
                np.testing.assert_allclose(found.probability, wanted.probability, rtol=1e-6)
            assert np.array_equal(sample_ids(logits, key, **options), wanted.ids)


def test_the_largest_vocabulary():
    logits = logits_of("smooth", 1, 151_936)
    with gpu.emulated():
        for options in ({}, {"temperature": 0.8, "top_k": 200, "top_p": 0.9}, {"top_p": 0.99}):
            found = ops.sampling.forward(devices.to_device(logits), Key(1), **options)
            assert np.array_equal(found.ids.get(), sample_ids(logits, Key(1), **options))


def test_every_token_of_a_nucleus_is_drawn_and_no_other():
    """4,000 texts of one distribution: what the kernel keeps is what `probabilities` says, and how often it is drawn too."""
    logits = np.repeat(logits_of("smooth", 1, 33), 4000, axis=0)
    options = {"temperature": 1.5, "top_k": 20, "top_p": 0.9}
    q = probabilities(logits[:1], **options)[0]
    with gpu.emulated():
        found = devices.to_host(ops.sampling.forward(devices.to_device(logits), Key(3), **options))
    counts = np.bincount(found.ids, minlength=33)
    assert not counts[q == 0].any() and (counts[q > 0] > 0).all()
    np.testing.assert_allclose(counts / 4000, q, atol=5 * np.sqrt(0.25 / 4000))
    np.testing.assert_allclose(found.probability, q[found.ids], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_row_without_a_distribution(bad, temperature):
    logits = np.zeros((3, 40), np.float32)
    logits[1] = bad if bad < 0 else logits[1]
    logits[1, 37] = bad
    with gpu.emulated():
        found = devices.to_host(ops.sampling.forward(devices.to_device(logits), Key(0), temperature, top_p=0.9))
    assert (found.ids < 0).tolist() == np.isnan(found.probability).tolist() == [False, True, False]
    with pytest.raises(ValueError, match=f"got {bad}"):
        sample_ids(logits, Key(0), temperature, top_p=0.9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_tokens_as_cuda_graphs_are_those_launched_kernel_by_kernel(kind, options):
    ids = PROMPTS[:1] if kind in ("lstm", "gru", "rnn") else PROMPTS
    ids = ids if kind != "short context" else [prompt[:3] for prompt in PROMPTS]
    with on_device(MODELS[kind]()) as model:
        plain = drawn(model, ids, 40, **options)
        before = fake_cupy.cuda.Graph.launched
        graphed = drawn(model, ids, 40, **options, cuda_graphs=True)
        launched = fake_cupy.cuda.Graph.launched - before
    np.testing.assert_array_equal(graphed, plain)
    expected = {"banded": 0, "short context": 0}.get(kind, 38)
    assert launched == expected


@pytest.mark.parametrize(
    ("prompts", "least"),
    [([PROMPTS[1], PROMPTS[1][::-1]], 41), (PROMPTS, 11)],  # texts of different lengths fill the context at different times
    ids=["equal", "different"],
)
def test_graphs_end_where_the_context_is_full_and_begin_again(prompts, least):
    wanted = drawn(gpt(24), prompts, 60, seed=4)
    with on_device(gpt(24)) as model:
        plain = drawn(model, prompts, 60, seed=4)
        before = fake_cupy.cuda.Graph.launched
        graphed = drawn(model, prompts, 60, seed=4, cuda_graphs=True)
        assert least <= fake_cupy.cuda.Graph.launched - before < 58
    np.testing.assert_array_equal(plain, wanted)
    np.testing.assert_array_equal(graphed, plain)
