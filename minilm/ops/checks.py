"""Checks of arguments at the public edge of an op, before a kernel sees them.

Numba and CUDA check no bounds: an unchecked id is memory corruption. Every function raises TypeError or ValueError
naming the argument, what came and what was wanted, and returns arrays a kernel can read.
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.random import Key

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class _Unlocked:
    """A read-only array presented as writable: one compiled kernel then serves both. Kernels never write inputs."""

    def __init__(self, array):
        self._array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def is_array(value) -> bool:
    """Whether `value` is an array, of the host or of the device."""
    return isinstance(value, np.ndarray) or devices.on_gpu(value)


def as_array(value):
    """`value` itself if it is an array, else what NumPy makes of it."""
    return value if is_array(value) else np.asarray(value)


def native(array):
    """The same numbers in this machine's byte order; copied only where they came in the other one, as out of some files."""
    if array.dtype.isnative or devices.on_gpu(array):
        return array
    return array.astype(array.dtype.newbyteorder("="))


def kernel_ready(array: np.ndarray) -> np.ndarray:
    """The same numbers, C-contiguous, aligned, in native byte order; copied only where they are not so yet."""
    flags = array.flags
    if devices.on_gpu(array):
        return array if flags.c_contiguous else devices.array_module(array).ascontiguousarray(array)
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array if flags.writeable else np.asarray(_Unlocked(array))
    return np.require(native(array), requirements=["C", "A", "W"])


CONVERTED = {  # other libraries' arrays and tables -> what they are called, and how one becomes an array
    "torch": ("PyTorch tensor", "x.detach().cpu().numpy()"),
    "tensorflow": ("TensorFlow tensor", "x.numpy()"),
    "jax": ("JAX array", "numpy.asarray(x)"),
    "jaxlib": ("JAX array", "numpy.asarray(x)"),
    "pandas": ("pandas object", "x.to_numpy()"),
}


def describe(value) -> str:
    """What came, for a message: type, shape and dtype."""
    if is_array(value):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if type(value).__module__.partition(".")[0] in CONVERTED and hasattr(value, "shape"):
        package, conversion = CONVERTED[type(value).__module__.partition(".")[0]]
        return f"a {package} of shape {tuple(value.shape)}, of which {conversion} makes an array"
    return f"{type(value).__name__} {' '.join(repr(value).split()):.60}"


def floats(name: str, array, dtype=None) -> np.ndarray:
    """`array` as float32 or float64, or as `dtype` of these, with the strides that it has."""
    if type(array) is np.ndarray and array.dtype in FLOATS and (dtype is None or array.dtype == dtype):
        return array
    if not is_array(array):
        raise TypeError(f"{name} must be a numpy array, got {describe(array)}")
    array = native(array)
    if array.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {describe(array)}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype).name} like the other arguments, got {describe(array)}")
    return array


def floating(name: str, array, shape: tuple | None = None, dtype=None, letters: str = "") -> np.ndarray:
    """`array` as float32 or float64 for a kernel.

    Parameters
    ----------
    shape : tuple of int or None, optional
        The wanted shape; None in it means any size, a leading ``...`` any number of leading axes.
    dtype : dtype, optional
        The wanted dtype; without it float32 and float64 both will do.
    letters : str, optional
        The wanted shape in the field's letters, for the message: ``"(T, B, D)"``.
    """
    # what `floats` asks first, without its call: this stands before every argument of every op
    if type(array) is not np.ndarray or array.dtype not in FLOATS or (dtype is not None and array.dtype != dtype):
        array = floats(name, array, dtype)
    if shape is not None and array.shape != shape and not fits(array.shape, shape):
        check_shape(name, array, shape, letters)
    return array if type(array) is np.ndarray and array.flags.carray else kernel_ready(array)


def fits(shape: tuple, expected: tuple) -> bool:
    """Whether a shape is the wanted one, in which None means any size and a leading ``...`` any number of leading axes."""
    if expected and expected[0] is Ellipsis:
        shape, expected = shape[max(0, len(shape) - len(expected) + 1) :], expected[1:]
    if len(shape) != len(expected):
        return False
    for size, one in zip(shape, expected, strict=True):  # a plain loop: this stands before every argument of every op
        if one is not None and one != size:
            return False
    return True


def check_shape(name: str, array: np.ndarray, shape: tuple, letters: str = "") -> None:
    """Raise ValueError unless the shape fits; see `floating`."""
    if not fits(array.shape, shape):
        text = ", ".join("..." if w is Ellipsis else "any" if w is None else str(w) for w in shape)
        raise ValueError(f"{name} must have shape {f'{letters} = ' if letters else ''}({text}), got {describe(array)}")


def integers(name: str, array, shape: tuple | None = None, letters: str = "") -> np.ndarray:
    """`array` of integers as int64 or int32 for a kernel."""
    if not is_array(array):
        raise TypeError(f"{name} must be a numpy array of integers, got {describe(array)}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of integers, got {describe(array)}")
    array = native(array)
    if shape is not None:
        check_shape(name, array, shape, letters)
    if array.dtype not in (np.int32, np.int64):  # one kernel for each of the two usual widths is enough
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} holds {array.max()}, more than an int64 can")
        array = array.astype(np.int64)
    return kernel_ready(array)


