"""What explains a model of a task: its decisions, one by one, and what of the input each rests on.

A decision is a number F that the model says: the log-probability of a label, or by how much it prefers one tag to another.
Integrated gradients (`minilm.interpret.path`) share F(x) - F(x0) out among the pieces of the input, from vectors x0 of zeros to
the pieces' own. F is a sum of losses of the model's own ``forward``, so that its gradient is what ``backward`` gives::

    F = sum_k c_k loss_k            ∂F/∂x = sum_k c_k ∂loss_k/∂x         x: the first input of the layer that reads the vectors
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import minilm
from minilm.data.batching import IGNORE
from minilm.interpret import prediction
from minilm.interpret.html_page import frame
from minilm.interpret.path import Integral, Path, integral
from minilm.interpret.plain import plain
from minilm.interpret.probes import untouched
from minilm.layers.base import Layer
from minilm.layers.hooks import hooks

__all__ = [
    "Decision",
    "Decisions",
    "Loss",
    "Place",
    "Predictions",
    "attributed",
    "check_device",
    "log_odds",
    "most_probable",
]

CHUNK = 32  # rows that are read side by side
MOST_STEPS = 512  # gradients of a decision, about


class Decision(NamedTuple):
    """One choice of a model, and why."""

    name: str  # of what was decided: a word's place, a label
    answer: str  # what was chosen
    foil: str | None  # and not this
    measure: str  # what F is, in words
    output: float  # F
    baseline: float  # F where all vectors are zero; NaN where the values are an exact sum
    values: np.ndarray  # (S,) what each piece of the input did for F
    error: float  # what is missing for completeness
    steps: int  # gradients computed; 0 for an exact sum
    choices: list[tuple[str, float]]  # what else there was, the best first, with probabilities
    shares: list[tuple[str, float]]  # parts of F by where they come from; they sum to F; empty where there is one part

    @classmethod
    def of(
        cls,
        integral: Integral,
        n: int,
        *,
        name: str,
        answer: str,
        foil: str | None,
        measure: str,
        choices: list[tuple[str, float]],
        shares: list[tuple[str, float]] | None = None,
        values: np.ndarray | None = None,
    ) -> Decision:
        """The decision whose F is number `n` of an integral; `values` (S,) where the pieces are not what was integrated over."""
        output, baseline, error, steps = (float(each[n]) for each in integral[1:])
        values = integral.values[n] if values is None else values
        return cls(name, answer, foil, measure, output, baseline, values, error, int(steps), choices, shares or [])


@dataclass(frozen=True, repr=False)
class Decisions:
    """Why a model gave its answer to a text.

    Attributes
    ----------
    text, answer : str
        What went in and what came out.
    model : str
        The model in a few words.
    pieces : list of str
        S, of the input: words, tokens or sentences.
    decisions : list of Decision
        N.
    maps : dict of str to ndarray, shape (N, S) or (K, S)
        Where the model looked: a row for each decision, or for each of `map_rows`.
    map_rows : list of str, or None
    labels : list of str
        How the decisions are shown in a line; their answers without it.
    about : str
        How to read it, in a sentence or two.
    """

    text: str
    answer: str
    model: str
    pieces: list[str]
    decisions: list[Decision]
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    map_rows: list[str] | None = None
    labels: list[str] = field(default_factory=list)
    about: str = ""

    def __repr__(self) -> str:
        count, size = len(self.decisions), len(self.pieces)
        return f"Decisions({self.answer!r}, {count} about {size} pieces): minilm.interpret.write_page(it, FILE) shows them"

    def _repr_html_(self) -> str:
        return frame(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        decisions = [plain(decision._asdict()) for decision in self.decisions]
        return {"minilm_version": minilm.__version__, **plain(fields | {"decisions": None}), "decisions": decisions}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


class Loss(NamedTuple):
    """A term c loss of F, of a batch of n rows: the loss is a mean over them."""

    arguments: tuple  # of the model's ``forward``
    factor: float  # c


class Predictions(NamedTuple):
    """N decisions of a model with logits (n, T, C): F = log p(answer), less log p(foil) where there is one, each at a place."""

    places: np.ndarray  # (N,) each in [0, T)
    answers: np.ndarray  # (N,) tokens or labels, each in [0, C)
    foils: np.ndarray | None  # (N,)

    def value(self, logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """F (n,) of the decisions `rows` (n,), from the logits of as many copies of the input."""
        read = logits[np.arange(len(rows)), self.places[rows]]  # (n, C)
        return prediction.forward(read, self.answers[rows], None if self.foils is None else self.foils[rows])[0]

    def targets(self, rows: np.ndarray, T: int) -> list[tuple[np.ndarray, int]]:
        """Of each loss in F = sum_k c_k loss_k its targets (n, T), -100 but at the place of a row's decision, and c_k."""
        terms = []
        for chosen, factor in ((self.answers, -1), (self.foils, 1)):
            if chosen is not None:
                targets = np.full((len(rows), T), IGNORE)  # (n, T)
                targets[np.arange(len(rows)), self.places[rows]] = chosen[rows]
                terms.append((targets, factor))
        return terms


