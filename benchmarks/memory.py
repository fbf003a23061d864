"""Peak memory of a training step, each library in a process of its own.

What counts is all that training needs beyond the library itself: parameters, gradients, activations, temporaries. The
process imports its library and takes a step at a tiny size (compiled kernels, thread pools, the BLAS's own buffers); from
there the rise of the peak of resident memory over three steps at full size is the figure. Linux only: the kernel's own
record (VmHWM) is reset through /proc/self/clear_refs, so nothing is sampled and nothing missed.
"""

from __future__ import annotations

import gc
import json
import os
import sys

import numpy as np

from benchmarks.fresh import measured

SHAPES = {  # subject -> (B, T, D, H), tiny and full
    "LSTM": ((2, 3, 4, 4), (64, 128, 512, 512)),
    "GRU": ((2, 3, 4, 4), (64, 128, 512, 512)),
    "RNN": ((2, 3, 4, 4), (64, 128, 512, 512)),
    "char_lm": ((2, 3), (32, 64)),
    "word_lm": ((2, 3), (20, 35)),
}
STEPS = 3


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status holds no {field}")


def available() -> bool:
    """Whether the system keeps and resets the record this needs."""
    return sys.platform == "linux" and os.access("/proc/self/clear_refs", os.W_OK)


def rise(make_step, steps: int = STEPS) -> int:
    """Bytes by which the peak of resident memory rises while `make_step()` and some steps of it run."""
    gc.collect()
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # VmHWM starts again from VmRSS
    step = make_step()
    for _ in range(steps):
        step()
    return resident("VmHWM") - before


def maker(library: str, subject: str, size: tuple, quick: bool, threads: int | None):
    """A function that builds the whole of `subject` in one library and returns its step."""
    from benchmarks import cases_models, peer_models, peers
    from minilm import devices, models

    if threads:
        devices.set_threads(threads)
    torch = peers.Peers(threads=devices.threads()).get("torch") if library == "torch" else None
    rng = np.random.default_rng(0)
    if subject.isupper():
        B, T, D, H = size

        def make():
            x, dy = (rng.standard_normal((T, B, width), np.float32) for width in (D, H))
            if torch:
                return peer_models.layer_step(torch, subject, None, x, dy, batch_first=False)
            return cases_models.layer_step(subject, x, dy)

        return make
    B, T = size
    settings = {"char_lm": cases_models.CHARACTERS, "word_lm": cases_models.WORDS}[subject]
    if quick or size == SHAPES[subject][0]:
        settings = {**settings, "vocab_size": 7, "embedding_size": 4, "hidden_size": 4}
    config = models.RNNLanguageModelConfig(**settings)

    def make_model():
        batches = [tuple(rng.integers(0, config.vocab_size, (B, T)) for _ in range(2))]
        if torch:
            return peer_models.training_step(torch, config, None, batches, 1e-3, 1.0, batch_first=False)
        return cases_models.training_step(config, batches, 1e-3, 1.0)

    return make_model


def child(library: str, subject: str, quick: bool, threads: int | None) -> int:
    """Measure one library in this process."""
    tiny, full = SHAPES[subject]
    step = maker(library, subject, tiny, quick, threads)()
    for _ in range(STEPS):
        step()
    del step
    return rise(maker(library, subject, tiny if quick else full, quick, threads))


def measure(library: str, subject: str, quick: bool, threads: int | None) -> int:
    """Run `child` in a fresh process and read its figure."""
    return int(measured("benchmarks.memory", library, subject, quick, threads))


if __name__ == "__main__":
    print(child(*json.loads(sys.argv[1])))
