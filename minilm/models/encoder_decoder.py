"""What the models that turn one sequence into another have in common: their arguments and evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import Layer
from minilm.ops import checks, cross_entropy, padding
from minilm.random import Key
from minilm.typing import Array, Ids, Scalar

__all__ = ["Beams", "EncoderDecoder", "mask_of"]


class Beams(NamedTuple):
    """What a beam search wants of several steps."""

    totals: np.ndarray  # (M, k) log P of each beam
    count: int  # C, continuations of each source
    ends: np.ndarray  # (E,) the tokens that end a target
    least: np.ndarray  # (M,) log P / divisor of each source's best beam must stay above it, or the steps end
    divisor: float


class EncoderDecoder(Layer):
    """Base of `Seq2Seq` and `Transformer`.

    A batch is padded at the ends of its rows::

        source   (B, S)   ids of the source; `lengths` (B,) of each row count, those behind may be any ids
        inputs   (B, T)   the target, moved right by one: <s> w_1 ... w_n          teacher forcing
        targets  (B, T)   what comes after each of `inputs`: w_1 ... w_n </s>      -100 for padding
    """

    def forward(
        self, source: Ids, inputs: Ids, targets: Ids, lengths: Ids | None = None, *, key: Key | None = None
    ) -> tuple[Scalar, Any]:
        """Mean cross-entropy of the targets, in nats a token, with the configuration's label smoothing.

        Parameters
        ----------
        source : ndarray of integers, shape (B, S)
            Each in [0, V).
        inputs, targets : ndarray of integers, shape (B, T)
            Each in [0, target's V); of targets also -100, where none counts. Rows are filled up at their ends with any inputs.
        lengths : ndarray of integers, shape (B,), optional
            Tokens of each row of the source, at least 1; S without it.
        key : Key, optional
            For dropout: ``Key(seed, step)``, another in every step. Without it there is no dropout.

        Returns
        -------
        loss : scalar
        saved
            For `backward`.

        Raises
        ------
        TypeError, ValueError
            If shapes do not fit, or an id is out of range (its place is named).
        """
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        targets = self._targets(targets, inputs)
        logits, saved = self._logits(source, lengths, inputs, key, gradient=True)  # (B, T, V)
        loss, saved_loss = cross_entropy.forward(logits, targets, label_smoothing=self.config.label_smoothing)
        return loss, saved._replace(loss=saved_loss)

    def loss(self, source: Ids, inputs: Ids, targets: Ids, lengths: Ids | None = None) -> Scalar:
        """Mean cross-entropy in nats a token, without dropout, smoothing, and what a gradient needs. Arguments: see `forward`."""
        targets = self._targets(targets, inputs)
        logits = self.logits(source, inputs, lengths)  # (B, T, V)
        return cross_entropy.forward(logits, targets, gradient=False)[0]

    def logits(self, source: Ids, inputs: Ids, lengths: Ids | None = None) -> Array:
        """Logits (B, T, V) of the token after each of `inputs` (B, T). Arguments: see `forward`."""
        source, lengths = self._source(source, lengths)
        return self._logits(source, lengths, self._inputs(inputs, len(source)), None, gradient=False)[0]

    def greedy_steps(self, ids: Ids, state: Any, tokens: int, end: int) -> tuple[Ids, Any]:
        """The most probable tokens, one after another.

        Parameters
        ----------
        ids : ndarray of integers, shape (N,)
            The token before the first, of each target.
        state
            After the token before that: see ``step``.
        tokens : int
            How many at most, at least 1. On a CPU there may be fewer, and there are none after that with which a target ends; on
            a GPU, for which nobody waits here, there are as many.
        end : int
            The token that ends a target.

        Returns
        -------
        written : ndarray of integers, shape (n, N)
            Where the model is.
        state
            After all but the last of them.
        """
        checks.whole("tokens", tokens, 1, 2**63)
        written, host = [], not devices.on_gpu(ids)
        with devices.ids_are_checked():
            for _ in range(tokens):
                logits, state = self.step(ids, state)  # (N, V)
                ids = logits.argmax(axis=-1)  # (N,)
                written.append(ids)
                if host and (ids == end).any():
                    break
        return devices.array_module(ids).stack(written), state

    def beam_steps(self, ids: Ids, state: Any, tokens: int, beams: Beams) -> tuple[Array, Array, Any] | None:
        """Several steps of a beam search (`minilm.generation.beam`) at a time; None where the model takes them one by one.

        Parameters
        ----------
        ids : ndarray of integers, shape (M k,)
            The last token of each beam, k beams of each of M sources.
        state
            After the tokens before. It is written over.
        tokens : int
            How many steps at most, at least 1.
        beams : Beams

        Returns
        -------
        sums : ndarray, shape (n, M, C)
            log P of the C best continuations of each source, best first, after each of n steps. The k best of a step are the
            beams of the next one: before the last step none of them ends.
        places : ndarray of integers, shape (n, M, C)
            i V + v of beam i, continued by token v.
        state
            After all tokens but the last, its rows in the order of the beams that the last step continued.
        """
        return None

    def step(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Logits (N, V) after one more token of each target, ids (N,), and the state then; the first state is ``encode``'s."""
        raise NotImplementedError

    def _logits(self, source, lengths, inputs, key, gradient: bool):
        """Logits (B, T, V), and what the parts saved; of arguments that were checked.

        Without `gradient` no backward will follow: nothing need be saved.
        """
        raise NotImplementedError

    def _source(self, source, lengths):
        """source (B, S) and lengths (B,) or None, checked."""
        source = checks.ids("source", source, self.config.vocab_size, (None, None), "(B, S)")
        if source.size == 0:
            raise ValueError(f"source must hold at least one token, got shape {source.shape}")
        return source, checks.lengths("lengths", lengths, *source.shape)

    def _inputs(self, inputs, batch: int):
        inputs = checks.ids("inputs", inputs, self.config.outputs, (batch, None), "(B, T)")
        if inputs.size == 0:
            raise ValueError(f"inputs must hold at least one token, got shape {inputs.shape}")
        return inputs

    def _targets(self, targets, inputs):
        return checks.ids("targets", targets, self.config.outputs, np.shape(inputs), "(B, T)", ignore=-100)


def mask_of(lengths: Ids, S: int) -> Array | None:
    """True for tokens, False for padding, (B, S); None where nothing is padded, unless it takes the GPU to know."""
    full = lengths is not None and not devices.on_gpu(lengths) and (lengths == S).all()
    return None if full else padding.mask_from_lengths(lengths, S)
