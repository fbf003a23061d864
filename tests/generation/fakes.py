"""Models whose next token is known by hand."""

import numpy as np


class Pairs:
    """Logits are a table's row for the last two tokens; the state holds the last one. What it read is recorded."""

    def __init__(self, table, dtype=np.float32):
        self.table = np.asarray(table, dtype)  # (V, V, V) [before, last, next]
        self.read = []

    def initial_state(self, batch):
        return np.zeros((1, batch, 1))

    def step(self, ids, state):
        self.read.append(np.array(ids))
        logits = self.table[state[0, :, 0].astype(int), ids].copy()  # (B, V)
        return logits, np.array(ids, float).reshape(1, -1, 1)

    def logits(self, ids, state, last):
        assert last
        for column in np.asarray(ids).T:  # (B,)
            logits, state = self.step(column, state)
        return logits, state


def random_pairs(V, seed=0):
    return Pairs(np.random.default_rng(seed).standard_normal((V, V, V)) * 2)


class Script:
    """Writes given ids, one after another, whatever it reads."""

    def __init__(self, ids, V):
        self.ids, self.V = list(ids), V

    def initial_state(self, batch):
        return 0

    def step(self, ids, state):
        logits = np.full((len(ids), self.V), -np.inf, np.float32)
        logits[:, self.ids[state % len(self.ids)]] = 0
        return logits, state + 1

    def logits(self, ids, state, last):
        return self.step(ids[:, -1], state)
