"""Steps of an encoder-decoder that a test takes."""

import numpy as np


def greedy_logits(model, state, B, tokens, halfway):
    """Logits (tokens, B, V) after every most probable token of B rows, the first after token 1.

    After token `halfway` the rows change places, and the first of them comes twice.
    """
    ids, every = np.ones(B, np.int64), []
    for n in range(tokens):
        logits, state = model.step(ids, state)
        every.append(logits.copy())
        ids = logits.argmax(axis=-1)
        if n == halfway:
            rows = np.arange(B)[::-1].copy()
            rows[0] = 0
            ids, state = ids[rows], state.reorder(rows)
    return np.stack(every)
