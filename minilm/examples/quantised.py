"""Weights in 8 bits: what is lost, and how many bytes remain.

A token wants every weight read once, so a quarter of the bytes is up to four times the speed. For rows of 64 numbers w,
q = round(127 w / max|w|) is an int8, and w is nearly q max|w| / 127. What that costs is a matter of measurement: the loss of the
same text before and after.
"""

from __future__ import annotations

import copy
import time

import numpy as np

from minilm import data, generation, quantized, training
from minilm.examples import trained_gpt


def main(steps: int = 300, tokens: int = 200) -> dict[str, float]:
    """Train a GPT, quantise it; the loss with each kind of weights, in nats a character."""
    model, tokenizer = trained_gpt(steps)
    ids = data.tokens(data.text("stories"), tokenizer)[-5000:]  # (N,)
    losses = {}
    for kind in ("float32", "int8"):
        chosen = model if kind == "float32" else quantized.quantize(copy.deepcopy(model), kind)
        losses[kind] = training.evaluate(chosen, ids).loss
        generation.generate(chosen, tokenizer, "The ", tokens=2)  # compiles the kernels, the first time
        begin = time.perf_counter()
        text = generation.generate(chosen, tokenizer, "The ", tokens=tokens, seed=1)
        seconds = time.perf_counter() - begin
        print(f"{kind:8} loss {losses[kind]:.4f}   {1e3 * seconds / tokens:.2f} ms a token   {text[:40]!r}")
    matrices = sum(value.size for value in model.parameters.values() if value.ndim == 2)
    print(f"matrices: {4 * matrices:,} bytes, and {matrices + 4 * matrices // 64:,} in int8 with a scale for every 64")
    assert np.isfinite(list(losses.values())).all()
    return losses


if __name__ == "__main__":
    main()
