"""A tagger of words: both directions of an LSTM over a sentence, and a conditional random field over its tags.

::

    c[u]  = [last forward state; last backward state]     (2C,)     over the characters of word u; where there are characters
    x[t]  = [E[id[t]]; M[mark[t]]; c[word[t]]]            (E + M + 2C,)   M: a mark of each word, where there are marks
    h     = bidirectional LSTM or GRU over x              (T, 2H)
    e[t]  = dropout(h[t]) Wᵀ + b                          (K,)      scores of the K tags
    loss  = mean over sentences of -log p(tags | e)                 `minilm.layers.CRF`

    s(y)     = start[y_1] + sum_t (e_t[y_t] + A[y_t, y_t+1]) + end[y_T]       A (K, K): how well one tag follows another
    p(y | e) = exp s(y) / sum over all sequences y' of exp s(y')

Backward::

    de_t[k] = (p(y_t = k | e) - [tags_t = k]) / sentences           `minilm.ops.crf.spec` derives it
    dh      = de W                 dW = sum_t de_t h[t]ᵀ            (T, 2H)
    dx      = recurrent                                             its columns are the gradients by E, M and c, side by side

A mark says what is known of a word beside its spelling: for semantic roles, whether it is the predicate whose roles are wanted.

References: Z. Huang, W. Xu, K. Yu, Bidirectional LSTM-CRF models for sequence tagging, 2015; G. Lample, M. Ballesteros, S.
Subramanian, K. Kawakami, C. Dyer, Neural architectures for named entity recognition, NAACL 2016 (the characters); J. Zhou, W. Xu,
End-to-end learning of semantic role labeling using recurrent neural networks, ACL 2015 (the mark).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import CRF, GRU, LSTM, Dropout, Embedding, Layer, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.layers.sequences import contiguous, side_by_side, time_first
from minilm.models.word_embedding import WordEmbedding
from minilm.ops import checks, embedding
from minilm.ops.workspace import empty
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["Spelling", "Tagger"]


class Spelling(NamedTuple):
    """The characters of a batch's words, each different word once."""

    ids: np.ndarray  # (U, W), padded at their ends
    lengths: np.ndarray  # (U,)
    words: np.ndarray  # (B, T), which of the U words stands where; any one beyond a sentence's end


class Saved(NamedTuple):
    """What backward needs."""

    parts: Any  # what embeddings, LSTM and dropout saved
    output: Any
    crf: Any
    batch: int  # B


