"""Patching: which layer carries what two texts differ in.

Two texts differ in one letter, and the model expects something else after each. A run on the second text in which the residual
stream after one layer, at one place, is that of the first text: how much of the first answer comes back? 1: all of it. The places
where it does are where the difference is stored at that depth. First by hand with `minilm.hooks`, then by `interpret.patch`.
"""

from __future__ import annotations

import numpy as np

import minilm
from minilm import interpret
from minilm.examples import trained_gpt

CLEAN, CORRUPTED = "The old mill by the ri", "The old mill by the wi"


def main(steps: int = 300) -> np.ndarray:
    """Train a GPT, patch its stream; what comes back, (layers, T)."""
    model, tokenizer = trained_gpt(steps)
    clean, corrupted = (tokenizer.encode(text).astype(np.int64) for text in (CLEAN, CORRUPTED))  # (T,)
    place = int(np.argmax(clean != corrupted))

    def logits(ids, **replacements):
        with minilm.hooks(model, ["h.0"], **replacements) as seen:
            return model.logits(ids[None])[0][0, -1], seen["h.0"]  # (V,), (1, T, D)

    first, stream = logits(clean)
    second, _ = logits(corrupted)
    answer, other = int(first.argmax()), int(second.argmax())
    for text, id in ((CLEAN, answer), (CORRUPTED, other)):
        print(f"after {text!r} the model expects {tokenizer.id_to_token(id)!r}")

    def with_the_clean_place(h):
        h = h.copy()
        h[:, place] = stream[:, place]
        return h

    patched, _ = logits(corrupted, outputs={"h.0": with_the_clean_place})
    print(f"logit of the first answer: {second[answer]:.2f}, and {patched[answer]:.2f} with block 0's output at {place} put in")

    result = interpret.patch(model, clean, corrupted, component="stream", answer=answer)
    for layer, row in enumerate(result.values):
        print(f"layer {layer}  " + " ".join(f"{value:5.2f}" for value in row[place:]))
    return result.values


if __name__ == "__main__":
    main()
