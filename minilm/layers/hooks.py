"""Activations and gradients of a running model, by name: to read them, and to put others in their place.

A layer is a pair of functions. While `hooks` is open, each layer below a model runs as ::

    x'       = inputs[name](x)          where the first input is to be replaced
    y, saved = layer.forward(x', ...)
    y'       = outputs[name](y)         where the output is to be replaced
    dx       = layer.backward(dy, saved)

and x', y' and dy are kept, so that an experiment needs no line in the model it is made on::

    with minilm.hooks(model, "h.*") as seen:
        loss, saved = model.forward(ids, targets)
        model.backward(saved)
    seen["h.3"], seen.gradients["h.3"]               # the residual stream after block 3, and the loss's gradient by it

    with minilm.hooks(model, outputs={"h.3.mlp": 0}):                   # without one network
        loss, _ = model.forward(ids, targets)

The input of ``attn.c_proj`` (B, T, H K) is what the heads give, side by side; that of ``mlp.c_proj`` (B, T, 4D) the neurons.
Gates and states of a recurrent layer have names, too, for patterns that no layer matches: ``recurrent.l0.f`` is the forget gate
(T, B, H) of its first layer, ``*.c`` every cell; `minilm.layers.gates` has the formulas with what replaces them.

Where a layer runs once a token, in generation or in a decoder that feeds back what attention gave, `every` keeps each call::

    with minilm.hooks(model, "*.recurrent.l0.f", every=True) as seen:
        text = generation.generate(model, tokenizer, "The ", tokens=20)
    len(seen["recurrent.l0.f"])                                         # a forget gate (1, B, H) for each token
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minilm import devices
from minilm.layers.gates import OpenRun, gates_of
from minilm.layers.recording import Activations, EveryCall, copied, like
from minilm.layers.saved_under_hooks import Replacement, SavedUnder
from minilm.mistaken import did_you_mean
from minilm.ops import checks

if TYPE_CHECKING:
    from minilm.layers.base import Layer

__all__ = ["HOOKED", "Activations", "EveryCall", "hooks"]

HOOKED = frozenset({"forward", "attend", "_op_of"})  # what a layer has of its own in a block of hooks, one of them at least

StandIn: TypeAlias = "float | np.ndarray | Callable[[Any], Any]"


@contextlib.contextmanager
def hooks(
    model: Layer,
    names: str | Iterable[str] = "*",
    *,
    inputs: Mapping[str, StandIn] | None = None,
    outputs: Mapping[str, StandIn] | None = None,
    into: Activations | None = None,
    every: bool = False,
) -> Iterator[Activations]:
    """Keep, and where asked replace, what the layers below `model` compute inside this block.

    Parameters
    ----------
    model : Layer
    names : str or list of str
        Which layers or gates to keep: dotted names, with ``*`` for any characters, as in ``"h.*.attn"``. Of an empty list none.
    inputs, outputs : mapping of str to number, ndarray or callable, optional
        By the same names, what stands in place of a layer's first input or of its output: a number, an array that broadcasts to
        its shape, or ``f(array) -> array``, which must not write into its argument. Of an output that is a tuple, as a recurrent
        layer's (y, h_n, ...), a number stands in place of all arrays, an array in that of the first, and ``f`` maps the tuple.
        Of a gate, whose steps follow one another, ``f(value (B, H), t) -> (B, H)``.
    into : Activations, optional
        What keeps them; a new one without it.
    every : bool
        Keep what every call gave, in lists, instead of the last one's.

    Yields
    ------
    Activations
        Filled while the model runs, with copies.

    Raises
    ------
    ValueError
        For a name that no layer has; for a replacement of another shape; in ``backward`` of a layer whose input or output a
        callable replaced, since its derivative is not known; and where what forward saved under a replacement comes to a
        ``backward`` after this block. A number or an array is a constant: no gradient flows below it.

    Warns
    -----
    UserWarning
        Nothing ran through a layer that had a replacement.
    """
    layers = {name: layer for name, layer in model.named_layers() if name}
    gates = {gate: (layer, *where) for name, layer in layers.items() for gate, where in gates_of(name, layer).items()}
    kept = _matching([names] if isinstance(names, str) else list(names), layers, gates)
    replaced_inputs, replaced_outputs = _by_name(inputs or {}, layers, {}), _by_name(outputs or {}, layers, gates)
    if into is not None and every:
        raise ValueError("every=True makes what keeps them, and into gives it: one of the two")
    seen = (EveryCall() if every else Activations()) if into is None else into
    with contextlib.ExitStack() as stack:
        for name in dict.fromkeys(name for name in [*kept, *replaced_inputs, *replaced_outputs] if name in layers):
            layer = layers[name]
            hooked = _Hooked(name, layer, seen if name in kept else None, replaced_inputs.get(name), replaced_outputs.get(name))
            stack.enter_context(_instead(layer, **hooked.methods))
            _standing(stack, hooked)
        for layer, runs in _open_runs(gates, kept, replaced_outputs, seen):
            around = layer._op_of
            for run in runs.values():
                _standing(stack, run)
            stack.enter_context(_instead(layer, _op_of=lambda run, runs=runs, around=around: runs.get(run) or around(run)))
        yield seen


def _standing(stack: contextlib.ExitStack, one: _Hooked | OpenRun) -> None:
    """Let it be known, until the block ends, what is replaced; see `minilm.layers.saved_under_hooks`."""
    if one.replaces is not None and not one.replaces.is_open:  # else it stands in a block around this one
        stack.enter_context(one.replaces.standing())


@contextlib.contextmanager
def _instead(layer: Layer, **methods: Callable) -> Iterator[None]:
    """A layer with other methods in this block."""
    before = {name: vars(layer).get(name) for name in methods}
    for name, method in methods.items():
        setattr(layer, name, method)
    try:
        yield
    finally:
        for name, previous in before.items():
            if name in vars(layer):
                delattr(layer, name)
            if previous is not None:  # hooks around these
                setattr(layer, name, previous)


def _open_runs(gates, kept, replaced, seen) -> list[tuple[Layer, dict[str, OpenRun]]]:
    """Each recurrent layer of which gates are kept or replaced, and by the runs' names what stands in their op's place."""
    opened: dict[int, tuple] = {}
    for name in [*kept, *replaced]:
        if name in gates:
            layer, run, gate = gates[name]
            names, values = opened.setdefault(id(layer), (layer, {}))[1].setdefault(run, ({}, {}))
            if name in replaced:
                values[gate] = replaced[name]
            if name in kept:
                names[gate] = name
    return [
        (layer, {run: OpenRun(layer, run, names, values, seen) for run, (names, values) in runs.items()})
        for layer, runs in opened.values()
    ]


class _Hooked:
    """The two functions that stand in a layer's place."""

    def __init__(self, name: str, layer: Layer, seen: Activations | None, new_input: Any, new_output: Any):
        self.name, self.seen = name, seen
        is_alignment = hasattr(layer, "attend")  # which a decoder calls, its memory being projected once for all steps
        self.names = ("attend", "attend_backward") if is_alignment else ("forward", "backward")
        self.plain_forward, self.plain_backward = (getattr(layer, each) for each in self.names)
        self.plain_step, self.output_of = getattr(layer, "step", None), getattr(layer, "Output", None)
        self.new_input, self.new_output = new_input, new_output
        values = {what: new for what, new in (("input", new_input), ("output", new_output)) if new is not None}
        self.replaces = Replacement(f"the {' and the '.join(values)} of {name}", layer, values) if values else None
        self.steps = {"step": self.step} if hasattr(layer, "_op_of") else {}  # of a recurrent layer, which generation calls

    @property
    def methods(self) -> dict[str, Callable]:
        """By the names of those in whose place they stand."""
        return {**dict(zip(self.names, (self.forward, self.backward), strict=True)), **self.steps}

    def forward(self, x, *others, **options):
        y, saved = self._call(self.plain_forward, x, others, options)
        return y, saved if self.replaces is None else SavedUnder(self.replaces, saved)

    def step(self, x, *others, **options):
        (y, *state), _ = self._call(self._whole_step, x, others, options)
        return y, state[0] if len(state) == 1 else tuple(state)

    def _whole_step(self, x, *others, **options):
        """A step's y and state as one output, like that of forward, so that the same stands in its place."""
        y, state = self.plain_step(x, *others, **options)
        return self.output_of(y, *(state if isinstance(state, tuple) else (state,))), None

    def _call(self, plain, x, others, options):
        """The layer's own function, with the input and the output that stand in their places."""
        if self.replaces is not None:
            self.replaces.took_effect = True
        if self.new_input is not None:
            x = _replaced(f"the input of {self.name}", x, self.new_input)
        y, saved = plain(x, *others, **options)
        if self.new_output is not None:
            y = _replaced(f"the output of {self.name}", y, self.new_output)
        if self.seen is not None:
            self.seen.record(self.name, x, y)
        return y, saved

    def backward(self, dy, saved, *others, **options):
        replaced: Mapping[str, StandIn] = {}  # of forward, which may have run without what stands here now
        if isinstance(saved, SavedUnder) and saved.by is self.replaces:
            replaced, saved = saved.by.values, saved.saved
        for what, replacement in replaced.items():
            if callable(replacement):
                raise ValueError(
                    f"a function replaced the {what} of {self.name}, and its derivative is not known: replace by an array, or "
                    "run forward alone"
                )
        kept = None if self.seen is None else copied(dy)  # backward may write over it
        if "output" in replaced:  # a constant: nothing below has a part in the loss
            whole = not isinstance(dy, tuple) or np.ndim(replaced["output"]) == 0
            dy = _zeros(dy) if whole else like(dy, [_zeros(dy[0]), *dy[1:]])
        dx = self.plain_backward(dy, saved, *others, **options)
        if self.seen is not None:
            self.seen.record_gradient(self.name, kept, dx)
        if "input" not in replaced:
            return dx
        return (_zeros(dx[0]), *dx[1:]) if isinstance(dx, tuple) else _zeros(dx)


