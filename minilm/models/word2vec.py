"""word2vec: vectors of words from the company they keep.

::

    skip-gram   h = input[word]                            predicts each word of its neighbourhood
    CBOW        h = mean of input[its neighbours]          predicts the word
    loss        = -log σ(h · output[target]) - sum_k log σ(-h · output[negative_k])

Formulas, gradients and the pass that trains word after word stand in `minilm.ops.negative_sampling.spec`.

References: T. Mikolov, K. Chen, G. Corrado, J. Dean, Efficient estimation of word representations in vector space, 2013;
T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, Distributed representations of words and phrases and their
compositionality, NIPS 2013.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices
from minilm.layers import Layer, initialisers
from minilm.layers.base import generator_of
from minilm.models.config import Config, choice, number
from minilm.models.config import size as whole
from minilm.ops import checks, embedding, negative_sampling
from minilm.ops.workspace import scratch
from minilm.random import Key
from minilm.typing import DType, Ids, Scalar, Seed

__all__ = ["Place", "Progress", "Saved", "Word2Vec", "Word2VecConfig", "alias_tables", "keep_probabilities"]

ALGORITHMS = ("skip-gram", "cbow")
CHUNK = 20_000  # words that one call of the kernel reads, about: the time between two looks at the clock
LONGEST = 1000  # words of a sentence, as in Mikolov's program: longer ones are cut
NO_WORD = -1  # in CBOW's inputs: a place without a neighbour


@dataclasses.dataclass(frozen=True)
class Word2VecConfig(Config):
    """What word vectors are made of.

    Parameters
    ----------
    vocab_size : int
    size : int
        Width of a vector.
    algorithm : {"skip-gram", "cbow"}
    window : int
        Most neighbours on each side; how many is drawn anew for each word.
    negatives : int
        Words drawn at random for each prediction.
    power : float
        Negatives are drawn in proportion to count**power.
    subsample : float
        Words more frequent than this part of the text are left out at times; 0 leaves out none.
    """

    model_type: ClassVar[str] = "word2vec"

    vocab_size: int = whole()
    size: int = whole(100)
    algorithm: str = choice("skip-gram", *ALGORITHMS)
    window: int = whole(5, below=2**20)
    negatives: int = whole(5, below=2**20)
    power: float = number(0.75, 0, 10)
    subsample: float = number(1e-3, 0, 1)


class Saved(NamedTuple):
    """What backward needs."""

    embedded: Any  # what the embedding saved
    weights: np.ndarray | None  # (N, C, 1) of the mean, CBOW's
    loss: Any  # what negative_sampling saved


class Progress(NamedTuple):
    """What `Word2Vec.train` tells as it goes along."""

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
        Calls of the kernel that are done in the one after.
    words : int
        Read so far.
    seconds : float
    sums : list of (loss, predictions)
        Of each epoch that has begun; on a GPU they may lie there.
    """

    epoch: int = 0
    call: int = 0
    words: int = 0
    seconds: float = 0.0
    sums: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)


