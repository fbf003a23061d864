"""Negative sampling on the CPU: rows side by side for a batch, one word after the other for training."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.negative_sampling.rows import AT_ONCE, add_rows, add_to_row, dots, step
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
        devices.parallel(_rows, N, *arguments, grain=max(1, 2**14 // max(1, (K + 1) * D)))
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where there are no rows
            loss = h.dtype.type(losses.sum() / np.float64(normaliser))
    return loss, Saved(h, W, targets, negatives, g)


def backward(dloss, saved):
    h, W, targets, negatives, g = saved
    (N, D), K = h.shape, negatives.shape[1]
    dloss = h.dtype.type(dloss)
    dh, dW = empty(h.shape, h.dtype), empty(W.shape, h.dtype)  # (N, D), (V, D)
    devices.parallel(_inputs, N, dloss, g, W, targets, negatives, dh, grain=max(1, 2**15 // max(1, (K + 1) * D)))
    dW.fill(0)
    # threads share the columns: words are anything but evenly spread, and every column is summed in the same order
    grain = max(16, 2**19 // max(1, N * (K + 1)))
    devices.parallel(_outputs, D, dloss, g, h, targets, negatives, dW, grain=grain)
    return dh, dW


# --- one word after the other ----------------------------------------------------------------------------------------

_GOLDEN, _MIX1, _MIX2 = np.uint64(GOLDEN), np.uint64(MIX1), np.uint64(MIX2)
_30, _27, _31, _32, _11 = (np.uint64(n) for n in (30, 27, 31, 32, 11))
_LOW, _UNIT32, _UNIT53 = np.uint64(0xFFFFFFFF), 2.0**-32, 2.0**-53


_PLACES = 16  # for numbers of questions: AT_ONCE of them, and as many as make a loop over them one of vectors


class _Scratch(NamedTuple):
    """What the questions of a word are written to."""

    left: np.ndarray  # (longest sentence + AT_ONCE,) words that subsampling leaves
    inputs: np.ndarray  # the same, the words whose mean is h
    h: np.ndarray  # (D,)
    dh: np.ndarray  # (D,)
    words: np.ndarray  # (AT_ONCE,) the questions
    s: np.ndarray  # (_PLACES,) scores, then the probabilities of the right answers
    g: np.ndarray  # (_PLACES,) gradients by the scores


def train(W_in, W_out, ids, starts, task):
    task = task._replace(lr=float(task.lr), lr_end=float(task.lr_end), seed=np.uint64(task.seed))
    # (2, V): whether a draw is kept is a row's number, since a processor that jumped would guess wrong every other time
    task = task._replace(alias=np.stack([np.arange(len(task.alias)), task.alias]))
    longest, D = np.diff(starts).max(initial=0), W_in.shape[1]
    left, inputs = np.zeros((2, longest + AT_ONCE), np.int64)
    h, dh, s, g = (devices.aligned_zeros(size, W_in.dtype) for size in (D, D, _PLACES, _PLACES))
    scratch = _Scratch(left, inputs, h, dh, np.zeros(AT_ONCE, np.int64), s, g)
    sums = np.array([0.0, 0.0, 1.0])  # losses and predictions; a product of probabilities whose logarithm the loss still lacks
    _train(W_in, W_out, ids, starts, task, scratch, sums)
    return W_in, W_out, Trained(float(sums[0] - np.log(sums[2])), int(sums[1]), int(starts[-1] - starts[0]))


@jit(fastmath=REASSOC, counted=False)
def _train(W_in, W_out, ids, starts, task, scratch, sums):
    # W_in, W_out (V, D), ids (n,), starts (S + 1,), sums (3,)
    real, done, left = W_in.dtype.type, task.done, scratch.left
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
            if high - low > 1:
                state = _word(W_in, W_out, i, low, high, task, rate, state, scratch, sums)
        done += len(words)


@jit(inline="always")
def _mixed(state):
    """The random number of a state of SplitMix64, of which each is the one before plus _GOLDEN."""
    z = (state ^ (state >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


@jit(counted=False, part=True)
def _subsample(words, keep, left, state):
    """left = the words that stay; returns how many, and the state."""
    count = 0
    for word in words:
        state += _GOLDEN
        if np.float64(_mixed(state) >> _11) * _UNIT53 < keep[word]:
            left[count] = word
            count += 1
    return count, state


@jit(fastmath=REASSOC, counted=False, part=True)
def _word(W_in, W_out, i, low, high, task, rate, state, scratch, sums):
    """A step: word i of a sentence predicts its neighbours [low, high), or they predict it (CBOW); returns the state."""
    h, dh, left, inputs = scratch.h, scratch.dh, scratch.left, scratch.inputs
    inputs[0], count = left[i], 1
    if task.cbow:
        count = 0
        for j in range(low, high):
            inputs[count] = left[j]
            count += j != i  # word i is written over by the next
    h[:], dh[:] = 0, 0
    share = h.dtype.type(1) / h.dtype.type(count)
    for c in range(0, count, AT_ONCE):
        add_rows(h, share, W_in, inputs[c:], min(count - c, AT_ONCE))
    state = _predict(W_out, i, low, high, task, rate, state, scratch, sums)
    for c in range(count):
        add_to_row(W_in, inputs[c], -rate * share, dh)
    return state


@jit(fastmath=REASSOC, counted=False, part=True)
def _predict(W_out, i, low, high, task, rate, state, scratch, sums):
    """h predicts word i (CBOW), or its neighbours [low, high): adds to dh and to the loss, moves W_out; returns the state."""
    V, words, left = np.uint64(len(W_out)), scratch.words, scratch.left
    # questions wait until there are enough, or until a word comes up again: the second time it has moved
    count = 0
    targets = 0  # bit k: question k is on a target
    seen = 0  # bit w % 64: word w may be among them
    if task.cbow:
        low, high = i, i + 1
    for j in range(low, high):
        if j == i and not task.cbow:
            continue
        target = left[j]
        for k in range(-1, task.negatives):
            word = target
            if k >= 0:
                state += _GOLDEN
                z = _mixed(state)
                word = np.int64(((z >> _32) * V) >> _32)
                other = np.int64(np.float64(z & _LOW) * _UNIT32 >= task.accept[word])
                word = task.alias[other, word]
                if word == target:
                    continue
            if count == AT_ONCE or (seen >> (word & 63) & 1 and _occurs(word, words, count)):
                _ask(W_out, rate, scratch, count, targets, sums)
                count = targets = seen = 0
            words[count] = word
            seen |= 1 << (word & 63)
            targets |= np.int64(k < 0) << count
            count += 1
        sums[1] += 1
    _ask(W_out, rate, scratch, count, targets, sums)
    return state


@jit(counted=False, part=True)
def _occurs(word, words, count):
    """Whether a word is among the first `count` words."""
    for k in range(count):
        if words[k] == word:
            return True
    return False


@jit(fastmath=REASSOC, counted=False, part=True)
def _ask(W_out, rate, scratch, count, targets, sums):
    """The questions on `count` different words at once: adds to dh and to the loss, moves their output vectors."""
    words, s, g = scratch.words, scratch.s, scratch.g
    real = s.dtype.type
    dots(scratch.h, W_out, words, count, s)
    one, number, bits = real(1), np.int32(count), np.int32(targets)
    for k in range(np.int32(len(s))):
        e = simd.exp(-abs(s[k]))
        likely = one / (one + e)
        y = (bits >> k) & np.int32(1)
        p = likely if s[k] >= 0 else e * likely
        g[k] = p - real(y) if k < number else real(0)
        s[k] = likely if (s[k] >= 0) == (y > 0) else e * likely
    step(scratch.h, scratch.dh, W_out, words, count, g, rate)
    for k in range(count):
        sums[2] *= np.float64(s[k])
    if sums[2] < 1e-30:  # one logarithm for many questions
        sums[0] -= math.log(max(sums[2], 1e-300))
        sums[2] = 1
