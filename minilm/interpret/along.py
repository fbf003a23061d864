"""Along training: what heads and layers have come to do, checkpoint by checkpoint.

Of each checkpoint that a run has kept (``keep_every``), two things::

    head scores     `minilm.interpret.head_scores`: previous-token, duplicate and induction heads, and what copying gains
    linear probe    how well one linear map reads off a layer at place t which token stood at t - back       accuracy, held out

Both kinds of head, the gain and the probe of the token before tend to rise together, within few steps: the second head of an
induction pair needs what the first one writes, which is what this probe reads.

Reference: C. Olsson et al., In-context learning and induction heads, 2022.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.components import components_of
from minilm.interpret.head_scores import HeadScores, head_scores
from minilm.interpret.linear_probe import linear_probe
from minilm.interpret.plain import plain
from minilm.interpret.probes import Explained, Probe, probe_of
from minilm.layers.hooks import hooks
from minilm.ops import checks
from minilm.pictures import new_figure, write_png
from minilm.typing import PathLike

__all__ = ["Along", "along", "write_along_plot"]


class Along(NamedTuple):
    """What N checkpoints of a model of L layers with H heads have learnt."""

    steps: list[int]  # N
    scores: list[HeadScores] | None  # N, of a causal Transformer
    probes: np.ndarray  # (N, L) accuracy of the probe of each layer
    majority: float  # what always saying the most frequent class would reach
    back: int

    def columns(self) -> list[str]:
        """Names of the numbers of `rows`: step, copying, previous.l.h, ..., probe.l, with layers and heads from 0."""
        names = ["step"]
        if self.scores is not None:
            L, H = self.scores[0].previous.shape
            kinds = ("previous", "duplicate", "induction")
            names += ["copying", *(f"{kind}.{layer}.{head}" for kind in kinds for layer in range(L) for head in range(H))]
        return [*names, *(f"probe.{layer}" for layer in range(self.probes.shape[1]))]

    def rows(self) -> list[list[float]]:
        """A row for each checkpoint."""
        rows: list[list[float]] = []
        for n, step in enumerate(self.steps):
            row = [float(step)]
            if self.scores is not None:
                score = self.scores[n]
                row += [score.copying, *(float(x) for part in score[:3] for x in part.ravel())]
            rows.append([*row, *map(float, self.probes[n])])
        return rows

    def to_csv(self) -> str:
        """The rows below the columns' names."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns())
        writer.writerows([f"{value:.6g}" for value in row] for row in self.rows())
        return text.getvalue()

    def to_json(self) -> str:
        """The table as JSON, by names, with the scores as arrays (L, H)."""
        scores = None if self.scores is None else [score._asdict() for score in self.scores]
        return json.dumps(plain({**self._asdict(), "scores": scores}), allow_nan=False)

    def __str__(self) -> str:
        """A table: the best head of each kind, and the probe of each layer."""
        heads = ["previous", "induction", "copying"] if self.scores is not None else []
        layers = [f"probe {layer + 1}" for layer in range(self.probes.shape[1])]
        lines = ["".join(f"{name:>11}" for name in ("step", *heads, *layers))]
        for n, step in enumerate(self.steps):
            numbers = list(self.probes[n])
            if self.scores is not None:
                score = self.scores[n]
                numbers = [score.previous.max(), score.induction.max(), score.copying, *numbers]
            lines.append(f"{step:>11,}" + "".join(f"{number:>11.3f}" for number in numbers))
        return "\n".join(lines)


