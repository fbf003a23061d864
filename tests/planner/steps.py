"""Plans against steps that are taken on this machine: ``python -m tests.planner.steps``, on a quiet one."""

from __future__ import annotations

import time

import numpy as np

from minilm import models, planner
from minilm.planner import cluster
from minilm.planner.training_plan import plan, planned_config
from minilm.random import Key
from minilm.training.build import make_optimizer
from minilm.training.step import Step, counts

SECONDS = 2.0  # for each
LAYERS = ["model.num_hidden_layers=6", "model.num_attention_heads=8", "model.num_key_value_heads=4"]
CASES = {
    "lstm 256": ("lstm", 100, ["batch=32", "time=64", "model.hidden_size=256"]),
    "lstm 512, 2 layers": ("lstm", 100, ["batch=32", "time=64", "model.hidden_size=512", "model.num_layers=2"]),
    "gru 384": ("gru", 100, ["batch=32", "time=64", "model.hidden_size=384"]),
    "gpt 128, 4 blocks": ("gpt", 100, []),
    "gpt 256, 6 blocks": ("gpt", 100, ["time=128", "model.n_embd=256", "model.n_layer=6", "model.n_head=8"]),
    "gpt 128, V 50,257": ("gpt", 50_257, []),
    "llama 128, 4 layers": ("llama", 100, []),
    "llama 256, 6 layers": ("llama", 100, ["time=128", "model.hidden_size=256", "model.intermediate_size=704", *LAYERS]),
}


def measured(config, vocabulary: int) -> tuple[float, float]:
    """Seconds of a step, the lower quartile, and bytes of its buffers with weights, gradients and the optimizer's."""
    model = models.from_config({**config.model, "vocab_size": vocabulary}, seed=0)
    step, rng, times = Step(model, make_optimizer(config, model.parameters)), np.random.default_rng(0), []
    ids = rng.integers(0, vocabulary, (config.batch, config.time + 1))
    batch = ids[:, :-1].copy(), ids[:, 1:].copy()
    state = model.initial_state(config.batch) if model.carries_state else None
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 4:
        begin = time.perf_counter()
        step(batch, state, [Key(0, len(times))], counts(model, batch, 1), 1e-4)
        times.append(time.perf_counter() - begin)
    return float(np.percentile(times[2:], 25)), step.workspace.nbytes + 4 * model.parameters.flat.nbytes


def main() -> None:
    """Print a table."""
    machine = planner.Machine.measure()
    print(machine.summary())
    print(f"{'':<20}{'planned':>10}{'measured':>10}{'ratio':>7}    {'planned':>10}{'measured':>10}{'ratio':>7}")
    for name, (kind, vocabulary, sets) in CASES.items():
        config, _ = planned_config(kind, sets)
        result = plan(config, vocabulary, cluster.of_machine(machine, 1))
        seconds, size = measured(config, vocabulary)
        times = f"{1e3 * result.step:>7.1f} ms{1e3 * seconds:>7.1f} ms{result.step / seconds:>7.2f}"
        print(
            f"{name:<20}{times}    {result.needed / 2**20:>6.0f} MiB{size / 2**20:>6.0f} MiB{result.needed / size:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
