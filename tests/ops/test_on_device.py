"""The same tests on a real GPU, `pytest -m gpu`: kernels by CuPy, at sizes that the CPU playing one could not afford."""

import numpy as np
import pytest

from minilm import devices, generation, ops
from minilm.random import Key
from tests.cuda_on_cpu import test_mma
from tests.generation import test_on_device as writing
from tests.ops import gpu, test_tensor_cores
from tests.ops.properties import OPS, PAIRS, combinations, draw, label, pytest_combinations, same_bits
from tests.ops.rounding import UNIT
from tests.ops.test_gpu import agreement
from tests.training.test_cuda import SMALL, close, make, run, steps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not devices.gpu_status().available, reason=f"no GPU can be used: {devices.gpu_status().reason}"),
]


@pytest.mark.parametrize("name, options", pytest_combinations(OPS), ids=label)
def test_agreement_on_tiny_shapes(name, options):
    agreement(OPS[name], options)


@pytest.mark.parametrize("name", OPS)
def test_every_size_once(name):
    op = OPS[name]
    for letter, choices in op.dims.items():
        for size in choices[1:]:
            agreement(op, dims={**op.tiny(), letter: size})


@pytest.mark.parametrize("name", OPS)
def test_all_sizes_large_at_once(name):
    op = OPS[name]
    agreement(op, dims={letter: max(choice for choice in choices if choice <= 300) for letter, choices in op.dims.items()})


SLICED = [  # weights over several multiprocessors: usual sizes, odd ones, one row, and a batch of several tiles to a part
    {"T": 20, "B": 64, "D": 32, "H": 512},
    {"T": 9, "B": 19, "D": 5, "H": 509},
    {"T": 9, "B": 1, "D": 5, "H": 512},
    {"T": 5, "B": 300, "D": 5, "H": 128},
    {"T": 5, "B": 40, "D": 5, "H": 1024},
]


@pytest.mark.parametrize("dims", SLICED, ids=str)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_blocks_that_exchange_the_states(name, dims):
    """Version 3 agrees with the oracle, and gives the same bits however its blocks happen to meet."""
    op = OPS[name]
    for padded in (False, True):
        agreement(op, {"padded": padded, "reverse": padded}, dims, number=3)
    case = draw(op, np.float32, {**dims, "T": 100})
    with gpu.version(op, 3):
        first = gpu.run(op, case)
        for _ in range(5):
            same_bits(name, gpu.run(op, case), first)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_more_than_two_to_the_28_numbers(name):
    """Offsets of 32 bits would wrap: 6,000 rows of 50,257, of which the last are looked at."""
    op = OPS[name]
    case = draw(op, np.float32, {"N": 6_000, "V": 50_257})
    tail = {k: v[-3:] if isinstance(v, np.ndarray) and len(v) == 6_000 else v for k, v in case.arguments.items()}
    if "reduction" in tail:
        case.arguments["reduction"] = tail["reduction"] = "none"
    found, _, _ = gpu.forward(op, case.arguments)
    few, _, _ = gpu.forward(op, tail)
    assert np.array_equal(found[-3:], few)


@pytest.mark.parametrize("name", PAIRS)
def test_bits_repeat(name):
    op = OPS[name]
    for options in combinations(op):
        case = draw(op, np.float32, options=options)
        same_bits(name, gpu.run(op, case), gpu.run(op, case))


@pytest.mark.parametrize("kind", ["gpt", "lstm", "gru", "rnn"])
def test_training_steps_are_those_of_the_cpu(kind):
    on_host, _ = steps(make(kind))
    on_device, _ = steps(make(kind).to("cuda"))
    close(on_host, on_device)


@pytest.mark.skipif(not test_tensor_cores.available(), reason="its tensor cores have neither bfloat16 nor TF32")
def test_tensor_cores_are_as_published():
    """Lane layout and rounding of the instructions that the emulator plays: here is the proof."""
    test_mma.check_on_device()


