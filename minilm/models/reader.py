"""Span reader: finds the part of a passage that answers a question.

::

    p, q     = E[passage], E[question]                           (B, T, E), (B, Q, E)       dropout
    a        = attention of relu(W_a p) to relu(W_a q), of q     (B, T, E)                  the question as each word sees it
    x        = p, a, features side by side                       (B, T, 2E + F)
    y        = bidirectional LSTM of x                           (B, T, 2H)                 dropout
    z        = bidirectional LSTM of q                           (B, Q, 2H)                 dropout
    r        = sum_j softmax_j(w · z_j) z_j                      (B, 2H)                    the question as one vector
    s_t, e_t = y_t · W_s r,  y_t · W_e r                         (B, T)                     where the answer starts, and ends
    loss     = mean over the batch of -(log softmax(s)[start] + log softmax(e)[end]) / 2

Padding has no part in the attentions, the LSTMs and the softmaxes. Features are numbers known of each word of the passage, such
as whether it stands in the question too. `minilm.models.spans.best_spans` finds the start i and the end j >= i with the largest
s_i + e_j.

With BERT in the place of the LSTMs, question and passage are read as one sequence, in which every word sees every other one:
`minilm.models.BERTForQuestionAnswering`, whose logits it takes likewise.

Backward, beside that of the layers: for ds and de by the logits, y gets ds_t W_s r + de_t W_e r, and W_s r gets sum_t ds_t y_t;
W_a's gradient is the sum of that of both its uses; w's is that of a query which all rows share.

Reference: D. Chen, A. Fisch, J. Weston, A. Bordes, Reading Wikipedia to answer open-domain questions, ACL 2017, section 3.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import LSTM, Dropout, Layer, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.models.spans import NEVER
from minilm.models.word_embedding import WordEmbedding
from minilm.ops import activations, attention, checks, cross_entropy, padding
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["Reader"]


class Saved(NamedTuple):
    """What backward needs: what each half saved."""

    passage: tuple  # embedding of the passage
    question: tuple  # and of the question
    aligned: tuple
    y: tuple  # LSTM of the passage
    z: tuple  # and of the question
    pooled: Any
    start: tuple
    end: tuple
    losses: tuple = ()


class Reader(Layer):
    """Finds the span of a passage that answers a question.

    Parameters
    ----------
    vocab_size : int
        V. Id 0 is padding.
    embed_dim, hidden_size : int
        E and H.
    num_layers : int
        Of both LSTMs.
    features : int
        F: numbers of each word of the passage.
    fixed_words : int
        How many further words there are, with ids from `vocab_size` on, whose vectors are not learned: see
        `minilm.models.word_embedding`.
    dropout : float
    dtype : {float32, float64}
    seed : int, Generator or None
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 64,
        hidden_size: int = 64,
        *,
        num_layers: int = 1,
        features: int = 1,
        fixed_words: int = 0,
        dropout: float = 0.2,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.vocab_size = checks.whole("vocab_size", vocab_size, 2, 2**31)
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self.features = checks.whole("features", features, 0, 2**31)
        options = {"dtype": dtype, "seed": generator}
        both = {"num_layers": num_layers, "bidirectional": True, "dropout": dropout, **options}
        start = {"fixed_words": fixed_words, "initialise": initialisers.normal(0.3)}
        self.embedding = WordEmbedding(vocab_size, embed_dim, 0, **start, **options)
        self.align = Linear(embed_dim, embed_dim, **options)
        self.passage = LSTM(2 * embed_dim + features, hidden_size, **both)
        self.question = LSTM(embed_dim, hidden_size, **both)
        self.parameter("pool", (2 * hidden_size,), initialisers.normal(0.1))
        self.start = Linear(2 * hidden_size, 2 * hidden_size, bias=False, **options)
        self.end = Linear(2 * hidden_size, 2 * hidden_size, bias=False, **options)
        self.dropout = Dropout(dropout)

    def forward(
        self, passage: Ids, question: Ids, spans: Ids, features: Array | None = None, *, key: Key | None = None
    ) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        passage : ndarray of integers, shape (B, T)
            Words, 0 for padding at the ends of rows.
        question : ndarray of integers, shape (B, Q)
            Likewise.
        spans : ndarray of integers, shape (B, 2)
            The first and the last word of each answer.
        features : ndarray, shape (B, T, F)
            Only where F is not 0.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        loss : scalar
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, an id is out of range, or a span lies outside of its passage.
        """
        (start, end), saved = self._logits(passage, question, features, key)  # (B, T) each
        B = len(start)
        spans = checks.integers("spans", spans, (B, 2), "(B, 2)")
        if not checks.trusted(spans):
            lengths = (passage != 0).sum(axis=1)  # (B,)
            wrong = (spans < 0).any(axis=1) | (spans[:, 1] >= lengths) | (spans[:, 0] > spans[:, 1])
            if wrong.any():
                b = int(wrong.argmax())
                raise ValueError(f"spans must lie in the passage, got {spans[b].tolist()} in row {b} of {lengths[b]} words")
        loss_start, saved_start = cross_entropy.forward(start, checks.kernel_ready(spans[:, 0]))
        loss_end, saved_end = cross_entropy.forward(end, checks.kernel_ready(spans[:, 1]))
        return (loss_start + loss_end) / 2, saved._replace(losses=(saved_start, saved_end))

    def logits(self, passage: Ids, question: Ids, features: Array | None = None) -> tuple[Array, Array]:
        """Logits of the start and of the end, (B, T) each; of padding -1e9. Arguments as `forward`'s."""
        return self._logits(passage, question, features, None)[0]

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> Array | None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer.

        Returns
        -------
        dfeatures : ndarray, shape (B, T, F), or None where there are none
        """
        E = self.embed_dim
        ds, de = (cross_entropy.backward(dloss / 2, loss) for loss in saved.losses)  # (B, T) each
        dy, dr = self._point_backward(self.start, ds, saved.start)  # (B, T, 2H), (B, 2H)
        dy_end, dr_end = self._point_backward(self.end, de, saved.end)
        dz = self._pool_backward(dr + dr_end, saved.pooled)  # (B, Q, 2H)
        dq = self._read_backward(self.question, dz, saved.z)  # (B, Q, E)
        dx = self._read_backward(self.passage, dy + dy_end, saved.y)  # (B, T, 2E + F)
        dp, dvalue, dkey = self._align_backward(dx[:, :, E : 2 * E], saved.aligned)  # (B, T, E), (B, Q, E) twice
        self._embed_backward(dx[:, :, :E] + dp, saved.passage)
        self._embed_backward(dq + dvalue + dkey, saved.question)
        return dx[:, :, 2 * E :] if self.features else None

    # --- halves ------------------------------------------------------------------------------------------------------

    def _logits(self, passage, question, features, key):
        """Logits of the start and of the end, (B, T) each, and a `Saved`."""
        passage, question, features = self._checked(passage, question, features)
        lengths, counted = (passage != 0).sum(axis=1), question != 0  # (B,), (B, Q)
        inside = padding.mask_from_lengths(lengths, passage.shape[1])  # (B, T)
        p, embedded_p = self._embed(passage, at(key, "embedding.passage"))  # (B, T, E)
        q, embedded_q = self._embed(question, at(key, "embedding.question"))  # (B, Q, E)
        a, aligned = self._align(p, q, counted)  # (B, T, E)
        x = np.concatenate([p, a] if features is None else [p, a, features], axis=2)  # (B, T, 2E + F)
        y, read_p = self._read(self.passage, x, lengths, key, "passage")  # (B, T, 2H)
        z, read_q = self._read(self.question, q, counted.sum(axis=1), key, "question")  # (B, Q, 2H)
        r, pooled = self._pool(z, counted)  # (B, 2H)
        s, start = self._point(self.start, y, r, inside)  # (B, T)
        e, end = self._point(self.end, y, r, inside)  # (B, T)
        return (s, e), Saved(embedded_p, embedded_q, aligned, read_p, read_q, pooled, start, end)

    def _checked(self, passage, question, features):
        passage = checks.ids("passage", passage, self.embedding.words, (None, None), "(B, T)")
        B, T = passage.shape
        question = checks.ids("question", question, self.embedding.words, (B, None), "(B, Q)")
        for name, ids in (("passage", passage), ("question", question)):
            if not B or not ids.shape[1] or not (checks.trusted(ids) or (ids[:, :1] != 0).all()):
                raise ValueError(f"{name} must have a word at least in each row, and padding (0) at the ends of rows")
        if self.features:
            features = checks.floating("features", features, (B, T, self.features), self.dtype, "(B, T, F)")
        elif features is not None:
            raise ValueError(f"features is for a reader with some, got {checks.describe(features)}")
        return passage, question, features

    def _embed(self, ids, key):
        """Embedding and dropout, (B, T or Q, E)."""
        x, embedded = self.embedding.forward(ids)
        x, dropped = self.dropout.forward(x, key=key)
        return x, (embedded, dropped)

    def _embed_backward(self, dx, saved) -> None:
        embedded, dropped = saved
        self.embedding.backward(self.dropout.backward(checks.kernel_ready(dx), dropped), embedded)

    def _align(self, p, q, counted):
        """a = attention of relu(W_a p) to relu(W_a q), of q: (B, T, E)."""
        query, mapped_p = self._mapped(p)  # (B, T, E)
        keys, mapped_q = self._mapped(q)  # (B, Q, E)
        heads = (query[:, :, None], keys[:, :, None], q[:, :, None])  # (B, T, 1, E), (B, Q, 1, E) twice
        a, attended = attention.forward(*heads, key_mask=counted, scale=1.0)  # (B, T, 1, E)
        return a[:, :, 0], (attended, mapped_p, mapped_q)

    def _align_backward(self, da, saved):
        """Gradients by p, and by q as a value and as a key."""
        attended, mapped_p, mapped_q = saved
        parts = attention.backward(checks.kernel_ready(da)[:, :, None], attended)
        dquery, dkey, dvalue = (part[:, :, 0] for part in parts)  # (B, T, E), (B, Q, E) twice
        return self._mapped_backward(dquery, mapped_p), dvalue, self._mapped_backward(dkey, mapped_q)

    def _mapped(self, x):
        """relu(W_a x)."""
        a, mapped = self.align.forward(x)
        y, curve = activations.relu.forward(a)
        return y, (mapped, curve)

    def _mapped_backward(self, dy, saved):
        mapped, curve = saved
        return self.align.backward(activations.relu.backward(checks.kernel_ready(dy), curve), mapped)

    def _read(self, lstm, x, lengths, key, name: str):
        """Bidirectional LSTM and dropout, (B, T or Q, 2H)."""
        out, read = lstm.forward(x, None, lengths, key=at(key, name))
        y, dropped = self.dropout.forward(checks.kernel_ready(out.y), key=at(key, f"{name}.output"))
        return y, (read, dropped)

    def _read_backward(self, lstm, dy, saved):
        read, dropped = saved
        return lstm.backward(self.dropout.backward(dy, dropped), read)[0]

    def _pool(self, z, counted):
        """r = sum_j softmax_j(w · z_j) z_j, (B, 2H): attention of a query w that all rows share."""
        w = checks.kernel_ready(np.broadcast_to(self.pool.value, (len(z), 1, 1, z.shape[2])))  # (B, 1, 1, 2H)
        r, pooled = attention.forward(w, z[:, :, None], z[:, :, None], key_mask=counted, scale=1.0)  # (B, 1, 1, 2H)
        return checks.kernel_ready(r[:, 0, 0]), pooled

    def _pool_backward(self, dr, pooled):
        dw, dkey, dvalue = attention.backward(dr[:, None, None], pooled)  # (B, 1, 1, 2H), (B, Q, 1, 2H) twice
        self.pool.accumulate(dw.sum(axis=0).reshape(-1))
        return (dkey + dvalue)[:, :, 0]

    def _point(self, layer, y, r, inside):
        """Logits y_t · W r, (B, T)."""
        g, mapped = layer.forward(r)  # (B, 2H)
        return np.where(inside, (y @ g[:, :, None])[:, :, 0], NEVER).astype(y.dtype), (y, g, mapped)

    def _point_backward(self, layer, ds, saved):
        """Gradients by y and r."""
        y, g, mapped = saved
        return ds[:, :, None] * g[:, None], layer.backward((ds[:, None] @ y)[:, 0], mapped)

    def settings(self) -> str:
        return f"{self.vocab_size}, {self.embed_dim}, {self.passage.hidden_size}"
