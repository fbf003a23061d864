"""Probing: what can be read off a model's activations by one linear map, layer by layer.

The question here: does the model know, while it writes a word, how many letters of it have gone by? The probe learns that number
from the residual stream at each character. Beside its accuracy stands that of always saying the most frequent answer, and that of
a probe of a model that has learned nothing: what it reads was in the text, not found out by training.
"""

from __future__ import annotations

import numpy as np

import minilm
from minilm import data, interpret
from minilm.examples import trained_gpt

MOST = 5  # letters; more count as so many


def letters_before(text: str) -> list[int]:
    """For each character, how many letters of its word stand before it."""
    counts, count = [], 0
    for character in text:
        counts.append(min(count, MOST))
        count = count + 1 if character.isalpha() else 0
    return counts


def main(steps: int = 300, rows: int = 32) -> dict[str, float]:
    """Train a GPT, probe its embedding and every block; accuracy by layer."""
    model, tokenizer = trained_gpt(steps)
    unlearned, _ = trained_gpt(0)
    text = next(iter(data.text("stories")))[: 64 * rows]
    ids = tokenizer.encode(text).astype(np.int64).reshape(rows, 64)  # (B, T)
    labels = np.array(letters_before(text))  # (B T,)
    names = ["wte", *(f"h.{i}" for i in range(model.config.n_layer))]

    def probes(gpt):
        with minilm.hooks(gpt, names) as seen:
            gpt.forward(ids, ids)
        return [interpret.linear_probe(seen[name].reshape(labels.size, -1), labels) for name in names]

    results = {}
    for name, probe, before in zip(names, probes(model), probes(unlearned), strict=True):
        results[name] = probe.accuracy
        print(f"{name:4} {probe.accuracy:.3f}   without training {before.accuracy:.3f}   most frequent {probe.majority:.3f}")
    return results


if __name__ == "__main__":
    main()
