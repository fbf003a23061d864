"""What ranks say to each other, by MPI and by NCCL: sums, pieces, and halves of the bits."""

import numpy as np
import pytest

from minilm import devices, distributed
from minilm.distributed import Alone, Node, Tree
from minilm.distributed.bfloat16 import narrowed, widened
from tests.distributed import launch

SUMS = """
import numpy as np
from minilm import distributed
from minilm.distributed import Node, Tree

def leaves(S, n):
    return np.random.default_rng(3).standard_normal((S, n)).astype(np.float32)

def partial(tree, rank, S, n):
    return [fold(tree, [Node(i, i + 1) for i in range(*node)], leaves(S, n)[node.start:node.stop]) for node in tree.nodes(rank)]

def fold(tree, nodes, terms):
    terms = list(terms)
    for into, number in tree.additions(nodes):
        terms[into] = terms[into] + terms[number]
    return terms[0]

with distributed.job() as ranks:
    assert ranks.name == "mpi" and ranks.size == 3
    assert ranks.exchange([ranks.rank, 0.5]).tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert ranks.broadcast(b"x" * 70000 if ranks.rank == 0 else None) == b"x" * 70000
    assert distributed.first_alone(lambda: [ranks.rank, {"a": np.float32(0.5)}]) == [0, {"a": 0.5}]
    pending = []
    for S in (3, 5, 8):
        for n in (1, 7, 5000):
            tree, cuts = Tree(S, 3), [0, n // 3, n // 2, n]
            expected = fold(Tree(S), [Node(i, i + 1) for i in range(S)], leaves(S, n))
            partials = partial(tree, ranks.rank, S, n)
            whole, pieces, half = (partials[-1].copy() for _ in range(3))
            pending.append((ranks.all_reduce([*partials[:-1], whole], whole, cuts, tree, "float32"), whole, expected, "float32"))
            ranks.reduce_scatter([*partials[:-1], pieces], pieces, cuts, tree, "float32").wait()
            own = slice(cuts[ranks.rank], cuts[ranks.rank + 1])
            assert pieces[own].tobytes() == expected[own].tobytes()
            pending.append((ranks.all_reduce([*partials[:-1], half], half, cuts, tree, "bf16"), half, expected, "bf16"))
    for request, result, expected, wire in reversed(pending):  # whichever is waited for first
        request.wait()
        if wire == "float32":
            assert result.tobytes() == expected.tobytes()
        else:
            assert result.tobytes() != expected.tobytes()
            scale = np.abs(leaves(8, len(expected))).sum(axis=0)
            assert (np.abs(result - expected) <= 2**-8 * scale).all()
"""


def test_mpi_sums_in_the_order_of_the_tree():
    launch.run(3, "-c", SUMS)


NCCL = """
import numpy as np
from minilm import devices, distributed
from minilm.distributed import Tree
from tests.distributed import fake_nccl

with fake_nccl.installed(), distributed.job() as ranks:
    gpus, n = ranks.on("cuda"), 1000
    assert gpus.name == "nccl" and not gpus.exact and ranks.on("cuda") is gpus and ranks.on("cpu") is ranks
    terms = np.random.default_rng(0).standard_normal((6, n)).astype(np.float32)
    tree, cuts = Tree(6, 2), [0, 500, n]
    own = tree.nodes(ranks.rank)
    partials = [terms[node.start:node.stop].sum(axis=0) for node in own]
    for wire, within in (("float32", 1e-5), ("bf16", 1e-1)):
        *first, last = devices.to_device(partials)
        gpus.all_reduce([*first, last], last, cuts, tree, wire).wait()
        np.testing.assert_allclose(devices.to_host(last), terms.sum(axis=0), atol=within)
        *first, last = devices.to_device(partials)
        gpus.reduce_scatter([*first, last], last, cuts, tree, wire).wait()
        piece = slice(cuts[ranks.rank], cuts[ranks.rank + 1])
        np.testing.assert_allclose(devices.to_host(last)[piece], terms.sum(axis=0)[piece], atol=within)
        gpus.all_gather(last, cuts).wait()
        np.testing.assert_allclose(devices.to_host(last), terms.sum(axis=0), atol=within)
    assert fake_nccl.calls.count("allReduce") == 2 and {"reduce", "broadcast"} <= set(fake_nccl.calls)
    assert fake_nccl.calls.count("groupStart") == fake_nccl.calls.count("groupEnd") == 6
"""


def test_nccl_on_gpus_that_the_cpu_plays():
    launch.run(2, "-c", NCCL)


TRAINED = """
import sys
import numpy as np
from minilm import distributed, training
from tests.distributed import fake_nccl

folder, corpus = sys.argv[1:]
shared = {"corpus": corpus, "micro_shards": 2, "batch": 4, "time": 8, "steps": 4, "sample": {"tokens": 0}}
model = {"model": {"embedding_size": 6, "hidden_size": 10, "dropout": 0.2}, "optimizer": {"clip_norm": 0.5}}
with fake_nccl.installed(), distributed.job() as ranks:
    for name, more in (("whole", {}), ("pieces", {"shard_optimizer": True})):
        config = training.configuration(options={**shared, **model, **more, "device": "cuda"})
        training.train(config, out=f"{folder}/{name}")
config = training.configuration(options={**shared, **model})
if ranks.rank == 0:
    expected = training.train(config, out=f"{folder}/cpu").model.parameters.flat
    for name in ("whole", "pieces"):
        np.testing.assert_allclose(training.load_run(f"{folder}/{name}").model.parameters.flat, expected, rtol=2e-3, atol=3e-5)
"""


@pytest.mark.slow
def test_training_on_gpus_that_the_cpu_plays(corpus, tmp_path):
    launch.run(2, "-c", TRAINED, tmp_path, corpus)


@pytest.mark.gpu
def test_nccl_on_two_gpus():
    """The sums of `NCCL` where there are two GPUs."""
    status = devices.gpu_status()
    if not status.available:
        pytest.skip(f"no GPU can be used: {status.reason}")
    import cupy

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there are not two GPUs")
    program = NCCL.replace("with fake_nccl.installed(), ", "with ").partition("    assert fake_nccl")[0]
    launch.run(2, "-c", program)


def test_alone():
    assert distributed.current() is distributed.current().on("cuda")
    alone, out = Alone(), np.arange(4.0)
    alone.all_reduce([out], out, [0, 4], Tree(3), "float32").wait()
    assert out.tolist() == [0, 1, 2, 3] and alone.exchange([1]).tolist() == [[1]]
    assert distributed.first_alone(lambda: object) is object
    with distributed.job() as ranks:  # no launcher: a job of one process, without MPI
        assert ranks.name == "none"


def test_halves_of_the_bits_are_pytorchs():
    torch = pytest.importorskip("torch")
    drawn = np.random.default_rng(0)
    x = (drawn.standard_normal(5000) * 10.0 ** drawn.integers(-40, 38, 5000)).astype(np.float32)
    x = np.concatenate([x, np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38], np.float32)])
    np.testing.assert_array_equal(widened(narrowed(x)), torch.from_numpy(x).bfloat16().float().numpy())


def test_the_root_is_its_own_parent():
    assert Tree(6).additions([Node(0, 4), Node(4, 6)]) == [(0, 1)]
    assert Tree(6).additions([Node(0, 2), Node(4, 6)]) == []
