"""A model that is a list of layers, with Keras's interface.

::

    x, mask        = layers[0](x), layers[0].compute_mask(x)         and so on through all layers
    values         = loss(y, outputs)                                (B,), or (B, T) where outputs are (B, T, C)
    loss           = Σ w values / N                                  N values; w is 1, the weights given, or, under a mask,
                                                                     N / (number of steps that count) there and 0 elsewhere

so that under a mask the loss is the mean over the steps that count.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from minilm.layers.base import Layer
from minilm.ops import checks
from minilm.random import Key
from minilm.sequential import activations, fitting, saving
from minilm.sequential.base import UNBUILT, SequentialLayer, shape_of, snake_case
from minilm.sequential.core import Embedding, Input
from minilm.sequential.data import prepared, targets
from minilm.sequential.losses import Loss, loss_of
from minilm.sequential.metrics import Metric, metric_of
from minilm.sequential.optimizers import Optimizer, optimizer_of
from minilm.sequential.table import table

__all__ = ["Saved", "Sequential", "set_random_seed"]

MOST = 62  # layers: a key has that many parts
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


class Sequential(Layer):
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
        super().__init__(dtype=dtype, seed=self.seed)
        self.name = name
        self.layers: list[SequentialLayer] = []
        self._declared: tuple | None = None  # shape of the input, where it was told
        self.loss: Loss = None  # type: ignore[assignment]
        self.optimizer: Optimizer = None  # type: ignore[assignment]
        self._asked: list = []  # metrics, as compile was given them
        self._metrics: list[Metric] | None = None
        self.history: Any = None
        self.stop_training = False
        for layer in layers or []:
            self.add(layer)

    # --- layers ------------------------------------------------------------------------------------------------------

    def add(self, layer) -> None:
        """Add a layer at the end, or before all others an `Input`."""
        if isinstance(layer, Input):
            if self.layers or self._declared:
                raise ValueError("Input belongs before all layers, once")
            self._declared = layer.shape
            return
        if not isinstance(layer, SequentialLayer):
            kind = type(layer).__name__
            hint = f"; minilm.sequential has a {kind} of its own" if isinstance(layer, Layer) else ""
            raise TypeError(f"a layer must come from minilm.sequential, got {checks.describe(layer)}{hint}")
        if any(layer is other for other in self.layers):
            raise ValueError(f"layer {layer.label()} is in the model already; make a second one")
        if len(self.layers) == MOST:
            raise ValueError(f"a model has at most {MOST} layers")
        taken = {other.name for other in self.layers}
        if layer.name in taken:
            if layer._named:
                raise ValueError(f"there is a layer named {layer.name!r} already")
            layer.name = None
        if layer.name is None:
            base = snake_case(re.sub(r"\W", "", type(layer).__name__))
            number = 0
            while (name := f"{base}_{number}" if number else base) in taken:
                number += 1
            layer.name = name
        if not self.layers and layer.wanted_shape is not None:
            self._declared = self._declared or layer.wanted_shape
        self.layers.append(layer)
        try:
            if self._declared is not None:
                self._build_layers(self._declared)
        except (ValueError, TypeError):
            self.layers.pop()
            raise
        self._unbind()

    def pop(self) -> SequentialLayer:
        """Take the last layer away."""
        if not self.layers:
            raise ValueError("the model has no layers")
        self._unbind()
        return self.layers.pop()

    def _unbind(self) -> None:
        """The parameters have changed: the optimizer's state and the metrics are made anew."""
        self._metrics = None
        if self.optimizer is not None:
            self.optimizer._bound = None

    def get_layer(self, name: str | None = None, index: int | None = None) -> SequentialLayer:
        """The layer of a name or a number."""
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"there is no layer {name!r}; there are {', '.join(layer.name for layer in self.layers)}")

    @property
    def built(self) -> bool:
        """Whether all layers have their weights."""
        return bool(self.layers) and all(layer.built for layer in self.layers)

    @property
    def input_shape(self) -> tuple:
        """With None for the batch."""
        return self.layers[0].input_shape if self.built else self._declared

    @property
    def output_shape(self) -> tuple | None:
        """With None for the batch; None before the model is built."""
        return self.layers[-1].output_shape if self.built else None

    def build(self, input_shape=None) -> None:
        """Make the weights for inputs of a shape that has the batch (None) first."""
        shape = self._declared if input_shape is None else (None, *shape_of(tuple(input_shape)[1:]))
        if shape is None:
            raise ValueError("input_shape is missing: such as (None, 10) for rows of 10 ids")
        if not self.layers:
            raise ValueError("the model has no layers: add them first")
        self._build_layers(shape)

    def _build_layers(self, shape: tuple) -> None:
        before = None
        for layer in self.layers:
            self._check_rank(layer, before, shape)
            if layer.built and before is None and layer.input_shape is not None:
                layer.check_width(shape)
            shape = layer.compute_output_shape(shape) if layer.built else layer.build(shape, self._generator, self._dtype)
            before = layer

    def _check_rank(self, layer, before, shape) -> None:
        """Say what is meant where a layer wants a sequence and the one before gives its last step."""
        if len(shape) == 2 and 3 in layer.accepts and getattr(before, "return_sequences", True) is False:
            raise ValueError(
                f"layer {layer.label()} wants inputs of shape {layer.letters}, but layer {before.label()} gives its last step "
                f"alone, {shape}: make layer {before.label()} with return_sequences=True"
            )
        layer.check_rank(shape)

    def build_for(self, x: np.ndarray) -> None:
        """Make the weights for an array of inputs, where they are not made yet; ValueError where it does not fit."""
        if not self.layers:
            raise ValueError("the model has no layers: add them first")
        if not self.built:
            self.build((None, *x.shape[1:]))
        self.compute_output_shape(x.shape)
        if isinstance(self.layers[0], Embedding):
            self.layers[0].checked(x)  # now, since the order of the rows is another one later

    def compute_output_shape(self, shape: tuple) -> tuple:
        """The shape of the outputs for inputs of `shape`, the batch included; ValueError where these do not fit."""
        declared = self._declared
        if declared is not None and (
            len(shape) != len(declared)
            or any(wanted is not None and wanted != got for wanted, got in zip(declared[1:], shape[1:], strict=True))
        ):
            raise ValueError(f"x must have shape {declared}, as the model's Input says, got {tuple(shape)}")
        before = None
        for layer in self.layers:
            self._check_rank(layer, before, shape)
            layer.check_width(shape)
            before, shape = layer, layer.compute_output_shape(shape)
        return tuple(shape)

    # --- weights -----------------------------------------------------------------------------------------------------

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights in Keras's order and orientation."""
        return [weight for layer in self.layers for weight in layer.get_weights()]

    def set_weights(self, weights) -> None:
        """Copy weights in, in the order and orientation of `get_weights`."""
        weights, start = list(weights), 0
        counts = [len(layer.weight_shapes()) if layer.built else 0 for layer in self.layers]
        if not self.built:
            raise ValueError(f"the model has no weights yet: {UNBUILT}")
        if len(weights) != sum(counts):
            raise ValueError(f"the model has {sum(counts)} weights, got {len(weights)}")
        for layer, count in zip(self.layers, counts, strict=True):
            layer.set_weights(weights[start : start + count])
            start += count

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        if not self.built:
            raise ValueError(f"the model has no weights yet: {UNBUILT}")
        return self.parameters.count

    def summary(self, line_length=None, positions=None, print_fn=None, **_) -> None:  # type: ignore[override]
        """Print the table of the layers, or hand it to `print_fn`."""
        (print_fn or print)(table(self, line_length))

    def __repr__(self):
        return f"<Sequential name={self.name}, built={self.built}>"

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
        """
        self._must_be_compiled("the loss")
        logits = self._takes_logits()
        outputs, mask, parts = self.run(x, key=key, workspace=workspace, logits=logits)
        y = targets(self, y, outputs.shape)
        values, saved = self.loss.forward(y, outputs, logits or self.loss.from_logits)  # (B,) or (B, T)
        weights = np.full(values.shape, 1 / values.size, values.dtype)
        counts = [each for each in (mask, self.loss.counted(y)) if each is not None and each.shape == values.shape]
        if counts:
            counted = np.logical_and.reduce(counts)
            weights = (counted / max(1, counted.sum())).astype(values.dtype)
        if sample_weight is not None:
            sample_weight = sample_weight.reshape(sample_weight.shape + (1,) * (values.ndim - sample_weight.ndim))
            weights = weights * sample_weight.astype(values.dtype, copy=False)
        loss = values.dtype.type(np.sum(np.where(weights == 0, 0, values) * weights, dtype=np.float64))
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
        """The outputs of one batch; with `training` dropout is active."""
        x = np.asarray(x)
        self.build_for(x)
        steps = 0 if self.optimizer is None else self.optimizer.iterations
        return self.run(x, key=Key(self.seed, steps) if training else None)[0]

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
