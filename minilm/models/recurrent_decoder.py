"""The decoder of a recurrent encoder-decoder: an RNN, attention to the encoder's states, and what is made of both.

::

    s_t     = rnn([x_t; peek; h_{t-1}], s_{t-1})         (B, H)      peek, h_{t-1} with peeky, input_feeding
    c_t     = attention(s_t, memory)                     (B, H)      with attention
    h_t     = tanh(W_c [s_t; c_t; peek] + b_c)           (B, H)      with attention; else [s_t; peek]

With ``attend_first``, Bahdanau's own order, attention comes before the step that reads what it gives, whatever the score::

    c_t     = attention(s_{t-1}, memory)                 s: the last layer's h
    s_t     = rnn([x_t; peek; c_t], s_{t-1})
    h_t     = tanh(W_c [s_t; c_t; peek] + b_c)

Without it and without input feeding no step needs the attention of the one before, and all steps are attended and combined at
once. With one of them backward goes from the last step to the first. To the gradient by h_t from above comes, of input feeding,
what step t + 1 gives back; that by c_t has two parts, from h_t and from the RNN's input, and goes on into the state before.

References: M.-T. Luong, H. Pham, C. D. Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015
(sections 3.1 and 3.3); D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate,
ICLR 2015; K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014 (peeking).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import GRU, LSTM, BahdanauAttention, Layer, Linear, LuongAttention
from minilm.layers.residual import added
from minilm.ops import checks, tanh
from minilm.ops.workspace import empty
from minilm.random import at

__all__ = ["RecurrentDecoder"]


class Saved(NamedTuple):
    """What backward needs."""

    steps: list  # of each run of the RNN: what it, attention, combine and tanh saved; one run without input feeding
    projected: Any  # what the projection of the memory saved
    memory: tuple | None  # its shape
    peek: bool


class RecurrentDecoder(Layer):
    """The decoder of `Seq2Seq`.

    Parameters
    ----------
    config : Seq2SeqConfig
    dtype : {float32, float64}
    seed : int, Generator or None
    """

    def __init__(self, config, *, dtype=np.float32, seed=None):
        super().__init__(dtype=dtype, seed=seed)
        options = {"dtype": dtype, "seed": self._generator}
        E, H = config.embedding_size, config.hidden_size
        self.peeky, self.input_feeding, self.attend_first = config.peeky, config.input_feeding, config.attend_first
        self.hidden_size = H
        self.stepwise = self.input_feeding or self.attend_first
        kind = {"lstm": LSTM, "gru": GRU}[config.cell]
        width = E + H * (self.peeky + self.stepwise)
        self.recurrent = kind(width, H, config.num_layers, batch_first=False, dropout=config.dropout, **options)
        self.attention = self.combine = None
        if config.attention == "bahdanau":
            self.attention = BahdanauAttention(H, H, **options)
        elif config.attention is not None:
            self.attention = LuongAttention(H, H, {"luong": "general", "dot": "dot"}[config.attention], **options)
        if self.attention is not None:
            self.combine = Linear(H * (2 + self.peeky), H, **options)

    @property
    def width(self) -> int:
        """Of what it gives for each step."""
        return self.hidden_size * (1 + (self.peeky and self.combine is None))

    # --- sequences ---------------------------------------------------------------------------------------------------

    def forward(self, x, state, memory, *, mask=None, key=None):
        """All steps.

        Parameters
        ----------
        x : ndarray, shape (T, B, E)
            Embedded inputs.
        state : tuple of ndarrays, shape (L, B, H)
            h, and for LSTM c, of the encoder; the last layer's h is what peeky decoders see.
        memory : ndarray, shape (B, S, H), or None
            The encoder's states, where there is attention.
        mask : ndarray of bool, shape (B, S), optional

        Returns
        -------
        h : ndarray, shape (B, T, width)
        saved : Saved
        """
        T, B, _ = x.shape
        keys = projected = None
        if self.attention is not None:
            keys, projected = self.attention.project(memory)  # (B, S, A)
        peek = state[0][-1] if self.peeky else None  # (B, H)
        each = (peek, keys, memory, mask)
        if not self.stepwise:
            h, _, saved = self._run(x, state, None, *each, key)
            return h, Saved([saved], projected, np.shape(memory), self.peeky)
        steps = []
        h = empty((B, T, self.width), self.dtype, like=x)  # (B, T, H)
        feed = None
        if self.input_feeding:
            feed = empty((B, self.hidden_size), self.dtype, like=x)  # (B, H)
            feed.fill(0)
        for t in range(T):
            out, state, saved = self._run(x[t : t + 1], state, feed, *each, at(key, f"steps.{t}"))  # (B, 1, H)
            h[:, t] = out[:, 0]
            feed = out[:, 0] if self.input_feeding else None
            steps.append(saved)
        return h, Saved(steps, projected, np.shape(memory), self.peeky)

    def backward(self, dh, saved):
        """Gradients by the inputs.

        Parameters
        ----------
        dh : ndarray, shape (B, T, width)
        saved : Saved

        Returns
        -------
        dx : ndarray, shape (T, B, E)
        dstate : tuple of ndarrays, shape (L, B, H)
        dmemory : ndarray, shape (B, S, H), or None
        """
        B, T, _ = dh.shape
        H = self.hidden_size
        E = self.recurrent.input_size - H * (self.peeky + self.stepwise)
        dx = empty((T, B, E), self.dtype, like=dh)  # (T, B, E)
        dpeek = devices.array_module(dh).zeros((B, H), self.dtype) if self.peeky else None  # (B, H)
        dkeys = dmemory = dfeed = None
        dstate: tuple = (None,) * len(self.recurrent.Output._fields[1:])
        count = len(saved.steps)
        for step in reversed(range(count)):
            mine = slice(step, step + 1) if self.stepwise else slice(0, T)
            part = empty((B, mine.stop - mine.start, dh.shape[2]), self.dtype, like=dh)  # (B, t, width)
            part[...] = dh[:, mine]
            if dfeed is not None:
                part[:, 0] += dfeed
            dinput, dstate, parts = self._run_backward(part, dstate, saved.steps[step], dpeek)
            dx[mine] = dinput[:, :, :E]
            if self.peeky:
                dpeek += dinput[:, :, E : E + H].sum(axis=0)
            if self.input_feeding:
                dfeed = dinput[0, :, -H:]  # (B, H)
            if parts is not None:
                dkeys, dmemory = (
                    parts if dkeys is None else (added(a, b, a) for a, b in zip((dkeys, dmemory), parts, strict=True))
                )
        if dkeys is not None:
            dmemory = self.attention.project_backward(dkeys, dmemory, saved.projected)  # (B, S, H)
        if self.peeky:
            dstate[0][-1] += dpeek
        return dx, dstate, dmemory

    # --- one step, for generation --------------------------------------------------------------------------------------

    def step(self, x, state, feed, peek, keys, memory, mask, *, return_weights=False):
        """h (N, width) and the state after one step of x (N, E); with `return_weights` also those of attention, (N, S)."""
        h, state, (*_, weights) = self._run(x[None], state, feed, peek, keys, memory, mask, None, return_weights)
        return (h[:, 0], state, weights[:, 0]) if return_weights else (h[:, 0], state)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _run(self, x, state, feed, peek, keys, memory, mask, key, return_weights=False):
        """t steps: h (B, t, width), the state after them, and what backward needs."""
        H = self.hidden_size
        t, B, E = x.shape
        options = {
            "key_mask": mask,
            "return_weights": return_weights,
        }
        context = None
        if self.attend_first:
            context, attended = self.attention.attend(checks.kernel_ready(state[0][-1])[:, None], keys, memory, **options)
            context, weights = context if return_weights else (context, None)  # (B, 1, H), (B, 1, S)
            feed = context[:, 0]  # (B, H)
        if peek is not None or feed is not None:
            wide = empty((t, B, self.recurrent.input_size), x.dtype, like=x)  # (t, B, E [+ H] [+ H])
            wide[:, :, :E] = x
            if peek is not None:
                wide[:, :, E : E + H] = peek
            if feed is not None:
                wide[:, :, -H:] = feed
            x = wide
        given = state[0] if len(state) == 1 else state
        out, ran = self.recurrent.forward(x, given, key=key)
        state = out.state if isinstance(out.state, tuple) else (out.state,)
        parts = 1 + (self.attention is not None) + self.peeky
        h = empty((B, t, parts * H), x.dtype, like=x)  # (B, t, parts H)
        h[:, :, :H] = out.y.transpose(1, 0, 2)
        if peek is not None:
            h[:, :, -H:] = peek[:, None]
        if self.attention is None:
            return h, state, (ran, None, None, None, None)
        if context is None:
            query = empty((B, t, H), x.dtype, like=x)  # (B, t, H)
            query[...] = h[:, :, :H]
            context, attended = self.attention.attend(query, keys, memory, **options)  # (B, t, H)
            context, weights = context if return_weights else (context, None)
        h[:, :, H : 2 * H] = context
        a, combined = self.combine.forward(h)  # (B, t, H)
        h, bent = tanh.forward(a)  # (B, t, H)
        return h, state, (ran, attended, combined, bent, weights)

    def _run_backward(self, dh, dstate, saved, dpeek):
        """Of t steps: d[x; peek; feed] (t, B, ...), dstate, and dkeys and dmemory, or None; adds to dpeek (B, H)."""
        ran, attended, combined, bent, _ = saved
        H = self.hidden_size
        B, t, _ = dh.shape
        parts = dcontext = None
        if self.attention is not None:
            dh = self.combine.backward(tanh.backward(dh, bent), combined)
            dcontext = empty((B, t, H), dh.dtype, like=dh)  # (B, t, H)
            dcontext[...] = dh[:, :, H : 2 * H]
        if dpeek is not None:
            dpeek += dh[:, :, -H:].sum(axis=1)
        dy = empty((t, B, H), dh.dtype, like=dh)  # (t, B, H)
        dy[...] = dh[:, :, :H].transpose(1, 0, 2)
        if dcontext is not None and not self.attend_first:
            dquery, *parts = self.attention.attend_backward(dcontext, attended)
            dy += dquery.transpose(1, 0, 2)
        dinput, dstate = self.recurrent.backward((dy, *dstate), ran)
        dstate = dstate if isinstance(dstate, tuple) else (dstate,)
        if self.attend_first:
            dcontext[:, 0] += dinput[0, :, -H:]
            dquery, *parts = self.attention.attend_backward(dcontext, attended)
            dstate[0][-1] += dquery[:, 0]
        return dinput, dstate, parts

    def settings(self):
        return f"{self.recurrent.input_size}, {self.hidden_size}"
