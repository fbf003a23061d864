"""Arrays of the device: NumPy arrays that NumPy does not take for its own."""

from __future__ import annotations

import types

import numpy as np

waits: list[str] = []  # what made the host wait for the device, in order


class Tape:
    """The work of a CUDA graph. It is done when the graph is launched: while it is captured its arrays are NaN."""

    def __init__(self):
        self.actions: list = []
        self.memory: list = []  # of arrays made meanwhile: theirs as long as the graph is there, as in a pool of its own


tapes: list[Tape] = []  # the one that is being captured, if any


def perform(action) -> None:
    """Do it, or note it for the graph's launch."""
    if tapes:
        tapes[-1].actions.append(action)
    else:
        action()


def forbidden(what: str) -> None:
    """CUDA's error for what a capture does not allow."""
    if tapes:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing: {what}")


def poison(memory) -> None:
    """All bits one: NaN."""
    if memory.flags.c_contiguous:
        memory.reshape(-1).view(np.uint8)[...] = 0xFF
    else:
        memory[...] = np.frombuffer(b"\xff" * memory.itemsize, memory.dtype)[0]


def computed(function, inputs, options):
    """What a function of NumPy returns; during a capture its numbers come later, those of a view excepted."""
    result = function(*inputs, **options)
    if tapes:
        fresh = result if isinstance(result, (tuple, list)) else [result]
        fresh = [np.asarray(part) for part in fresh]
        if not any(isinstance(i, np.ndarray) and np.may_share_memory(i, part) for i in _flat(inputs) for part in fresh):

            def again():
                results = function(*inputs, **options)
                for part, numbers in zip(fresh, results if isinstance(results, (tuple, list)) else [results], strict=True):
                    part[...] = numbers

            for part in fresh:
                poison(part)
            perform(again)
        return type(result)(fresh) if isinstance(result, (tuple, list)) else fresh[0]
    return result


def _flat(values):
    for value in values:
        yield from _flat(value) if isinstance(value, (tuple, list)) else (value,)


def wait(why: str) -> None:
    """Note that the host waited."""
    forbidden(why)
    waits.append(why)


def host(value, what: str = "an operation"):
    """The memory behind a device array; numbers as they are; TypeError for an array of the host."""
    if isinstance(value, ndarray):
        return value._memory
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: {what} with an array of the host")
    if isinstance(value, (tuple, list)):
        return type(value)(host(part, what) for part in value)
    if isinstance(value, slice):
        return slice(*(int(p) if isinstance(p, ndarray) else p for p in (value.start, value.stop, value.step)))
    return value


