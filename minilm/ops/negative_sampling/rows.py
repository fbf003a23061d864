"""Rows of numbers as vectors, for the pass of word2vec: a dot product, a sum, and the step of several rows at once.

A compiler makes of a loop over a row blocks of several vectors, and takes what is left one number at a time: of 100 numbers more
than a third. Here a row is cut into whole vectors, and what is left into a half, a quarter, ... of one: 100 numbers are six
vectors of 16 and one of 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.ops.vectors import INDEX, PLACE, emit_copies, emit_multiply_add, kind

# Rows: a sum or a factor of each stays in a register. A target and five negatives are six, and a row that is missing costs as
# much as one that is there: by eight at once CBOW took 22.4 ms for 100,000 words, by six 19.9
AT_ONCE = 6


class _Row:
    """A row of numbers in memory: an array (D,), or row `index` of an array (V, D)."""

    def __init__(self, context, builder, array_type, array, index=None):
        array, self._builder = make_array(array_type)(context, builder, array), builder
        self._start = builder.ptrtoint(array.data, INDEX)
        self.number, self._size, self._lanes = kind(array_type.dtype)
        self.vector = ir.VectorType(self.number, self._lanes)
        self._count = builder.extract_value(array.shape, array_type.ndim - 1)
        if index is not None:
            self._start = builder.add(self._start, builder.mul(index, builder.extract_value(array.strides, 0)))

    def pieces(self) -> Iterator[tuple[ir.Type, Any]]:
        """Types of vectors, each of half the numbers of the one before, and a loop over the places where such a piece begins."""
        start, lanes = INDEX(0), self._lanes
        while lanes:
            stop = self._builder.and_(self._count, INDEX(-lanes))
            piece = ir.VectorType(self.number, lanes) if lanes > 1 else self.number
            yield piece, cgutils.for_range_slice(self._builder, start, stop, INDEX(lanes), INDEX)
            start, lanes = stop, lanes // 2

    def _place(self, piece, d):
        place = self._builder.add(self._start, self._builder.mul(d, INDEX(self._size)))
        return self._builder.inttoptr(place, piece.as_pointer())

    def read(self, piece, d):
        return self._builder.load(self._place(piece, d), align=self._size)

    def write(self, piece, d, value):
        self._builder.store(value, self._place(piece, d), align=self._size)


def _rows_at_once(context, builder, signature, arguments):
    """The rows W[rows[k]] of the arguments W (V, D), rows (AT_ONCE,) and count; from k = count on the first of them."""
    W_type, rows_type, _ = signature
    W, rows, count = arguments
    numbers = [_Row(context, builder, rows_type, rows).read(INDEX, INDEX(k)) for k in range(AT_ONCE)]
    valid = [builder.icmp_signed("<", INDEX(k), count) for k in range(AT_ONCE)]
    numbers = [builder.select(each, number, numbers[0]) for each, number in zip(valid, numbers, strict=True)]
    return [_Row(context, builder, W_type, W, number) for number in numbers]


def _emit_copies(builder, number, piece):
    return emit_copies(builder, number, piece) if isinstance(piece, ir.VectorType) else number


def _emit_widened(builder, numbers, vector):
    """A piece of a row as a whole vector, with zeros in the places behind it."""
    if not isinstance(numbers.type, ir.VectorType):
        return builder.insert_element(ir.Constant(vector, None), numbers, PLACE(0))
    count = numbers.type.count
    places = [min(lane, count) for lane in range(vector.count)]  # number `count` is the first of the zeros
    return builder.shuffle_vector(
        numbers, ir.Constant(numbers.type, None), ir.Constant(ir.VectorType(PLACE, vector.count), places)
    )


def _emit_picked(builder, pair, *lanes):
    """The vector of some lanes of one vector or of two, one after the other."""
    return builder.shuffle_vector(pair[0], pair[-1], ir.Constant(ir.VectorType(PLACE, len(range(*lanes))), list(range(*lanes))))


def _emit_sums(builder, vectors):
    """The sum of the numbers of each of some vectors, as one vector: neighbours are added, and what is left of two is joined.

    A vector without a neighbour is joined with itself, so there may be a few numbers more than vectors.
    """
    parts = vectors[0].type.count  # of each sum, which lie side by side
    while len(vectors) > 1 or parts > 1:
        pairs = [vectors[i : i + 2] for i in range(0, len(vectors), 2)]
        count = sum(vector.type.count for vector in pairs[0])
        if parts == 1:
            vectors = [_emit_picked(builder, pair, count) for pair in pairs]
        else:
            vectors = [builder.fadd(*(_emit_picked(builder, pair, i, count, 2) for i in range(2))) for pair in pairs]
            parts //= 2
    return vectors[0]


@intrinsic
def dots(typingctx, x, W, rows, count, s):
    """s[k] = x · W[rows[k]] for k < count, something for others up to 8; x (D,), W (V, D), rows (AT_ONCE,), s (8 or more,)."""
    signature = types.void(x, W, rows, types.intp, s)

    def codegen(context, builder, signature, arguments):
        x, s = (_Row(context, builder, signature.args[i], arguments[i]) for i in (0, 4))
        others = _rows_at_once(context, builder, signature.args[1:4], arguments[1:4])
        vector = x.vector
        sums = [cgutils.alloca_once(builder, vector) for _ in others]
        for place in sums:
            builder.store(ir.Constant(vector, None), place)
        for piece, places in x.pieces():
            with places as (d, _):
                numbers = _emit_widened(builder, x.read(piece, d), vector)
                for place, other in zip(sums, others, strict=True):
                    row = _emit_widened(builder, other.read(piece, d), vector)
                    builder.store(emit_multiply_add(builder, numbers, row, builder.load(place)), place)
        total = _emit_sums(builder, [builder.load(place) for place in sums])
        s.write(total.type, INDEX(0), total)  # as one vector, as which it is read again
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def step(typingctx, h, dh, W, rows, count, g, rate):
    """dh += sum_k g[k] W[rows[k]], then W[rows[k]] -= rate g[k] h; h, dh (D,), W (V, D), rows, g (AT_ONCE,).

    The rows k < count are different; from k = count on g must be 0.
    """
    signature = types.void(h, dh, W, rows, types.intp, g, h.dtype)

    def codegen(context, builder, signature, arguments):
        h, dh, g = (_Row(context, builder, signature.args[i], arguments[i]) for i in (0, 1, 5))
        others = _rows_at_once(context, builder, signature.args[2:5], arguments[2:5])
        factors = [g.read(g.number, INDEX(k)) for k in range(AT_ONCE)]
        for piece, places in h.pieces():
            copies = [_emit_copies(builder, factor, piece) for factor in factors]
            rate = builder.fneg(_emit_copies(builder, arguments[6], piece))
            with places as (d, _):
                move, total = builder.fmul(rate, h.read(piece, d)), dh.read(piece, d)
                for factor, other in zip(copies, others, strict=True):
                    numbers = other.read(piece, d)
                    total = emit_multiply_add(builder, factor, numbers, total)
                    other.write(piece, d, emit_multiply_add(builder, factor, move, numbers))
                dh.write(piece, d, total)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_rows(typingctx, y, a, W, rows, count):
    """y += a (sum of W[rows[k]] over k < count), where count <= AT_ONCE; y (D,), a number, W (V, D), rows (AT_ONCE,)."""
    signature = types.void(y, y.dtype, W, rows, types.intp)

    def codegen(context, builder, signature, arguments):
        y = _Row(context, builder, signature.args[0], arguments[0])
        others = _rows_at_once(context, builder, signature.args[2:], arguments[2:])
        a, none = arguments[1], ir.Constant(y.number, 0)
        factors = [builder.select(builder.icmp_signed("<", INDEX(k), arguments[4]), a, none) for k in range(AT_ONCE)]
        for piece, places in y.pieces():
            copies = [_emit_copies(builder, factor, piece) for factor in factors]
            with places as (d, _):
                total = y.read(piece, d)
                for factor, other in zip(copies, others, strict=True):
                    total = emit_multiply_add(builder, factor, other.read(piece, d), total)
                y.write(piece, d, total)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_to_row(typingctx, W, i, a, x):
    """W[i] += a x; W (V, D), a number, x (D,)."""
    signature = types.void(W, types.intp, W.dtype, x)

    def codegen(context, builder, signature, arguments):
        W_type, _, _, x_type = signature.args
        y, x = _Row(context, builder, W_type, *arguments[:2]), _Row(context, builder, x_type, arguments[3])
        for piece, places in y.pieces():
            a = _emit_copies(builder, arguments[2], piece)
            with places as (d, _):
                y.write(piece, d, emit_multiply_add(builder, a, x.read(piece, d), y.read(piece, d)))
        return context.get_dummy_value()

    return signature, codegen
