"""Recurrent language model: embedding, RNN or LSTM or GRU, and an affine map to the logits.

::

    x       = embedding[ids]                            (T, B, E)      dropout
    y, s'   = recurrent(x, s)                           (T, B, H)      dropout between its layers, and on y
    logits  = y W_outᵀ + b_out                          (T, B, V)      W_out = embedding.weight where tied
    loss    = mean over all t, b of -log softmax(logits)[targets]

The state s' after one window of text is the state s before the next one. No gradient flows from one window into
another: truncated backpropagation through time.

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
from minilm.models.config import RNNLanguageModelConfig
from minilm.ops import checks, cross_entropy
from minilm.ops.workspace import empty
from minilm.random import Key, at

__all__ = ["RNNLanguageModel", "Saved"]


class Saved(NamedTuple):
    """What backward needs, and the state to go on from."""

    state: Any  # after the last step, copied: it outlives a reset of the workspace
    parts: tuple  # what each part saved, in forward's order
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

    def __init__(self, config: RNNLanguageModelConfig, *, seed=0, dtype=np.float32):
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
            for layer in (self.recurrent, self.projection, self.output):
                for parameter in layer.parameters.values() if layer else ():
                    if layer is not self.output or parameter.ndim > 1:
                        parameter[...] = generator.uniform(-config.init_range, config.init_range, parameter.shape)
            self.output.bias.value = np.zeros(V)
        if config.forget_bias is not None:
            self.recurrent.set_forget_bias(config.forget_bias)

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

    def forward(self, ids, targets, state=None, *, key: Key | None = None):
        """Mean cross-entropy of the targets, in nats a token.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V).
        targets : ndarray of integers, shape (B, T)
            The token after each of `ids`, or -100 where it does not count.
        state : optional
            From `initial_state` or from an earlier ``saved.state``; zeros without it.
        key : Key, optional
            For dropout: ``Key(seed, step)``, another in every step. Without it there is no dropout.

        Returns
        -------
        loss : scalar
        saved : Saved
            ``saved.state`` is the state after the last step.
        """
        ids, targets = self._time_order(ids, targets)  # (T, B) each
        y, state, parts = self._hidden(ids, state, key)  # (T, B, E or H)
        logits, saved_output = self.output.forward(y)  # (T, B, V)
        loss, saved_loss = cross_entropy.forward(logits, targets)
        return loss, Saved(_copied(state), (*parts, saved_output), saved_loss)

    def backward(self, saved, *, dloss: float = 1.0):
        """Add `dloss` times the gradients of the loss by all parameters to their buffer.

        Returns
        -------
        dstate : of the state's form, or None where forward was given none
            Training by truncated backpropagation has no use for it.
        """
        embedded, dropped, recurrent, norm, top, projection, output = saved.parts
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (T, B, V)
        dy = self.output.backward(dlogits, output)  # (T, B, E or H)
        if self.projection is not None:
            dy = self.projection.backward(dy, projection)  # (T, B, H)
        dy = self.dropout.backward(dy, top)
        if self.norm is not None:
            dy = self.norm.backward(dy, norm)
        dx, dstate = self.recurrent.backward(dy, recurrent)  # (T, B, E)
        dx = self.dropout.backward(dx, dropped)
        self.embedding.backward(dx, embedded)
        return dstate

    # --- evaluation and generation -----------------------------------------------------------------------------------

    def loss(self, ids, targets, state=None):
        """Mean cross-entropy without dropout and without what a gradient would need.

        Returns
        -------
        loss : scalar
        state : after the last step
        """
        ids, targets = self._time_order(ids, targets)  # (T, B) each
        y, state, _ = self._hidden(ids, state, None)  # (T, B, E or H)
        logits, _ = self.output.forward(y)  # (T, B, V)
        loss, _ = cross_entropy.forward(logits, targets, gradient=False)
        return loss, _copied(state)

    def logits(self, ids, state=None, *, last: bool = False):
        """Logits of the token after each of `ids`.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        state : optional
        last : bool
            Only those after the last token: what generation wants of a prompt.

        Returns
        -------
        logits : ndarray, shape (B, T, V), or (B, V) with `last`
        state : after the last step
        """
        ids, _ = self._time_order(ids, None)  # (T, B)
        y, state, _ = self._hidden(ids, state, None)  # (T, B, E or H)
        if last:
            return self.output.forward(y[-1])[0], _copied(state)  # (B, V)
        logits = self.output.forward(y)[0]  # (T, B, V)
        return logits.transpose(1, 0, 2), _copied(state)

    def initial_state(self, batch: int):
        """A state of zeros for `batch` texts."""
        return self.recurrent.initial_state(checks.whole("batch", batch, 0, 2**31))

    def step(self, ids, state=None):
        """Logits after one more token of each text.

        Parameters
        ----------
        ids : ndarray of integers, shape (B,)
        state : optional

        Returns
        -------
        logits : ndarray, shape (B, V)
        state : after the step
        """
        x, _ = self.embedding.forward(ids)  # (B, E)
        y, state = self.recurrent.step(x, state)  # (B, H)
        y = y if self.norm is None else self.norm(y)
        y = y if self.projection is None else self.projection(y)  # (B, E or H)
        return self.output(y), state

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _time_order(self, ids, targets):
        """ids and targets (B, T) checked, and copied as (T, B)."""
        ids = checks.ids("ids", ids, self.config.vocab_size, (None, None), "(B, T)")
        if targets is not None:
            targets = checks.ids("targets", targets, self.config.vocab_size, ids.shape, "(B, T)", ignore=-100)
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one token, got shape {ids.shape}")
        ordered = []
        for array in (ids, targets):
            turned = None
            if array is not None:
                turned = empty(array.shape[::-1], np.int64, like=array)  # (T, B)
                turned[...] = array.T
            ordered.append(turned)
        return ordered

    def _hidden(self, ids, state, key):
        """What the output layer reads, (T, B, E or H), the state after it, and what each part saved."""
        x, embedded = self.embedding.forward(ids)  # (T, B, E)
        x, dropped = self.dropout.forward(x, key=at(key, "embedding"))
        out, recurrent = self.recurrent.forward(x, state, key=at(key, "recurrent"))
        y = out.y  # (T, B, H)
        norm = projection = None
        if self.norm is not None:
            y, norm = self.norm.forward(y)
        y, top = self.dropout.forward(y, key=at(key, "output"))
        if self.projection is not None:
            y, projection = self.projection.forward(y)  # (T, B, E)
        return y, out.state, (embedded, dropped, recurrent, norm, top, projection)

    def settings(self):
        return f"cell={self.config.cell!r}, vocab_size={self.config.vocab_size}"


def _copied(state):
    return tuple(part.copy() for part in state) if isinstance(state, tuple) else state.copy()
