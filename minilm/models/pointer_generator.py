"""An encoder-decoder that can copy: each token of the target is either written from the vocabulary or taken from the source.

Source and target have one vocabulary. At step t, with the decoder's h_t, the encoder's states m_1 ... m_S over the source
x_1 ... x_S and the logits z_t of `minilm.models.Seq2Seq`, a pointer attends to the S places and to one more, a sentinel s, which
stands for writing::

    q_t    = W_q h_t + b_q                                (A,)
    k_i    = W_k m_i      i = 1 ... S,    k_{S+1} = s     (A,)
    u_t    = k_i · q_t / sqrt(A)                          (S + 1,)
    a_t    = softmax(u_t)                                 over the source's tokens and the sentinel
    P_t(w) = a_t[S+1] softmax(z_t)[w] + sum over i with x_i = w of a_t[i]
    loss   = mean over all b, t of -log P_t(y_t)

P sums to one, since a does. Backward: of P(y), the part ρ_i = a_i [x_i = y] / P(y) came from place i, and the part
ρ_{S+1} = a_{S+1} softmax(z)[y] / P(y) was written; they sum to one. As -log of a mixture's likelihood has the gradient of its
parts, weighted by these responsibilities::

    dL/du_i = a_i - ρ_i                 i = 1 ... S + 1
    dL/dz_w = ρ_{S+1} (softmax(z)[w] - [w = y])

each over the number of targets that count. In generation the logits are log P, whose softmax is P again.

With ``follow`` the pointer is told where the last tokens of the target stand in the source, and learns when to go on behind them:
what a copy of several tokens does at every one of them, whichever they are::

    n_ti = [x_{i-1} = y_{t-1}]                            whether the token before place i is the last of the target
    b_ti = n_ti [x_{i-2} = y_{t-2}]                       and the one before that too
    g_t  = W_g h_t + b_g                                  (2,)
    u_ti = k_i · q_t / sqrt(A) + g_t1 n_ti + g_t2 b_ti    i = 1 ... S

    dL/dg_t = [sum_i dL/du_ti n_ti;  sum_i dL/du_ti b_ti]

References: A. See, P. J. Liu, C. D. Manning, Get to the point: summarization with pointer-generator networks, ACL 2017 (the
mixture, with the decoder's own attention for a pointer); S. Merity, C. Xiong, J. Bradbury, R. Socher, Pointer sentinel mixture
models, ICLR 2017 (the sentinel); J. Gu, Z. Lu, H. Li, V. O. K. Li, Incorporating copying mechanism in sequence-to-sequence
learning, ACL 2016 (places of the last token, which its decoder reads).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import Linear, initialisers
from minilm.layers.products import multiplied
from minilm.layers.sequences import contiguous
from minilm.models.encoder_decoder import mask_of
from minilm.models.seq2seq import Saved, Seq2Seq, Seq2SeqState
from minilm.models.seq2seq_config import Seq2SeqConfig
from minilm.ops import checks, embedding, softmax
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["PointerGenerator"]

FLOOR = 1e-20  # of a probability whose logarithm is taken


class Pointed(NamedTuple):
    """What backward needs of the pointer."""

    q: np.ndarray  # (B, T, A)
    k: np.ndarray  # (B, S + 1, A), the sentinel last
    a: np.ndarray  # (B, T, S + 1)
    query: Any
    key: Any
    behind: Any  # n and b, (B, T, S) each, and what the layer of g saved; None without ``follow``


class SavedPointer(NamedTuple):
    """What backward needs."""

    model: Saved
    pointed: Pointed
    du: np.ndarray  # (B, T, S + 1) by the pointer's scores
    dz: np.ndarray  # (B, T, V) by the logits


class PointerState(NamedTuple):
    """What has been read and written, for generation."""

    model: Seq2SeqState
    source: np.ndarray  # (N, S) ids
    k: np.ndarray  # (N, S + 1, A), the sentinel last
    last: np.ndarray  # (N,) the token read before the next; -1 where there is none yet

    @property
    def sentence(self):
        """Which source a row belongs to, (N,), on the host."""
        return self.model.sentence

    def reorder(self, rows: Ids) -> PointerState:
        """The state of some of the rows; see `minilm.models.seq2seq.Seq2SeqState.reorder`."""
        order = devices.to_device_of(self.k, rows)
        return PointerState(self.model.reorder(rows), self.source[order], self.k[order], self.last[order])


class PointerGenerator(Seq2Seq):
    """Writes a target for a source, and copies from it.

    Parameters
    ----------
    config : Seq2SeqConfig
        With attention and one vocabulary (``shared=True``), not reversed, and without label smoothing.
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> config = models.Seq2SeqConfig(vocab_size=20, hidden_size=16, attention="bahdanau", shared=True)
    >>> model = models.PointerGenerator(config, seed=0)
    >>> source = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])  # (B, S)
    >>> inputs, targets = np.array([[1, 4, 5], [1, 8, 0]]), np.array([[4, 5, 2], [8, 2, -100]])  # (B, T) each
    >>> loss, saved = model.forward(source, inputs, targets, np.array([4, 2]))
    >>> model.backward(saved)
    """

    copies = True

    def __init__(self, config: Seq2SeqConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        for name, required in (("shared", True), ("reverse", False), ("label_smoothing", 0)):
            if getattr(config, name) != required:
                raise ValueError(f"a model that copies wants {name}={required}, got {getattr(config, name)!r}")
        if config.attention is None:
            raise ValueError("a model that copies wants attention, got attention=None")
        super().__init__(config, seed=seed, dtype=dtype)
        A, more = config.hidden_size, {"dtype": dtype, "seed": self._generator}
        self.query = Linear(self.decoder.width, A, **more)
        self.key = Linear(config.hidden_size, A, bias=False, **more)
        self.parameter("sentinel", (A,), initialisers.kaiming_uniform(A))
        self.follow = Linear(self.decoder.width, 2, **more) if config.follow else None

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(
        self, source: Ids, inputs: Ids, targets: Ids, lengths: Ids | None = None, *, key: Key | None = None
    ) -> tuple[Scalar, SavedPointer]:
        """Mean of -log P of the targets, in nats a token; arguments as those of `Seq2Seq.forward`."""
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        targets = self._targets(targets, inputs)
        z, pointed, saved = self._parts(source, lengths, inputs, key)  # (B, T, V)
        p_z = softmax.forward(z)[0]  # (B, T, V)
        counts = targets != -100  # (B, T)
        y = np.where(counts, targets, 0)[..., None]  # (B, T, 1)
        written = pointed.a[..., -1] * np.take_along_axis(p_z, y, axis=2)[..., 0]  # (B, T): a[S+1] softmax(z)[y]
        copied = pointed.a[..., :-1] * (source[:, None] == y)  # (B, T, S): a[i] [x_i = y]
        p = np.maximum(written + copied.sum(axis=2), FLOOR)  # (B, T)
        N = np.maximum(counts.sum(), 1)  # stays on the device
        loss = -(np.log(p) * counts).sum(dtype=np.float64) / N
        share = (counts / N).astype(self.dtype)  # (B, T)
        du = pointed.a * share[..., None]  # (B, T, S + 1)
        du[..., :-1] -= copied * (share / p)[..., None]
        by_writing = share * written / p  # (B, T): ρ[S+1] / N
        du[..., -1] -= by_writing
        dz = np.multiply(by_writing[..., None], p_z, out=p_z)  # (B, T, V): ρ[S+1] (softmax(z) - [w = y]) / N, in its place
        np.put_along_axis(dz, y, np.take_along_axis(dz, y, axis=2) - by_writing[..., None], axis=2)
        return loss.astype(self.dtype), SavedPointer(saved, pointed, du, dz)

    def backward(self, saved: SavedPointer, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        scale = self.dtype.type(dloss)
        dh, dmemory = self._point_backward(saved.du * scale, saved.pointed)  # (B, T, width), (B, S, H)
        dh += self._output_backward(saved.dz * scale, saved.model.output)
        dstate, through = self._write_backward(dh, saved.model.written)  # (L, B, H) each, (B, S, H)
        self._read_backward(dstate, through + dmemory, saved.model.read)

    def _parts(self, source, lengths, inputs, key):
        """Logits z (B, T, V), the pointer, and what the rest saved."""
        read, saved_read = self._read(source, lengths, key)
        h, written = self._write(inputs, read, key)  # (B, T, width)
        z, output = self._output(h, at(key, "output"))  # (B, T, V)
        k, saved_key = self._keys(read[1])  # (B, S + 1, A)
        q, saved_query = self.query.forward(h)  # (B, T, A)
        before = devices.array_module(inputs).full(inputs.shape, -1, inputs.dtype)  # (B, T): y_{t-2}
        before[:, 1:] = inputs[:, :-1]
        g, behind = self._behind(h, source, inputs, before)  # (B, T, S)
        a = self._point(q, k, mask_of(lengths, source.shape[1]), g)  # (B, T, S + 1)
        return z, Pointed(q, k, a, saved_query, saved_key, behind), Saved(saved_read, written, output)

    def _logits(self, source, lengths, inputs, key, gradient):
        z, pointed, saved = self._parts(source, lengths, inputs, key)
        return self._log_mixture(z, pointed.a, source), saved

    # --- generation --------------------------------------------------------------------------------------------------

    def encode(self, source: Ids, lengths: Ids | None = None, *, tokens: int = 256) -> PointerState:
        """Read the source: the state before the first token of the target. Arguments: see `Seq2Seq.encode`."""
        state = super().encode(source, lengths, tokens=tokens)
        ids = devices.to_device_of(self, self._source(source, lengths)[0])
        last = devices.array_module(ids).full(len(ids), -1, ids.dtype)  # (N,)
        return PointerState(state, ids, self._keys(state.source.memory)[0], last)

    def step(self, ids: Ids, state: PointerState) -> tuple[Array, PointerState]:
        """log P (N, V) after one more token (N,) of each target, and the next state."""
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        model = state.model
        x, _ = self.target_embedding.forward(ids)  # (N, E)
        h, after = self.decoder.step(x, model.decoder, model.source)  # (N, width)
        g, _ = self._behind(h[:, None], state.source, ids[:, None], state.last[:, None])  # (N, 1, S)
        a = self._point(self.query(h)[:, None], state.k, model.source.mask, g)  # (N, 1, S + 1)
        log_p = self._log_mixture(self._output(h, None)[0][:, None], a, state.source)  # (N, 1, V)
        return log_p[:, 0], state._replace(model=model._replace(decoder=after), last=ids)

    def attention(self, source: Ids, inputs: Ids, lengths: Ids | None = None) -> Array:
        """The probability with which each position of the target is copied from each of the source: (B, T, S).

        What is missing to a sum of 1 is the probability that the token is written, not copied. Arguments: see `forward`.
        """
        source, lengths = self._source(source, lengths)
        return self._parts(source, lengths, self._inputs(inputs, len(source)), None)[1].a[..., :-1]

    # --- the pointer ---------------------------------------------------------------------------------------------------

    def _keys(self, memory):
        """Keys of the memory (B, S, H), then the sentinel: (B, S + 1, A); and what the map saved."""
        k, saved = self.key.forward(memory)  # (B, S, A)
        sentinel, module = self.sentinel.value[None, None], devices.array_module(k)
        return module.concatenate([k, sentinel.repeat(len(k), axis=0)], axis=1), saved

    def _point(self, q, k, mask, g=None):
        """a (B, T, S + 1) for queries (B, T, A) and keys (B, S + 1, A), of which those count that the mask (B, S) has.

        g (B, T, S) is what `_behind` adds to the scores.
        """
        u = multiplied(q, k, transposed=True)  # (B, T, S + 1)
        u *= self.dtype.type(self.sentinel.size**-0.5)
        if g is not None:
            u[..., :-1] += g
        if mask is not None:
            u[..., :-1] = np.where(mask[:, None], u[..., :-1], -np.inf)
        return softmax.forward(u)[0]

    def _behind(self, h, source, last, before):
        """What places behind the last tokens of the target have more, (B, T, S), and what backward needs; None without `follow`.

        h (B, T, width), source (B, S); last and before (B, T) are the target's last token and the one before it.
        """
        if self.follow is None:
            return None, None
        g, saved = self.follow.forward(h)  # (B, T, 2)
        shifted = devices.array_module(source).full((2, *source.shape), -2, source.dtype)  # (2, B, S): x_{i-1}, x_{i-2}
        shifted[0, :, 1:], shifted[1, :, 2:] = source[:, :-1], source[:, :-2]
        one = shifted[0, :, None] == last[:, :, None]  # (B, T, S): n
        two = one & (shifted[1, :, None] == before[:, :, None])  # (B, T, S): b
        return g[..., :1] * one + g[..., 1:] * two, (one, two, saved)

    def _behind_backward(self, du, behind):
        """The gradient by h, (B, T, width), of `_behind`; du (B, T, S)."""
        one, two, saved = behind
        dg = np.stack([(du * one).sum(axis=2), (du * two).sum(axis=2)], axis=2)  # (B, T, 2)
        return self.follow.backward(dg, saved)

    def _point_backward(self, du, pointed: Pointed):
        """Gradients by h (B, T, width) and the memory (B, S, H); du (B, T, S + 1) is 0 where there is padding, as a is."""
        through = 0 if pointed.behind is None else self._behind_backward(du[..., :-1], pointed.behind)  # (B, T, width)
        du = du * self.dtype.type(self.sentinel.size**-0.5)
        dq = multiplied(du, pointed.k)  # (B, T, A)
        dk = multiplied(du.transpose(0, 2, 1), pointed.q)  # (B, S + 1, A)
        self.sentinel.accumulate(dk[:, -1].sum(axis=0))
        return self.query.backward(dq, pointed.query) + through, self.key.backward(contiguous(dk[:, :-1]), pointed.key)

    def _log_mixture(self, z, a, source):
        """log P (B, T, V) of logits z (B, T, V), the pointer a (B, T, S + 1) and the source (B, S)."""
        (B, T, V), module = z.shape, devices.array_module(z)
        p = softmax.forward(z)[0] * a[..., -1:]  # (B, T, V)
        # the sum over places that hold one token is that of the gradients of an embedding: a table for each source, T columns
        places = embedding.Saved(source + V * module.arange(B)[:, None], (B * V, T), self.dtype, None)
        copied = embedding.backward(contiguous(a[..., :-1].transpose(0, 2, 1)), places)  # (B V, T)
        return np.log(np.maximum(p + copied.reshape(B, V, T).transpose(0, 2, 1), FLOOR))
