"""Negative sampling in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.negative_sampling.spec import GOLDEN, MIX1, MIX2, Saved, Trained


def _softplus(s):
    return np.maximum(s, 0) + np.log1p(np.exp(-np.abs(s)))


def _sigmoid(s):
    e = np.exp(-np.abs(s))
    return np.where(s >= 0, 1, e) / (1 + e)


def forward(h, W, targets, negatives, *, reduction="mean"):
    words = np.concatenate([targets[:, None], negatives], axis=1)  # (N, K + 1)
    y = np.zeros(words.shape, h.dtype)  # (N, K + 1)
    y[:, 0] = 1
    counts = (words != targets[:, None]) | (y == 1)  # (N, K + 1)
    s = (h[:, None] * W[words]).sum(axis=-1)  # (N, K + 1)
    loss = np.where(counts, _softplus(np.where(y == 1, -s, s)), 0).sum(dtype=np.float64)  # ()
    n = len(h) if reduction == "mean" else 1
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where there are no rows
        loss = loss / np.float64(n)  # ()
        g = np.where(counts, (_sigmoid(s) - y) / h.dtype.type(n), 0)  # (N, K + 1)
    return h.dtype.type(loss), Saved(h, W, targets, negatives, g.astype(h.dtype))


def backward(dloss, saved):
    h, W, targets, negatives, g = saved
    words = np.concatenate([targets[:, None], negatives], axis=1)  # (N, K + 1)
    g = dloss * g  # (N, K + 1)
    dh = (g[..., None] * W[words]).sum(axis=1)  # (N, D)
    dW = np.zeros_like(W)  # (V, D)
    np.add.at(dW, words, g[..., None] * h[:, None])  # adds once more for a word that occurs once more
    return dh, dW


class _Random:
    """SplitMix64 in Python's whole numbers."""

    def __init__(self, seed, sentence):
        self.state = (seed + (sentence + 1) * MIX1) % 2**64
        self.next()

    def next(self):
        self.state = z = (self.state + GOLDEN) % 2**64
        z = (z ^ (z >> 30)) * MIX1 % 2**64
        z = (z ^ (z >> 27)) * MIX2 % 2**64
        return z ^ (z >> 31)

    def uniform(self):
        return (self.next() >> 11) * 2.0**-53

    def word(self, accept, alias):
        z = self.next()
        i = ((z >> 32) * len(accept)) >> 32
        return i if (z % 2**32) * 2.0**-32 < accept[i] else alias[i]


def train(W_in, W_out, ids, starts, task):
    W_in, W_out = W_in.copy(), W_out.copy()
    loss, predictions, done = 0.0, 0, task.done
    for s in range(len(starts) - 1):
        random = _Random(task.seed, task.first + s)
        sentence = ids[starts[s] : starts[s + 1]]
        left = [w for w in sentence if random.uniform() < task.keep[w]]
        for i in range(len(left)):
            read = done + len(sentence) * (i + 1) / len(left)
            rate = W_in.dtype.type(task.lr + (task.lr_end - task.lr) * min(1.0, read / max(1, task.total)))
            b = 1 + ((random.next() >> 32) * task.window >> 32)
            around = [j for j in range(max(0, i - b), min(len(left), i + b + 1)) if j != i]
            if not around:
                continue
            inputs, targets = (around, [i]) if task.cbow else ([i], around)
            inputs, targets = [left[j] for j in inputs], [left[j] for j in targets]
            h = W_in[inputs].sum(axis=0) / W_in.dtype.type(len(inputs))  # (D,)
            dh = np.zeros_like(h)
            for target in targets:
                drawn = [random.word(task.accept, task.alias) for _ in range(task.negatives)]
                # questions are asked one after the other: a word that is drawn twice sees its first step
                for k, other in enumerate([target, *drawn]):
                    if k > 0 and other == target:
                        continue
                    score = (h * W_out[other]).sum()
                    loss += float(_softplus(-score if k == 0 else score))
                    g = _sigmoid(score).astype(h.dtype) - h.dtype.type(k == 0)
                    dh += g * W_out[other]
                    W_out[other] -= rate * g * h
                predictions += 1
            for word_in in inputs:
                W_in[word_in] -= rate / h.dtype.type(len(inputs)) * dh
        done += len(sentence)
    return W_in, W_out, Trained(loss, predictions, done - task.done)