def _matching(patterns: list[str], layers: Mapping[str, Any], gates: Mapping[str, Any]) -> list[str]:
    names = []
    for pattern in patterns:
        matches = fnmatch.filter(layers, pattern) or fnmatch.filter(gates, pattern)
        if not matches and layers:
            raise ValueError(f"no layer of the model is named {pattern!r}: {did_you_mean(pattern, [*layers, *gates])}")
        names += matches
    return names


def _by_name(replacements: Mapping[str, StandIn], layers, gates) -> dict[str, StandIn]:
    return {name: value for pattern, value in replacements.items() for name in _matching([pattern], layers, gates)}


def _replaced(what: str, array, replacement):
    """`array`, or of a tuple all arrays by a number and else the first, replaced, in new ones of the same shape and dtype."""
    if isinstance(array, tuple):
        if callable(replacement):
            return replacement(array)
        if np.ndim(replacement) != 0:
            return like(array, [_replaced(what, array[0], replacement), *array[1:]])
        return like(array, [_replaced(what, x, replacement) if isinstance(x, tuple) or _floats(x) else x for x in array])
    value = replacement(array) if callable(replacement) else replacement
    new = devices.array_module(array).empty_like(array)
    try:
        new[...] = value
    except (ValueError, TypeError):
        raise ValueError(
            f"{what} has shape {array.shape}, which its replacement must have, got {checks.describe(value)}"
        ) from None
    return new


def _floats(value) -> bool:
    """Whether it is an array of floating-point numbers."""
    return getattr(getattr(value, "dtype", None), "kind", None) == "f"


def _zeros(value):
    if isinstance(value, tuple):
        return tuple(_zeros(part) for part in value)
    return None if value is None else devices.array_module(value).zeros_like(value)
