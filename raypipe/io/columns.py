"""Decimal numbers out of columns of text, many lines at once and exactly as Python's `float` reads them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bytes that part one token from the next.
_IS_BLANK = bytes(byte in b" \t\r\n" for byte in range(256))
# Fifteen digits are whole in a float64, and so are powers of ten up to 22: their quotient is rounded once, correctly.
_MOST_DIGITS = 15
_POWERS_OF_TEN = 10.0 ** np.arange(_MOST_DIGITS + 1)


@dataclass(frozen=True)
class Tokens:
    """Where each token of `text` begins, and the byte behind it: intp (n,)."""

    text: bytes
    starts: NDArray[np.intp]
    stops: NDArray[np.intp]


def tokens_of(text: bytes) -> Tokens:
    """Find what blanks, tabs and line ends part; the last byte must be one of them."""
    blank = np.frombuffer(text.translate(_IS_BLANK), np.bool_)
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    if not blank[0]:
        edges = np.concatenate([[0], edges])
    return Tokens(text, edges[0::2], edges[1::2])


def numbers(tokens: Tokens, which: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read the tokens `which` as numbers: float64 (n,), and which of them are none (their value is NaN).

    A lone dot is a missing value, as is NaN in any case (edf2asc -miss NaN): NaN, and no fault.
    """
    every_byte = np.frombuffer(tokens.text, np.uint8)
    start = tokens.starts[which]
    negative = every_byte[start] == ord("-")
    start = start + negative
    width = tokens.stops[which] - start
    whole = np.zeros(which.size, np.int64)
    n_digits, n_decimals = np.zeros(which.size, np.int8), np.zeros(which.size, np.int8)
    in_decimals, odd = np.zeros(which.size, bool), width > _MOST_DIGITS
    for place in range(min(int(width.max(initial=0)), _MOST_DIGITS)):
        inside = place < width
        byte = every_byte[np.minimum(start + place, every_byte.size - 1)]
        digit = byte - np.uint8(ord("0"))
        is_digit = (digit <= 9) & inside
        is_dot = (byte == ord(".")) & inside
        np.copyto(whole, 10 * whole + digit, where=is_digit)
        n_digits += is_digit
        n_decimals += is_digit & in_decimals
        odd |= inside & ~is_digit & ~(is_dot & ~in_decimals)
        in_decimals |= is_dot
    values = whole / _POWERS_OF_TEN[n_decimals]
    np.negative(values, out=values, where=negative)
    missing = (width == 1) & in_decimals & ~negative
    odd |= (n_digits == 0) & ~missing
    values[missing | odd] = np.nan
    for index in np.flatnonzero(odd):
        try:
            value = float(tokens.text[tokens.starts[which[index]] : tokens.stops[which[index]]])
        except ValueError:
            continue
        values[index], odd[index] = value, np.isinf(value)
    return values, odd
