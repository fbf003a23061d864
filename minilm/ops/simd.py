"""exp, sigmoid, tanh, the normal distribution and a maximum that a compiler can vectorise, for use inside compiled kernels.

The C library's functions are calls, and a loop around a call stays scalar. The float32 versions here are arithmetic
only: range reduction, a polynomial, and an exponent built from bits. The float64 versions are the C library's: they
serve gradient checks, where accuracy counts.

===========  ===========================  ==========
function     largest error, float32       at NaN
===========  ===========================  ==========
exp          1.5e-7 relative              NaN
sigmoid      2e-7 relative                NaN
tanh         4e-7 relative                NaN
normal_cdf   5e-7 relative                NaN
===========  ===========================  ==========

Below -87, where it would be 1.6e-38 or less, the sigmoid is 0.

Source of exp's polynomial: S. Moshier, Cephes Mathematical Library (expf). Those of tanh and normal_cdf were fitted for this
file, by least squares reweighted towards the smallest largest relative error.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

F = np.float32
_CONTRACT = {"fastmath": {"contract"}, "forceinline": True}  # a loop around a call is not vectorised


@intrinsic
def _bits_to_float(typingctx, bits):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _float_to_bits(typingctx, value):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


def exp(x):
    """Exponential function of a scalar."""
    return math.exp(x)


def sigmoid(x):
    """1 / (1 + exp(-x)) of a scalar, without overflow."""
    e = math.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def tanh(x):
    """Hyperbolic tangent of a scalar."""
    return math.tanh(x)


# 1.5 * 2**23: added to a float32 of moderate size it leaves the nearest whole number in the low bits of the sum. A
# conversion to an integer would be undefined for NaN.
_MAGIC = F(12582912.0)
_MAGIC_BITS = np.int32(np.array(_MAGIC).view(np.int32))


@register_jitable(**_CONTRACT)
def _reduced(x):
    """(exp(r), bits of a float whose low bits are n) for x = n ln 2 + r, |r| <= ln 2 / 2."""
    shifted = x * F(1.4426950408889634) + _MAGIC
    n = shifted - _MAGIC
    r = x - n * F(0.693359375)  # ln 2 in two parts, so that no digit of r is lost
    r = r + n * F(2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return p * (r * r) + r + F(1.0), _float_to_bits(shifted)


@register_jitable(**_CONTRACT)
def _limited(x, low, high):
    """x between low and high; both comparisons leave NaN as it is."""
    x = high if x > high else x
    return low if x < low else x


def _exp32(x):
    # exp(x) = 2**n * exp(r); beyond 89 the result is inf, below -104 it is 0
    y, bits = _reduced(_limited(x, F(-104.0), F(89.0)))
    # the power of two in two factors: 2**128 overflows to inf and 2**-140 is a denormal, neither has one exponent's bits
    k = np.int32(bits - _MAGIC_BITS)
    half = np.int32(k >> np.int32(1))
    rest = np.int32(k - half)
    first = _bits_to_float(np.int32((half + np.int32(127)) << np.int32(23)))
    second = _bits_to_float(np.int32((rest + np.int32(127)) << np.int32(23)))
    return y * first * second


@overload(exp, jit_options=_CONTRACT)
def _exp(x):
    return _exp32 if x == types.float32 else lambda x: math.exp(x)


def _sigmoid32(x):
    # exp(-x) is a normal number for |x| <= 87, so n may be added to its exponent; the low bits of `bits` beyond n fall off
    y, bits = _reduced(_limited(-x, F(-87.0), F(87.0)))
    e = _bits_to_float(np.int32(_float_to_bits(y) + np.int32(bits << np.int32(23))))
    return F(0.0) if x < F(-87.0) else F(1.0) / (F(1.0) + e)


def _sigmoid64(x):
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)


@overload(sigmoid, jit_options=_CONTRACT)
def _sigmoid(x):
    return _sigmoid32 if x == types.float32 else _sigmoid64


def _tanh32(x):
    # x P(x²) / Q(x²): relative accuracy down to the smallest x, and one division where the exponential function takes 30 steps
    s = x * x
    p = F(2.1798162010062785e-11)
    p = p * s + F(-1.4107578023931343e-08)
    p = p * s + F(9.69597011306076e-06)
    p = p * s + F(2.9668135481624113e-03)
    p = p * s + F(1.2961787225547214e-01)
    p = p * s + F(9.999999727599934e-01)
    q = F(2.3451678291631644e-04)
    q = q * s + F(2.3950829171437406e-02)
    q = q * s + F(4.6295096330943514e-01)
    q = q * s + F(1.0)
    y = p * x / q
    y = F(1.0) if x > F(8.3) else y
    return F(-1.0) if x < F(-8.3) else y


@overload(tanh, jit_options=_CONTRACT)
def _tanh(x):
    return _tanh32 if x == types.float32 else lambda x: math.tanh(x)


def normal_cdf(x):
    """Probability that a standard normal number is below a scalar, (1 + erf(x / √2)) / 2: exact in its lower tail too."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _normal_cdf32(x):
    # the tail beyond a = |x| is exp(-a² / 2) times a slow function of a, here a polynomial in t = 1 / (1 + 0.34 a)
    t = F(1.0) / (F(1.0) + F(0.34) * abs(x))
    p = F(-2.612049189e-2)
    p = p * t + F(1.394995687e-1)
    p = p * t + F(-2.731328903e-1)
    p = p * t + F(2.021828228e-1)
    p = p * t + F(-4.471854205e-2)
    p = p * t + F(1.153591948e-1)
    p = p * t + F(1.151976523e-1)
    p = p * t + F(1.361121974e-1)
    p = p * t + F(1.356205034e-1)
    tail = p * t * exp(F(-0.5) * x * x)
    return tail if x < F(0.0) else F(1.0) - tail


@overload(normal_cdf, jit_options=_CONTRACT)
def _normal_cdf(x):
    return _normal_cdf32 if x == types.float32 else lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0))


@intrinsic
def _ordered(typingctx, value):
    """Bits of a float as a signed integer that is larger where the float is."""
    integer = types.int32 if value == types.float32 else types.int64

    def codegen(context, builder, signature, arguments):
        width = integer.bitwidth
        bits = builder.bitcast(arguments[0], ir.IntType(width))
        sign = builder.ashr(bits, ir.Constant(ir.IntType(width), width - 1))
        magnitude = ir.Constant(ir.IntType(width), 2 ** (width - 1) - 1)
        return builder.xor(bits, builder.and_(sign, magnitude))

    return integer(value), codegen


@intrinsic
def _from_ordered(typingctx, bits):
    """The float that `_ordered` was made of."""
    real = types.float32 if bits == types.int32 else types.float64

    def codegen(context, builder, signature, arguments):
        width = bits.bitwidth
        sign = builder.ashr(arguments[0], ir.Constant(ir.IntType(width), width - 1))
        magnitude = ir.Constant(ir.IntType(width), 2 ** (width - 1) - 1)
        value = builder.xor(arguments[0], builder.and_(sign, magnitude))
        return builder.bitcast(value, ir.FloatType() if real == types.float32 else ir.DoubleType())

    return real(bits), codegen


def largest(row):
    """Largest number of a row of at least one; where there is a NaN, either NaN or the largest of the others."""
    return np.fmax.reduce(row)


@overload(largest, jit_options=_CONTRACT)
def _largest(row):
    # compilers vectorise a maximum of floats only where NaN is promised not to occur, one of integers always
    def largest(row):
        best = _ordered(row[0])
        for i in range(len(row)):
            best = max(best, _ordered(row[i]))
        return _from_ordered(best)

    return largest
