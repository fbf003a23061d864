"""Arrays by address, for kernels that read them where they lie, whatever their strides.

Numba compiles a kernel anew for every layout of every argument: contiguous or not, writable or not. A kernel that is given an
address and the strides is compiled once, and slices cost it an addition. Who passes an address keeps the array alive.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def place(array: np.ndarray) -> tuple[int, ...]:
    """Where an array lies, for a kernel: its address, and the strides of all axes but the last, in bytes."""
    return (array.__array_interface__["data"][0], *array.strides[:-1])


@intrinsic
def numbers(typingctx, address, count, like):
    """The `count` numbers from an address on, as an array (count,) of the dtype of the array `like`."""
    if not isinstance(like, types.Array):
        return None
    found = types.Array(like.dtype, 1, "C")
    signature = found(types.intp, types.intp, like)

    def codegen(context, builder, signature, arguments):
        address, count, _ = arguments
        array = make_array(found)(context, builder)
        kind = context.get_data_type(like.dtype)
        size = context.get_constant(types.intp, context.get_abi_sizeof(kind))
        populate_array(
            array,
            data=builder.inttoptr(address, kind.as_pointer()),
            shape=cgutils.pack_array(builder, [count]),
            strides=cgutils.pack_array(builder, [size]),
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return signature, codegen
