"""Half precision for compiled kernels: numba knows no float16 on a CPU, so they read and write its bits, uint16.

numpy takes four times as long for the same, and a call of PyTorch, between other work on a list this short, ten times.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_SIGN, _REST, _INFINITY = np.uint32(0x8000), np.uint32(0x7FFF), np.uint32(0x7C00)
_MANTISSA_BITS = np.uint32(13)  # that float32 has more
_SIGN_BITS = np.uint32(16)
# What the exponents are biased by, 127 and 15, as a factor.
_REBIAS = np.float32(2.0**112)
_SMALLEST_NORMAL = np.uint32(0x3880_0000)
_TOO_LARGE = np.uint32(0x4780_0000)
_NAN_ABOVE = np.uint32(0x7F80_0000)
_NAN = np.uint32(0x7E00)


@njit(cache=True)
def singles(halves):  # type: ignore[no-untyped-def]
    """float32[n, m] of the bits of float16, uint16[n, m]."""
    n, m = halves.shape
    values = np.empty((n, m), np.float32)
    bits = values.view(np.uint32)
    for k in range(n):
        for c in range(m):
            bits[k, c] = (np.uint32(halves[k, c]) & _REST) << _MANTISSA_BITS
        for c in range(m):
            values[k, c] *= _REBIAS
        for c in range(m):
            half = np.uint32(halves[k, c])
            special = _NAN_ABOVE if (half & _INFINITY) == _INFINITY else np.uint32(0)
            bits[k, c] |= special | ((half & _SIGN) << _SIGN_BITS)
    return values


@njit(cache=True)
def write_halves(values, halves):  # type: ignore[no-untyped-def]
    """Round float32[n, m] to the nearest float16, ties to even, as bits into the last m columns of uint16[n, at least m]."""
    bits = values.view(np.uint32)
    first = halves.shape[1] - values.shape[1]
    for k in range(len(values)):
        for c in range(values.shape[1]):
            sign = (bits[k, c] >> _SIGN_BITS) & _SIGN
            size = bits[k, c] & np.uint32(0x7FFF_FFFF)
            odd = (size >> _MANTISSA_BITS) & np.uint32(1)
            half = (size + np.uint32(0xC800_0FFF) + odd) >> _MANTISSA_BITS
            if size < _SMALLEST_NORMAL:
                half = np.uint32(np.rint(np.abs(values[k, c]) * np.float32(2.0**24)))
            elif size >= _TOO_LARGE:
                half = _NAN if size > _NAN_ABOVE else _INFINITY
            halves[k, first + c] = np.uint16(half | sign)


@njit(cache=True)
def halves_of(values):  # type: ignore[no-untyped-def]
    """The bits of float16, uint16[n, m], of float32[n, m]."""
    halves = np.empty(values.shape, np.uint16)
    write_halves(values, halves)
    return halves


@njit(cache=True)
def with_columns(halves, columns):  # type: ignore[no-untyped-def]
    """uint16[n, m + c]: the bits of a matrix, uint16[n, m], and behind them those of more columns, float32[n, c]."""
    n, m = halves.shape
    wider = np.empty((n, m + columns.shape[1]), np.uint16)
    for k in range(n):
        for c in range(m):
            wider[k, c] = halves[k, c]
    write_halves(columns, wider)
    return wider
