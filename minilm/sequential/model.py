"""A model that is a list of layers, with Keras's interface.

::

    x, mask        = layers[0](x), layers[0].compute_mask(x)         and so on through all layers
    values         = loss(y, outputs)                                (B,), or (B, T) where outputs are (B, T, C)
    loss           = Σ w values / N                                  N values; w is 1, the weights given, or, under a mask,
                                                                     N / (number of steps that count) there and 0 elsewhere

so that under a mask the loss is the mean over the steps that count.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.random import Key
from minilm.sequential import activations, fitting, saving
from minilm.sequential.core import Embedding
from minilm.sequential.data import prepared, targets
from minilm.sequential.losses import Loss, loss_of
from minilm.sequential.metrics import Metric, metric_of
from minilm.sequential.optimizers import Optimizer, optimizer_of
from minilm.sequential.stack import Stack

__all__ = ["Saved", "Sequential", "set_random_seed"]

_seeds: np.random.Generator | None = None  # where models without a seed of their own take one, after set_random_seed


def set_random_seed(seed: int) -> None:
    """Let all models made from now on without a seed of their own start from the same numbers in every run of the program."""
    global _seeds
    _seeds = np.random.default_rng(checks.whole("seed", seed, 0, 2**63))


class Saved(NamedTuple):
    """What backward needs, and what the metrics look at."""

    parts: list  # what each layer saved
    loss: Any  # what the loss saved
    dvalues: np.ndarray  # gradient of the loss by its values, (B,) or (B, T)
    outputs: np.ndarray  # of the last layer, before its activation where the loss takes it so
    mask: np.ndarray | None  # of the outputs
    logits: bool


class Sequential(Stack):
    """A list of layers, each reading what the one before gives.

    Parameters
    ----------
    layers : list, optional
        Layers of `minilm.sequential`, with an `Input` before them or not; `add` adds one.
    name : str
    seed : int, optional
        Of first weights, dropout and the order of the examples. Without it each model is different, unless
        `set_random_seed` was called.
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm.sequential import LSTM, Dense, Embedding, Sequential, Tokenizer, pad_sequences
    >>> tokenizer = Tokenizer()
    >>> texts = ["the cat sat", "the dog sat on the cat"]
    >>> tokenizer.fit_on_texts(texts)
    >>> x = pad_sequences(tokenizer.texts_to_sequences(texts))
    >>> model = Sequential([Embedding(len(tokenizer.word_index) + 1, 64), LSTM(64), Dense(2, activation="softmax")], seed=0)
    >>> model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    >>> history = model.fit(x, np.array([0, 1]), epochs=20, verbose=0)
    >>> model.predict(x, verbose=0).argmax(axis=1).tolist()
    [0, 1]
    """

    def __init__(self, layers=None, name: str = "sequential", *, seed: int | None = None, dtype=np.float32):
        source = _seeds if seed is None and _seeds is not None else np.random.default_rng()
        self.seed = int(source.integers(2**62)) if seed is None else checks.whole("seed", seed, 0, 2**63)
        super().__init__(name, dtype=dtype, seed=self.seed)
        self.loss: Loss = None  # type: ignore[assignment]
        self.optimizer: Optimizer = None  # type: ignore[assignment]
        self._asked: list = []  # metrics, as compile was given them
        self._metrics: list[Metric] | None = None
        self.history: Any = None
        self.stop_training = False
        for layer in layers or []:
            self.add(layer)

    def _changed(self) -> None:
        """The parameters have changed: the optimizer's state and the metrics are made anew."""
        self._metrics = None
        if self.optimizer is not None:
            self.optimizer._bound = None

    def to(self, where) -> Sequential:
        """Move the model to ``"cpu"`` or ``"cuda"``, or convert it to another precision, in place; before or after `compile`.

        What `fit`, `evaluate` and `predict` take and give stays on the host. The optimizer's state goes with the weights to
        another device; to another precision it does not. On a GPU, ``with minilm.ops.cuda.products.precision("tf32"):`` around
        them, or "bf16", lets products round their factors; weights and sums stay as they are.
        """
        moved = isinstance(where, str) and self.optimizer is not None and self.optimizer._bound is not None
        state = self.optimizer.state_dict() if moved else {}
        super().to(where)
        if moved:
            self.bind_optimizer()
            self.optimizer.load_state_dict(state)
        return self

    # --- training ----------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **others) -> None:
        """Choose loss, optimizer and metrics.

        Parameters
        ----------
        optimizer : str or Optimizer
            sgd, rmsprop, adam, adamw, or one of `minilm.sequential.optimizers`.
        loss : str or Loss
            sparse_categorical_crossentropy, categorical_crossentropy, binary_crossentropy, mse, mae, or one of
            `minilm.sequential.losses`.
        metrics : list of str or functions, optional
            accuracy, a loss's name, or ``function(y_true, y_pred)`` that gives a number for every row.
        """
        for name, value in others.items():
            if name not in ("run_eagerly", "jit_compile", "steps_per_execution", "auto_scale_loss"):
                raise TypeError(f"compile has no argument {name!r}")
            del value
        if loss is None:
            raise ValueError("loss is missing: such as loss='sparse_categorical_crossentropy'")
        self.loss, self.optimizer = loss_of(loss), optimizer_of(optimizer)
        self.optimizer._bound = None
        asked = [] if metrics is None else [metrics] if isinstance(metrics, (str, Metric)) or callable(metrics) else list(metrics)
        for each in asked:
            metric_of(each, self.loss, 2)  # a wrong name is told now
        self._asked, self._metrics = asked, None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.loss is not None

    @property
    def metrics_names(self) -> list[str]:
        """What `evaluate` returns, in its order."""
        return ["loss", *(metric.name for metric in self.metric_objects())]

    def metric_objects(self) -> list[Metric]:
        """The metrics, which `compile` was given names of."""
        if self._metrics is None:
            self._metrics = [metric_of(each, self.loss, self.output_shape[-1] if self.built else 2) for each in self._asked]
        return self._metrics

    def _must_be_compiled(self, what: str) -> None:
        if not self.compiled:
            raise ValueError(f"{what} needs a loss and an optimizer: call compile(loss=..., optimizer=...) first")

    def run(self, x, *, key: Key | None = None, workspace=None, logits: bool = False):
        """Through all layers.

        Returns
        -------
        outputs : ndarray, (B, ...)
            Before the last layer's activation where `logits` is true.
        mask : ndarray of bool, or None
        parts : list
            What each layer saved.
        """
        x = x if x.dtype == self.dtype or isinstance(self.layers[0], Embedding) else x.astype(self.dtype)
        mask, parts = None, []
        for number, layer in enumerate(self.layers):
            options: dict[str, Any] = {"key": None if key is None else key.fold(number), "workspace": workspace}
            if logits and layer is self.layers[-1]:
                options["logits"] = True
            following = layer.compute_mask(x, mask)
            x, saved = layer.forward(x, mask, **options)
            mask = following
            parts.append(saved)
        return x, mask, parts

    def _takes_logits(self) -> bool:
        """Whether the loss is computed from what the last activation is applied to."""
        return not self.loss.from_logits and getattr(self.layers[-1], "activation", None) == self.loss.follows != ""

    def forward(self, x, y, sample_weight=None, *, key: Key | None = None, workspace=None):
        """The loss of a batch.

        Parameters
        ----------
        x : ndarray, (B, ...)
        y : ndarray
            Targets in the form that the loss takes.
        sample_weight : ndarray, (B,) or (B, T), optional
        key : Key, optional
            For dropout; without it there is none.
        workspace : Workspace, optional

        Returns
        -------
        loss : scalar
        saved : Saved

        Notes
        -----
        Of a model on a GPU all arrays lie there, and so does the loss. `fit`, `evaluate` and `predict` take arrays of the host.
        """
        self._must_be_compiled("the loss")
        logits = self._takes_logits()
        outputs, mask, parts = self.run(x, key=key, workspace=workspace, logits=logits)
        y = y if checks.trusted(y) else targets(self, y, outputs.shape)
        values, saved = self.loss.forward(y, outputs, logits or self.loss.from_logits)  # (B,) or (B, T)
        weights = devices.array_module(values).full(values.shape, 1 / values.size, values.dtype)
        counts = [each for each in (mask, self.loss.counted(y)) if each is not None and each.shape == values.shape]
        if counts:
            counted = functools.reduce(np.logical_and, counts)
            weights = (counted / np.maximum(1, counted.sum())).astype(values.dtype)
        if sample_weight is not None:
            sample_weight = sample_weight.reshape(sample_weight.shape + (1,) * (values.ndim - sample_weight.ndim))
            weights = weights * sample_weight.astype(values.dtype, copy=False)
        loss = np.sum(np.where(weights == 0, 0, values) * weights, dtype=np.float64).astype(values.dtype)
        return loss, Saved(parts, saved, weights, outputs, mask, logits)

    def backward(self, saved, *, workspace=None) -> None:
        """Add the gradients of the loss by all parameters to their buffer."""
        dy = self.loss.backward(saved.dvalues, saved.loss)
        for layer, part in zip(reversed(self.layers), reversed(saved.parts), strict=True):
            if dy is None:
                raise ValueError(f"layer {layer.label()} stands before a layer that takes ids, so it has no gradient")
            dy = layer.backward(dy, part, workspace=workspace)

    def probabilities(self, saved) -> np.ndarray:
        """The outputs after the last activation."""
        if not saved.logits:
            return saved.outputs
        return activations.forward(self.layers[-1].activation, saved.outputs)[0]

    def bind_optimizer(self) -> None:
        """Give the optimizer the parameters, with a state of zeros; weight decay is not for frozen layers."""
        frozen = tuple(f"layers.{i}." for i, layer in enumerate(self.layers) if not layer.trainable)
        self.optimizer.bind(self.parameters, lambda name: not name.startswith(frozen))

    def update(self) -> None:
        """One step of the optimizer on the gradients, frozen layers left out."""
        frozen = [layer for layer in self.layers if not layer.trainable]
        for layer in frozen:
            for _, parameter in layer.named_parameters():
                parameter.gradient[...] = 0
        if self.optimizer._bound is None:
            self.bind_optimizer()
        self.optimizer.step()

    def fit(self, x=None, y=None, **options):
        """Train; see `minilm.sequential.fitting.fit`, whose arguments these are. Returns the History."""
        self._must_be_compiled("fit")
        return fitting.fit(self, x, y, **options)

    def evaluate(self, x=None, y=None, **options):
        """The loss, and the metrics where there are some; see `minilm.sequential.fitting.evaluate`."""
        self._must_be_compiled("evaluate")
        return fitting.evaluate(self, x, y, **options)

    def predict(self, x, batch_size: int | None = None, verbose="auto", **_) -> np.ndarray:
        """The outputs (N, ...) of all rows of x."""
        return fitting.predict(self, x, batch_size, verbose)

    def predict_on_batch(self, x) -> np.ndarray:
        """The outputs of one batch."""
        return fitting.predict(self, x, len(x), 0)

    def train_on_batch(self, x, y, sample_weight=None, class_weight=None, return_dict: bool = False):
        """One step on one batch; the loss and the metrics of it, before the step."""
        self._must_be_compiled("train_on_batch")
        batch = prepared(self, x, y, sample_weight, class_weight)
        return fitting.as_asked(fitting.train_batch(self, batch), return_dict)

    def test_on_batch(self, x, y, sample_weight=None, return_dict: bool = False):
        """The loss and the metrics of one batch."""
        return self.evaluate(x, y, batch_size=len(x), sample_weight=sample_weight, return_dict=return_dict, verbose=0)

    def __call__(self, x, training: bool = False, **_) -> np.ndarray:
        """The outputs of one batch, both on the host; with `training` dropout is active."""
        x = np.asarray(x)
        self.build_for(x)
        steps = 0 if self.optimizer is None else self.optimizer.iterations
        with devices.ids_are_checked():
            outputs = self.run(devices.to(self.device, x), key=Key(self.seed, steps) if training else None)[0]
        return devices.to_host(outputs)

    # --- saving and loading ------------------------------------------------------------------------------------------

    def get_config(self) -> dict:
        """The layers and their arguments, as JSON can hold them."""
        return saving.config_of(self)

    @classmethod
    def from_config(cls, config: dict, *, seed: int | None = None) -> Sequential:
        """The model that `get_config` told of, with new weights."""
        return saving.from_config(cls, config, seed)

    def save(self, filepath, overwrite: bool = True) -> None:
        """Write layers, weights, and the state of training into one file, which `load_model` reads."""
        saving.save(self, filepath, overwrite)

    def save_weights(self, filepath, overwrite: bool = True) -> None:
        """Write the weights into one safetensors file."""
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath) -> None:
        """Read what `save_weights` or `save` wrote."""
        saving.load_weights(self, filepath)

    @classmethod
    def load(cls, filepath) -> Sequential:
        """The model of a file that `save` wrote."""
        return saving.load_model(filepath)
