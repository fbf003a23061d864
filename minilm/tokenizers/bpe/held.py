"""Tuples of arrays that kernels find at an address.

A kernel that is called with a tuple takes it apart at every call, array by array, and puts it together again as the machine has
it: for two dozen arrays that takes longer than to encode a sentence. So that is done once, and the kernel gets the address.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model, typeof_impl, unbox

from minilm.compiled.jit import jit

WORDS = 256  # of 64 bits, for a tuple: an array takes seven and more


class Kept(int):
    """The address of a tuple as the machine has it, as long as this object is there: for `jit.entry_point` alone.

    Parameters
    ----------
    values : NamedTuple
        Arrays and numbers, or named tuples of them.

    Raises
    ------
    TypeError
        When it is copied or pickled: the address is that of this object's own memory.
    """

    values: tuple

    def __new__(cls, values: tuple):
        memory = np.empty(WORDS, np.uint64)
        _write(values, memory)
        kept = super().__new__(cls, memory.ctypes.data)
        kept.values, kept._memory = values, memory
        return kept

    def __reduce__(self):
        raise TypeError("a Kept is an address of this process: copy or pickle its values")


class Held(types.Type):
    """Numba's type of a `Kept`."""

    def __init__(self, values: types.BaseTuple):
        self.values, self.fields = values, _names(values)  # `kernel_cache` tells types apart by both name and fields
        super().__init__(name=f"Held({values})")

    @property
    def key(self):
        """What makes two of them equal: not the name, in which classes of one name and other fields look alike."""
        return self.values


def _names(values: types.BaseTuple) -> str:
    """The classes and fields of named tuples within one another."""
    inner = "".join(_names(each) for each in values if isinstance(each, types.BaseTuple))
    return f"{values.instance_class.__module__}.{values.instance_class.__qualname__}{values.fields}{inner}"


@register_model(Held)
class _HeldModel(models.PrimitiveModel):
    def __init__(self, manager, held):
        super().__init__(manager, held, ir.IntType(64))


@typeof_impl.register(Kept)
def _(kept, context):
    return Held(numba.typeof(kept.values))


@unbox(Held)
def _(held, kept, context):
    return context.unbox(types.int64, kept)


@intrinsic
def _store(typingctx, values, memory):
    """Write a tuple to the begin of a uint64 array."""

    def codegen(context, builder, signature, arguments):
        kind = context.get_value_type(signature.args[0])
        if context.get_abi_sizeof(kind) > 8 * WORDS:
            raise ValueError(f"{signature.args[0]} takes more than {WORDS} words")
        data = context.make_array(signature.args[1])(context, builder, arguments[1]).data
        builder.store(arguments[0], builder.bitcast(data, kind.as_pointer()))
        return context.get_dummy_value()

    return types.void(values, memory), codegen


@jit(counted=False)
def _write(values, memory):
    _store(values, memory)


@intrinsic
def values_of(typingctx, held):
    """The tuple that a kernel was given as a `Kept`."""
    if not isinstance(held, Held):
        return None

    def codegen(context, builder, signature, arguments):
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))

    return held.values(held), codegen
