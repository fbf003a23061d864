"""Parameters and the flat buffer they live in.

All parameters of a model are views into one array, and their gradients are views into a second one::

    flat           [ embedding.weight | 0 | lstm.weight_ih_l0 | lstm.weight_hh_l0 | ... ]
    gradient_flat  [        ...       | 0 |        ...        |        ...        | ... ]

So an optimizer's step is one kernel, clipping is one pass, and an all-reduce sends slices of one array. Every parameter starts at
a multiple of 64 bytes; the gaps hold zeros, with zero gradients, so that an optimizer may run over them.

The buffer is made at the first use of ``flat`` or ``gradient_flat``, of whichever layer. A layer inside a larger one that has a
buffer uses its slice of that buffer; a larger layer around one that has a buffer makes a larger buffer and moves the views
over. Nothing else may hold these arrays across such a move, which is why `Parameters` looks them up at each use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from minilm import devices
from minilm.layers.parameter import Buffer, Parameter
from minilm.ops.checks import describe
from minilm.typing import DType

__all__ = ["Parameters"]


class _Views(Mapping):
    """A read-only mapping of parameter names to one array of each."""

    def __init__(self, parameters: Parameters, attribute: str):
        self._parameters, self._attribute = parameters, attribute

    def __getitem__(self, name):
        return getattr(self._parameters.entry(name), self._attribute)

    def __iter__(self):
        return iter(self._parameters)

    def __len__(self):
        return len(self._parameters)


class Parameters(Mapping):
    """The parameters of a layer or model: a mapping of dotted names to arrays, and the flat buffer behind them.

    Iteration gives every parameter once. A tied parameter is listed under its first name and found under all of them.

    Parameters
    ----------
    named : iterable of (str, Parameter)
    shared : bool
        Whether some may be parts of other models too. They are moved into the buffer of the model that asks for it, from that of
        another; so to train such models in turn costs a copy at each turn.

    Attributes
    ----------
    flat, gradient_flat : ndarray, shape (P,)
        All values and all gradients, with zeros in the gaps. Ask for them anew at each use.
    gradients : mapping of str to ndarray
    shapes : dict of str to tuple of int
    aliases : dict of str to str
        The further names of tied parameters, each with its first name.
    count : int
        How many numbers there are, each counted once and the gaps not at all.
    dtype : dtype
    """

    def __init__(self, named: Iterable[tuple[str, Parameter]], *, shared: bool = False):
        self._shared = shared
        self._entries: dict[str, Parameter] = {}
        self.aliases: dict[str, str] = {}
        first: dict[int, str] = {}
        for name, parameter in named:
            if id(parameter) in first:
                self.aliases[name] = first[id(parameter)]
            else:
                first[id(parameter)] = name
                self._entries[name] = parameter

    # --- mapping -----------------------------------------------------------------------------------------------------

    def entry(self, name: str) -> Parameter:
        """The Parameter object of a name.

        Raises
        ------
        KeyError
            If there is none; the message lists the names.
        """
        try:
            return self._entries[self.aliases.get(name, name)]
        except KeyError:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self._entries) or 'none'}") from None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entry(name).value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def gradients(self) -> Mapping[str, np.ndarray]:
        """The gradients by name, in the shapes of the values; a tied parameter's is the sum of all its uses."""
        return _Views(self, "gradient")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes by name."""
        return {name: parameter.shape for name, parameter in self._entries.items()}

    @property
    def count(self) -> int:
        """How many numbers there are, each counted once and the gaps not at all."""
        return sum(parameter.size for parameter in self._entries.values())

    @property
    def dtype(self) -> np.dtype:
        """The dtype of all values; ValueError where some are float32 and others float64."""
        dtypes = {parameter.dtype for parameter in self._entries.values()}
        if len(dtypes) > 1:
            raise ValueError("the parameters of one model must have one dtype, got float32 and float64: use .to(dtype)")
        return dtypes.pop() if dtypes else np.dtype(np.float32)

    def __repr__(self):
        lines = [f"  {name}  {parameter.shape}" for name, parameter in self._entries.items()]
        lines += [f"  {name}  is {target}" for name, target in self.aliases.items()]
        return "\n".join([f"Parameters: {self.count:,} numbers of {self.dtype}", *lines])

    # --- the flat buffer ---------------------------------------------------------------------------------------------

    @property
    def flat(self) -> np.ndarray:
        """All values (P,), with zeros in the gaps; a view, to be asked for anew at each use."""
        buffer, start, stop = self._bound()
        return buffer.values[start:stop]

    @property
    def gradient_flat(self) -> np.ndarray:
        """All gradients (P,), with zeros in the gaps; a view, to be asked for anew at each use."""
        buffer, start, stop = self._bound()
        return buffer.gradients[start:stop]

    def zero_gradients(self) -> None:
        """Set every gradient to zero."""
        self.gradient_flat[...] = 0

    @contextlib.contextmanager
    def clean_after_error(self) -> Iterator[None]:
        """Around a loop of training: an exception, or Ctrl-C, that ends it leaves no gradients for the next step.

        An optimizer clears the gradients that it has used, and nothing clears them before a step. So those of a step that did not
        come to its end would be added to the next one's.
        """
        try:
            yield
        except BaseException:  # KeyboardInterrupt among them
            self.zero_gradients()
            raise

    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in `flat`, the gap after it included."""
        slices, offset = {}, 0
        for name, parameter in self._entries.items():
            slices[name] = slice(offset, offset + parameter.span)
            offset += parameter.span
        return slices

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Views of another array with the layout of `flat`, such as an optimizer's state, by name."""
        return {
            name: flat[where][: parameter.size].reshape(parameter.shape)
            for (name, parameter), where in zip(self._entries.items(), self.slices().values(), strict=True)
        }

    def _bound(self) -> tuple[Buffer, int, int]:
        """The buffer, and the part of it that is ours; made first where the parameters do not lie in one."""
        entries = self._entries.values()
        if not entries:
            return Buffer(0, np.float32), 0, 0
        first = next(iter(entries))
        buffer, start = first.buffer, first.offset
        stop = start
        for parameter in entries:
            if buffer is None or parameter.buffer is not buffer or parameter.offset != stop:
                break
            stop += parameter.span
        else:
            return buffer, start, stop  # type: ignore[return-value]
        return self._bind()

    def _bind(self) -> tuple[Buffer, int, int]:
        entries = list(self._entries.values())
        dtype = self.dtype
        for buffer in {parameter.buffer for parameter in entries} - {None}:
            if not self._shared and not buffer.members <= set(entries):
                raise ValueError(
                    "these parameters are scattered in the buffer of a larger model (tied weights): "
                    "ask the model for .parameters, or copy.deepcopy this layer"
                )
        size = sum(parameter.span for parameter in entries)
        buffer, offset = Buffer(size, dtype, entries, entries[0].value), 0
        for parameter in entries:
            parameter.move_to(buffer, offset)
            offset += parameter.span
        return buffer, 0, size

    # --- saving and loading ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all values by name on the host, tied ones once."""
        return {name: np.array(devices.to_host(parameter.value)) for name, parameter in self._entries.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy values in by name. Nothing is changed unless all of them fit (see `fitting`).

        Parameters
        ----------
        state : mapping of str to ndarray
            One floating-point array for each parameter, rounded to this model's dtype; it may still lie in a file, or be a tensor
            of PyTorch: where the names are the same, as of `layers.LSTM`, ``module.state_dict()`` is one. A tied parameter may
            come under any of its names, or under several with equal numbers.

        Raises
        ------
        ValueError
            If names are missing or unknown or shapes differ; the message lists each.
        """
        for name, array in self.fitting(state).items():
            devices.copy_into(self._entries[name].value, array)

    def fitting(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of `load_state_dict` by the parameters' first names; ValueError unless all of them fit."""
        arrays, problems = {}, []
        for name, content in state.items():
            target = self.aliases.get(name, name)
            if target not in self._entries:
                problems.append(f"unexpected {name}")
                continue
            array, shape = self._as_array(name, content), self._entries[target].shape
            if array.dtype.kind != "f":
                problems.append(f"{name} must hold floating-point numbers, got {describe(array)}")
            elif array.shape != shape:
                problems.append(f"{name} has shape {array.shape}, wanted {shape}")
            elif target in arrays and not np.array_equal(arrays[target], array):
                problems.append(f"{name} differs from {target}, to which it is tied")
            arrays[target] = array
        problems += [f"missing {name}" for name in self._entries if name not in arrays]
        if problems:
            raise ValueError("the state does not fit these parameters: " + "; ".join(problems))
        return arrays

    @staticmethod
    def _as_array(name: str, content):
        """An array, one that still lies in a file, or what NumPy makes of another library's."""
        if isinstance(getattr(content, "dtype", None), np.dtype):
            return content
        try:
            return np.asarray(content.detach() if hasattr(content, "detach") else content)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name} must be an array, got {describe(content)}") from None

    @property
    def device(self) -> str:
        """Where the parameters lie: ``"cpu"`` or ``"cuda"``."""
        return next((parameter.device for parameter in self._entries.values()), "cpu")

    def move(self, device: str) -> None:
        """Move all values and gradients to ``"cpu"`` or ``"cuda"``. `Layer.to` is the usual way."""
        devices.require(device)
        for parameter in self._entries.values():
            if parameter.device != device:
                parameter.replace(devices.to_device if device == "cuda" else devices.to_host)

    def convert(self, dtype: DType) -> None:
        """Round all values and gradients to float32 or widen them to float64. `Layer.to` is the usual way.

        Raises
        ------
        TypeError
            If `dtype` is neither.
        """
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {dtype}")
        for parameter in self._entries.values():
            if parameter.dtype != dtype:
                parameter.replace(lambda array: array.astype(dtype))
