"""Recurrent language model: embedding, RNN or LSTM or GRU, and an affine map to the logits.

::

    x       = embedding[ids]                            (T, B, E)      dropout
    y, s'   = recurrent(x, s)                           (T, B, H)      dropout between its layers, and on y
    logits  = y W_outᵀ + b_out                          (T, B, V)      W_out = embedding.weight where tied
    loss    = mean over all t, b of -log softmax(logits)[targets]

The state s' after one window of text is the state s before the next one. No gradient flows from one window into
another: truncated backpropagation through time.

Backward::

    dlogits = (softmax(logits) - [targets]) / (T B)           (T, B, V)
    dy      = dlogits W_out       dW_out = dlogitsᵀ y         (T, B, H)      db_out = sum of dlogits
    dx, ds  = recurrent, from the last step to the first      (T, B, E)      `minilm.ops.lstm.spec`; ds is not used
    dembedding[ids] += dx                                     (V, E)         summed where an id comes several times

Everything inside is in time order, (T, B, ...); ids and targets come as (B, T).

References: T. Mikolov et al., Recurrent neural network based language model, Interspeech 2010; W. Zaremba, I. Sutskever,
O. Vinyals, Recurrent neural network regularization, 2014 (where the dropout stands); O. Press, L. Wolf, Using the output
embedding to improve language models, EACL 2017 (tied weights).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import GRU, LSTM, RNN, Dropout, Embedding, Layer, LayerNorm, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.layers.sequences import time_first_ids
from minilm.models import recurrent_token
from minilm.models.config import RNNLanguageModelConfig
from minilm.ops import checks, cross_entropy
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed, State

__all__ = ["RNNLanguageModel", "Saved"]


class Saved(NamedTuple):
    """What backward needs, and the state to go on from."""

    state: Any  # after the last step: a copy, since the workspace's arrays are used again
    hidden: tuple  # what embedding, dropout and the recurrent layers saved
    output: tuple  # what the parts from there to the logits saved
    loss: Any  # what cross_entropy saved


class RNNLanguageModel(Layer):
    """Predicts the next token from all before it.

    Parameters
    ----------
    config : RNNLanguageModelConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models, optimizers
    >>> model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=65), seed=0)
    >>> adam = optimizers.Adam(model.parameters, lr=4e-3, clip_norm=1.0)
    >>> ids = np.arange(128).reshape(2, 64) % 65  # (B, T)
    >>> loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
    >>> model.backward(saved)
    >>> norm = adam.step()
    """

    carries_state = True  # between the batches of training
    objective = "next"
    context = None  # it sees all tokens before

    def __init__(self, config: RNNLanguageModelConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        options = {"dtype": dtype, "seed": generator}
        V, E, H = config.vocab_size, config.embedding_size, config.hidden_size
        # logits of a tied table of normal(0, 1) would be far too large at first
        start = initialisers.uniform(config.init_range or 0.1) if config.tied or config.init_range else None
        self.embedding = Embedding(V, E, initialise=start, **options)
        self.dropout = Dropout(config.dropout, shared_axis=0 if config.variational else None)
        self.recurrent = self._make_recurrent(options)
        self.norm = LayerNorm(H, dtype=dtype) if config.layer_norm else None
        self.projection = Linear(H, E, bias=False, **options) if config.tied and E != H else None
        self.output = Linear(E if config.tied else H, V, weight=self.embedding.weight if config.tied else None, **options)
        if config.init_range:
            self._start_uniform(config.init_range, generator)
        if config.forget_bias is not None:
            self.recurrent.set_forget_bias(config.forget_bias)

    def _start_uniform(self, largest, generator) -> None:
        """Draw the recurrent layer, the projection and the output's weight from [-largest, largest]; the last bias is zero.

        The embedding has started so; where it is the output's weight, it is drawn again.
        """
        for layer in (self.recurrent, self.projection, self.output):
            for parameter in layer.parameters.values() if layer else ():
                if layer is not self.output or parameter.ndim > 1:
                    parameter[...] = generator.uniform(-largest, largest, parameter.shape)
        self.output.bias.value = np.zeros(self.output.out_features)

    def _make_recurrent(self, options):
        config = self.config
        kind, more = {
            "lstm": (LSTM, {}),
            "gru": (GRU, {}),
            "rnn": (RNN, {"nonlinearity": config.nonlinearity}),
        }[config.cell]
        return kind(
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            batch_first=False,
            dropout=config.dropout,
            variational=config.variational,
            weight_dropout=config.weight_dropout,
            orthogonal=config.orthogonal,
            **more,
            **options,
        )

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(self, ids: Ids, targets: Ids, state: State | None = None, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean cross-entropy of the targets, in nats a token.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V).
        targets : ndarray of integers, shape (B, T)
            The token after each of `ids`, or -100 where it does not count.
        state : ndarray, or tuple of two for LSTM, shape (num_layers, B, H), optional
            From `initial_state` or from an earlier ``saved.state``; zeros without it.
        key : Key, optional
            For dropout: ``Key(seed, step)``, another in every step. Without it there is no dropout.

        Returns
        -------
        loss : scalar
        saved : Saved
            ``saved.state`` is the state after the last step.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, an id is out of range, or the state is of another form.
        """
        ids, targets = self._time_order(ids, targets)  # (T, B) each
        h, state, hidden = self._hidden(ids, state, key)  # (T, B, H)
        logits, output = self._logits(h, key)  # (T, B, V)
        loss, saved_loss = cross_entropy.forward(logits, targets)
        return loss, Saved(_copied(state), hidden, output, saved_loss)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> State | None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer.

        Parameters
        ----------
        saved : Saved
            From `forward`.
        dloss : float
            Gradient of what is minimised by the loss.

        Returns
        -------
        dstate : of the state's form, or None where forward had no state
            Truncated backpropagation does not use it.
        """
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (T, B, V)
        dh = self._logits_backward(dlogits, saved.output)  # (T, B, H)
        return self._hidden_backward(dh, saved.hidden)

    # --- evaluation and generation -----------------------------------------------------------------------------------

    def loss(self, ids: Ids, targets: Ids, state: State | None = None) -> tuple[Scalar, State]:
        """Mean cross-entropy without dropout and without what a gradient would need.

        Parameters
        ----------
        ids, targets, state
            As `forward`'s.

        Returns
        -------
        loss : scalar
            In nats a token.
        state : ndarray, or tuple of two for LSTM, shape (num_layers, B, H)
            After the last step.
        """
        ids, targets = self._time_order(ids, targets)  # (T, B) each
        h, state, _ = self._hidden(ids, state, None)  # (T, B, H)
        loss, _ = cross_entropy.forward(self._logits(h, None)[0], targets, gradient=False)
        return loss, _copied(state)

    def logits(self, ids: Ids, state: State | None = None, *, last: bool = False) -> tuple[Array, State]:
        """Logits of the token after each of `ids`.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        state : optional
            As `forward`'s.
        last : bool
            Only those after the last token, which is what generation needs of a prompt.

        Returns
        -------
        logits : ndarray, shape (B, T, V), or (B, V) with `last`
        state : ndarray, or tuple of two for LSTM, shape (num_layers, B, H)
            After the last step.
        """
        ids, _ = self._time_order(ids, None)  # (T, B)
        h, state, _ = self._hidden(ids, state, None)  # (T, B, H)
        logits, _ = self._logits(h, None, last)  # (B, V), or (T, B, V)
        return logits if last else logits.transpose(1, 0, 2), _copied(state)

    def initial_state(self, batch: int) -> State:
        """A state of zeros for `batch` texts."""
        return self.recurrent.initial_state(checks.whole("batch", batch, 0, 2**31))

    def step(self, ids: Ids, state: State | None = None) -> tuple[Array, State]:
        """Logits after one more token of each text.

        Parameters
        ----------
        ids : ndarray of integers, shape (B,)
        state : optional
            As `forward`'s.

        Returns
        -------
        logits : ndarray, shape (B, V)
        state : ndarray, or tuple of two for LSTM, shape (num_layers, B, H)
            After the step.
        """
        if recurrent_token.fits(self, ids):
            return recurrent_token.read(self, ids, state)
        x, _ = self.embedding.forward(ids)  # (B, E)
        h, state = self.recurrent.step(x, state)  # (B, H)
        return self._logits(h, None)[0], state

    # --- halves ------------------------------------------------------------------------------------------------------

    def _time_order(self, ids, targets):
        """ids and targets (B, T) checked, and copied as (T, B)."""
        ids = checks.ids("ids", ids, self.config.vocab_size, (None, None), "(B, T)")
        if targets is not None:
            targets = checks.ids("targets", targets, self.config.vocab_size, ids.shape, "(B, T)", ignore=-100)
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one token, got shape {ids.shape}")
        return time_first_ids(ids), None if targets is None else time_first_ids(targets)

    def _hidden(self, ids, state, key):
        """h of the last layer, (T, B, H), the state after the last step, and what each part saved."""
        x, embedded = self.embedding.forward(ids)  # (T, B, E)
        x, dropped = self.dropout.forward(x, key=at(key, "embedding"))
        out, recurrent = self.recurrent.forward(x, state, key=at(key, "recurrent"))
        return out.y, out.state, (embedded, dropped, recurrent)

    def _hidden_backward(self, dh, saved):
        """The gradient by the state before the first step; None where forward had none."""
        embedded, dropped, recurrent = saved
        dx, dstate = self.recurrent.backward(dh, recurrent)  # (T, B, E)
        self.embedding.backward(self.dropout.backward(dx, dropped), embedded)
        return dstate

    def _logits(self, h, key, last: bool = False):
        """Logits (..., V) of h (..., H), with `last` only those of the last step, and what each part saved."""
        h, normed = (h, None) if self.norm is None else self.norm.forward(h)
        h, dropped = self.dropout.forward(h, key=at(key, "output"))
        y, projected = (h, None) if self.projection is None else self.projection.forward(h)  # (..., E or H)
        logits, output = self.output.forward(y[-1] if last else y)
        return logits, (normed, dropped, projected, output)

    def _logits_backward(self, dlogits, saved):
        normed, dropped, projected, output = saved
        dh = self.output.backward(dlogits, output)  # (T, B, E or H)
        dh = dh if self.projection is None else self.projection.backward(dh, projected)  # (T, B, H)
        dh = self.dropout.backward(dh, dropped)
        return dh if self.norm is None else self.norm.backward(dh, normed)

    def settings(self) -> str:
        return f"cell={self.config.cell!r}, vocab_size={self.config.vocab_size}"


def _copied(state):
    return tuple(part.copy() for part in state) if isinstance(state, tuple) else state.copy()
