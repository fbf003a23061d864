"""The decoder of a recurrent encoder-decoder: an RNN, attention to the encoder's states, and what is made of both.

Three kinds, by where attention stands (`minilm.models.attending_decoder` has the two that have it); p is the encoder's last
state, which only a peeky decoder sees::

    RecurrentDecoder        s_t = rnn([x_t; p], s_{t-1})                 (B, H)
                            h_t = [s_t; p]

    AttendingDecoder        s_t = rnn([x_t; p; h_{t-1}], s_{t-1})        h_{t-1} with input feeding
                            c_t = attention(s_t, memory)                 (B, H)
                            h_t = tanh(W_c [s_t; c_t; p] + b_c)          (B, H); [s_t; c_t; p] with combine=False

    AttendFirstDecoder      c_t = attention(s_{t-1}, memory)             Bahdanau's own order, whatever the score
                            s_t = rnn([x_t; p; c_t], s_{t-1})
                            h_t = tanh(W_c [s_t; c_t; p] + b_c)

In training the inputs x are those of the true target (teacher forcing). Where no step reads what attention gave at the one
before, all steps are computed at once; else one by one, and backward goes from the last to the first. To the gradient by h_t
then comes, of input feeding, what step t + 1 gives back; that by c_t has two parts, from h_t and from the RNN's input, and goes
on into the state before. Gradients by p and by the memory add up over the steps.

References: M.-T. Luong, H. Pham, C. D. Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015
(sections 3.1 and 3.3); D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate,
ICLR 2015; K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014 (peeking).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm.layers import GRU, LSTM, Layer
from minilm.layers.sequences import side_by_side, time_first
from minilm.ops.workspace import empty
from minilm.random import Key, at
from minilm.typing import Array, DType, Seed

if TYPE_CHECKING:
    from minilm.models.seq2seq_config import Seq2SeqConfig

__all__ = ["RecurrentDecoder"]


class Source(NamedTuple):
    """What every step reads of the source."""

    peek: Any = None  # (B, H) p
    keys: Any = None  # (B, S, A) what attention compares with
    memory: Any = None  # (B, S, H) the encoder's states
    mask: Any = None  # (B, S) True for tokens


class State(NamedTuple):
    """What one step leaves to the next."""

    recurrent: tuple  # (L, B, H) arrays: h, and for LSTM c
    fed: Any = None  # (B, H) h_{t-1}, with input feeding


class Step(NamedTuple):
    """What backward needs of a step, or of all at once."""

    recurrent: Any
    attended: Any = None
    combined: Any = None


class SourceGradient:
    """Gradients by the parts of a `Source`, summed over the steps: ``peek``, ``keys``, ``memory``."""

    def __init__(self, peek):
        self.peek, self.keys, self.memory = peek, None, None


class RecurrentDecoder(Layer):
    """A decoder without attention, and what all of them have in common.

    Parameters
    ----------
    config : Seq2SeqConfig
    dtype : {float32, float64}
    seed : int, Generator or None
    """

    def __init__(self, config: Seq2SeqConfig, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        self.input_feeding = config.input_feeding
        self.stepwise = config.input_feeding or config.attend_first  # whether a step reads what attention gave before
        self.peeky, self.hidden_size, self.embedding_size = config.peeky, config.hidden_size, config.embedding_size
        self.width = self.hidden_size * (1 + self.peeky)  # of h
        kind, width = {"lstm": LSTM, "gru": GRU}[config.cell], self.hidden_size * (self.peeky + self.stepwise)
        options = {"batch_first": False, "dropout": config.dropout, "dtype": dtype, "seed": self._generator}
        self.recurrent = kind(self.embedding_size + width, self.hidden_size, config.num_layers, **options)

    # --- sequences ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        x: Array,
        state: tuple[Array, ...],
        memory: Array | None = None,
        *,
        mask: Array | None = None,
        key: Key | None = None,
    ) -> tuple[Array, Any]:
        """All steps of a target that is known.

        Parameters
        ----------
        x : ndarray, shape (T, B, E)
            Embedded inputs.
        state : tuple of ndarrays, shape (L, B, H)
            h, and for LSTM c, of the encoder; the last layer's h is what peeky decoders see.
        memory : ndarray, shape (B, S, H), or None
            The encoder's states, where there is attention.
        mask : ndarray of bool, shape (B, S), optional
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        h : ndarray, shape (B, T, width)
        saved : tuple
            A list of `Step`, and what the projection of the memory saved.
        """
        (source, state), projected = self.start(state, memory, mask)
        if not self.stepwise:
            h, _, saved = self._run(x, state, source, key)  # (B, T, width)
            return h, ([saved], projected)
        T, B, _ = x.shape
        h, steps = empty((B, T, self.width), self.dtype, like=x), []  # (B, T, H)
        for t in range(T):
            h_t, state, saved = self._run(x[t : t + 1], state, source, at(key, f"steps.{t}"))  # (B, 1, H)
            h[:, t] = h_t[:, 0]
            steps.append(saved)
        return h, (steps, projected)

    def backward(self, dh: Array, saved: tuple) -> Any:
        """Gradients by the inputs.

        Parameters
        ----------
        dh : ndarray, shape (B, T, width)
        saved : tuple

        Returns
        -------
        dx : ndarray, shape (T, B, E)
        dstate : tuple of ndarrays, shape (L, B, H)
        dmemory : ndarray, shape (B, S, H), or None
        """
        (B, T, _), (steps, projected) = dh.shape, saved
        dx = empty((T, B, self.embedding_size), self.dtype, like=dh)  # (T, B, E)
        dpeek = np.zeros_like(dh[:, 0, : self.hidden_size]) if self.peeky else None  # (B, H)
        dsource, dstate = SourceGradient(dpeek), State((None,) * len(self.recurrent.Output._fields[1:]))
        for t in reversed(range(len(steps))):
            now = slice(t, t + 1) if self.stepwise else slice(0, T)
            dh_t = empty((B, now.stop - now.start, self.width), self.dtype, like=dh)  # (B, 1 or T, width)
            dh_t[...] = dh[:, now]
            dx[now], dstate = self._run_backward(dh_t, dstate, steps[t], dsource)
        dmemory = self._source_backward(dsource, projected)  # (B, S, H)
        if self.peeky:
            dstate.recurrent[0][-1] += dsource.peek
        return dx, dstate.recurrent, dmemory

    # --- one step, for generation --------------------------------------------------------------------------------------

    def start(self, state: tuple[Array, ...], memory: Array | None = None, mask: Array | None = None) -> Any:
        """What all steps read of the source, and the state before the first one; arguments as `forward`'s.

        Returns
        -------
        (source, state) : tuple of Source and State
        projected
            What the projection of the memory saved.
        """
        return (Source(self._peek(state)), State(state)), None

    def step(self, x: Array, state: State, source: Source) -> tuple[Array, Any]:
        """h (N, width) and the state after one step of x (N, E)."""
        h, state, _ = self._run(x[None], state, source, None)  # (N, 1, width)
        return h[:, 0], state

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _run(self, x, state: State, source: Source, key):
        """t steps of x (t, B, E), one where the decoder is stepwise: h (B, t, width), the state after them, and a `Step`."""
        s, after, saved = self._recur(x, None, state, source, key)  # (B, t, H)
        return side_by_side(s, every_step(source.peek)), State(after), Step(saved)

    def _run_backward(self, dh, dstate: State, saved: Step, dsource: SourceGradient):
        """dx (t, B, E) and the gradient by the state before, of dh (B, t, width), which is written to; adds to `dsource`."""
        ds = self._without_peek(dh, dsource)  # (B, t, H)
        dx, _, dbefore = self._recur_backward(ds, dstate, saved, dsource)
        return dx, State(dbefore)

    def _source_backward(self, dsource: SourceGradient, projected):
        """The gradient by the memory, (B, S, H), or None."""
        return None

    def _recur(self, x, fed, state: State, source: Source, key):
        """The RNN on [x; p; fed], t steps: s (B, t, H), its state after them, and what it saved."""
        out, saved = self.recurrent.forward(side_by_side(x, source.peek, fed), state.recurrent, key=key)
        return out.y.transpose(1, 0, 2), out[1:], saved

    def _recur_backward(self, ds, dstate: State, saved: Step, dsource: SourceGradient):
        """Gradients by x (t, B, E), by what a stepwise decoder was fed (B, H), and by the state before; adds to `dsource`."""
        E, H = self.embedding_size, self.hidden_size
        dwide, dbefore = self.recurrent.backward((time_first(ds, True), *dstate.recurrent), saved.recurrent)
        if self.peeky:
            dsource.peek += dwide[:, :, E : E + H].sum(axis=0)
        dfed = dwide[0, :, -H:] if self.stepwise else None  # (B, H)
        return dwide[:, :, :E], dfed, dbefore if isinstance(dbefore, tuple) else (dbefore,)

    def _peek(self, state):
        return state[0][-1] if self.peeky else None  # (B, H)

    def _without_peek(self, dh, dsource: SourceGradient):
        """All of dh (B, t, ...) but its last H numbers, the gradient by p of a peeky decoder, which `dsource` gets."""
        if not self.peeky:
            return dh
        dsource.peek += dh[:, :, -self.hidden_size :].sum(axis=1)
        return dh[:, :, : -self.hidden_size]

    def settings(self) -> str:
        return f"{self.recurrent.input_size}, {self.hidden_size}"


def every_step(peek):
    """(B, H) as (B, 1, H), for each of t steps."""
    return None if peek is None else peek[:, None]
