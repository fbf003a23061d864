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

CALLS = 2**63  # added to the seed for dropout outside of `fit`, so that it never draws the same numbers as training

_seeds: np.random.Generator | None = None  # from which, after set_random_seed, models without a seed of their own draw one


def set_random_seed(seed: int) -> None:
    """Make runs of a program repeatable: models made after this call without a seed of their own draw their seeds from this one.

    Parameters
    ----------
    seed : int
        In [0, 2**63); ValueError outside of it.
    """
    global _seeds
    _seeds = np.random.default_rng(checks.whole("seed", seed, 0, 2**63))


class Sequential(Compiled):
    """A list of layers, each reading what the one before gives.

    Parameters
    ----------
    layers : list, optional
        Layers of `minilm.sequential`, which may begin with an `Input`; `add` adds one more.
    name : str
    seed : int, optional
        Where the first weights, dropout and the order of the examples come from. Without it each model is different, unless
        `set_random_seed` was called.
    dtype : {float32, float64}
        Of the weights and of all that is computed.

    Attributes
    ----------
    layers : list of SequentialLayer
    history : History or None
        What the last call of `fit` returned.
    stop_training : bool
        A callback sets it to True, and training ends after the batch.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong kind, or a layer cannot read what the one before it gives.

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
        """Move the model to another device, or convert it to another precision, in place; before or after `compile`.

        What `fit`, `evaluate` and `predict` take and return stays on the host. ``with minilm.precision("bf16"):`` around them,
        on a GPU also "tf32", lets products round their factors; weights and sums stay as they are.

        Parameters
        ----------
        where : {"cpu", "cuda"} or {float32, float64}
            The optimizer's state goes along to another device. A conversion starts it anew.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            For "cuda" where no GPU can be used; the message says what is missing.
        """
        super().to(where)
        return self

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
        """Train the model.

        Parameters
        ----------
        x : array_like, shape (N, ...), or batches
            Inputs: N rows. Or what gives batches (x, y) or (x, y, sample_weight): a generator, an iterable, or a sequence with
            ``len`` and ``[i]`` such as a `PyDataset`.
        y : array_like, shape (N, ...)
            Targets, where x is an array: class numbers (N,) or (N, T) for a sparse loss, else numbers of the outputs' shape.
        batch_size : int, optional
            Rows of a batch, 32 without it; not where x gives batches.
        epochs : int
            The epoch to end with. An epoch is a pass over all rows, or `steps_per_epoch` batches.
        verbose : {"auto", 0, 1, 2}
            0: nothing; 1 and "auto": a bar and a line for each epoch; 2: a line.
        callbacks : Callback or list of them, optional
            Of `minilm.sequential`, as in Keras; or of `minilm.training`, whose events are steps.
        validation_split : float
            In [0, 1): this part of the rows, the last ones, is not trained on but measured after each epoch.
        validation_data : tuple (x, y) or (x, y, sample_weight), or batches, optional
            What to measure after each epoch, in place of `validation_split`.
        shuffle : bool
            Take the rows, or the batches of a sequence, in another order in each epoch.
        class_weight : dict of int to float, optional
            What the loss of a row, or of a step, is multiplied by, for each class; in training alone.
        sample_weight : array_like, shape (N,) or (N, T), optional
            What the loss of each row, or of each step, is multiplied by.
        initial_epoch : int
            The epoch to begin with, which counts from 0: for a run that goes on.
        steps_per_epoch, validation_steps : int, optional
            Batches of an epoch, and of a validation. The next one goes on with the batch after them.
        validation_batch_size : int, optional
            Rows of a batch of the validation; `batch_size` without it.
        validation_freq : int
            Validate after every so many epochs.

        Returns
        -------
        History
            ``history.history["loss"]`` has a number for each epoch; likewise the metrics, and with validation ``"val_loss"``.

        Raises
        ------
        ValueError
            If the model is not compiled, or the data do not fit it or each other; the message names the layer and the shapes.
        TypeError
            If an argument is of a wrong kind, such as texts for x.
        """
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
        """Measure the model on data.

        Parameters
        ----------
        x, y, sample_weight : array_like, shapes (N, ...), (N, ...), (N,) or (N, T)
            As for `fit`; or x gives batches.
        batch_size : int, optional
            Rows of a batch, 32 without it.
        verbose : {"auto", 0, 1, 2}
            Whether to print the numbers: not with 0.
        steps : int, optional
            At most that many batches; without it all.
        callbacks : Callback or list of them, optional
        return_dict : bool
            Return a dict by name.

        Returns
        -------
        float, list of float, or dict of str to float
            The loss; where there are metrics a list of the loss and these, in the order of `metrics_names`.

        Raises
        ------
        ValueError, TypeError
            As by `fit`.
        """
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
        """The outputs of the last layer.

        Parameters
        ----------
        x : array_like, shape (N, ...), or batches
            Inputs; or what gives batches x, (x,) or (x, y), of which y is not read.
        batch_size : int, optional
            Rows of a batch, 32 without it. It does not change the outputs.
        verbose : {"auto", 0, 1, 2}
            Whether a bar shows how far it is: with 1 and "auto".
        steps : int, optional
            At most that many batches; without it all.
        callbacks : Callback or list of them, optional

        Returns
        -------
        ndarray of the model's dtype, shape (N, ...)
            On the host.

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model.
        """
        return measuring.predict(self, x, batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs (N, ...) of x (N, ...), in one batch."""
        return measuring.predict(self, x, max(1, len(x)), 0)

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: ArrayLike | None = None, class_weight: dict | None = None, return_dict: bool = False
    ) -> dict[str, float] | float | list[float]:
        """One step on one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As for `fit`, of one batch.
        return_dict : bool
            Return a dict by name.

        Returns
        -------
        float, list of float, or dict of str to float
            The loss and the metrics before the step, as `evaluate` has them.
        """
        self._must_be_compiled("train_on_batch")
        batch = weighted(self, prepared(self, x, y, sample_weight), class_weight)
        self.ready_optimizer()
        return measuring.as_list_or_dict(fitting.train_batch(self, batch), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: ArrayLike | None = None, return_dict: bool = False
    ) -> dict[str, float] | float | list[float]:
        """`evaluate` on x, y and sample_weight as one batch, silently: returns what `evaluate` returns."""
        return self.evaluate(x, y, batch_size=max(1, len(x)), sample_weight=sample_weight, return_dict=return_dict, verbose=0)

    def __call__(self, x: ArrayLike, training: bool = False, **_: Any) -> np.ndarray:
        """The outputs of one batch.

        Parameters
        ----------
        x : array_like, shape (B, ...)
        training : bool
            Whether dropout is active, with other numbers at each call.
        **_
            Other arguments of Keras's change nothing here.

        Returns
        -------
        ndarray, shape (B, ...)
            On the host.
        """
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
        """Name, dtype and layers with their arguments, as JSON can hold them; ValueError for an argument that it cannot hold."""
        return saving.config_of(self)

    @classmethod
    def from_config(cls, config: dict, *, seed: int | None = None) -> Sequential:
        """A model of what `get_config` returned, with new weights.

        Parameters
        ----------
        config : dict
        seed : int, optional
            Where the weights come from.

        Raises
        ------
        ValueError
            If there is no layer of a name.
        """
        return saving.from_config(cls, config, seed)

    def save(self, filepath: PathLike, overwrite: bool = True) -> None:
        """Write the model into one file: layers, weights, what `compile` was given, and the optimizer's state.

        Parameters
        ----------
        filepath : str or os.PathLike
            A name in .keras, .h5 or .hdf5 gives Keras's own formats, which need h5py; any other safetensors.
        overwrite : bool
            Whether a file of this name may be replaced.

        Raises
        ------
        ValueError
            If the model is not built yet, or JSON cannot hold an argument of a layer.
        FileExistsError
            If the file is there and `overwrite` is False.

        Warns
        -----
        UserWarning
            If a loss or a metric of your own is left out, or a .keras file becomes safetensors for want of h5py.
        """
        saving.save(self, filepath, overwrite)

    def save_weights(self, filepath: PathLike, overwrite: bool = True) -> None:
        """Write the weights alone into one file.

        Parameters
        ----------
        filepath : str or os.PathLike
            A name in .weights.h5 gives the form of Keras 3, in .h5 that of its older files; any other safetensors.
        overwrite : bool
            Whether a file of this name may be replaced.

        Raises
        ------
        ValueError
            If the model is not built yet.
        FileExistsError
            If the file is there and `overwrite` is False.
        """
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: PathLike) -> None:
        """Read the weights of a file that `save_weights`, `save` or Keras wrote. The model must be built.

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file: if it is broken, or its weights do not fit. Then no weight is changed.
        """
        saving.load_weights(self, filepath)

    @classmethod
    def load(cls, filepath: PathLike) -> Sequential:
        """The model of the file `filepath`, which `save` or Keras wrote: see `minilm.sequential.load_model`."""
        return saving.load_model(cls, filepath)