def along(
    checkpoints: Iterable[tuple[int, Explained]],
    ids: ArrayLike,
    *,
    back: int = 1,
    classes: int = 20,
    texts: int = 4,
    seed: int = 0,
) -> Along:
    """Follow heads and layers through training.

    Parameters
    ----------
    checkpoints : iterable of (int, model)
        Steps and models, one at a time: a generator need not hold them all. Recurrent models have no head scores.
    ids : ndarray of integers, shape (B, T)
        Texts for the probe, such as windows of the validation part.
    back : int
        Which token the probe reads off place t: that at t - back.
    classes : int
        It tells the most frequent tokens from one another and from all others.
    texts, seed : int
        See `minilm.interpret.head_scores`; the seed is the probe's, too.

    Returns
    -------
    Along

    Raises
    ------
    ValueError
        For no checkpoint, or models that differ in layers or kind.
    """
    ids = np.asarray(ids)
    checks.check_shape("ids", ids, (None, None), "(B, T)")
    back = checks.whole("back", back, 1, max(2, ids.shape[1]))
    labels = _frequent(ids[:, :-back], checks.whole("classes", classes, 1, 2**20))  # (B, T - back)
    steps: list[int] = []
    scores: list[HeadScores] = []
    accuracies, majority = [], 0.0
    for step, model in checkpoints:
        if getattr(model, "objective", "next") == "masked":
            raise ValueError("heads and layers are followed through the training of causal models, got a BERT")
        probe = probe_of(model)
        if probe.attends:
            scores.append(head_scores(probe, texts=texts, seed=seed))
        results = [linear_probe(h[:, back:].reshape(-1, h.shape[2]), labels.ravel(), seed=seed) for h in _layers(probe, ids)]
        steps.append(int(step))
        accuracies.append([result.accuracy for result in results])
        majority = results[0].majority
    if not steps:
        raise ValueError("there is no checkpoint to follow")
    if len({len(row) for row in accuracies}) > 1 or len(scores) not in (0, len(steps)):
        raise ValueError("the checkpoints must be of one model, got some of different layers or kinds")
    return Along(steps, scores or None, np.array(accuracies), majority, back)


def write_along_plot(result: Along, path: PathLike) -> None:
    """Write a PNG: each head's scores and what copying gains, and the probes, over the steps.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    panels = [_probe_panel] if result.scores is None else [_heads_panel("previous"), _heads_panel("induction"), _probe_panel]
    figure = new_figure((7, 2.6 * len(panels)))
    every = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, draw in zip(every, panels, strict=True):
        draw(axes, result)
        axes.grid(alpha=0.25)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(fontsize=7, ncols=4, loc="upper left")
    every[-1].set_xlabel("step")
    write_png(figure, path)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _frequent(ids: np.ndarray, classes: int) -> np.ndarray:
    """The number of each token among the most frequent ones, and `classes` for all others."""
    tokens, counts = np.unique(ids, return_counts=True)
    numbers = np.full(int(ids.max(initial=0)) + 1, classes)
    most = tokens[np.argsort(-counts, kind="stable")][:classes]
    numbers[most] = np.arange(len(most))
    return numbers[ids]


def _layers(probe: Probe, ids) -> list[np.ndarray]:
    """What each layer gives, (B, T, D): the stream after a block, or a recurrent layer's state."""
    parts = components_of(probe, "stream" if probe.attends else "h")
    with hooks(probe.model, [part.hook for part in parts]) as seen:
        probe.body(probe.embed(ids))
    return [part.of(seen) for part in parts]


def _heads_panel(kind: str) -> Any:
    def draw(axes, result):
        values = np.stack([getattr(score, kind) for score in result.scores])  # (N, L, H)
        best = values[-1].argmax()
        for number, column in enumerate(values.reshape(len(values), -1).T):  # (N,) of a head
            layer, head = divmod(number, values.shape[2])
            chosen = number == best
            label = f"layer {layer + 1}, head {head + 1}" if chosen else None
            axes.plot(result.steps, column, marker="." if len(values) < 30 else None, lw=2 if chosen else 0.8, label=label)
        axes.set_title(f"{kind}-token heads" if kind == "previous" else f"{kind} heads", loc="left", fontsize=9)

    return draw


def _probe_panel(axes, result) -> None:
    for layer, column in enumerate(result.probes.T):  # (N,)
        axes.plot(result.steps, column, marker="." if len(column) < 30 else None, label=f"layer {layer + 1}")
    axes.axhline(result.majority, color="0.6", lw=0.8, ls="--", label="most frequent")
    axes.set_title(f"linear probe: the token {result.back} before, accuracy", loc="left", fontsize=9)
