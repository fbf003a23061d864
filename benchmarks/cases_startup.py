"""What a user waits for before the first step, in fresh processes: imports, first steps, and compilation.

``import``
    ``import minilm`` beside ``import torch``.
``first_step``
    A whole process that imports, builds a character LSTM and trains one step; kernels lie compiled in the cache.
``compile``
    The same with an empty cache: all that the first command ever has to compile.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.case import Case
from benchmarks.fresh import surroundings
from benchmarks.peers import Peers
from benchmarks.timing import Contestant

MINILM = """
import numpy as np
from minilm import models, optimizers
config = models.RNNLanguageModelConfig(vocab_size=65, embedding_size=64, hidden_size={H}, cell="lstm")
model = models.RNNLanguageModel(config, seed=0)
adam = optimizers.Adam(model.parameters, lr=1e-3, clip_norm=1.0)
loss, saved = model.forward(*np.zeros((2, 8, 16), np.int64))
model.backward(saved)
adam.step()
"""
TORCH = """
import torch
embedding, lstm, output = torch.nn.Embedding(65, 64), torch.nn.LSTM(64, {H}, batch_first=True), torch.nn.Linear({H}, 65)
parameters = [p for module in (embedding, lstm, output) for p in module.parameters()]
adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
ids = torch.zeros(8, 16, dtype=torch.long)
loss = torch.nn.functional.cross_entropy(output(lstm(embedding(ids))[0]).flatten(0, 1), ids.flatten())
loss.backward()
torch.nn.utils.clip_grad_norm_(parameters, 1.0)
adam.step()
"""
STEPS = {"minilm": MINILM, "torch": TORCH}
ROUNDS = 5


def cases(quick: bool = False) -> list[Case]:
    """All three; an import and a first step should take no longer than PyTorch's."""
    rounds = 1 if quick else ROUNDS
    imports = {library: f"import {library}" for library in STEPS}
    steps = {library: text.format(H=8 if quick else 256) for library, text in STEPS.items()}
    return [
        Case("startup import", "startup", "import", functools.partial(contestants, imports, rounds), target=1.0, rounds=rounds),
        Case(
            "startup first step, warm",
            "startup",
            "first_step",
            functools.partial(contestants, steps, rounds),
            target=1.0,
            rounds=rounds,
        ),
        Case("startup first step, cold", "startup", "compile", functools.partial(cold, steps["minilm"]), rounds=1),
    ]


def contestants(programs: dict[str, str], rounds: int, peers: Peers) -> list[Contestant]:
    """Whole processes, the interpreter's own start included."""
    run(programs["minilm"])  # compiles what is not compiled yet
    libraries = [library for library in programs if library == "minilm" or peers.get(library)]
    return [
        Contestant(library, lambda: None, sample=functools.partial(run, programs[library]), rounds=rounds)
        for library in libraries
    ]


def cold(program: str, peers: Peers) -> list[Contestant]:
    """The same with an empty cache."""

    def sample() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return run(program, MINILM_CACHE=folder)

    return [Contestant("minilm", lambda: None, sample=sample, rounds=1)]


def run(program: str, **variables: str) -> float:
    """Seconds of a process."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**surroundings(), **variables},
        cwd=os.sep,
        capture_output=True,
        text=True,
        timeout=600,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
    return seconds
