"""Negative sampling on the CPU: rows side by side for a batch, one word after the other for training."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.negative_sampling.spec import GOLDEN, MIX1, MIX2, Saved, Trained
from minilm.ops.workspace import empty, scratch


@jit(fastmath=REASSOC)
def _rows(start, stop, h, W, targets, negatives, normaliser, losses, g):
    # h (N, D), W (V, D), targets (N,), negatives (N, K) -> losses (N,) float64, g (N, K + 1)
    real = h.dtype.type
    for n in range(start, stop):
        row, target, loss = h[n], targets[n], 0.0
        for k in range(g.shape[1]):
            word = target if k == 0 else negatives[n, k - 1]
            if k > 0 and word == target:
                g[n, k] = 0
                continue
            other = W[word]
            s = real(0)
            for d in range(len(row)):
                s += row[d] * other[d]
            z = np.float64(-s if k == 0 else s)
            loss += max(z, 0.0) + math.log1p(math.exp(-abs(z)))
            g[n, k] = real((simd.sigmoid(s) - real(1 if k == 0 else 0)) / normaliser)
        losses[n] = loss


@jit
def _inputs(start, stop, dloss, g, W, targets, negatives, dh):
    # g (N, K + 1), W (V, D) -> dh (N, D)
    for n in range(start, stop):
        out = dh[n]
        out[:] = 0
        for k in range(g.shape[1]):
            factor = dloss * g[n, k]
            other = W[targets[n] if k == 0 else negatives[n, k - 1]]
            for d in range(len(out)):
                out[d] += factor * other[d]


@jit
def _outputs(start, stop, dloss, g, h, targets, negatives, dW):
    # g (N, K + 1), h (N, D) -> columns [start, stop) of dW (V, D), which are zero before
    for n in range(len(h)):
        row = h[n, start:stop]
        for k in range(g.shape[1]):
            factor = dloss * g[n, k]
            out = dW[targets[n] if k == 0 else negatives[n, k - 1], start:stop]
            for d in range(len(out)):
                out[d] += factor * row[d]


def forward(h, W, targets, negatives, *, reduction="mean"):
    (N, D), K = h.shape, negatives.shape[1]
    g = empty((N, K + 1), h.dtype)  # (N, K + 1)
    normaliser = N if reduction == "mean" else 1
    with scratch():
        losses = empty((N,), np.float64)  # (N,)
        arguments = (h, W, targets, negatives, h.dtype.type(normaliser), losses, g)
        devices.parallel(_rows, N, *arguments, grain=max(1, 2**16 // max(1, (K + 1) * D)))
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where there are no rows
            loss = h.dtype.type(losses.sum() / np.float64(normaliser))
    return loss, Saved(h, W, targets, negatives, g)


def backward(dloss, saved):
    h, W, targets, negatives, g = saved
    (N, D), K = h.shape, negatives.shape[1]
    dloss = h.dtype.type(dloss)
    dh, dW = empty(h.shape, h.dtype), empty(W.shape, h.dtype)  # (N, D), (V, D)
    devices.parallel(_inputs, N, dloss, g, W, targets, negatives, dh, grain=max(1, 2**17 // max(1, (K + 1) * D)))
    dW.fill(0)
    # threads share the columns: words are anything but evenly spread, and every column is summed in the same order
    grain = max(16, 2**19 // max(1, N * (K + 1)))
    devices.parallel(_outputs, D, dloss, g, h, targets, negatives, dW, grain=grain)
    return dh, dW


# --- one word after the other ----------------------------------------------------------------------------------------

_GOLDEN, _MIX1, _MIX2 = np.uint64(GOLDEN), np.uint64(MIX1), np.uint64(MIX2)
_30, _27, _31, _32, _11 = (np.uint64(n) for n in (30, 27, 31, 32, 11))
_LOW, _UNIT32, _UNIT53 = np.uint64(0xFFFFFFFF), 2.0**-32, 2.0**-53


def train(W_in, W_out, ids, starts, task):
    task = task._replace(lr=float(task.lr), lr_end=float(task.lr_end), seed=np.uint64(task.seed))
    left, sums = np.empty(np.diff(starts).max(initial=0), np.int64), np.zeros(2)  # (longest sentence,), (2,)
    h, dh = np.empty((2, W_in.shape[1]), W_in.dtype)  # (D,) each
    _train(W_in, W_out, ids, starts, task, left, h, dh, sums)
    return W_in, W_out, Trained(float(sums[0]), int(sums[1]), int(starts[-1] - starts[0]))


@jit(fastmath=REASSOC, counted=False)
def _train(W_in, W_out, ids, starts, task, left, h, dh, sums):
    # W_in, W_out (V, D), ids (n,), starts (S + 1,); sums (2,) of losses and predictions; scratch: left, h (D,), dh (D,)
    real, done = h.dtype.type, task.done
    for s in range(len(starts) - 1):
        words = ids[starts[s] : starts[s + 1]]
        state = task.seed + np.uint64(task.first + s + 1) * _MIX1 + _GOLDEN
        count, state = _subsample(words, task.keep, left, state)
        for i in range(count):
            read = done + len(words) * (i + 1) / count
            rate = real(task.lr + (task.lr_end - task.lr) * min(1.0, read / max(1, task.total)))
            state += _GOLDEN
            b = 1 + np.int64((_mixed(state) >> _32) * np.uint64(task.window) >> _32)
            low, high = max(0, i - b), min(count, i + b + 1)
            if task.cbow and high - low > 1:
                state = _neighbours_predict(W_in, W_out, left, i, low, high, task, rate, state, h, dh, sums)
            elif not task.cbow:
                state = _word_predicts(W_in, W_out, left, i, low, high, task, rate, state, h, dh, sums)
        done += len(words)


@jit(inline="always")
def _mixed(state):
    """The random number of a state of SplitMix64, of which each is the one before plus _GOLDEN."""
    z = (state ^ (state >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


@jit(counted=False)
def _subsample(words, keep, left, state):
    """left = the words that stay; returns how many, and the state."""
    count = 0
    for word in words:
        state += _GOLDEN
        if np.float64(_mixed(state) >> _11) * _UNIT53 < keep[word]:
            left[count] = word
            count += 1
    return count, state


@jit(fastmath=REASSOC, counted=False)
def _word_predicts(W_in, W_out, left, i, low, high, task, rate, state, h, dh, sums):
    """Skip-gram: word i of a sentence predicts each of its neighbours [low, high)."""
    row = W_in[left[i]]
    for j in range(low, high):
        if j != i:
            for d in range(len(row)):
                h[d] = row[d]
            state = _predict(W_out, left[j], task, rate, state, h, dh, sums)
            for d in range(len(row)):
                row[d] -= rate * dh[d]
    return state


@jit(fastmath=REASSOC, counted=False)
def _neighbours_predict(W_in, W_out, left, i, low, high, task, rate, state, h, dh, sums):
    """CBOW: the mean of the neighbours [low, high) of word i predicts it."""
    share = h.dtype.type(1) / h.dtype.type(high - low - 1)
    h[:] = 0
    for j in range(low, high):
        if j != i:
            row = W_in[left[j]]
            for d in range(len(h)):
                h[d] += row[d]
    for d in range(len(h)):
        h[d] *= share
    state = _predict(W_out, left[i], task, rate, state, h, dh, sums)
    step = rate * share
    for j in range(low, high):
        if j != i:
            row = W_in[left[j]]
            for d in range(len(h)):
                row[d] -= step * dh[d]
    return state


@jit(fastmath=REASSOC, counted=False)
def _predict(W_out, target, task, rate, state, h, dh, sums):
    """h (D,) predicts the target: dh (D,), one step of W_out for each question, and the loss in `sums`; returns the state."""
    real, V = h.dtype.type, np.uint64(len(W_out))
    dh[:] = 0
    right = _question(h, W_out[target], real(1), rate, dh)
    for _ in range(task.negatives):
        state += _GOLDEN
        z = _mixed(state)
        word = np.int64(((z >> _32) * V) >> _32)
        if np.float64(z & _LOW) * _UNIT32 >= task.accept[word]:
            word = task.alias[word]
        if word != target:
            right *= _question(h, W_out[word], real(0), rate, dh)
    sums[0] -= math.log(max(right, 1e-300))  # one logarithm for all questions
    sums[1] += 1
    return state


@jit(fastmath=REASSOC, counted=False)
def _question(h, other, y, rate, dh):
    """One question: returns the probability of the right answer; adds to dh, moves the output vector."""
    s = h.dtype.type(0)
    for d in range(len(h)):
        s += h[d] * other[d]
    p = simd.sigmoid(s)
    g = p - y
    step = rate * g
    for d in range(len(h)):
        dh[d] += g * other[d]
        other[d] -= step * h[d]
    return np.float64(simd.sigmoid(s if y > 0 else -s))