def log_odds(answer: str, foil: str | None) -> str:
    """What F is in words: log p(answer), less log p(foil) where there is one."""
    return f"log p({answer})" if foil is None else f"log p({answer}) − log p({foil})"


def most_probable(p: np.ndarray, name: Callable[[int], str], most: int | None = 8) -> list[tuple[str, float]]:
    """The `most` largest of the probabilities p (K,), or all with None, with their names: `Decision.choices`."""
    return [(name(k), float(p[k])) for k in np.argsort(-p, kind="stable")[:most].tolist()]


class Place(NamedTuple):
    """Where the vectors of the input's S pieces enter a model."""

    layers: tuple[str, ...]  # whose first inputs they are
    pack: Callable[[list[np.ndarray]], np.ndarray]  # these inputs -> (n, S, E)
    unpack: Callable[[np.ndarray], list[np.ndarray]]  # and back

    @classmethod
    def of(cls, layer: str, *, time_first: bool = False) -> Place:
        """The first input (n, S, E) of one layer, or (S, n, E) with `time_first`."""
        swap = (lambda x: x.transpose(1, 0, 2)) if time_first else (lambda x: x)
        return cls((layer,), lambda inputs: swap(inputs[0]), lambda x: [swap(x)])


def attributed(
    model: Layer,
    place: Place,
    x0: Callable[[np.ndarray], np.ndarray],
    count: int,
    value: Callable[[np.ndarray], np.ndarray],
    losses: Callable[[np.ndarray], Sequence[Loss]],
    *,
    most: int = MOST_STEPS,
) -> Integral:
    """Integrated gradients of several decisions about one input.

    Parameters
    ----------
    model : Layer
        With ``forward(...) -> (loss, saved)`` and ``backward(saved, dloss=...)``.
    place : Place
        Where the path goes through.
    x0 : callable
        ``x (S, E) -> x0 (S, E)``.
    count : int
        N decisions.
    value : callable
        ``rows (n,) -> F (n,)``; runs the model on n copies of the input.
    losses : callable
        ``rows (n,) -> [Loss]``: F = sum of factor * loss of each row.
    most : int
        Gradients of each decision, about.
    """
    names = list(place.layers)

    def at(points):
        return dict(zip(names, place.unpack(points), strict=True))

    with _whole(model), untouched(model):
        with hooks(model, names) as seen:
            value(np.arange(1))
        x = place.pack([seen.inputs[name] for name in names])[0]  # (S, E)
        start = x0(x).astype(x.dtype)  # (S, E)

        def ends(rows):
            return np.broadcast_to(start, (len(rows), *x.shape)), np.broadcast_to(x, (len(rows), *x.shape))

        def value_at(points, rows):
            with hooks(model, [], inputs=at(points)):
                return value(rows)

        def gradient_at(points, rows):
            total = np.zeros(points.shape)  # (n, S, E)
            for loss in losses(rows):
                with hooks(model, names, inputs=at(points)) as seen:
                    _, saved = model.forward(*loss.arguments)
                    model.backward(saved, dloss=loss.factor * len(rows))  # the loss is a mean over the rows
                gradients = (seen.input_gradients[name] for name in names)  # of a recurrent layer (dx, dstate)
                total += place.pack([each[0] if isinstance(each, tuple) else each for each in gradients])
            return total

        path = Path((count, len(x)), ends, value_at, gradient_at, _chunks)
        return integral(path, most=most)


def check_device(model: Layer) -> None:
    """ValueError for a model on a GPU: what is explained is computed on the CPU."""
    if getattr(model, "device", "cpu") != "cpu":
        raise ValueError(f"model must be on the CPU to be explained, got one on {model.device}: model.to('cpu') moves it")


def _chunks(rows: int) -> list[slice]:
    return [slice(start, min(rows, start + CHUNK)) for start in range(0, rows, CHUNK)]


@contextlib.contextmanager
def _whole(model: Layer) -> Iterator[None]:
    """The model with the loss that its probabilities have, and with all its gradients: without smoothing, nothing frozen."""
    before = {name: getattr(model, name) for name in ("label_smoothing", "frozen", "config") if hasattr(model, name)}
    if "label_smoothing" in before:
        model.label_smoothing = 0.0
    if "frozen" in before:
        model.frozen = False
    if hasattr(before.get("config"), "label_smoothing"):
        model.config = before["config"].replace(label_smoothing=0.0)
    try:
        yield
    finally:
        for name, each in before.items():
            setattr(model, name, each)
