"""Functions whose every bit is the same on every machine: made of IEEE additions, products and divisions alone.

The exponential of a numerical library may differ in its last digit from one processor to the next, and a probability
that differs in its last digit decodes another file. NumPy does one correctly rounded operation at a time and fuses
none, so what is written out here in such operations has one answer only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Flags", "Floats", "Ints", "exp", "log", "sigmoid_table"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool]

_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # its last digits are 0: multiples of it up to 2^20 are exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT2 = float.fromhex("0x1.6a09e667f3bcdp+0")
_EXP_TERMS = 13
_LOG_TERMS = 11


def exp(x: Floats) -> Floats:
    r"""e to the power of `x`, to within 2e-15 relative; `x` is held to ±700.

    With n the integer nearest to x/log 2 and r = x − n·log 2, it is 2ⁿ times the Taylor series of r, |r| ≤ ½ log 2.

    Example:
        >>> import numpy as np
        >>> print(exp(np.array([0.0, 1.0])))
        [1.         2.71828183]
    """
    x = np.clip(x, -700.0, 700.0)
    power = np.rint(x * _LOG2_E)
    r = (x - power * _LN2_HIGH) - power * _LN2_LOW
    total = np.ones_like(r)
    for term in range(_EXP_TERMS, 0, -1):
        total *= r
        total /= term
        total += 1.0
    return total * _power_of_two(power.astype(np.int64))


def log(x: Floats) -> Floats:
    r"""The natural logarithm of positive, normal `x`, to within 4e-16 absolute near 1 and relative elsewhere.

    With x = 2ⁿ·m, m between 1/√2 and √2, and s = (m − 1)/(m + 1), it is n·log 2 + 2·(s + s³/3 + s⁵/5 + …).
    """
    bits = np.ascontiguousarray(x).view(np.int64)
    exponent = (bits >> 52) - 1023
    mantissa = ((bits & ((1 << 52) - 1)) | (1023 << 52)).view(np.float64)
    upper = mantissa > _SQRT2
    mantissa = np.where(upper, mantissa * 0.5, mantissa)
    power = (exponent + upper).astype(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    total = np.zeros_like(s)
    for term in range(2 * _LOG_TERMS - 1, 1, -2):
        total = (total + 1.0 / term) * square
    return power * _LN2_HIGH + (2.0 * s * (1.0 + total) + power * _LN2_LOW)


def _power_of_two(power: Ints) -> Floats:
    return ((power + 1023) << 52).view(np.float64)


@cache
def sigmoid_table(resolution: int, reach: int, bits: int) -> Floats:
    """σ at −reach, −reach + 1/resolution, …, reach, rounded to multiples of 2^−bits: sums of them are exact."""
    at = np.arange(-reach * resolution, reach * resolution + 1, dtype=np.float64) / resolution
    decay = exp(-np.abs(at))
    value = np.where(at < 0, decay, 1.0) / (1.0 + decay)
    return np.rint(value * 2.0**bits) * 2.0**-bits