def device(value):
    """What NumPy returned, as CuPy returns it: numbers stay on the device, as arrays without axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(device(part) for part in value)
    return value


def on_device(function):
    """A function of NumPy as one of CuPy."""

    def call(*arguments, **options):
        options = {k: host(v) for k, v in options.items() if k != "out"}
        return device(computed(function, host(arguments, function.__name__), options))

    def with_out(*arguments, out=None, **options):
        if out is None:
            return call(*arguments, **options)
        (out,) = out if isinstance(out, tuple) else (out,)  # as NumPy's own functions hand it over
        if not isinstance(out, ndarray):
            raise TypeError(f"Unsupported type {type(out)}: an output on the host")
        result, memory = call(*arguments, **options)._memory, out._memory
        perform(lambda: memory.__setitem__(..., result))
        return out

    with_out.__name__ = function.__name__
    return with_out


def waiting(function):
    """One whose result has a size that only the device knows."""

    def call(*arguments, **options):
        wait(function.__name__)
        return on_device(function)(*arguments, **options)

    return call


def maker(function):
    """empty, zeros and so on; what is not initialised is NaN."""

    def make(*arguments, **options):
        if function is np.arange:
            return ndarray(computed(function, arguments, options))
        if "dtype" not in options and len(arguments) == (2 if function is np.full else 1):
            options["dtype"] = np.float64
        array = function(*host(arguments), **options)
        if function is np.empty:
            poison(array)
            return ndarray(array)
        return ndarray(computed(lambda: function(*host(arguments), **options), (), {}))

    return make


def upload(array, dtype=None):
    """cupy.asarray"""
    if isinstance(array, ndarray):
        return array if dtype is None else array.astype(dtype, copy=False)
    forbidden("a copy from the host")
    return ndarray(np.array(array, dtype=dtype, order="C", copy=True))


def download(array):
    """cupy.asnumpy"""
    return array.get() if isinstance(array, ndarray) else np.asarray(array)


class ndarray:
    """cupy.ndarray"""

    __array_priority__ = 100

    def __init__(self, memory):
        self._memory = memory
        if tapes:
            tapes[-1].memory.append(memory)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or ufunc.signature is not None:  # CuPy takes none such from NumPy, np.matmul among them
            return NotImplemented
        return on_device(ufunc)(*inputs, **options)

    def __array_function__(self, function, kinds, arguments, options):
        if any(issubclass(kind, np.ndarray) for kind in kinds):
            return NotImplemented
        return on_device(function)(*arguments, **options)

    def get(self):
        wait("get")
        return self._memory.copy()

    def item(self, *index):
        wait("item")
        return self._memory.item(*index)

    def tolist(self):
        wait("tolist")
        return self._memory.tolist()

    def set(self, array):
        forbidden("a copy from the host")
        self._memory[...] = array

    def __float__(self):
        wait("float")
        return float(self._memory)

    def __int__(self):
        wait("int")
        return int(self._memory)

    def __bool__(self):
        wait("bool")
        return bool(self._memory)

    __index__ = __int__

    def __len__(self):
        return len(self._memory)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, ndarray) and part.dtype == np.bool_ for part in parts):
            wait("the number of elements that a mask chooses")
        return device(computed(lambda memory: memory[host(index)], (self._memory,), {}))

    def __setitem__(self, index, value):
        index, value = host(index), host(value, "an assignment")
        perform(lambda: self._memory.__setitem__(index, value))

    def __repr__(self):
        return f"device {self._memory!r}"

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._memory.ctypes.data)

    @property
    def base(self):
        return self._memory.base

    def astype(self, dtype, copy=True, order="K"):
        return ndarray(computed(lambda memory: memory.astype(dtype, copy=copy, order=order), (self._memory,), {}))

    def fill(self, value):
        value = host(value)
        perform(lambda: self._memory.fill(value))


for _name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags"):
    setattr(ndarray, _name, property(lambda self, _name=_name: getattr(self._memory, _name)))
ndarray.T = property(lambda self: ndarray(self._memory.T))


def _method(name):
    def call(self, *arguments, **options):
        arguments, options = host(arguments), {k: host(v) for k, v in options.items()}
        return device(computed(lambda memory, *more: getattr(memory, name)(*more, **options), (self._memory, *arguments), {}))

    return call


for _name in (
    "reshape transpose swapaxes ravel view sum mean max min argmax argmin argsort all any copy squeeze cumsum take repeat dot"
).split():
    setattr(ndarray, _name, _method(_name))

for _name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift lt le gt ge eq ne".split():

    def _binary(self, other, _name=f"__{_name}__"):
        return device(computed(lambda a, b: getattr(a, _name)(b), (self._memory, host(other, _name)), {}))

    setattr(ndarray, f"__{_name}__", _binary)
for _name in "add sub mul truediv floordiv mod pow matmul and or xor".split():

    def _reflected(self, other, _name=f"__r{_name}__"):
        return device(computed(lambda a, b: getattr(a, _name)(b), (self._memory, host(other, _name)), {}))

    def _in_place(self, other, _name=f"__i{_name}__"):
        other = host(other, _name)
        perform(lambda: getattr(self._memory, _name)(other))
        return self

    setattr(ndarray, f"__r{_name}__", _reflected)
    setattr(ndarray, f"__i{_name}__", _in_place)
for _name in ("neg", "abs", "invert", "pos"):

    def _unary(self, _name=f"__{_name}__"):
        return device(computed(lambda a: getattr(a, _name)(), (self._memory,), {}))

    setattr(ndarray, f"__{_name}__", _unary)
ndarray.__hash__ = None
