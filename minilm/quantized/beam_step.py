"""Tokens of the beams of an encoder-decoder's targets as one kernel: `minilm.quantized.decoder_step`, and the choice of beams.

::

    logits  = decoder(id)                                     (M k, V)       as in `decoder_step`
    log_p   = log softmax(logits)                             (M k, V)       shared out by rows
    sums    = the C largest of totals + log_p of each source  (M, C)         of each row shared out, then of all
    totals  = the k largest of them                           (M, k)
    cache   = the rows of their parents                                      shared out by rows of the layers

and on with the tokens that were drawn, for as long as no beam ends: `minilm.generation.beam` says what is computed, and does
the rest. Rows change their places from one of two caches into the other and back.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.largest import largest_sums
from minilm.ops.memory import numbers
from minilm.ops.softmax.cpu import log_softmax_row
from minilm.ops.sums import copy
from minilm.quantized.decoder_step import read_token, thread_of
from minilm.quantized.half_blocks import wait
from minilm.quantized.token_step import KEYS, VALUES

STEPS, SWAPPED = 0, 1  # of `done`: tokens that were written, and whether the rows are in the second cache
_REAL = np.float32(0)


@jit
def _merged(sums, places, V, best, chosen):
    """The C largest of each source, best, chosen (M, C), from those of its k rows, sums, places (M, k, C), which are sorted; the
    first of equal ones, and NaN where a row has NaN."""
    M, k, C = sums.shape
    used = np.empty(k, np.int64)
    for m in range(M):
        used[:] = 0
        for c in range(C):
            row = -1
            for i in range(k):
                if used[i] < C and (row < 0 or not sums[m, i, used[i]] <= sums[m, row, used[row]]):
                    row = i
            best[m, c], chosen[m, c] = sums[m, row, used[row]], row * V + places[m, row, used[row]]
            used[row] += 1
        for i in range(k):
            if sums[m, i, 0] != sums[m, i, 0]:
                best[m] = np.nan


@jit
def _goes_on(best, chosen, k, V, ends, least, most_tokens):
    """Whether no number is NaN, none of the best k beams of any source ends, and each source's best may still become better than
    `least` (M,)."""
    for m in range(len(best)):
        if not best[m, 0] / most_tokens > least[m]:
            return False
        for c in range(k):
            if not best[m, c] > -np.inf:
                return False
            for end in ends:
                if chosen[m, c] % V == end:
                    return False
    return True


@jit
def _moved(part, number, rows, old, new, length, text, row):
    """Copy this part's rows of all layers, (N,) of them, `length` positions of each, from one cache into another."""
    N, layers = len(rows), len(old)
    for unit in range(part * layers * N // number, (part + 1) * layers * N // number):
        layer, n = unit // N, unit % N
        for side in (KEYS, VALUES):
            source = numbers(old[layer, side] + rows[n] * text, length * row // 4, _REAL)
            copy(source, numbers(new[layer, side] + n * text, length * row // 4, _REAL))


@jit
def beam_step(
    part, number, tag, reached, table, second, final, sizes_of_call, reals, shared, rooms, ids, places, ends, totals, least,
    logits, log_p, row_sums, row_places, sums, chosen, done,
):  # fmt: skip
    # ids (N,), N = M k, places (n, D), totals (M, k) -> sums, chosen (n, M, C): log P of the best continuations of each source,
    # and their places among its k V; done (2,), of which `sums` has so many tokens. `second` is `table` with another cache;
    # ends (E,), least (M,): see `_goes_on`; reals: as in `decoder_step`, and what log P of whole targets is divided by; logits,
    # log_p (N, V), row_sums, row_places (M, k, C): room; the rest as in `decoder_step`
    thread, turn = thread_of(part, number, tag, reached, sizes_of_call, reals, shared, rooms), 0
    sizes, (M, k), (N, V), C = thread.sizes, totals.shape, logits.shape, sums.shape[2]
    start, stop = part * N // number, (part + 1) * N // number
    now, other, swapped, token = table, second, False, 0
    drawn, rows, total = ids.copy(), np.empty(N, np.int64), totals.copy()  # (N,), (N,), (M, k): every thread's own
    best, places_of_best = np.empty((M, C)), np.empty((M, C), np.int64)
    while True:
        _, _, turn = read_token(thread, now, final, drawn, places[token : token + 1], token, reals, logits, turn)
        wait(thread, turn + 1)
        for n in range(start, stop):
            log_softmax_row(logits[n], log_p[n])
        by_row = row_sums.reshape(N, C), row_places.reshape(N, C)
        largest_sums(start, stop, total.reshape(N, 1), log_p.reshape(N, 1, V), *by_row)
        wait(thread, turn + 2)
        _merged(row_sums, row_places, V, best, places_of_best)
        if part == 0:
            sums[token], chosen[token] = best, places_of_best
        token += 1
        if token == len(places) or not _goes_on(best, places_of_best, k, V, ends, least, reals[3]):
            break
        same = True
        for n in range(N):
            m, i = n // k, n % k
            place = places_of_best[m, i]
            total[m, i], drawn[n], rows[n] = best[m, i], place % V, m * k + place // V
            same &= rows[n] == n
        if not same:
            _moved(part, number, rows, now, other, sizes.Tk + token - 1, sizes.text, sizes.row)
            now, other, swapped = other, now, not swapped
        wait(thread, turn + 3)
        turn += 3
    if part == 0:
        done[STEPS], done[SWAPPED] = token, swapped
