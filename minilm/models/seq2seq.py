"""Recurrent encoder-decoder: one LSTM or GRU reads the source, another writes the target, attending to what was read.

::

    x, s      = encoder(source_embedding[source])           (S, B, H), (L, B, H)      dropout
    h         = decoder(target_embedding[inputs], s, x)     (B, T, H)                 see `minilm.models.recurrent_decoder`
    logits    = P h W_outᵀ + b_out                          (B, T, V)                 dropout on h; P, where tied, if E ≠ H
    loss      = mean over all b, t of the smoothed -log softmax(logits)[targets]

A bidirectional encoder has H/2 numbers in each direction, and its states side by side are the decoder's. A reversing one reads
each row from its last token that is no padding to its first. The gradient by s joins what comes back through the decoder's first
state, and, of peeky decoders, from every step.

References: I. Sutskever, O. Vinyals, Q. V. Le, Sequence to sequence learning with neural networks, NIPS 2014 (reversed source);
K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014; D. Bahdanau, K. Cho, Y. Bengio, Neural
machine translation by jointly learning to align and translate, ICLR 2015; M.-T. Luong, H. Pham, C. D. Manning, Effective
approaches to attention-based neural machine translation, EMNLP 2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import GRU, LSTM, Dropout, Embedding, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.layers.sequences import contiguous, time_first_ids
from minilm.models import seq2seq_token
from minilm.models.attending_decoder import decoder_of
from minilm.models.encoder_decoder import EncoderDecoder, mask_of
from minilm.models.recurrent_decoder import Source, State
from minilm.models.seq2seq_config import Seq2SeqConfig
from minilm.ops import checks, cross_entropy
from minilm.random import at
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["Seq2Seq", "Seq2SeqState"]


class Saved(NamedTuple):
    """What backward needs."""

    read: tuple  # what the encoder and its embedding saved
    written: tuple  # what the decoder and its embedding saved
    output: tuple  # what dropout, projection and output saved
    loss: Any = None  # what cross_entropy saved


class Seq2SeqState(NamedTuple):
    """What has been read and written, for generation."""

    decoder: State  # after the last token, (L, N, H) arrays
    source: Source
    sentence: np.ndarray  # (N,) which source a row belongs to, on the host

    def reorder(self, rows: Ids) -> Seq2SeqState:
        """The state of some of the rows, by their numbers (N,) on the host; one may come several times, as in a beam search."""
        sentence, source = self.sentence[rows], self.source
        same = np.array_equal(sentence, self.sentence)  # beams of one sentence share what was read of it
        rows = devices.to_device_of(self.decoder.recurrent[0], rows)
        if not same:
            source = Source(*(part if part is None else part[rows] for part in source))
        recurrent, fed = self.decoder
        recurrent = tuple(checks.kernel_ready(part[:, rows]) for part in recurrent)
        return Seq2SeqState(State(recurrent, fed if fed is None else fed[rows]), source, sentence)


class Seq2Seq(EncoderDecoder):
    """Writes a target for a source.

    ``forward``, ``loss`` and ``logits`` are `minilm.models.encoder_decoder.EncoderDecoder`'s, which checks the arguments and
    computes the cross-entropy.

    Parameters
    ----------
    config : Seq2SeqConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> model = models.Seq2Seq(models.Seq2SeqConfig(vocab_size=20, hidden_size=16, attention="bahdanau"), seed=0)
    >>> source = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])  # (B, S)
    >>> inputs, targets = np.array([[1, 9, 9], [1, 9, 0]]), np.array([[9, 9, 2], [9, 2, -100]])  # (B, T) each
    >>> loss, saved = model.forward(source, inputs, targets, np.array([4, 2]))
    >>> model.backward(saved)
    """

    copies = False  # whether tokens may be taken from the source

    def __init__(self, config: Seq2SeqConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        if config.follow and not self.copies:
            raise ValueError("follow is of a model that copies, models.PointerGenerator")
        options = {"dtype": dtype, "seed": generator}
        E, H = config.embedding_size, config.hidden_size
        start = initialisers.uniform(0.1) if config.tied else None  # logits of a tied table of normal(0, 1) are far too large
        self.source_embedding = Embedding(config.vocab_size, E, initialise=start, **options)
        self.target_embedding = self.source_embedding
        if not config.shared:
            self.target_embedding = Embedding(config.outputs, E, initialise=start, **options)
        self.dropout = Dropout(config.dropout)
        self.encoder = {"lstm": LSTM, "gru": GRU}[config.cell](
            E,
            H // 2 if config.bidirectional else H,
            config.num_layers,
            batch_first=False,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
            **options,
        )
        self.decoder = decoder_of(config, **options)
        width = self.decoder.width
        self.projection = Linear(width, E, bias=False, **options) if config.tied and width != E else None
        weight = self.target_embedding.weight if config.tied else None
        self.output = Linear(E if config.tied else width, config.outputs, weight=weight, **options)

    # --- training ----------------------------------------------------------------------------------------------------

    def _logits(self, source, lengths, inputs, key, gradient):
        """Logits (B, T, V), and what the parts saved: what `EncoderDecoder.forward` takes the cross-entropy of."""
        read, saved_read = self._read(source, lengths, key)
        h, written = self._write(inputs, read, key)  # (B, T, width)
        logits, output = self._output(h, at(key, "output"))  # (B, T, V)
        return logits, Saved(saved_read, written, output)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
        dh = self._output_backward(dlogits, saved.output)  # (B, T, width)
        dstate, dmemory = self._write_backward(dh, saved.written)  # (L, B, H) each, (B, S, H)
        self._read_backward(dstate, dmemory, saved.read)

    # --- generation --------------------------------------------------------------------------------------------------

    def encode(self, source: Ids, lengths: Ids | None = None, *, tokens: int = 256) -> Seq2SeqState:
        """Read the source: the state before the first token of the target.

        Parameters
        ----------
        source : ndarray of integers, shape (B, S)
            On the host or the model's device.
        lengths : ndarray of integers, shape (B,), optional
            Tokens of each row, at least 1; S without it.
        tokens : int
            Not used here: a target may have any length. A Transformer makes room for so many.
        """
        source, lengths = devices.to_device_of(self, self._source(source, lengths))
        with devices.ids_are_checked():
            read, _ = self._read(source, lengths, None)
        (source_read, state), _ = self.decoder.start(*read)
        return Seq2SeqState(state, source_read, np.arange(len(source)))

    def step(self, ids: Ids, state: Seq2SeqState) -> tuple[Array, Seq2SeqState]:
        """Logits after one more token of each target.

        Parameters
        ----------
        ids : ndarray of integers, shape (N,)
            The first of each is the one that begins a target.
        state : Seq2SeqState
            From `encode`, or from the step before.

        Returns
        -------
        logits : ndarray, shape (N, V)
        state : Seq2SeqState
            The one that was given still holds.
        """
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        if seq2seq_token.fits(self, ids):
            return seq2seq_token.write(self, ids, state)
        x, _ = self.target_embedding.forward(ids)  # (N, E)
        h, after = self.decoder.step(x, state.decoder, state.source)  # (N, width)
        return self._output(h, None)[0], state._replace(decoder=after)

    def greedy_steps(self, ids: Ids, state: Seq2SeqState, tokens: int, end: int) -> tuple[Ids, Seq2SeqState]:
        """As `EncoderDecoder.greedy_steps`, by one kernel for all tokens where the model is small."""
        if type(self).step is not Seq2Seq.step or not seq2seq_token.fits(self, ids):
            return super().greedy_steps(ids, state, tokens, end)
        checks.whole("tokens", tokens, 1, 2**63)
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        return seq2seq_token.write_greedily(self, ids, state, tokens, end)

    def attention(self, source: Ids, inputs: Ids, lengths: Ids | None = None) -> Array:
        """The weight of each position of the source for each of the target: (B, T, S), in the source's own order.

        Parameters
        ----------
        source, inputs, lengths
            See `forward`.

        Raises
        ------
        ValueError
            The model has no attention.
        """
        if self.config.attention is None:
            raise ValueError("the model has no attention: its configuration says attention=None")
        state = self.encode(source, lengths)
        inputs = self._inputs(inputs, len(source))
        rows = []
        for t in range(inputs.shape[1]):
            before, (_, state) = state, self.step(inputs[:, t], state)
            rows.append(self.decoder.weights(before.decoder, state.decoder, state.source))  # (B, S)
        weights = np.stack(rows, axis=1)  # (B, T, S)
        if not self.config.reverse:
            return weights
        return np.take_along_axis(weights, _backwards(*self._source(source, lengths))[:, None], axis=2)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _read(self, source, lengths, key):
        """What the decoder gets of the source: its state before the first step, the memory, and the memory's mask."""
        if self.config.reverse:
            source = np.take_along_axis(source, _backwards(source, lengths), axis=1)  # (B, S)
        x, embedded = self._embedded(self.source_embedding, source, at(key, "source_embedding"))  # (S, B, E)
        out, encoded = self.encoder.forward(x, None, lengths, key=at(key, "encoder"))
        memory = None
        if self.config.attention is not None:
            memory = contiguous(out.y.transpose(1, 0, 2))  # (B, S, H)
        state = tuple(map(self._together, out[1:]))  # (L, B, H) each
        if not self.config.carry_cell:
            state = (state[0], np.zeros_like(state[1]))
        return (state, memory, mask_of(lengths, source.shape[1])), (embedded, encoded)

    def _read_backward(self, dstate, dmemory, saved) -> None:
        embedded, encoded = saved
        dy = None if dmemory is None else contiguous(dmemory.transpose(1, 0, 2))  # (S, B, H)
        if not self.config.carry_cell:
            dstate = (dstate[0], np.zeros_like(dstate[1]))
        dx, _ = self.encoder.backward((dy, *map(self._apart, dstate)), encoded)  # (S, B, E)
        self._embedded_backward(self.source_embedding, dx, embedded)

    def _write(self, inputs, read, key):
        """h (B, T, width) of the decoder, which reads the true target."""
        state, memory, mask = read
        x, embedded = self._embedded(self.target_embedding, inputs, at(key, "target_embedding"))  # (T, B, E)
        h, decoded = self.decoder.forward(x, state, memory, mask=mask, key=at(key, "decoder"))
        return h, (embedded, decoded)

    def _write_backward(self, dh, saved):
        embedded, decoded = saved
        dx, dstate, dmemory = self.decoder.backward(dh, decoded)  # (T, B, E), (L, B, H) each, (B, S, H)
        self._embedded_backward(self.target_embedding, dx, embedded)
        return dstate, dmemory

    def _output(self, h, key):
        """Logits (..., V) of h (..., width)."""
        h, dropped = self.dropout.forward(h, key=key)
        projected = None
        if self.projection is not None:
            h, projected = self.projection.forward(h)  # (..., E)
        logits, output = self.output.forward(h)
        return logits, (dropped, projected, output)

    def _output_backward(self, dlogits, saved):
        dropped, projected, output = saved
        dh = self.output.backward(dlogits, output)  # (B, T, E or width)
        if self.projection is not None:
            dh = self.projection.backward(dh, projected)  # (B, T, width)
        return self.dropout.backward(dh, dropped)

    def _embedded(self, embedding, ids, key):
        """Embedding and dropout of ids (B, T): (T, B, E), and what both saved."""
        x, embedded = embedding.forward(time_first_ids(ids))
        x, dropped = self.dropout.forward(x, key=key)
        return x, (embedded, dropped)

    def _embedded_backward(self, embedding, dx, saved) -> None:
        embedded, dropped = saved
        embedding.backward(self.dropout.backward(dx, dropped), embedded)

    def _together(self, state):
        """The states of both directions side by side: (2L, B, H/2) -> (L, B, H)."""
        if not self.config.bidirectional:
            return state
        rows, B, half = state.shape
        return checks.kernel_ready(state.reshape(rows // 2, 2, B, half).transpose(0, 2, 1, 3)).reshape(-1, B, 2 * half)

    def _apart(self, dstate):
        """The opposite of `_together`."""
        if not self.config.bidirectional:
            return dstate
        L, B, H = dstate.shape
        return checks.kernel_ready(dstate.reshape(L, B, 2, H // 2).transpose(0, 2, 1, 3)).reshape(2 * L, B, H // 2)

    def settings(self) -> str:
        c = self.config
        return f"cell={c.cell!r}, attention={c.attention!r}, vocab_size={c.vocab_size}, {c.outputs}"


def _backwards(source, lengths):
    """Where each place of the reversed source reads, (B, S); padding stays where it is. It is its own inverse."""
    module, (B, S) = devices.array_module(source), source.shape
    places = module.broadcast_to(module.arange(S), (B, S))  # (B, S)
    ends = module.full(B, S) if lengths is None else lengths  # (B,)
    return np.where(places < ends[:, None], ends[:, None] - 1 - places, places)  # (B, S)
