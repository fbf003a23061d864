"""Peers stand beside minilm as well as they can run."""

import itertools
import time

import pytest

from benchmarks import peer_ops, peers


def test_an_engine_stands_with_the_threads_that_serve_it_best():
    """Of two engines the one whose calls take less time: one slow call decides nothing."""
    pauses = {1: [0.0, 0.05, 0.001, 0.001, 0.001, 0.001], 2: [0.0, 0.01, 0.01, 0.01, 0.01, 0.01]}

    def build(number):
        waits = itertools.cycle(pauses[number])

        def run():
            time.sleep(next(waits))
            return number

        return run

    assert peer_ops.quickest([build(1), build(2)])() == 1 and peer_ops.quickest([build(1)])() == 1
    pauses[1] = [0.05]
    assert peer_ops.quickest([build(1), build(2)])() == 2


@pytest.mark.parametrize(
    "has, including, takes_part", [((), (), False), (("avx512bf16",), (), True), ((), ("torch-bf16",), True)]
)
def test_a_peer_without_its_instructions_takes_part_only_by_name(monkeypatch, has, including, takes_part):
    """PyTorch emulates bfloat16 where the processor lacks it, and one such row outlasts all others of its suite."""
    monkeypatch.setattr(peers, "_processor_has", lambda feature: feature in has)
    here = peers.Peers(including=including)
    here._modules["torch"] = torch = object()
    assert (here.get("torch-bf16") is torch) == takes_part
    assert ("torch-bf16" in here.missing) != takes_part
