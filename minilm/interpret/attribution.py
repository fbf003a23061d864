"""How much each token of the input moved a prediction: gradient times input, and integrated gradients.

The prediction is a number F (`minilm.interpret.prediction`), a token's log-probability or logit at a place, as a function of the
tokens' vectors x (T, E); positions and segments stay as they are::

    gradient x input         a[j] = sum_e x[j, e] ∂F(x)/∂x[j, e]                                   first order around x
    integrated gradients     a[j] = sum_e (x - x0)[j, e] ∫_0^1 ∂F(x0 + s (x - x0))/∂x[j, e] ds     from a baseline x0

By the chain rule and the fundamental theorem of calculus the second is complete: sum_j a[j] = F(x) - F(x0). This is checked
for every prediction, and the difference reported; `minilm.interpret.path` computes the integral.

References: K. Simonyan, A. Vedaldi, A. Zisserman, Deep inside convolutional networks, ICLR workshop 2014, and A. Shrikumar,
P. Greenside, A. Shcherbina, A. Kundaje, Not just a black box, arXiv:1605.01713 (gradient times input); M. Sundararajan, A. Taly,
Q. Yan, Axiomatic attribution for deep networks, ICML 2017 (integrated gradients).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret import prediction
from minilm.interpret.path import Path, integral
from minilm.interpret.probes import Explained, Probe, probe_of, untouched
from minilm.interpret.surprisal import chunks
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["Attribution", "gradient_x_input", "integrated_gradients"]

BASELINES = ("zero", "mean")


class Attribution(NamedTuple):
    """What each of T tokens did for each of N predictions."""

    places: np.ndarray  # (N,) of the tokens predicted; T stands for the one after the end
    targets: np.ndarray  # (N,) their ids
    values: np.ndarray  # (N, T)
    outputs: np.ndarray  # (N,) F(x)
    baselines: np.ndarray  # (N,) F(x0); NaN for gradient times input
    errors: np.ndarray  # (N,) sum of the values - (F(x) - F(x0)); NaN for gradient times input
    steps: np.ndarray  # (N,) gradients computed for each


def gradient_x_input(
    model: Explained,
    ids: ArrayLike,
    places: ArrayLike | None = None,
    *,
    targets: ArrayLike | None = None,
    foils: ArrayLike | None = None,
    output: str = "log_probability",
    tokenizer: Tokenizer | None = None,
) -> Attribution:
    """Gradient times input.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    places : sequence of int, optional
        Of the tokens whose prediction is explained; all that are predicted without it. T is the token after the end.
    targets : sequence of int, optional
        Which token's log-probability, one for each place. Without it the one that stands there, and after the end the most
        probable one.
    foils : sequence of int, optional
        Why the target and not this token: F is then log p(target) - log p(foil), which is the difference of their logits. One for
        each place.
    output : {"log_probability", "logit"}
        What F is without foils.
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    Attribution
    """
    probe, ids, predictions = _predictions_of(model, ids, places, targets, foils, output, tokenizer)
    values, outputs = np.zeros((len(predictions.places), len(ids))), np.zeros(len(predictions.places))  # (N, T), (N,)
    with untouched(probe.model):
        for part in chunks(probe, len(predictions.places), len(ids)):
            chunk = predictions.of(part)
            x = probe.embed(chunk.rows)  # (n, T, E)
            outputs[part], dx = _gradient(probe, x, chunk, output)
            values[part] = (x.astype(np.float64) * dx).sum(axis=2)  # (n, T)
    nothing = np.full(len(values), np.nan)
    return Attribution(predictions.places, predictions.targets, values, outputs, nothing, nothing, np.ones(len(values), np.int64))


def integrated_gradients(
    model: Explained,
    ids: ArrayLike,
    places: ArrayLike | None = None,
    *,
    targets: ArrayLike | None = None,
    foils: ArrayLike | None = None,
    output: str = "log_probability",
    baseline: str | ArrayLike = "zero",
    steps: int | None = None,
    tolerance: float = 1e-3,
    tokenizer: Tokenizer | None = None,
) -> Attribution:
    """Integrated gradients.

    Parameters
    ----------
    model, ids, places, targets, foils, output, tokenizer
        As in `gradient_x_input`.
    baseline : {"zero", "mean"} or ndarray, shape (E,) or (T, E)
        x0: zeros, the mean of all tokens' vectors, or any other.
    steps : int, optional
        Nodes of the sum. Without it 16, and then 8 on each half of those parts of the path whose error is too large, again and
        again, until what is missing is no more than `tolerance` or some 2,048 gradients were computed.
    tolerance : float
        Relative to F(x) - F(x0), or absolute where that is less than 1.

    Returns
    -------
    Attribution
        ``errors`` holds what is missing for completeness.
    """
    probe, ids, predictions = _predictions_of(model, ids, places, targets, foils, output, tokenizer)
    x0 = _baseline(probe, baseline, len(ids))  # (T, E)
    tolerance = checks.number("tolerance", tolerance, 0, np.inf)
    steps = None if steps is None else checks.whole("steps", steps, 1, 2**20)
    path = Path(
        (len(predictions.places), len(ids)),
        lambda rows: _ends(x0, probe.embed(predictions.rows[rows])),
        lambda x, rows: _gradient(probe, x, predictions.of(rows), output, gradient=False)[0],
        lambda x, rows: _gradient(probe, x, predictions.of(rows), output)[1],
        lambda count: chunks(probe, count, len(ids)),
    )
    with untouched(probe.model):
        whole = integral(path, steps=steps, tolerance=tolerance)
    return Attribution(predictions.places, predictions.targets, *whole)


# --- pieces ----------------------------------------------------------------------------------------------------------


class _Predictions(NamedTuple):
    """N predictions, one a row."""

    places: np.ndarray  # (N,)
    read: np.ndarray  # (N,)
    targets: np.ndarray  # (N,)
    foils: np.ndarray | None  # (N,)
    rows: np.ndarray  # (N, T)

    def of(self, part) -> _Predictions:
        return _Predictions(*(None if each is None else each[part] for each in self))


def _predictions_of(model, ids, places, targets, foils, output, tokenizer) -> tuple[Probe, np.ndarray, _Predictions]:
    probe = probe_of(model, tokenizer)
    ids = probe.checked(ids)
    checks.option("output", output, prediction.OUTPUTS)
    queries, T = probe.queries(ids), len(ids)
    order = np.arange(len(queries.places))  # (N,)
    if places is not None:
        where = {int(place): number for number, place in enumerate(queries.places)}
        wrong = [place for place in places if place not in where]
        if wrong:
            raise ValueError(
                f"places must be of predicted tokens, {min(where, default=1)} to {max(where, default=0)}, got {wrong[0]}"
            )
        order = np.array([where[int(place)] for place in places], np.int64)  # (N,)
    predicted = queries.places[order]  # (N,)
    rows = queries.rows[queries.row[order]]  # (N, T)
    if targets is not None:
        targets = checks.ids("targets", np.asarray(targets), probe.vocab_size, (len(order),), "(N,)")
    else:
        targets = np.append(ids, 0)[predicted]  # (N,)
        if T in predicted:
            h = probe.body(probe.embed(ids[None]))[0][0, -1:]  # (1, D)
            targets[predicted == T] = probe.head(np.ascontiguousarray(h))[:, : probe.named].argmax()
    if foils is not None:
        foils = checks.ids("foils", np.asarray(foils), probe.vocab_size, (len(order),), "(N,)")
        if (same := foils == targets).any():
            raise ValueError(f"a foil must be another token than the target, got {foils[same][0]} for both")
    return probe, ids, _Predictions(predicted, queries.read[order], targets, foils, rows)


def _baseline(probe: Probe, baseline, T: int) -> np.ndarray:
    """x0, (T, E)."""
    table = probe.table  # (V, E)
    if isinstance(baseline, str):
        checks.option("baseline", baseline, BASELINES)
        row = np.zeros(table.shape[1]) if baseline == "zero" else table.mean(axis=0, dtype=np.float64)  # (E,)
    else:
        row = np.asarray(baseline)
        if row.shape not in ((table.shape[1],), (T, table.shape[1])):
            raise ValueError(f"baseline must have shape (E,) or (T, E) = {(T, table.shape[1])}, got {checks.describe(row)}")
    return np.broadcast_to(row, (T, table.shape[1])).astype(table.dtype)


def _ends(x0, x):
    return np.broadcast_to(x0, x.shape), x  # (n, T, E) each


def _gradient(probe: Probe, x, predictions: _Predictions, output: str, gradient: bool = True):
    """F of each of n predictions, (n,), and its gradient with respect to x, (n, T, E), both in float64 at the end."""
    rows = np.arange(len(x))
    h, body = probe.body(np.ascontiguousarray(x))  # (n, T, D)
    logits, head = probe.head.forward(np.ascontiguousarray(h[rows, predictions.read]))  # (n, V)
    F, saved = prediction.forward(logits, predictions.targets, predictions.foils, output=output)  # (n,)
    if not gradient:
        return F, None
    dh = np.zeros(h.shape, h.dtype)  # (n, T, D)
    dh[rows, predictions.read] = probe.head.backward(prediction.backward(saved), head)
    return F, probe.body_backward(dh, body).astype(np.float64)
