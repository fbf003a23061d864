"""Inputs and targets as a model can read them, and the messages where they do not fit it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.ops import checks

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["Data", "as_inputs", "prepared", "to_categorical", "weighted"]


class Data(NamedTuple):
    """Examples, all of the same number of rows."""

    x: np.ndarray  # (N, ...)
    y: np.ndarray  # (N, ...)
    weight: np.ndarray | None  # (N,) or (N, T)

    def rows(self, where: Any) -> Data:
        """The rows of an index: a slice, or an array of row numbers."""
        return Data(self.x[where], self.y[where], None if self.weight is None else self.weight[where])


def as_inputs(name: str, values: Any) -> np.ndarray:
    """`values`, of a kind that NumPy can read, as an array of numbers with at least one axis; `name` is for messages.

    Raises
    ------
    TypeError
        For a generator or the like, and for what holds no numbers.
    ValueError
        For rows of unequal length, and for one number alone.
    """
    if hasattr(values, "__next__") or (hasattr(values, "__iter__") and not hasattr(values, "__len__")):
        raise TypeError(f"{name} must be an array, got {type(values).__name__}")
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unequal length
        array = np.empty(0, object)
    if array.dtype.kind == "O":
        raise ValueError(f"{name} holds rows of unequal length: pad_sequences makes one array of them")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got {checks.describe(array)}; a Tokenizer makes numbers of texts")
    if array.ndim == 0:
        raise ValueError(f"{name} must have an axis of rows, got {checks.describe(values)}")
    return array


def prepared(model: Sequential, x: Any, y: Any, sample_weight: Any = None) -> Data:
    """Examples for a model, which is built for x if it is not built yet.

    Parameters
    ----------
    model : Sequential
    x : array_like, shape (N, ...)
    y : array_like, shape (N, ...)
    sample_weight : array_like, shape (N,) or (N, T), optional

    Raises
    ------
    ValueError, TypeError
        If one of them is no array of numbers, or does not fit the others or the model.
    """
    if y is None:
        raise ValueError("y is missing: fit and evaluate want inputs x and targets y")
    x, y = as_inputs("x", x), as_inputs("y", y)
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows and y has {len(y)}: wanted a target for every row")
    if not len(x):
        raise ValueError("x has no rows")
    model.build_for(x)
    y = targets(model, y, model.compute_output_shape(x.shape))
    weight = None
    if sample_weight is not None:
        weight = as_inputs("sample_weight", sample_weight).astype(model.dtype)
        if weight.shape not in (y.shape[:1], y.shape[:2]):
            raise ValueError(f"sample_weight must have shape {y.shape[:1]}, a number for each row, got {checks.describe(weight)}")
    return Data(x, y, weight)


def weighted(model: Sequential, data: Data, class_weight: dict | None) -> Data:
    """The examples, each weighted by its class: for training, not for what is measured.

    Parameters
    ----------
    model : Sequential
    data : Data
    class_weight : dict of int to float, or None
        A weight for each class; 1 for a class that is not in it.

    Raises
    ------
    TypeError, ValueError
        If `class_weight` is no dict, or a weight no number.
    """
    if class_weight is None:
        return data
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight must be a dict of class number to weight, got {checks.describe(class_weight)}")
    classes = _classes(model, data.y)
    by_class = np.ones(classes.shape, model.dtype)
    for number, weight in class_weight.items():
        by_class[classes == number] = checks.number(f"class_weight[{number!r}]", weight, -math.inf, math.inf)
    weight = data.weight
    if weight is not None and weight.ndim < by_class.ndim:
        weight = weight[:, None]
    return data._replace(weight=by_class if weight is None else weight * by_class)


def _classes(model, y) -> np.ndarray:
    """The class of every target: a class number itself, a probability rounded to 0 or 1, the likeliest of a distribution."""
    if model.loss.sparse:
        return y
    return np.round(y[..., 0]) if y.shape[-1] == 1 else y.argmax(axis=-1)


# --- targets ---------------------------------------------------------------------------------------------------------


def targets(model, y, output: tuple) -> np.ndarray:
    """y in the form that the loss takes for outputs of shape `output` (N, ..., C); ValueError says what does not fit."""
    if model.loss.sparse:
        if y.ndim == len(output) and y.shape[-1] == 1:
            y = y[..., 0]
        if y.shape != output[:-1]:
            _refuse(model, y, output, output[:-1])
        return _class_numbers(model, y, output[-1])
    if y.ndim == len(output) - 1 and output[-1] == 1:
        y = y[..., None]
    if y.shape != output:
        _refuse(model, y, output, output)
    return y.astype(model.dtype) if y.dtype.kind != "f" else y


def _class_numbers(model, y, C: int) -> np.ndarray:
    if y.dtype.kind == "f":
        if not (y == np.floor(y)).all():
            raise ValueError(f"{model.loss.name} wants class numbers as targets, got {checks.describe(y)} with others; "
                             "for distributions there is categorical_crossentropy")  # fmt: skip
        y = y.astype(np.int64)
    elif y.dtype.kind == "b":
        y = y.astype(np.int64)
    ignored = getattr(model.loss, "ignore_class", None)
    wrong = (y < 0) | (y >= C)
    if ignored is not None:
        wrong &= y != ignored
    if wrong.any():
        where = np.unravel_index(int(wrong.argmax()), y.shape)
        place = ", ".join(str(int(i)) for i in where)
        raise ValueError(f"y[{place}] is {y[where]}, but layer {model.layers[-1].label()} has {C} outputs: "
                         f"wanted class numbers in [0, {C})")  # fmt: skip
    return y


def _refuse(model, y, output, expected) -> None:
    """Raise the ValueError that says why targets do not fit, and which layer or loss to change."""
    last = model.layers[-1]
    shown = (None, *output[1:])
    message = f"{model.loss.name} wants targets of shape {expected}, got y of shape {y.shape}: layer {last.label()} gives {shown}"
    reducing = [layer for layer in model.layers if getattr(layer, "return_sequences", True) is False]
    sparse = model.loss.sparse
    if sparse and y.shape == output and (y.sum(axis=-1) == 1).all():
        raise ValueError(f"{message}; for one-hot targets the loss is categorical_crossentropy")
    if sparse and y.ndim == len(output) + 1 and y.shape[-1] == 1:
        y = y[..., 0]
    steps = y.ndim == len(output) if sparse else y.ndim == len(output) + 1
    if steps and len(output) == 2 and y.ndim >= 2 and reducing:
        layer = reducing[-1]
        raise ValueError(
            f"{message}, one for each row, but y has {y.shape[1]} for each row. Layer {layer.label()} gives its last step alone, "
            f"{layer.output_shape}; for a target at every time step make it with return_sequences=True"
        )
    if len(output) == 3 and (y.ndim == 1 or (y.ndim == 2 and (not sparse or y.shape[-1] == 1))):
        recurrent = [layer for layer in model.layers if getattr(layer, "return_sequences", False)]
        hint = f"; for one target a row make layer {recurrent[-1].label()} with return_sequences=False" if recurrent else ""
        raise ValueError(f"{message}, one for each time step, but y has one for each row{hint}")
    if len(output) == 3 and y.ndim >= 2 and y.shape[1] != output[1]:
        raise ValueError(f"{message}: x has {output[1]} time steps and y has {y.shape[1]}; pad both to one length")
    if not sparse and y.shape == output[:-1] and "categorical" in model.loss.name:
        raise ValueError(f"{message}; for class numbers the loss is sparse_categorical_crossentropy; or use to_categorical")
    if y.shape[:-1] == output[:-1]:
        raise ValueError(f"{message}; the last layer must be {y.shape[-1]} wide for these targets")
    raise ValueError(message)


def to_categorical(y: ArrayLike, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as one-hot rows: zeros, and a 1 at the class.

    Parameters
    ----------
    y : array_like of whole numbers, shape (...) or (..., 1)
    num_classes : int, optional
        Without it one more than the largest class number.

    Returns
    -------
    ndarray of float32, shape (..., num_classes)

    Raises
    ------
    ValueError
        If a number is not in [0, num_classes); the first is named, with its position.
    TypeError
        If y holds other things than whole numbers.
    """
    y = np.asarray(y)
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    y = checks.integers("y", y)
    if num_classes is None:
        num_classes = int(y.max()) + 1 if y.size else 0
    y = checks.ids("y", y, checks.whole("num_classes", num_classes, 0, 2**31))
    one_hot = np.zeros((*y.shape, num_classes), np.float32)
    np.put_along_axis(one_hot, y[..., None], 1, axis=-1)
    return one_hot