def ids(name: str, array, upper: int, shape: tuple | None = None, letters: str = "", ignore: int | None = None) -> np.ndarray:
    """`array` of ids, each in [0, upper) or equal to `ignore`; the first that is not is named with its position."""
    array = integers(name, array, shape, letters)
    if devices.on_gpu(array):
        if not devices.ids_checked():
            ids(name, array.get(), upper, shape, letters, ignore)
        return array
    if array.size == 1 and 0 <= array.item() < upper:  # a token of one text, whose whole step takes 20 times what min and max do
        return array
    if array.size and (array.min() < 0 or array.max() >= upper):
        bad = (array < 0) | (array >= upper)
        if ignore is not None:
            bad &= array != ignore
        if bad.any():
            where = np.unravel_index(int(bad.argmax()), array.shape)
            position = ", ".join(str(int(i)) for i in where)
            also = "" if ignore is None else f" or {ignore}"
            raise ValueError(f"{name}[{position}] is {array[where]}, wanted an id in [0, {upper}){also}")
    return array


def trusted(array) -> bool:
    """Whether numbers of `array` are taken to be right without a look, for which a GPU would have to be waited for."""
    return devices.on_gpu(array) and devices.ids_checked()


def booleans(name: str, array, shape: tuple | None = None, letters: str = "") -> np.ndarray:
    """`array` of bool, for a kernel. Zeros and ones are refused: whether 1 means kept or hidden, only the caller knows."""
    if not is_array(array) or array.dtype != np.bool_:
        raise TypeError(f"{name} must be a numpy array of bool, got {describe(array)}")
    if shape is not None:
        check_shape(name, array, shape, letters)
    return kernel_ready(array)


def lengths(name: str, array, batch: int, time: int) -> np.ndarray | None:
    """Lengths of padded rows: None, or (B,) whole numbers in [1, T]; returned as int64."""
    if array is None:
        return None
    array = integers(name, array, (batch,), "(B,)")
    if devices.on_gpu(array):
        if not devices.ids_checked():
            lengths(name, array.get(), batch, time)
        return array.astype(np.int64, copy=False)
    if array.size and (array.min() < 1 or array.max() > time):
        where = int(((array < 1) | (array > time)).argmax())
        raise ValueError(f"{name}[{where}] is {array[where]}, wanted a length in [1, T = {time}]")
    return array.astype(np.int64, copy=False)


def option(name: str, value, choices: tuple):
    """`value`, which must be one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def number(name: str, value, low: float, high: float, *, low_open: bool = False, high_open: bool = False) -> float:
    """`value` as a float within the interval."""
    if type(value) is float and (low < value < high or (value == low and not low_open)):  # the usual case
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    inside = (low < value if low_open else low <= value) and (value < high if high_open else value <= high)
    try:
        text, result = repr(value), float(value)
    except (OverflowError, ValueError):  # of a whole number of more than 308 digits, and of more than 4,300
        text, result, inside = "a whole number beyond all floats", math.inf, False
    if not inside:
        interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        raise ValueError(f"{name} must lie in {interval}, got {text}")
    return result


def non_empty(name: str, array: np.ndarray, letters: str) -> np.ndarray:
    """`array`, whose last axis must hold at least one number."""
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must have shape {letters} with a last axis of at least 1, got {describe(array)}")
    return array


def in_place(name: str, array, shape: tuple | None = None, dtype=None, letters: str = "") -> np.ndarray:
    """An array of floats that an update writes: as `floating`, but it must be what the kernel writes itself, not a copy of it."""
    if type(array) is np.ndarray and array.dtype in FLOATS and array.flags.carray:  # then the first question need not be asked
        return floating(name, array, shape, dtype, letters)
    if is_array(array) and array.dtype.newbyteorder("=") in FLOATS and not _written_itself(array):
        expected = "C-contiguous, aligned, writable and in this machine's byte order"
        raise ValueError(f"{name} is written in place and must be {expected}, got {describe(array)}")
    return floating(name, array, shape, dtype, letters)


def _written_itself(array) -> bool:
    return array.flags.c_contiguous and (devices.on_gpu(array) or (array.flags.behaved and array.dtype.isnative))


def factor(name: str, value, like):
    """`value` as a finite float; beside an array of the device also one number there, so that nothing waits for it."""
    if devices.on_gpu(value) and devices.on_gpu(like):
        return floating(name, value, (), like.dtype, "()")
    return number(name, value, -np.inf, np.inf, low_open=True, high_open=True)


def rate(name: str, value, like) -> float | np.ndarray:
    """A learning rate: a finite float of at least 0; beside an array of the device also one number there, as `factor`."""
    if devices.on_gpu(value) and devices.on_gpu(like):
        return floating(name, value, (1,), like.dtype, "1")
    return number(name, value, 0, np.inf, high_open=True)


def counted(name: str, value, low: int, high: int):
    """`value` as an int in [low, high), or an array of one int64 on the device, whose number is not looked at.

    So a count can be changed from one launch of a CUDA graph to the next.
    """
    if devices.on_gpu(value):
        if value.shape != (1,) or value.dtype != np.int64:
            raise TypeError(f"{name} on the device must be one number of int64, shape (1,), got {describe(value)}")
        return value
    return whole(name, value, low, high)


def flag(name: str, value) -> bool:
    """`value` as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def whole(name: str, value, low: int, high: int) -> int:
    """`value` as an int in [low, high)."""
    if type(value) is int and low <= value < high:
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {describe(value)}")
    if not low <= value < high:
        raise ValueError(f"{name} must lie in [{low}, {high}), got {value}")
    return int(value)


def random_key(key) -> Key:
    """`key`, its parts within range; a step that is on the device is not looked at."""
    if not isinstance(key, Key):
        raise TypeError(f"key must be a minilm.random.Key, got {describe(key)}")
    step = counted("key.step", key.step, 0, 2**64)
    return Key(whole("key.seed", key.seed, 0, 2**64), step, whole("key.place", key.place, 0, 2**64))
