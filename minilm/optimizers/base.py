"""What all optimizers share: the flat buffers, groups with settings of their own, clipping, and saving.

One step, on all parameters in one flat buffer (P,) and their gradients in another::

    norm     = ‖gradients‖                            where there is a clip_norm; see `minilm.ops.clip`
    scale    = min(1, clip_norm / (norm + 1e-6))
    param   -= update(scale grad; lr, weight decay)   for each group of neighbours: `minilm.ops.adam.spec` and its siblings
    grad     = 0
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.parameters import Parameters
from minilm.ops import checks, clip
from minilm.typing import Array

DECAYS = ("all", "matrices")


class Group(NamedTuple):
    """Neighbours in the flat buffer that are updated alike."""

    where: slice
    kept: slice  # where their state lies: the same, unless it is in pieces, see `Optimizer.shard`
    decay: float  # what the weight decay is multiplied by
    rate: float  # and the learning rate
    shape: tuple[int, ...] | None  # of a matrix that is updated as such


class Optimizer:
    """Base of SGD, Adam and the others: one kernel over the flat buffer a step.

    Parameters
    ----------
    parameters : Parameters
        ``model.parameters``.
    lr : float or callable
        Learning rate where `step` is given none. Or ``lr(name)``, the rate of each parameter: ``self.lr`` is then the largest of
        these, and where `step` is given a rate, by a schedule for instance, the parameters keep their shares of it.
    weight_decay : float
    decay : {"all", "matrices"} or callable
        What the weight decay is applied to: everything, as in PyTorch; parameters of at least two axes, which leaves out biases
        and gains; or ``decay(name)``: true or false, or what the decay is multiplied by.
    clip_norm : float, optional
        Scale the gradients of all parameters together down to this norm, in the same pass.
    trainable : callable, optional
        Parameters for which ``trainable(name)`` is false are frozen, beside those of `Layer.freeze`: they stay as they are, and
        their gradients, which are cleared, count in no norm.
    """

    slots: tuple[str, ...] = ()  # names of the state's arrays, each of the flat buffer's size
    elementwise = False  # whether each number's update depends on that number, its gradient and its state alone, see `shard`

    def __init__(
        self,
        parameters: Parameters,
        lr: float | Callable[[str], float],
        *,
        weight_decay: float = 0.0,
        decay: str | Callable[[str], float] = "all",
        clip_norm: float | None = None,
        trainable: Callable[[str], bool] | None = None,
    ):
        if not isinstance(parameters, Parameters):
            raise TypeError(f"parameters must be model.parameters, got {type(parameters).__name__}")
        self.parameters = parameters
        names = list(parameters.slices())
        rates = {name: checks.number("lr", lr(name) if callable(lr) else lr, 0, math.inf, high_open=True) for name in names}
        self.lr = max(rates.values(), default=0.0 if callable(lr) else lr)
        self.weight_decay = checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True)
        if clip_norm is not None:
            clip_norm = checks.number("clip_norm", clip_norm, 0, math.inf, low_open=True)
        self.clip_norm = clip_norm
        self.steps = 0
        kept = {name for name in names if parameters.entry(name).trainable and (trainable is None or trainable(name))}
        self._groups = self._grouped(decay, kept, rates)
        self._frozen = [where for name, where in parameters.slices().items() if name not in kept]
        flat = parameters.flat
        self._size, self._dtype, self._device = flat.size, flat.dtype, parameters.device
        self.state = {slot: devices.aligned_zeros(flat.size, flat.dtype, flat) for slot in self.slots}
        self._gather: Callable[[Array], None] | None = None  # see `shard`

    def step(self, lr: float | None = None, *, number: Array | None = None, norm: float | Array | None = None) -> float | None:
        """Update all parameters by the gradient buffer, and clear it.

        Parameters
        ----------
        lr : float, optional
            Learning rate of this step, from a schedule for instance. On a GPU also an array of one number there.
        number : array of one int64 on the GPU, optional
            The number of this step, from 1, where it is not the one after `steps`: in a CUDA graph, which is captured once and
            launched for many steps. Who launches it counts `steps`.
        norm : float, or array of one number on the GPU, optional
            Of the gradients, where it is known already and there is a `clip_norm`.

        Returns
        -------
        norm : float or None
            Norm of the gradients before clipping, where there is a `clip_norm`. On a GPU it stays there, an array without axes.

        Raises
        ------
        FloatingPointError
            If there is a `clip_norm` and the norm is not finite. Nothing has been changed then but the gradients, which are
            cleared, as after every step. On a GPU, where nobody waits for the norm, nothing at all is changed, and nothing is
            raised: look at the norm when it is read.
        """
        flat, gradient = self.parameters.flat, self.parameters.gradient_flat  # (P,)
        lr = self.lr if lr is None else checks.rate("lr", lr, flat)
        if flat.size != self._size or flat.dtype != self._dtype or self.parameters.device != self._device:
            raise ValueError(
                f"the model has changed since this optimizer was made: {self._size} numbers of {self._dtype} on {self._device} "
                f"then, {flat.size} of {flat.dtype} on {self.parameters.device} now"
            )
        with self.parameters.clean_after_error():
            return self._step(flat, gradient, lr, number, norm)

    def _step(self, flat, gradient, lr, number, norm):
        """`step` with arguments that have been checked."""
        for where in self._frozen:
            gradient[where] = 0
        if self.clip_norm is None:
            norm = None
        elif norm is None:
            norm = clip.norm(gradient)
        scale = 1.0 if norm is None else clip.scale(norm, self.clip_norm)
        step = self.steps + 1 if number is None else number
        if devices.on_gpu(flat):  # put there once for all groups
            from minilm.ops.cuda import on_device

            lr, step, scale = on_device(lr, flat.dtype), on_device(step, "int64"), on_device(scale, flat.dtype).reshape(())
        self._update_groups(flat, gradient, lr, step=step, scale=scale, clear=True)
        if number is None:
            self.steps += 1
        return norm

    def _update_groups(self, flat, gradient, lr, **options) -> None:
        """`_update` of each group."""
        for where, kept, decay, rate, shape in self._groups:
            state = [array[kept] for array in self.state.values()]
            own = {"lr": lr if rate == 1 else lr * rate, "weight_decay": self.weight_decay * decay}
            own |= {} if shape is None else {"shape": shape}
            self._update(flat[where], gradient[where], *state, **own, **options)

    def _update(self, flat, gradient, *state, **options) -> None:
        raise NotImplementedError

    def _shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of a parameter that is updated as a matrix; None where all its numbers are updated one by one."""
        return None

    def _grouped(self, decay: str | Callable[[str], float], names: set[str], rates: Mapping[str, float]) -> list[Group]:
        """Slices of the flat buffer of the parameters `names`, neighbours of a kind merged."""
        if not callable(decay):
            checks.option("decay", decay, DECAYS)
        groups: list[Group] = []
        places = {name: where for name, where in self.parameters.slices().items() if where.start < where.stop}
        last = None
        for number, (name, where) in enumerate(places.items()):
            if name not in names:
                continue
            factor = 1.0
            if self.weight_decay != 0 and decay != "all":
                factor = float(len(self.parameters.shapes[name]) > 1 if decay == "matrices" else decay(name))
                checks.number(f"decay({name!r})", factor, 0, math.inf, high_open=True)
            group = Group(where, where, factor, rates[name] / self.lr if self.lr else 1.0, self._shape_of(name))
            if groups and last == number - 1 and group.shape is None and groups[-1][2:] == group[2:]:
                where = slice(groups.pop().where.start, where.stop)
                group = group._replace(where=where, kept=where)
            groups.append(group)
            last = number
        return groups

    # --- saving and loading ------------------------------------------------------------------------------------------

    def shard(self, pieces: Sequence[slice], gather: Callable[[Array], None]) -> None:
        """From now on update some pieces of the flat buffer only, and keep no state of the others. Its steps are at zero still.

        Parameters
        ----------
        pieces : sequence of slice
        gather : callable
            ``gather(array)`` fills in the other pieces of an array of the flat buffer's size, from those who keep them: `views`,
            `state_dict` and `load_state_dict` are of the whole state, and all who share it call them together.

        Raises
        ------
        ValueError
            If its update of a number looks at others too, as Muon's does.
        """
        if not self.elementwise:
            raise ValueError(f"{type(self).__name__} updates no number by itself, so its state cannot be kept in pieces")
        groups, size = [], 0
        for piece in sorted(pieces, key=lambda piece: piece.start):
            for group in self._groups:
                part = slice(max(piece.start, group.where.start), min(piece.stop, group.where.stop))
                if part.start < part.stop:
                    kept = slice(size, size := size + part.stop - part.start)
                    groups.append(group._replace(where=part, kept=kept))
        self._groups, self._gather = groups, gather
        self.state = {slot: devices.aligned_zeros(size, self._dtype, self.parameters.flat) for slot in self.slots}

    def _whole(self, array: Array) -> Array:
        """An array of the state in the flat buffer's size."""
        if self._gather is None:
            return array
        whole = devices.aligned_zeros(self._size, self._dtype, array)  # (P,)
        for group in self._groups:
            whole[group.where] = array[group.kept]
        self._gather(whole)
        return whole

    def views(self) -> dict[str, np.ndarray]:
        """The arrays of the state by name, such as ``m.embedding.weight``, as they lie in the flat buffers."""
        return self._named({slot: self._whole(array) for slot, array in self.state.items()})

    def _named(self, state: Mapping[str, Array]) -> dict[str, np.ndarray]:
        slots = {slot: self.parameters.split(flat) for slot, flat in state.items()}
        return {f"{slot}.{name}": view for slot, views in slots.items() for name, view in views.items()}

    def state_dict(self, *, copies: bool = True) -> dict[str, np.ndarray]:
        """Copies on the host of `views`, or these themselves, and ``steps``: arrays, as safetensors stores them."""
        views = self.views()
        if copies:
            views = {name: np.array(devices.to_host(view)) for name, view in views.items()}
        return {"steps": np.array(self.steps, np.int64), **views}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy in what `state_dict` gave, from arrays or from a file. Nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            If names are missing or unknown, or shapes or dtypes differ; the message lists each.
        """
        whole = {slot: self._whole(array) for slot, array in self.state.items()}
        views = self._named(whole)
        problems = [f"missing {name}" for name in ("steps", *views) if name not in state]
        for name, content in state.items():
            array, view = content if hasattr(content, "dtype") else np.asarray(content), views.get(name)
            if name == "steps":
                if array.shape != () or array.dtype.kind not in "iu" or int(array) < 0:
                    problems.append(f"steps must be a whole number of at least 0, got {content!r:.60}")
            elif view is None:
                problems.append(f"unexpected {name}")
            elif array.shape != view.shape or array.dtype != view.dtype:
                problems.append(f"{name} is {checks.describe(array)}, wanted {checks.describe(view)}")
        if problems:
            raise ValueError("the state does not fit this optimizer: " + "; ".join(problems))
        for name, view in views.items():
            devices.copy_into(view, state[name])
        if self._gather is not None:
            for slot, group in itertools.product(self.slots, self._groups):
                self.state[slot][group.kept] = whole[slot][group.where]
        self.steps = int(state["steps"])

    def __repr__(self):
        settings = {"lr": self.lr, "weight_decay": self.weight_decay, "clip_norm": self.clip_norm, "steps": self.steps}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in settings.items())})"
