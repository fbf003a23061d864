"""Memory of a long run: ``python -m tests.training.long_run --steps 20000`` trains an LSTM and a GPT, and says what was resident.

Once after a tenth of the steps, when every buffer has been made, and once at the end; a checkpoint every hundred steps, a row of
the log every ten, dropout and validation are on.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile

from minilm import training

SMALL = {"batch": 4, "time": 16, "log_every": 10, "evaluate_every": 500, "checkpoint_every": 100, "sample": {"tokens": 0}}
MODELS = {
    "lstm": {"embedding_size": 8, "hidden_size": 16, "dropout": 0.2},
    "gpt": {"model_type": "gpt", "n_layer": 2, "n_embd": 16, "n_head": 2, "resid_pdrop": 0.2},
}


def resident() -> float:
    """MiB of this process that are in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch(training.Callback):
    """Looks at the memory after a tenth of the steps, and after the last one: what follows, such as a plot, is no step."""

    def __init__(self, steps: int):
        self.sizes, self._steps = [], (steps // 10, steps)

    def on_step_end(self, loop) -> None:
        if loop.state.step in self._steps:
            gc.collect()
            self.sizes.append(resident())


def sizes(name: str, steps: int) -> list[float]:
    """MiB after a tenth of a run's steps, and after all of them."""
    watch = Watch(steps)
    with tempfile.TemporaryDirectory() as folder:
        options = {"corpus": "stories", "steps": steps, **SMALL, "model": MODELS[name], "schedule": {"name": "constant"}}
        training.train(training.configuration(options=options), out=os.path.join(folder, "run"), callbacks=[watch])
    return watch.sizes


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.training.long_run", description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20_000)
    args = parser.parse_args()
    for name in MODELS:
        early, late = sizes(name, args.steps)
        print(f"{name:<6}{early:8.1f} MiB after {args.steps // 10:,} steps{late:8.1f} MiB after {args.steps:,}", flush=True)


if __name__ == "__main__":
    main()
