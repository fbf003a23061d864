"""One view of everything that can be checked: an op, a pair of functions, a layer, a model, a user's own object."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minilm.gradcheck.trees import copied, floats, is_float, leaves


class Subject:
    """A forward and a backward bound to arguments that the finite differences may move.

    Attributes
    ----------
    name : str
    arrays : dict of str to ndarray
        What is differentiated: the float arguments, and the parameters of a layer or model (by reference: moving
        their numbers moves the layer).
    module : object or None
        The layer or model, if it is one.
    scalar : bool
        Whether the output is a loss, whose backward takes no cotangent.
    """

    def __init__(self, name, forward: Callable, backward: Callable, arguments: dict[str, Any], differentiable, parameters=None):
        self.name = name
        self.module = getattr(forward, "__self__", None)  # the layer or model that they belong to
        self._forward = forward
        self._backward = backward
        # moved in place, so copies; an argument given as parameters' own array would otherwise be moved with it
        self._arguments = {k: copied(v, widen=True) if k in differentiable else v for k, v in arguments.items()}
        chosen = {str(k): self._arguments[k] for k in differentiable}
        self.arrays = {path: leaf for path, leaf in leaves(chosen) if is_float(leaf)}
        self._order = tuple(self.arrays)
        self._parameters = parameters
        if parameters is not None:
            self.arrays.update({k: parameters[k] for k in parameters})
        self.scalar = _takes_only_saved(backward)

    @property
    def inputs(self) -> dict:
        """All that forward and backward must leave as it was."""
        return {"arguments": self._arguments, "arrays": self.arrays}

    def forward(self):
        """(outputs, saved) at the present contents of `arrays`."""
        arguments = self._arguments
        positional = [arguments[k] for k in arguments if isinstance(k, int)]
        result = self._forward(*positional, **{k: v for k, v in arguments.items() if not isinstance(k, int)})
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"forward of {self.name} must return (outputs, saved), got {type(result).__name__}")
        return result

    def backward(self, cotangents, saved) -> tuple[dict[str, Any], list[str]]:
        """Gradients by name, and what is wrong with their number.

        A layer's parameter gradients start from zero.
        """
        if self._parameters is not None:
            _gradients(self._parameters)[...] = 0
        returned = self._backward(saved) if self.scalar else self._backward(cotangents, saved)
        arrays = [g for _, g in leaves(returned) if g is not None]
        problems = []
        if len(arrays) != len(self._order):
            names = ", ".join(f"d{k}" for k in self._order) or "none"
            problems.append(f"backward returned {len(arrays)} gradients, wanted {len(self._order)} ({names})")
        gradients = dict(zip(self._order, arrays, strict=False))
        if self._parameters is not None:
            gradients.update(_named_gradients(self._parameters))
        return gradients, problems

    def through(self, change) -> None:
        """Call forward and backward as what ``change(function)`` makes of them."""
        self._forward, self._backward = change(self._forward), change(self._backward)

    def accumulates(self, cotangents, saved, gradients) -> list[str]:
        """A layer adds to its gradient buffer: a second backward must double it."""
        if self._parameters is None:
            return []
        self._backward(saved) if self.scalar else self._backward(cotangents, saved)
        bad = [
            k
            for k, twice in _named_gradients(self._parameters).items()
            if not np.allclose(twice, 2 * gradients[k], rtol=1e-10, atol=1e-13 * np.abs(gradients[k]).max(initial=0))
        ]
        return [f"backward does not add to the gradient of {k}" for k in bad]


def _gradients(parameters) -> np.ndarray:
    return parameters.gradient_flat


def _named_gradients(parameters) -> dict[str, np.ndarray]:
    return {k: np.array(parameters.gradients[k]) for k in parameters}


def _takes_only_saved(backward) -> bool:
    """Whether backward belongs to a model: its output is the loss, so it takes no cotangent."""
    parameters = list(inspect.signature(backward).parameters.values())
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(needed) == 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters)


def subject_of(target, inputs: tuple, options: Mapping[str, Any], differentiable=None) -> Subject:
    """The subject for `target`; see `minilm.gradcheck` for what it may be."""
    target = _widened(target)
    if isinstance(target, tuple) and len(target) == 2 and not hasattr(target, "forward"):
        forward, backward = target
    else:
        forward, backward = getattr(target, "forward", None), getattr(target, "backward", None)
    if not callable(forward) or not callable(backward):
        raise TypeError(f"target must have forward and backward, or be a pair of functions, got {type(target).__name__}")
    name = _name_of(target, forward)
    arguments = _bind(forward, inputs, options, name)
    if differentiable is None:
        differentiable = [k for k, v in arguments.items() if any(isinstance(a, np.ndarray) for a in floats(v))]
    for k in differentiable:
        if k not in arguments:
            raise ValueError(f"differentiable names {k!r}, which is no argument of this call of {name}: {', '.join(arguments)}")
    parameters = getattr(target, "parameters", None)
    if not (isinstance(parameters, Mapping) and hasattr(parameters, "gradient_flat")):
        parameters = None
    subject = Subject(name, forward, backward, arguments, differentiable, parameters)
    if not subject.arrays:
        raise ValueError(f"nothing to differentiate: {name} was given no float array and has no parameters")
    narrow = [k for k, array in subject.arrays.items() if array.dtype != np.float64]
    if narrow:
        raise TypeError(f"the parameters must be float64, {narrow[0]} is {subject.arrays[narrow[0]].dtype}")
    for path, leaf in leaves(subject.forward()[0]):
        if is_float(leaf) and np.asarray(leaf).dtype != np.float64:
            raise TypeError(
                f"forward of {name} returned {path or 'its output'} as {leaf.dtype} for arguments of float64: in less than "
                f"float64 throughout, finite differences are rounding errors"
            )
    return subject


def _widened(target):
    """A layer or model with float32 parameters as a copy in float64; all else as it is."""
    parameters = getattr(target, "parameters", None)
    if getattr(parameters, "dtype", None) == np.float32 and len(parameters) and hasattr(target, "to"):
        return copy.deepcopy(target).to(np.float64)
    return target


def _bind(forward, inputs, options, name) -> dict[str, Any]:
    """Arguments by name, in the order of the signature."""
    try:
        signature = inspect.signature(forward)
    except ValueError:  # a builtin without one
        return {**dict(enumerate(inputs)), **options}
    try:
        bound = signature.bind(*inputs, **options)
    except TypeError as error:
        raise TypeError(f"the inputs do not fit forward of {name}: {error}") from None
    arguments: dict[Any, Any] = {}
    for k, value in bound.arguments.items():
        kind = signature.parameters[k].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            return {**dict(enumerate(inputs)), **options}
        else:
            arguments[k] = value
    return arguments


def _name_of(target, forward) -> str:
    name = getattr(target, "name", None)
    if isinstance(name, str):
        return name
    if inspect.ismodule(target):
        return target.__name__.rpartition(".")[2]
    if isinstance(target, tuple):
        return getattr(forward, "__qualname__", "pair")
    return type(target).__name__ if not isinstance(target, type) else target.__name__
