"""Gradients are summed and sent as they become final, and one that comes late is noticed."""

import numpy as np
import pytest

from minilm.distributed import Alone, Reduction, ShardedUpdate, Tree, reduction, sharding
from minilm.layers import LSTM, Linear
from minilm.ops import clip
from minilm.optimizers import SGD, Adam
from minilm.optimizers.base import Optimizer


@pytest.fixture
def summed(monkeypatch):
    """A layer of some buckets, and the reduction of its gradients over a number of micro-shards."""

    def make(leaves, **options):
        monkeypatch.setattr(reduction, "BUCKET", 64)
        layer = LSTM(5, 6, 2, seed=0)
        return layer, Reduction(Alone(), layer.parameters, Tree(leaves), **options)

    return make


def leaf_gradients(layer, number):
    drawn = np.random.default_rng(number)
    return [drawn.standard_normal(shape).astype(np.float32) for shape in layer.parameters.shapes.values()]


def backward(layer, gradients):
    """As a layer's backward: from the last parameter to the first."""
    for name, gradient in reversed(list(zip(layer.parameters, gradients, strict=True))):
        layer.parameters.entry(name).accumulate(gradient)


def step(layer, summing, extra=()):
    for leaf in range(summing.tree.leaves):
        with summing.leaf(leaf, "shapes"):
            backward(layer, leaf_gradients(layer, leaf))
            for name in extra:
                layer.parameters.entry(name).accumulate(np.ones(layer.parameters.shapes[name], np.float32))
    right = summing.finish()
    sums = layer.parameters.gradient_flat.copy()
    layer.parameters.zero_gradients()
    return right, sums


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8])
def test_the_sum_is_the_tree_s(summed, leaves):
    layer, summing = summed(leaves)
    terms = [leaf_gradients(layer, leaf) for leaf in range(leaves)]
    while len(terms) > 1:
        pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
        terms = [[a + b for a, b in zip(*pair, strict=True)] if len(pair) == 2 else pair[0] for pair in pairs]
    for _ in range(3):  # with buckets sent at the end, and then as they become final
        right, sums = step(layer, summing)
        assert right
        for name, part in layer.parameters.split(sums).items():
            assert part.tobytes() == terms[0][list(layer.parameters).index(name)].tobytes()


def test_buckets_are_sent_while_backward_goes_on(summed):
    layer, summing = summed(2)
    assert len(summing.buckets) > 5
    step(layer, summing)
    summing.trace = []
    step(layer, summing)
    events = [(what, bucket) for what, bucket, _ in summing.trace]
    sent = [bucket for what, bucket in events if what == "sent"]
    assert sent == list(range(len(summing.buckets)))  # the same order on all ranks
    assert events.index(("sent", 0)) < events.index(("backward over", -1))
    assert events[-1] == ("finished", -1)


def test_a_gradient_that_comes_late_is_noticed(summed):
    layer, summing = summed(2)
    last = list(layer.parameters)[-1]
    step(layer, summing)
    right, _ = step(layer, summing, extra=[last])
    assert not right
    summing.forget()
    right, expected = step(layer, summing, extra=[last])
    assert right
    for _ in range(2):
        right, sums = step(layer, summing, extra=[last])  # now it is known to come
        assert right and sums.tobytes() == expected.tobytes()
    right, sums = step(layer, summing)  # less often than known: it is waited for
    assert right and sums.tobytes() != expected.tobytes()


def test_the_norm_of_pieces_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(reduction, "BUCKET", 3 * sharding.CHUNK)
    layers = [Linear(300, 400, seed=0) for _ in range(2)]
    whole, pieces = (Adam(layer.parameters, 0.1, clip_norm=0.5) for layer in layers)
    summing = Reduction(Alone(), layers[1].parameters, Tree(1), whole=False, step=sharding.CHUNK)
    update = ShardedUpdate(summing, pieces)
    for number in range(3):
        gradient = np.random.default_rng(number).standard_normal(layers[0].parameters.flat.size).astype(np.float32)
        for layer in layers:
            layer.parameters.gradient_flat[...] = gradient
        norm = clip.norm(layers[0].parameters.gradient_flat)
        assert update.norm() == norm
        whole.step(0.1, norm=norm)
        update.step(0.1, norm)
        assert layers[0].parameters.flat.tobytes() == layers[1].parameters.flat.tobytes()
    assert {name: array.tobytes() for name, array in whole.state_dict().items()} == {
        name: array.tobytes() for name, array in pieces.state_dict().items()
    }


def test_chunks_are_those_of_the_norm():
    from minilm.ops.clip import cpu

    assert sharding.CHUNK == cpu.CHUNK


def test_state_is_kept_of_own_pieces_only():
    layer = Linear(10, 30, seed=0)
    optimizer = SGD(layer.parameters, 0.1, momentum=0.9)
    optimizer.shard([slice(64, 128), slice(0, 16)], lambda array: None)
    assert optimizer.state["momentum_buffer"].size == 80
    layer.parameters.gradient_flat[...] = 1
    before = layer.parameters.flat.copy()
    optimizer.step()
    moved = np.flatnonzero(layer.parameters.flat != before)
    assert moved.tolist() == [*range(16), *range(64, 128)]


def test_an_optimizer_that_mixes_numbers_is_refused():
    class Mixes(Optimizer):
        pass

    with pytest.raises(ValueError, match="Mixes updates no number by itself"):
        Mixes(Linear(2, 2, seed=0).parameters, 0.1).shard([slice(0, 4)], lambda array: None)
