"""word2vec: vectors of words from the company they keep.

::

    skip-gram   h = input[word]                            predicts each word of its neighbourhood
    CBOW        h = mean of input[its neighbours]          predicts the word
    loss        = -log σ(h · output[target]) - sum_k log σ(-h · output[negative_k])

Formulas and gradients, of a batch and of the kernel that trains word after word, stand in `minilm.ops.negative_sampling.spec`;
the way through the text, call after call of that kernel, in `minilm.models.word2vec_training`.

References: T. Mikolov, K. Chen, G. Corrado, J. Dean, Efficient estimation of word representations in vector space, 2013;
T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, Distributed representations of words and phrases and their
compositionality, NIPS 2013.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.layers import Layer, initialisers
from minilm.layers.base import generator_of
from minilm.models.config import Config, choice, number
from minilm.models.config import size as whole
from minilm.models.word2vec_training import Pass, Place, Progress, alias_tables, keep_probabilities
from minilm.ops import checks, embedding, negative_sampling
from minilm.ops.workspace import scratch
from minilm.random import Key
from minilm.typing import DType, Ids, Scalar, Seed

__all__ = ["Place", "Progress", "Saved", "Word2Vec", "Word2VecConfig", "alias_tables", "keep_probabilities"]

ALGORITHMS = ("skip-gram", "cbow")
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

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, an id is out of range, or a row of neighbours has none.
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

        A GPU trains one sentence at a time too: then its vectors are those of a CPU, and it is no faster. `streams` lets it train
        several at a time. It is waited for where `progress` is called, at every look at the clock with `minutes`, and at the end.

        Parameters
        ----------
        sentences : sequence of ndarray of integers
            Words as ids in [0, V). No window reaches beyond its sentence. A longer one than 1,000 words is cut.
        epochs : int
        lr : float, optional
            At the beginning: 0.025 for skip-gram and 0.05 for CBOW without it.
        lr_end : float
            At the end; the rate falls in a line from one to the other.
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
            Called with a `Progress` every 0.2 seconds or so; training ends if it returns True.
        place : Place, optional
            Where to begin, with the vectors as they were there: the same vectors as if training had not stopped. It is moved on
            with every call of the kernel.

        Returns
        -------
        losses : list of float
            The mean loss of a prediction in each epoch.
        """
        training = Pass(
            self,
            sentences,
            epochs=checks.whole("epochs", epochs, 0, 2**31),
            seed=checks.whole("seed", seed, 0, 2**63),
            lr=(0.05 if self.config.algorithm == "cbow" else 0.025) if lr is None else checks.number("lr", lr, 0, math.inf),
            lr_end=lr_end,
            minutes=minutes,
            counts=counts,
            streams=streams,
            progress=progress,
            place=place,
        )
        return training.run()

    def settings(self) -> str:
        return f"algorithm={self.config.algorithm!r}, vocab_size={self.config.vocab_size}, size={self.config.size}"
