"""word2vec's way through the text: gradient descent word after word, and how far it has come.

The text is cut between sentences into parts of about `CHUNK` words, and one call of `minilm.ops.negative_sampling.train` reads a
part. The learning rate falls in a line,

.. math:: \\eta = lr + p \\, (lr\\_end - lr), \\qquad p \\in [0, 1)

where p is the part of all words that have been read, and η falls from word to word; or, where there is a budget in minutes, the
part of it that has gone by, and η is the same for all words of a call.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices
from minilm.ops import checks, negative_sampling

if TYPE_CHECKING:
    from minilm.models.word2vec import Word2Vec

__all__ = ["LONGEST", "Pass", "Place", "Progress", "alias_tables", "keep_probabilities"]

CHUNK = 20_000  # words that one call of the kernel reads, about: the time between two looks at the clock
LONGEST = 1000  # words of a sentence, as in Mikolov's program: longer ones are cut
REPORT = 0.2  # seconds between two reports of progress


class Progress(NamedTuple):
    """What `Word2Vec.train` reports as it goes along."""

    done: float  # in [0, 1]
    words: int  # read so far
    loss: float  # mean of a prediction since the last report
    lr: float
    seconds: float


@dataclasses.dataclass
class Place:
    """How far `Word2Vec.train` has come, and where it goes on.

    Attributes
    ----------
    epoch : int
        Epochs that are done.
    call : int
        Calls of the kernel that are done in the epoch after these.
    words : int
        Words read so far.
    seconds : float
        Seconds of training so far.
    sums : list of (loss, predictions)
        Sums over each epoch that has begun; on a GPU they may lie there.
    """

    epoch: int = 0
    call: int = 0
    words: int = 0
    seconds: float = 0.0
    sums: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)


class Pass:
    """One training of a model's vectors; the arguments are those of `Word2Vec.train`.

    Attributes
    ----------
    place : Place
    cuts : ndarray, shape (calls + 1,)
        Numbers of the sentences between which the text is cut.
    """

    def __init__(
        self,
        model: Word2Vec,
        sentences: Sequence[np.ndarray],
        *,
        epochs: int,
        lr: float,
        lr_end: float,
        seed: int,
        minutes: float | None,
        counts: ArrayLike | None,
        streams: int,
        progress: Callable[[Progress], bool | None] | None,
        place: Place | None,
    ):
        config = model.config
        self.model, self.epochs, self.minutes, self.progress = model, epochs, minutes, progress
        self.lr, self.lr_end = lr, lr_end
        self.place = Place() if place is None else place
        ids = np.concatenate([np.empty(0, np.int64), *sentences]).astype(np.int64)  # (n,)
        self.starts = _starts([len(sentence) for sentence in sentences])  # (S + 1,)
        checks.ids("sentences", ids, config.vocab_size)
        counts = np.bincount(ids, minlength=config.vocab_size) if counts is None else np.asarray(counts)
        tables = (keep_probabilities(counts, config.subsample), *alias_tables(counts, config.power))
        self.options = {"cbow": config.algorithm == "cbow", "window": config.window, "negatives": config.negatives}
        self.options |= {"streams": checks.whole("streams", streams, 1, 2**20), "seed": seed}
        self.cuts = _cuts(self.starts, CHUNK * max(1, streams // 32))
        self.total = epochs * len(ids)  # words of all epochs
        self._arrays = devices.to(model.device, (ids, self.starts, tables))
        self._began = self._reported = 0.0  # what the clock showed
        self._unreported: tuple[Any, Any] = (0.0, 0.0)  # sums of the losses and of the predictions since the last report

    def run(self) -> list[float]:
        """Read until all epochs are done, the minutes are over, or `progress` says so; the mean loss of each epoch."""
        place = self.place
        self._kernel(0, 0, lr=0.0, lr_end=0.0)  # compiled before the clock starts
        self._began = time.perf_counter() - place.seconds
        self._reported = self._began + place.seconds
        for epoch in range(place.epoch, self.epochs):
            if len(place.sums) == epoch:
                place.sums.append((0.0, 0.0))
            for low, high in list(zip(self.cuts[:-1], self.cuts[1:], strict=True))[place.call :]:
                if not self._read(epoch, int(low), int(high)):
                    return self.losses
        return self.losses

    @property
    def losses(self) -> list[float]:
        """The mean loss of a prediction in each epoch that has begun."""
        return [_mean(*sums) for sums in self.place.sums]

    def _read(self, epoch: int, low: int, high: int) -> bool:
        """Read the sentences [low, high) by one call of the kernel; whether training goes on."""
        place, now = self.place, time.perf_counter()
        part = self._part(now)
        if self.minutes is not None and part >= 1:
            return False
        lr = self.lr + (self.lr_end - self.lr) * part
        rates: dict[str, Any] = {"lr": self.lr, "lr_end": self.lr_end, "done": place.words, "total": self.total}
        if self.minutes is not None:
            rates = {"lr": lr, "lr_end": lr}
        result = self._kernel(low, high, first=epoch * len(self.starts) + low, **rates)
        if self.minutes is not None:
            float(result.loss)  # a GPU has done its part when the clock is looked at
        place.sums[-1] = _added(place.sums[-1], result)
        self._unreported = _added(self._unreported, result)
        place.words, place.call = place.words + result.words, place.call + 1
        if place.call == len(self.cuts) - 1:
            place.epoch, place.call = epoch + 1, 0
        now = time.perf_counter()
        place.seconds = now - self._began
        return not self._report(now, self._part(now) if self.minutes is None else part, lr)

    def _kernel(self, low: int, high: int, **more: Any) -> negative_sampling.Trained:
        """`minilm.ops.negative_sampling.train` on the sentences [low, high)."""
        (ids, starts, tables), model = self._arrays, self.model
        sentences = ids[self.starts[low] : self.starts[high]], starts[low : high + 1] - starts[low]
        with devices.ids_are_checked():
            return negative_sampling.train(model.input.value, model.output.value, *sentences, *tables, **self.options, **more)

    def _part(self, now: float) -> float:
        """The part of the minutes that has gone by, or of all words that have been read."""
        if self.minutes is not None:
            return (now - self._began) / (60 * self.minutes)
        return self.place.words / max(1, self.total)

    def _report(self, now: float, done: float, lr: float) -> bool | None:
        """Report progress if it is time for that; whether training is to end."""
        place = self.place
        if self.progress is None or not (now - self._reported > REPORT or place.words == self.total):
            return False
        loss, predictions = self._unreported
        if not int(predictions):
            return False
        if self.progress(Progress(done, place.words, _mean(loss, predictions), lr, place.seconds)):
            return True
        self._unreported, self._reported = (0.0, 0.0), now
        return False


def _added(sums: tuple[Any, Any], result: negative_sampling.Trained) -> tuple[Any, Any]:
    """Sums of the losses and of the predictions, with those of one more call."""
    return sums[0] + result.loss, sums[1] + result.predictions


def _mean(loss, predictions) -> float:
    """The mean loss of some predictions; a GPU is waited for."""
    return float(loss) / max(1.0, float(predictions))


def _starts(lengths: Sequence[int]) -> np.ndarray:
    """Where sentences of these lengths begin, one after the other, the long ones in pieces; and where the last ends."""
    lengths = np.asarray(lengths, np.int64)  # (S,)
    pieces = np.maximum(1, -(-lengths // LONGEST))  # (S,) of each sentence
    before = np.repeat(np.cumsum(pieces) - pieces, pieces)  # (P,) pieces of the sentences before
    begins = np.repeat(np.cumsum(lengths) - lengths, pieces)  # (P,) where a piece's sentence begins
    return np.append(begins + (np.arange(len(begins)) - before) * LONGEST, lengths.sum())


def _cuts(starts: np.ndarray, words: int) -> np.ndarray:
    """Numbers of sentences between which there are about so many words."""
    targets = np.arange(words, starts[-1], words)
    inner = np.searchsorted(starts, targets)
    return np.unique(np.concatenate([[0], inner, [len(starts) - 1]]))


def keep_probabilities(counts: np.ndarray, subsample: float) -> np.ndarray:
    """The probability of not leaving a word out, (V,): min(1, √(t / f) + t / f) for a word that is the part f of the text.

    That is the formula of Mikolov's program; in the paper it is √(t / f).
    """
    counts = np.asarray(counts, np.float64)
    if subsample == 0:
        return np.ones(len(counts))
    with np.errstate(divide="ignore"):
        ratio = subsample * counts.sum() / counts  # (V,), t / f
    return np.minimum(1.0, np.sqrt(ratio) + ratio)


def alias_tables(counts: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Walker's tables of the distribution that is proportional to counts**power: accept (V,) and alias (V,).

    A place i drawn evenly is kept with probability accept[i], else it becomes alias[i].
    """
    from minilm.ops.negative_sampling.tables import pair  # compiles

    counts = np.asarray(counts, np.float64)
    weights = np.where(counts > 0, counts**power, 0)
    if not weights.sum() > 0:
        raise ValueError("counts are all zero: there is no word to draw")
    left = weights * (len(weights) / weights.sum())  # (V,), 1 on average
    accept, alias = np.empty(len(left)), np.empty(len(left), np.int64)  # (V,) each
    pair(left, accept, alias)
    return accept, alias
