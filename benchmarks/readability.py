"""How much of the package one must read to follow a step: ``python -m benchmarks.readability [--json FILE]``.

Counted while a small model runs, by Python's own profiler hook: the files of minilm that are entered, the lines they hold, the
functions called in them, and of these the calls of checks, of dispatch and of the models and layers themselves. Beside each model
its page in `minilm.pages`, which does the same on the operations alone.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Callable

import numpy as np

import minilm
from minilm import files, generation, models, optimizers, pages
from minilm.pages import gpt, rnn_lm

ROOT = pathlib.Path(minilm.__file__).parent


def entered(action: Callable[[], object]) -> dict[str, int]:
    """What an action enters: ``files``, their ``lines``, and the ``calls`` of Python functions in them."""
    calls: dict[str, int] = {}

    def hook(frame, event, argument):
        if event == "call":
            file = frame.f_code.co_filename
            calls[file] = calls.get(file, 0) + 1

    sys.setprofile(hook)
    try:
        action()
    finally:
        sys.setprofile(None)
    own = {file: count for file, count in calls.items() if pathlib.Path(file).is_relative_to(ROOT)}
    lines = sum(len(pathlib.Path(file).read_text(encoding="utf-8").splitlines()) for file in own)
    return {"files": len(own), "lines": lines, "calls": sum(own.values())}


def measured() -> dict[str, dict[str, int]]:
    """Every case by name: first run once, so that nothing is compiled or imported while it is counted."""
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 65, (2, 4, 16))  # (B, T) each
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 65}
    full = {
        "gpt": models.GPT(models.GPTConfig.gpt2(**sizes, **none), seed=0),
        "lstm": models.RNNLanguageModel(models.RNNLanguageModelConfig(65, embedding_size=16, hidden_size=16), seed=0),
    }
    figures = {}
    for name, model in full.items():
        workspace = minilm.Workspace()
        adam = optimizers.Adam(model.parameters, lr=1e-3, clip_norm=1.0)

        def forward(model=model, workspace=workspace):
            with workspace.step():
                return model.forward(ids, targets)

        def step(model=model, adam=adam, workspace=workspace):
            with workspace.step():
                _, saved = model.forward(ids, targets)
                model.backward(saved)
            adam.step()

        tokens = iter(generation.stream_ids(model, ids[:1, :4], None, greedy=True))
        for case, action in (("forward", forward), ("step", step), ("one token", lambda tokens=tokens: next(tokens))):
            action()
            figures[f"{name}: {case}"] = entered(action)
    W = gpt.weights(65, 16, 16, 2, rng)
    figures["gpt, its page: forward"] = entered(lambda: gpt.forward(W, ids, targets, 2))
    figures["gpt, its page: forward and backward"] = entered(lambda: gpt.backward(gpt.forward(W, ids, targets, 2)[1]))
    W = rnn_lm.weights(65, 16, 16, rng)
    state = tuple(np.zeros((2, 4, 16), np.float32))
    figures["lstm, its page: forward and backward"] = entered(
        lambda: rnn_lm.backward(rnn_lm.forward(W, ids.T.copy(), targets.T.copy(), state)[2])
    )
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the figures also as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readability", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    figures = measured()
    print(f"{'':38}{'files':>8}{'lines':>8}{'calls':>8}")
    for name, row in figures.items():
        print(f"{name:38}{row['files']:8}{row['lines']:8,}{row['calls']:8,}")
    for page in pages.PAGES:
        lines = len((ROOT / "pages" / f"{page}.py").read_text(encoding="utf-8").splitlines())
        print(f"page {page:33}{1:8}{lines:8,}")
    if options.json:
        with files.written_whole(options.json) as file:
            file.write(json.dumps(figures, indent=2).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
