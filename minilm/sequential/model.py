"""A model that is a list of layers, with Keras's interface. What a step computes stands in `minilm.sequential.compiled`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minilm import devices, training
from minilm.ops import checks
from minilm.random import Key
from minilm.sequential import fitting, measuring, saving
from minilm.sequential.base import SequentialLayer
from minilm.sequential.callback import Callback, History
from minilm.sequential.compiled import Compiled
from minilm.sequential.core import Input
from minilm.sequential.data import prepared, weighted
from minilm.sequential.stack import lock
from minilm.typing import DType, PathLike

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sequential", "set_random_seed"]

CALLS = 2**63  # added to the seed of dropout outside of training, so that no key is one of training's

_seeds: np.random.Generator | None = None  # where models without a seed of their own take one, after set_random_seed


def set_random_seed(seed: int) -> None:
    """Let all models made from now on without a seed of their own start from the same numbers in every run of the program."""
    global _seeds
    _seeds = np.random.default_rng(checks.whole("seed", seed, 0, 2**63))


class Sequential(Compiled):
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

    def __init__(
        self,
        layers: Iterable[SequentialLayer | Input] | None = None,
        name: str = "sequential",
        *,
        seed: int | None = None,
        dtype: DType = np.float32,
    ):
        source = _seeds if seed is None and _seeds is not None else np.random.default_rng()
        self.seed = int(source.integers(2**62)) if seed is None else checks.whole("seed", seed, 0, 2**63)
        super().__init__(name, dtype=dtype, seed=self.seed)
        self.history: Any = None
        self.stop_training = False
        self._calls = 0  # with training=True
        for layer in layers or []:
            self.add(layer)

    def to(self, where: str | DType) -> Self:
        """Move the model to ``"cpu"`` or ``"cuda"``, or convert it to another precision, in place; before or after `compile`.

        What `fit`, `evaluate` and `predict` take and give stays on the host. The optimizer's state goes with the weights to
        another device; to another precision it does not. ``with minilm.precision("bf16"):`` around
        them, on a GPU also "tf32", lets products round their factors; weights and sums stay as they are.
        """
        super().to(where)
        return self

    def _must_be_compiled(self, what: str) -> None:
        if not self.compiled:
            raise ValueError(f"{what} needs a loss and an optimizer: call compile(loss=..., optimizer=...) first")

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | training.Callback | Iterable[Callback | training.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train; see `minilm.sequential.fitting.fit`, whose arguments these are. Returns the History."""
        self._must_be_compiled("fit")
        return fitting.fit(
            self,
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        *,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        return_dict: bool = False,
    ) -> dict[str, float] | float | list[float]:
        """The loss, and the metrics where there are some; see `minilm.sequential.measuring.evaluate`."""
        self._must_be_compiled("evaluate")
        return measuring.evaluate(
            self,
            x,
            y,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
    ) -> np.ndarray:
        """The outputs (N, ...) of all rows of x, or of the batches that x gives: of all, or of so many `steps`."""
        return measuring.predict(self, x, batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs of one batch."""
        return measuring.predict(self, x, max(1, len(x)), 0)

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: ArrayLike | None = None, class_weight: dict | None = None, return_dict: bool = False
    ) -> dict[str, float] | float | list[float]:
        """One step on one batch; the loss and the metrics of it, before the step."""
        self._must_be_compiled("train_on_batch")
        batch = weighted(self, prepared(self, x, y, sample_weight), class_weight)
        self.ready_optimizer()
        return measuring.as_list_or_dict(fitting.train_batch(self, batch), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: ArrayLike | None = None, return_dict: bool = False
    ) -> dict[str, float] | float | list[float]:
        """The loss and the metrics of one batch."""
        return self.evaluate(x, y, batch_size=max(1, len(x)), sample_weight=sample_weight, return_dict=return_dict, verbose=0)

    def __call__(self, x: ArrayLike, training: bool = False, **_: Any) -> np.ndarray:
        """The outputs of one batch, both on the host; with `training` dropout is active."""
        x = np.asarray(x)
        self.build_for(x)
        key = None
        if training:  # another mask at each call
            with lock:
                self._calls += 1
            key = Key(self.seed + CALLS, self._calls)
        with devices.ids_are_checked():
            outputs = self.run(devices.to(self.device, x), key=key)[0]
        return devices.to_host(outputs)

    # --- saving and loading ------------------------------------------------------------------------------------------

    def get_config(self) -> dict:
        """The layers and their arguments, as JSON can hold them."""
        return saving.config_of(self)

    @classmethod
    def from_config(cls, config: dict, *, seed: int | None = None) -> Sequential:
        """The model that `get_config` told of, with new weights."""
        return saving.from_config(cls, config, seed)

    def save(self, filepath: PathLike, overwrite: bool = True) -> None:
        """Write layers, weights, and the state of training into one file, which `load_model` reads."""
        saving.save(self, filepath, overwrite)

    def save_weights(self, filepath: PathLike, overwrite: bool = True) -> None:
        """Write the weights into one safetensors file."""
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: PathLike) -> None:
        """Read what `save_weights` or `save` wrote."""
        saving.load_weights(self, filepath)

    @classmethod
    def load(cls, filepath: PathLike) -> Sequential:
        """The model of a file that `save` wrote."""
        return saving.load_model(cls, filepath)