class Word2Vec(Layer):
    """Word vectors by skip-gram or CBOW with negative sampling.

    Parameters
    ----------
    config : Word2VecConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Notes
    -----
    Parameters: ``input`` (V, D), which are the vectors, at first uniform in ±1/(2 D); ``output`` (V, D), zero at first.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> model = models.Word2Vec(models.Word2VecConfig(vocab_size=4, size=8), seed=0)
    >>> sentences = [np.array([0, 1, 2, 3]), np.array([2, 1])] * 50
    >>> losses = model.train(sentences, epochs=2, seed=0)
    >>> len(losses)
    2
    """

    def __init__(self, config: Word2VecConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        super().__init__(dtype=dtype, seed=generator_of(seed))
        self.config = config
        shape = (config.vocab_size, config.size)
        self.parameter("input", shape, initialisers.uniform(0.5 / config.size))
        self.parameter("output", shape, initialisers.constant(0))

    # --- the loss of a batch, for gradient checks and for optimizers of all kinds --------------------------------------

    def forward(self, inputs: Ids, targets: Ids, negatives: Ids, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean loss of N predictions.

        Parameters
        ----------
        inputs : ndarray of integers
            (N,), the words that predict; for CBOW (N, C), the neighbours of each target, -1 where there are fewer than C.
        targets : ndarray of integers, shape (N,)
        negatives : ndarray of integers, shape (N, K)
        key : optional
            Not used: nothing here is random.

        Returns
        -------
        loss : scalar
        saved : Saved
        """
        if self.config.algorithm == "cbow":
            inputs = checks.ids("inputs", inputs, self.config.vocab_size, (None, None), "(N, C)", ignore=NO_WORD)
            present = inputs != NO_WORD  # (N, C)
            if inputs.size and not checks.trusted(present) and not present.any(axis=1).all():
                raise ValueError(f"inputs[{int(present.any(axis=1).argmin())}] has no neighbour: wanted at least one in each row")
            vectors, embedded = embedding.forward(np.where(present, inputs, 0), self.input.value)  # (N, C, D)
            weights = (present / present.sum(axis=1, keepdims=True)).astype(self.dtype)[..., None]  # (N, C, 1)
            h = (vectors * weights).sum(axis=1)  # (N, D)
        else:
            inputs = checks.ids("inputs", inputs, self.config.vocab_size, (None,), "(N,)")
            h, embedded = embedding.forward(inputs, self.input.value)  # (N, D)
            weights = None
        loss, saved = negative_sampling.forward(h, self.output.value, targets, negatives)
        return loss, Saved(embedded, weights, saved)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add the gradients of the loss by all vectors to their buffer."""
        with scratch():
            dh, dW = negative_sampling.backward(dloss, saved.loss)  # (N, D), (V, D)
            self.output.accumulate(dW)
            dvectors = dh if saved.weights is None else dh[:, None] * saved.weights  # (N, D) or (N, C, D)
            self.input.accumulate(embedding.backward(checks.kernel_ready(dvectors), saved.embedded))

    # --- training word after word --------------------------------------------------------------------------------------

    def train(
        self,
        sentences: Sequence[np.ndarray],
        *,
        epochs: int = 5,
        lr: float | None = None,
        lr_end: float = 1e-4,
        seed: int = 0,
        minutes: float | None = None,
        counts: ArrayLike | None = None,
        streams: int = 1,
        progress: Callable[[Progress], bool | None] | None = None,
        place: Place | None = None,
    ) -> list[float]:
        """Read the sentences `epochs` times, with a step of gradient descent at every word.

        On a GPU, too, one warp takes one word after the other: the same vectors as on a CPU, and no sooner, unless `streams` is
        given. The GPU is waited for where `progress` is called, at every look at the clock with `minutes`, and at the end.

        Parameters
        ----------
        sentences : sequence of ndarray of integers
            Words as ids in [0, V). No window reaches beyond its sentence. One of more than 1,000 words is cut into such of 1,000.
        epochs : int
        lr : float, optional
            0.025 for skip-gram and 0.05 for CBOW unless said otherwise; falls in a line to `lr_end`.
        seed : int
            Equal seeds give equal vectors, bit for bit: one thread does the work.
        minutes : float, optional
            The budget: with it the learning rate follows the clock, and `epochs` is only the most that is read.
        counts : array, shape (V,), optional
            How often each word occurs, where that is known already.
        streams : int
            How many sentences a GPU may train at a time: a few hundred keep all of it busy. Only 1 gives equal vectors for equal
            seeds. Without effect on a CPU.
        progress : callable, optional
            Told of a `Progress` now and then; training ends if it returns True.
        place : Place, optional
            Where to begin, with the vectors as they were there: the same vectors as if training had not stopped. It is moved on
            with every call of the kernel.

        Returns
        -------
        losses : list of float
            The mean loss of a prediction in each epoch.
        """
        config = self.config
        epochs = checks.whole("epochs", epochs, 0, 2**31)
        seed = checks.whole("seed", seed, 0, 2**63)
        lr = (0.05 if config.algorithm == "cbow" else 0.025) if lr is None else checks.number("lr", lr, 0, math.inf)
        ids = np.concatenate([np.empty(0, np.int64), *sentences]).astype(np.int64)  # (n,)
        starts = _starts([len(sentence) for sentence in sentences])  # (S + 1,)
        checks.ids("sentences", ids, config.vocab_size)
        counts = np.bincount(ids, minlength=config.vocab_size) if counts is None else np.asarray(counts)
        tables = (keep_probabilities(counts, config.subsample), *alias_tables(counts, config.power))
        options = {"cbow": config.algorithm == "cbow", "window": config.window, "negatives": config.negatives}
        options["streams"] = checks.whole("streams", streams, 1, 2**20)
        cuts = _cuts(starts, CHUNK * max(1, streams // 32))
        all_ids, all_starts, tables = devices.to(self.device, (ids, starts, tables))

        def trained(low, high, **more):
            shard = all_ids[starts[low] : starts[high]], all_starts[low : high + 1] - starts[low]
            with devices.ids_are_checked():
                return negative_sampling.train(self.input.value, self.output.value, *shard, *tables, **options, seed=seed, **more)

        trained(0, 0, lr=0.0, lr_end=0.0)  # compiled before the clock starts
        place = Place() if place is None else place
        total, begin = epochs * len(ids), time.perf_counter() - place.seconds
        loss = predictions = 0.0  # since the last report
        reported, rate = begin + place.seconds, lr
        for epoch in range(place.epoch, epochs):
            if len(place.sums) == epoch:
                place.sums.append((0.0, 0.0))
            for low, high in list(zip(cuts[:-1], cuts[1:], strict=True))[place.call :]:
                now = time.perf_counter()
                if minutes is not None:  # the learning rate falls with the clock; within a call it stays
                    part = (now - begin) / (60 * minutes)
                    if part >= 1:
                        return [_mean(*each) for each in place.sums]
                    rate = lr + (lr_end - lr) * part
                    rates = {"lr": rate, "lr_end": rate}
                else:
                    part = place.words / max(1, total)
                    rate = lr + (lr_end - lr) * part
                    rates = {"lr": lr, "lr_end": lr_end, "done": place.words, "total": total}
                result = trained(low, high, first=epoch * len(starts) + int(low), **rates)
                if minutes is not None:
                    float(result.loss)  # a GPU has done its part when the clock is looked at
                loss, predictions = loss + result.loss, predictions + result.predictions
                place.sums[-1] = place.sums[-1][0] + result.loss, place.sums[-1][1] + result.predictions
                place.words, place.call = place.words + result.words, place.call + 1
                if place.call == len(cuts) - 1:
                    place.epoch, place.call = epoch + 1, 0
                now = time.perf_counter()
                place.seconds = now - begin
                if progress is not None and (now - reported > 0.2 or place.words == total) and int(predictions):
                    part = part if minutes is not None else place.words / total
                    if progress(Progress(part, place.words, _mean(loss, predictions), rate, place.seconds)):
                        return [_mean(*each) for each in place.sums]
                    loss, predictions, reported = 0.0, 0.0, now
        return [_mean(*each) for each in place.sums]

    def settings(self) -> str:
        return f"algorithm={self.config.algorithm!r}, vocab_size={self.config.vocab_size}, size={self.config.size}"


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