@pytest.mark.skipif(not test_tensor_cores.available(), reason="its tensor cores have neither bfloat16 nor TF32")
@pytest.mark.parametrize("precision", UNIT)
@pytest.mark.parametrize("shape", [*test_tensor_cores.SHAPES, (2, 300, 300, 3, 64, 64), (2, 131, 300, 2, 128, 128)], ids=str)
def test_attention_on_tensor_cores(shape, precision):
    for options in ({}, {"sees": "causal", "dropout": 0.3}, {"padded": True}):
        options = {"sees": "all", "padded": False, "dropout": 0.0, **options}
        case = draw(test_tensor_cores.OP, np.float32, test_tensor_cores.dims(shape), options)
        with test_tensor_cores.precision_of(precision):
            found = gpu.run(test_tensor_cores.OP, case)
        # sums are taken in another order, and cut off where float32 would round
        test_tensor_cores.tight(found, case, precision, slack=4)


@pytest.mark.parametrize("kind", SMALL)
def test_steps_as_cuda_graphs_are_those_launched_kernel_by_kernel(tmp_path, kind):
    runs = [run(tmp_path / str(graphs), "cuda", *SMALL[kind], f"cuda_graphs={str(graphs).lower()}") for graphs in (False, True)]
    launched, graphed = (result.model.parameters.state_dict() for result in runs)
    for name, weights in launched.items():
        np.testing.assert_array_equal(graphed[name], weights, name)


def test_a_launch_of_a_graph_after_others_have_used_the_memory(tmp_path):
    """A graph works in memory of its own: validation between its launches, and lists of new arrays, change nothing."""
    plain = run(tmp_path / "plain", "cuda", *SMALL["gpt"], "cuda_graphs=true", "steps=30")
    between = run(tmp_path / "between", "cuda", *SMALL["gpt"], "cuda_graphs=true", "steps=30", "evaluate_every=3")
    for name, weights in plain.model.parameters.state_dict().items():
        np.testing.assert_array_equal(between.model.parameters.state_dict()[name], weights, name)


@pytest.mark.parametrize("kind", ["gpt", "short context", "lstm"])
def test_tokens_as_cuda_graphs_are_those_launched_kernel_by_kernel(kind):
    model = writing.MODELS[kind]().to("cuda")
    ids = [prompt[:3] for prompt in writing.PROMPTS] if kind != "lstm" else writing.PROMPTS[:1]
    plain = writing.drawn(model, ids, 40, seed=4)
    np.testing.assert_array_equal(writing.drawn(model, ids, 40, seed=4, cuda_graphs=True), plain)


@pytest.mark.parametrize("kind", ["smooth", "ties", "flat", "peaked", "ruled out", "far"])
@pytest.mark.parametrize("V", [2, 33, 3000, 50_257, 151_936])
def test_the_ids_that_are_drawn_are_those_of_the_cpu(V, kind):
    logits = writing.logits_of(kind, 64, V)
    there = devices.to_device(logits)
    for number, options in enumerate(writing.LIMITS):
        wanted = ops.sampling.forward(logits, Key(7, number), **options)
        found = devices.to_host(ops.sampling.forward(there, Key(7, number), **options))
        assert np.array_equal(found.ids, wanted.ids), options
        np.testing.assert_allclose(found.probability, wanted.probability, rtol=1e-6)


@pytest.mark.parametrize("options", writing.OPTIONS, ids=str)
@pytest.mark.parametrize("name", writing.MODELS)
def test_texts_are_those_of_the_cpu(name, options):
    model = writing.MODELS[name]()
    ids = np.stack([prompt[:3] for prompt in writing.PROMPTS]) if model.carries_state else writing.PROMPTS
    wanted = writing.drawn(model, ids, 40, **options), generation.beam_search(model, writing.PROMPTS[0], 12, 3)
    model.to("cuda")
    for cuda_graphs in (False, True):
        assert np.array_equal(writing.drawn(model, ids, 40, cuda_graphs=cuda_graphs, **options), wanted[0])
    found = generation.beam_search(model, writing.PROMPTS[0], 12, 3)
    assert [h.ids.tolist() for h in found] == [h.ids.tolist() for h in wanted[1]]