class Tagger(Layer):
    """Bidirectional LSTM or GRU with a conditional random field.

    Parameters
    ----------
    vocab_size, num_tags : int
    cell : {"lstm", "gru"}
    embedding_size, hidden_size, num_layers : int
        H is the width of one direction.
    characters : int, optional
        How many different ones there are; without it words are ids alone, and one that is unknown has nothing to be told by.
    character_size : int
        Width of a character's vector, and of one direction over the characters (C).
    marks : int, optional
        How many different marks there are; without it there are none.
    mark_size : int
        M, width of a mark's vector.
    unk_id : int, optional
        The id of unknown words: its vector is zero, as that of a word that is dropped, and is not learned.
    fixed_words : int
        How many further words there are, with ids from `vocab_size` on, whose vectors are not learned: see
        `minilm.models.word_embedding`.
    word_dropout : float
        Probability with which the vector of a word is zero, but not that of its characters: so that these learn to do without.
    dropout : float
        Of x, of h, and of what one layer hands to the next.
    seed : int, Generator or None
    dtype : {float32, float64}
    """

    def __init__(
        self,
        vocab_size: int,
        num_tags: int,
        *,
        cell: str = "lstm",
        embedding_size: int = 64,
        hidden_size: int = 64,
        num_layers: int = 1,
        characters: int | None = None,
        character_size: int = 24,
        marks: int | None = None,
        mark_size: int = 16,
        unk_id: int | None = None,
        fixed_words: int = 0,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
    ):
        super().__init__(dtype=dtype, seed=generator_of(seed))
        more = {"dtype": dtype, "seed": self._generator}
        kind = {"lstm": LSTM, "gru": GRU}[checks.option("cell", cell, ("lstm", "gru"))]
        self.vocab_size = checks.whole("vocab_size", vocab_size, 1, 2**31)
        self.num_tags = checks.whole("num_tags", num_tags, 1, 2**31)
        start = initialisers.normal(0.3)
        self.embedding = WordEmbedding(vocab_size, embedding_size, unk_id, fixed_words=fixed_words, initialise=start, **more)
        self.word_dropout = Dropout(word_dropout, shared_axis=2)
        self.character_embedding = self.speller = None
        width = embedding_size
        if characters is not None:
            self.character_embedding = Embedding(characters, character_size, initialise=start, **more)
            self.speller = kind(character_size, character_size, bidirectional=True, **more)
            width += 2 * character_size
        self.mark_embedding = None
        if marks is not None:
            self.mark_embedding = Embedding(marks, mark_size, initialise=start, **more)
            width += mark_size
        self.dropout = Dropout(dropout)
        both = {"bidirectional": True, "batch_first": False, "dropout": dropout, "orthogonal": True}
        self.recurrent = kind(width, hidden_size, num_layers, **both, **more)
        self.output = Linear(2 * hidden_size, num_tags, **more)
        self.crf = CRF(num_tags, **more)

    # --- training and use --------------------------------------------------------------------------------------------

    def forward(
        self,
        ids: Ids,
        tags: Ids,
        lengths: Ids | None = None,
        spelling: Spelling | None = None,
        marks: Ids | None = None,
        *,
        key: Key | None = None,
    ) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V), or below V + `fixed_words`.
        tags : ndarray of integers, shape (B, T)
            Each in [0, K); beyond a sentence's end also -100.
        lengths : ndarray of integers, shape (B,), optional
        spelling : Spelling
            Where the model has characters.
        marks : ndarray of integers, shape (B, T)
            Where the model has marks; any beyond a sentence's end.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        loss : scalar
            Mean over the sentences of the negative log-likelihood of their tags.
        saved : Saved
        """
        h, parts, lengths = self._states(ids, lengths, spelling, marks, key)  # (T, B, 2H)
        return self._tags_loss(h, parts, tags, lengths)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        self._states_backward(self._tags_backward(saved, dloss), saved.parts)

    def emissions(
        self, ids: Ids, lengths: Ids | None = None, spelling: Spelling | None = None, marks: Ids | None = None
    ) -> Array:
        """Scores (B, T, K) of the tags, without dropout. Arguments: see `forward`."""
        return self._emissions(self._states(ids, lengths, spelling, marks, None)[0])[0]

    def decode(
        self,
        ids: Ids,
        lengths: Ids | None = None,
        spelling: Spelling | None = None,
        marks: Ids | None = None,
        *,
        allowed: Array | None = None,
    ) -> Ids:
        """The best tags (B, T), -100 beyond a sentence's end.

        Parameters
        ----------
        ids, lengths, spelling, marks
            See `forward`.
        allowed
            See `minilm.layers.CRF.decode`.
        """
        emissions = self.emissions(ids, lengths, spelling, marks)  # (B, T, K)
        return self.crf.decode(emissions, lengths, allowed=allowed)[0]

    # --- tags from states ----------------------------------------------------------------------------------------------

    def _emissions(self, h):
        """Scores (B, T, K) of the states h (T, B, 2H)."""
        e, output = self.output.forward(h)  # (T, B, K)
        return contiguous(e.transpose(1, 0, 2)), output

    def _tags_loss(self, h, parts, tags, lengths):
        emissions, output = self._emissions(h)  # (B, T, K)
        nll, saved = self.crf.forward(emissions, tags, lengths)  # (B,)
        return nll.mean(dtype=np.float64).astype(self.dtype), Saved(parts, output, saved, len(nll))

    def _tags_backward(self, saved: Saved, dloss: float):
        """The gradient by h, (T, B, 2H)."""
        B, crf = saved.batch, saved.crf
        dnll = empty((B,), self.dtype, like=crf.alpha)  # (B,)
        dnll[...] = dloss / B
        demissions = self.crf.backward(dnll, crf)  # (B, T, K)
        return self.output.backward(time_first(demissions, True), saved.output)  # (T, B, 2H)

    # --- states --------------------------------------------------------------------------------------------------------

    def _states(self, ids, lengths, spelling, marks, key):
        """h (T, B, 2H) with dropout, what backward needs of it, and the lengths, checked."""
        ids = checks.ids("ids", ids, self.embedding.words, (None, None), "(B, T)")
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one sentence and one word, got shape {ids.shape}")
        lengths = checks.lengths("lengths", lengths, *ids.shape)
        x, embedded = self.embedding.forward(ids.T)  # (T, B, E)
        x, words = self.word_dropout.forward(x, key=at(key, "word_dropout"))
        m, marked = self._marked(marks, ids.shape)  # (T, B, M)
        c, spelled = self._spelled(spelling, ids.shape)  # (T, B, 2C)
        x, dropped = self.dropout.forward(side_by_side(x, m, c), key=at(key, "input"))  # (T, B, E + M + 2C)
        out, recurrent = self.recurrent.forward(x, lengths=lengths, key=at(key, "recurrent"))
        h, top = self.dropout.forward(out.y, key=at(key, "output"))  # (T, B, 2H)
        return h, (embedded, words, marked, spelled, dropped, recurrent, top), lengths

    def _states_backward(self, dh, parts) -> None:
        embedded, words, marked, spelled, dropped, recurrent, top = parts
        dh = self.dropout.backward(dh, top)
        dx, _ = self.recurrent.backward(dh, recurrent)  # (T, B, E + M + 2C)
        dx = self.dropout.backward(dx, dropped)
        E = self.embedding.embedding_dim
        C = E if self.mark_embedding is None else E + self.mark_embedding.embedding_dim  # where the characters begin
        if spelled is not None:
            self._spelled_backward(dx[..., C:], spelled)
        if marked is not None:
            self.mark_embedding.backward(contiguous(dx[..., E:C]), marked)
        dx = self.word_dropout.backward(dx[..., :E], words)  # (T, B, E)
        self.embedding.backward(dx, embedded)

    def _marked(self, marks, shape):
        """Vectors of the marks, (T, B, M), or None."""
        if (marks is None) != (self.mark_embedding is None):
            reason = "must be given: this model reads a mark of each word" if marks is None else "were given to a model without"
            raise ValueError(f"marks {reason}")
        if marks is None:
            return None, None
        marks = checks.ids("marks", marks, self.mark_embedding.num_embeddings, shape, "(B, T)")
        return self.mark_embedding.forward(marks.T)

    def _spelled(self, spelling, shape):
        """What the characters say of each word, (T, B, 2C), or None."""
        if self.speller is None:
            if spelling is not None:
                raise ValueError("spelling was given to a model without characters")
            return None, None
        if spelling is None:
            raise ValueError("spelling must be given: this model reads the characters of the words")
        letters, lengths, words = spelling
        x, embedded = self.character_embedding.forward(letters)  # (U, W, C)
        out, recurrent = self.speller.forward(x, lengths=lengths)
        c = side_by_side(*out.h_n)  # (U, 2C)
        words = checks.ids("spelling.words", words, len(c), shape, "(B, T)")
        vectors, placed = embedding.forward(words.T, c)  # (T, B, 2C)
        return vectors, (embedded, recurrent, placed)

    def _spelled_backward(self, dc, saved) -> None:
        embedded, recurrent, placed = saved
        dc = embedding.backward(dc, placed)  # (U, 2C)
        dh_n = time_first(dc.reshape(len(dc), 2, dc.shape[1] // 2), True)  # (2, U, C), one for each direction
        dx, _ = self.speller.backward((None, dh_n), recurrent)  # (U, W, C)
        self.character_embedding.backward(dx, embedded)

    def settings(self) -> str:
        return f"{self.vocab_size}, {self.num_tags}"
