"""A conditional random field over the scores of a network: tags that are chosen together, not each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.ops import checks, crf
from minilm.ops.padding import mask_from_lengths
from minilm.ops.workspace import release_after
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed


class CRF(Layer):
    """Linear-chain conditional random field.

    Parameters
    ----------
    num_tags : int
        K.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``transitions`` (K, K), where [i, j] is the score of tag j after tag i, ``start_transitions`` and
    ``end_transitions`` (K,), all uniform in ±0.1 at first, with the names and the meaning of the package pytorch-crf. The
    formulas are in `minilm.ops.crf.spec`.

    References
    ----------
    J. Lafferty, A. McCallum, F. Pereira, Conditional random fields: probabilistic models for segmenting and labeling sequence
    data, ICML 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import layers
    >>> crf = layers.CRF(3, seed=0)
    >>> emissions = np.zeros((1, 2, 3), np.float32)  # (B, T, K)
    >>> emissions[0, [0, 1], [2, 1]] = 5
    >>> crf.decode(emissions)[0]
    array([[2, 1]])
    """

    def __init__(self, num_tags: int, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        self.num_tags = K = checks.whole("num_tags", num_tags, 1, 2**31)
        start = initialisers.uniform(0.1)
        self.parameter("start_transitions", (K,), start)
        self.parameter("end_transitions", (K,), start)
        self.parameter("transitions", (K, K), start)

    @property
    def _weights(self):
        return self.transitions.value, self.start_transitions.value, self.end_transitions.value

    def forward(self, emissions: Array, tags: Ids, lengths: Ids | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns nll (B,) of tags (B, T), given emissions (B, T, K) and lengths (B,); and what `backward` needs.

        See `minilm.ops.crf.forward`.
        """
        return crf.forward(emissions, tags, *self._weights, lengths)

    def backward(self, dnll: Array, saved: Any) -> Array:
        """Returns demissions (B, T, K)."""
        demissions, *rest = crf.backward(dnll, saved)
        for parameter, gradient in zip((self.transitions, self.start_transitions, self.end_transitions), rest, strict=True):
            parameter.accumulate(gradient)
        release_after(demissions)
        return demissions

    def decode(self, emissions: Array, lengths: Ids | None = None, *, allowed: Array | None = None) -> tuple[Ids, Array]:
        """The best tags, by Viterbi's algorithm.

        Parameters
        ----------
        emissions : ndarray, shape (B, T, K)
        lengths : ndarray of integers, shape (B,), optional
        allowed : ndarray of bool, shape (K + 1, K), optional
            What may follow what: row i of tag i, and the last row of the beginning. Other sequences are not chosen, whatever
            their score.

        Returns
        -------
        tags : ndarray of int64, shape (B, T)
            -100 beyond a row's length.
        scores : ndarray, shape (B,)
        """
        transitions, start, end = self._weights
        if allowed is not None:
            allowed = checks.booleans("allowed", allowed, (self.num_tags + 1, self.num_tags), "(K + 1, K)")
            allowed = devices.to_device_of(transitions, allowed)
            transitions = np.where(allowed[:-1], transitions, -np.inf).astype(self.dtype)  # (K, K)
            start = np.where(allowed[-1], start, -np.inf).astype(self.dtype)  # (K,)
        return crf.decode(emissions, transitions, start, end, lengths)

    def marginals(self, emissions: Array, lengths: Ids | None = None) -> Array:
        """Probability of each tag at each step, over all sequences of tags.

        The gradient of log Z by a score is that probability, so that it is what `backward` gives, plus one at the tags of whose
        likelihood it is the gradient.

        Returns
        -------
        ndarray, shape (B, T, K)
            Zeros beyond a row's length.
        """
        B, T, _ = np.shape(emissions)
        module = devices.array_module(emissions)
        _, saved = crf.forward(emissions, module.zeros((B, T), np.int64), *self._weights, lengths)
        p = crf.backward(module.ones(B, self.dtype), saved)[0].copy()  # (B, T, K)
        p[..., 0] += True if lengths is None else mask_from_lengths(module.asarray(lengths), T)
        return p

    def settings(self) -> str:
        return f"{self.num_tags}"
