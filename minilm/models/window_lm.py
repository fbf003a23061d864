"""A language model that reads a window of the last W tokens anew for every prediction, as textgenrnn does.

::

    x      = embedding[the last W tokens]               (W, E)      a padding token stands before the text
    y_1    = lstm_1(x),  y_2 = lstm_2(y_1), ...         (W, H) each, from states of zeros
    z      = [x; y_1; y_2; ...]                         (W, C)      C = E + L H
    a      = softmax over the window of z · w           (W,)
    h      = sum_w a[w] z[w]                            (C,)
    logits = h W_outᵀ + b_out                           (V,)

Nothing is carried from one prediction to the next, so that one costs W steps of the recurrence; the state here is only the
tokens. The windows of all predictions are computed at once, side by side as a batch. A token is in W of them: the gradient by its
vector is the sum of what they give.

References: M. Woolf, textgenrnn, 2017, https://github.com/minimaxir/textgenrnn; the attention: B. Felbo, A. Mislove, A. Søgaard,
I. Rahwan, S. Lehmann, Using millions of emoji occurrences to learn any-domain representations (DeepMoji), EMNLP 2017.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import LSTM, Embedding, Layer, Linear
from minilm.layers.base import generator_of
from minilm.layers.pooling import DotPooling
from minilm.layers.sequences import contiguous, side_by_side
from minilm.models.config import Config, setting, size
from minilm.ops import checks, cross_entropy
from minilm.ops.workspace import empty
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["WindowLanguageModel", "WindowLanguageModelConfig"]

AT_ONCE = 1024  # windows, where no gradient will follow


@dataclasses.dataclass(frozen=True)
class WindowLanguageModelConfig(Config):
    """What a `WindowLanguageModel` is made of; the defaults are textgenrnn's.

    Parameters
    ----------
    vocab_size : int
        With the padding.
    window : int
        W, tokens that a prediction sees.
    pad_token_id : int
        The token that stands before a text.
    embedding_size, hidden_size, num_layers : int
        E, H and L.
    """

    model_type: ClassVar[str] = "window_lm"

    vocab_size: int = size()
    window: int = size(40)
    embedding_size: int = size(100)
    hidden_size: int = size(128)
    num_layers: int = size(2)
    pad_token_id: int = setting(0, lambda name, value: checks.whole(name, value, 0, 2**31))

    def check(self) -> None:
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id must be below vocab_size = {self.vocab_size}, got {self.pad_token_id}")


class Saved(NamedTuple):
    """What backward needs, and the tokens to go on from."""

    state: np.ndarray  # (W - 1, B, 1)
    embedded: Any
    pooled: Any
    output: Any
    loss: Any


class WindowLanguageModel(Layer):
    """Predicts the next token from the last W.

    Parameters
    ----------
    config : WindowLanguageModelConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> model = models.WindowLanguageModel(models.WindowLanguageModelConfig(vocab_size=65, window=8), seed=0)
    >>> ids = np.arange(64).reshape(2, 32)  # (B, T)
    >>> loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
    >>> model.backward(saved)
    """

    carries_state = True
    objective = "next"
    context = None  # a text may be of any length

    def __init__(self, config: WindowLanguageModelConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        options = {"dtype": dtype, "seed": generator}
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        self.embedding = Embedding(config.vocab_size, E, **options)
        self.recurrent = [LSTM(H if layer else E, H, batch_first=False, **options) for layer in range(L)]
        self.attention = DotPooling(E + L * H, **options)
        self.output = Linear(E + L * H, config.vocab_size, **options)

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(self, ids: Ids, targets: Ids, state: Array | None = None, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean cross-entropy of the targets, in nats a token.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        targets : ndarray of integers, shape (B, T)
            The token after each of `ids`, or -100 where it does not count.
        state : ndarray of integers, shape (W - 1, B, 1), optional
            The tokens before, as numbers from the padding's on; only padding without it.
        key : Key, optional
            There is no dropout.

        Returns
        -------
        loss : scalar
        saved : Saved
        """
        ids, targets = self._checked(ids, targets)
        tokens = self._with_state(ids, state)  # (B, W - 1 + T)
        x, embedded = self.embedding.forward(tokens)  # (B, W - 1 + T, E)
        h, pooled = self.pooled(x)  # (B, T, C)
        logits, output = self.output.forward(h)  # (B, T, V)
        loss, saved_loss = cross_entropy.forward(logits, targets)
        return loss, Saved(self._state(tokens), embedded, pooled, output, saved_loss)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
        dh = self.output.backward(dlogits, saved.output)  # (B, T, C)
        self.embedding.backward(self.pooled_backward(dh, saved.pooled), saved.embedded)

    # --- evaluation and generation -----------------------------------------------------------------------------------

    def loss(self, ids: Ids, targets: Ids, state: Array | None = None) -> tuple[Scalar, Array]:
        """Mean cross-entropy without what a gradient needs, and the state after the last token. Arguments: see `forward`."""
        ids, targets = self._checked(ids, targets)
        logits, state = self.logits(ids, state)  # (B, T, V)
        return cross_entropy.forward(logits, targets, gradient=False)[0], state

    def logits(self, ids: Ids, state: Array | None = None, *, last: bool = False) -> tuple[Array, Array]:
        """Logits of the token after each of `ids`.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        state : ndarray of integers, shape (W - 1, B, 1), optional
            The tokens before; zeros, which are padding, without it.
        last : bool
            Only those after the last token.

        Returns
        -------
        logits : ndarray, shape (B, T, V), or (B, V) with `last`
        state : ndarray of integers, shape (W - 1, B, 1)
            After the last token.
        """
        ids, _ = self._checked(ids, None)
        tokens, W = self._with_state(ids, state), self.config.window  # (B, W - 1 + T)
        B, T = (len(ids), 1) if last else ids.shape
        read = tokens[:, -W:] if last else tokens
        logits = empty((B, T, self.config.vocab_size), self.dtype, like=self.output.weight.value)
        step = max(1, AT_ONCE // max(1, B))
        for first in range(0, T, step):
            x, _ = self.embedding.forward(contiguous(read[:, first : first + step + W - 1]))
            h, _ = self.pooled(x)  # (B, up to step, C)
            logits[:, first : first + step] = self.output.forward(h)[0]
        return logits[:, -1] if last else logits, self._state(tokens)

    def initial_state(self, batch: int) -> Array:
        """The state of `batch` texts before their first token: zeros, which are padding, (W - 1, B, 1)."""
        zeros = np.zeros((self.config.window - 1, checks.whole("batch", batch, 0, 2**31), 1), np.int64)
        return devices.to_device_of(self.output.weight.value, zeros)

    def step(self, ids: Ids, state: Array | None = None) -> tuple[Array, Array]:
        """Logits (B, V) after one more token of each text, `ids` (B,), and the state there."""
        return self.logits(ids[:, None], state, last=True)

    # --- the formula, of all windows at once ---------------------------------------------------------------------------

    def pooled(self, x: Array) -> tuple[Array, Any]:
        """h (B, T, C) of the vectors x (B, W - 1 + T, E), and what `pooled_backward` needs."""
        W, (B, length, E) = self.config.window, x.shape
        T = length - W + 1
        strides = (x.strides[1], x.strides[0], x.strides[1], x.strides[2])
        windows = devices.array_module(x).lib.stride_tricks.as_strided(x, (W, B, T, E), strides)  # each token in W of them
        parts, ran = [windows.reshape(W, B * T, E)], []  # (W, N, E)
        for layer in self.recurrent:
            out, saved = layer.forward(contiguous(parts[-1]))  # (W, N, H)
            parts.append(out.y)
            ran.append(saved)
        z = contiguous(side_by_side(*parts).transpose(1, 0, 2))  # (N, W, C)
        h, attended = self.attention.forward(z)  # (N, C)
        return h.reshape(B, T, -1), (ran, attended)

    def pooled_backward(self, dh: Array, saved: Any) -> Array:
        """dx (B, W - 1 + T, E) of dh (B, T, C)."""
        (ran, attended), (B, T, C) = saved, dh.shape
        W, E, H = self.config.window, self.config.embedding_size, self.config.hidden_size
        dz = self.attention.backward(contiguous(dh.reshape(B * T, C)), attended).transpose(1, 0, 2)  # (W, N, C)
        dy = None
        for number in reversed(range(len(ran))):
            part = dz[..., E + number * H : E + (number + 1) * H]  # (W, N, H)
            dy, _ = self.recurrent[number].backward(contiguous(part if dy is None else part + dy), ran[number])
        dwindows = (dz[..., :E] + dy).reshape(W, B, T, E)
        dx = empty((B, W - 1 + T, E), self.dtype, like=dh)
        dx.fill(0)
        for place in range(W):
            dx[:, place : place + T] += dwindows[place]
        return dx

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _checked(self, ids, targets):
        ids = checks.ids("ids", ids, self.config.vocab_size, (None, None), "(B, T)")
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one token, got shape {ids.shape}")
        if targets is not None:
            targets = checks.ids("targets", targets, self.config.vocab_size, ids.shape, "(B, T)", ignore=-100)
        return ids, targets

    def _with_state(self, ids, state):
        """The tokens before, and ids: (B, W - 1 + T)."""
        if state is None:
            state = self.initial_state(len(ids))
        shape = (self.config.window - 1, len(ids), 1)
        before = checks.integers("state", state, shape, "(W - 1, B, 1)") + self.config.pad_token_id
        before = checks.ids("state", before, self.config.vocab_size, shape, "(W - 1, B, 1)")[..., 0].T  # (B, W - 1)
        return devices.array_module(ids).concatenate([before, ids], axis=1).astype(np.int64)

    def _state(self, tokens):
        last = tokens[:, tokens.shape[1] - self.config.window + 1 :].T[..., None]  # (W - 1, B, 1)
        return contiguous(last - self.config.pad_token_id)

    def settings(self) -> str:
        return f"window={self.config.window}, vocab_size={self.config.vocab_size}"
