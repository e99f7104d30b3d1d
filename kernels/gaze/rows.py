"""Rows of text made of numbers, as VirtualMaze's raycaster writes them: one sample a row, 18 fields.

Numbers are written as C# writes a float: seven significant digits, halves away from zero, no zeros at the end, and an
exponent of two digits below 0.0001 and from 10 million on. Not among the exports of `kernels`: import it from here.
"""

from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, uint8
from numpy.typing import NDArray

from kernels.compile import contiguous, inlined, jit, readonly, types

NUMBERS = 14
"""Numbers in a row; the last 8 of them belong to the object that is hit."""
LEADING = 6
ROW_BYTES = 64 + 16 * NUMBERS
"""A row is never longer than this and its name."""

_bytes = types.Array(uint8, 1, "C")
_names = types.Array(uint8, 2, "C", readonly=True)
_POWERS = np.array([float(10**k) for k in range(16)])  # floats hold them exactly
_KIND = tuple(b"SAMPLE_TYPE,")
_COMMA, _NEWLINE, _MINUS, _PLUS, _POINT, _ZERO, _E, _F = (ord(each) for each in ",\n-+.0EF")


def write_rows(
    times: NDArray[np.int64],
    labels: tuple[NDArray[np.uint8], NDArray[np.int64]],
    objects: NDArray[np.int32],
    numbers: NDArray[np.float32],
    codes: NDArray[np.int64],
    is_frame_end: NDArray[np.bool_],
    out: NDArray[np.uint8],
) -> int:
    """Write one row a sample into `out`, and return how many bytes they are.

    Args:
        times: (n,) not negative.
        labels: as `pack_names` makes them; the last is written where an object is negative, with 8 fields left empty.
        objects: (n,) int32, which label.
        numbers: (n, 14) float32.
        codes: (n,) int64, marker words of two digits behind one another, as 1121; 0: none.
        is_frame_end: (n,) bool, marked F before the words.
        out: (m,) uint8; see `room_for`.

    Raises:
        ValueError: when lengths do not fit, or `out` may be too short.
    """
    n = len(times)
    if {len(objects), len(numbers), len(codes), len(is_frame_end)} != {n} or numbers.shape[1:] != (NUMBERS,):
        raise ValueError(f"{n} times and {numbers.shape} numbers do not fit together")
    if n and (objects.max() >= len(labels[1]) - 1 or times.min() < 0):
        raise ValueError("an object has no name, or a time is negative")
    if len(out) < room_for(n, labels):
        raise ValueError(f"{len(out)} bytes may be too few for {n} rows")
    written: int = _write_rows(times, *labels, objects, numbers, codes, is_frame_end.view(np.uint8), out)
    return written


def room_for(rows: int, labels: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> int:
    """Tell how many bytes `rows` rows may need."""
    longest: int = labels[0].shape[1]
    return rows * (ROW_BYTES + longest)


def pack_names(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Put names into a table of bytes (n, longest) and their lengths (n,)."""
    encoded = [name.encode() for name in names]
    lengths = np.array([len(each) for each in encoded], np.int64)
    table = np.zeros((len(names), int(lengths.max())), np.uint8)
    for row, each in zip(table, encoded, strict=True):
        row[: len(each)] = np.frombuffer(each, np.uint8)
    return table, lengths


def write_numbers(numbers: NDArray[np.float32]) -> bytes:
    """Write numbers (n,) with a newline behind each."""
    out = np.empty(16 * len(numbers), np.uint8)
    return out[: _write_numbers(numbers, out)].tobytes()


@inlined
def _digits(x: Any) -> Any:
    """Round a positive float32 to seven digits: d (1000000 to 9999999) and k in d * 10 ** (k - 6)."""
    if 1e-6 <= x < 1e15:
        # Up to 10 ** 12 the product is exact. From 10 million on x is an integer, and the quotient by at most 10 ** 8
        # cannot be rounded onto a half that it is not.
        k = 0
        if x >= 1.0:
            while x >= _POWERS[k + 1]:
                k += 1
            scaled = x * _POWERS[6 - k] if k <= 6 else x / _POWERS[k - 6]
        else:
            scaled = x * _POWERS[6]
            while scaled < _POWERS[6] and k > -6:
                k -= 1
                scaled = x * _POWERS[6 - k]
        if scaled >= _POWERS[6]:
            whole = int64(scaled)
            whole += scaled - whole >= 0.5
            return (whole, k) if whole < 10_000_000 else (1_000_000, k + 1)
    return _digits_by_hand(x)


@inlined
def _digits_by_hand(x: Any) -> Any:
    """Do the same for any size, with as many decimal digits as it takes."""
    power = 0
    while x != np.floor(x):  # x = integer * 2 ** power, both exact
        x, power = x * 2.0, power - 1
    while x >= 9007199254740992.0:
        x, power = x * 0.5, power + 1
    digits = np.zeros(256, np.int64)  # lowest first
    used, rest = 0, int64(x)
    while rest:
        digits[used], rest, used = rest % 10, rest // 10, used + 1
    # A half is 5 / 10: with each of them the point moves one digit.
    for _ in range(abs(power)):
        carry = 0
        for j in range(used):
            carry += digits[j] * (2 if power > 0 else 5)
            digits[j], carry = carry % 10, carry // 10
        while carry:
            digits[used], carry, used = carry % 10, carry // 10, used + 1
    k = used - 1 + min(power, 0)
    whole = 0
    for j in range(used - 1, used - 8, -1):
        whole = whole * 10 + (digits[j] if j >= 0 else 0)
    whole += used >= 8 and digits[used - 8] >= 5
    return (whole, k) if whole < 10_000_000 else (1_000_000, k + 1)


@inlined
def _write_integer(out: Any, at: Any, value: Any) -> Any:
    length, rest = 1, value // 10
    while rest:
        length, rest = length + 1, rest // 10
    for j in range(at + length - 1, at - 1, -1):
        out[j], value = _ZERO + value % 10, value // 10
    return at + length


@inlined
def _write_text(out: Any, at: Any, text: Any) -> Any:
    for each in text:
        out[at] = each
        at += 1
    return at


@inlined
def _write_number(x: Any, out: Any, at: Any) -> Any:
    if x != x:
        return _write_text(out, at, (78, 97, 78))  # NaN
    if x < 0.0:
        out[at] = _MINUS
        at += 1
        x = -x
    if x == 0.0:
        out[at] = _ZERO
        return at + 1
    if x == np.inf:
        return _write_text(out, at, (73, 110, 102, 105, 110, 105, 116, 121))  # Infinity
    whole, k = _digits(x)
    count = 7
    while whole % 10 == 0:
        whole //= 10
        count -= 1
    if k < -4 or k >= 7:
        before, exponent = 1, k
    else:
        before, exponent = k + 1, 0
    if before <= 0:
        out[at], out[at + 1] = _ZERO, _POINT
        at += 2
        for _ in range(-before):
            out[at] = _ZERO
            at += 1
        at = _write_integer(out, at, whole)
    elif before >= count:
        at = _write_integer(out, at, whole)
        for _ in range(before - count):
            out[at] = _ZERO
            at += 1
    else:
        end = at + count + 1
        for j in range(end - 1, at + before, -1):
            out[j], whole = _ZERO + whole % 10, whole // 10
        out[at + before] = _POINT
        for j in range(at + before - 1, at - 1, -1):
            out[j], whole = _ZERO + whole % 10, whole // 10
        at = end
    if exponent:
        out[at], out[at + 1] = _E, _MINUS if exponent < 0 else _PLUS
        out[at + 2], out[at + 3] = _ZERO + abs(exponent) // 10, _ZERO + abs(exponent) % 10
        at += 4
    return at


@jit(contiguous(float32), _bytes, returns=int64)
def _write_numbers(numbers: Any, out: Any) -> Any:
    at = 0
    for i in range(len(numbers)):
        at = _write_number(float64(numbers[i]), out, at)
        out[at] = _NEWLINE
        at += 1
    return at


@jit(
    readonly(int64, 1), _names, contiguous(int64), readonly(int32, 1), types.Array(float32, 2, "C", readonly=True),
    readonly(int64, 1), readonly(uint8, 1), _bytes, returns=int64,
)  # fmt: skip
def _write_rows(
    times: Any, names: Any, lengths: Any, objects: Any, numbers: Any, codes: Any, is_frame_end: Any, out: Any
) -> Any:
    at = 0
    for i in range(len(times)):
        at = _write_text(out, at, _KIND)
        at = _write_integer(out, at, times[i])
        out[at] = _COMMA
        at += 1
        name = objects[i] if objects[i] >= 0 else len(lengths) - 1
        for j in range(lengths[name]):
            out[at] = names[name, j]
            at += 1
        for j in range(NUMBERS):
            out[at] = _COMMA
            at += 1
            if j < LEADING or objects[i] >= 0:
                at = _write_number(float64(numbers[i, j]), out, at)
        out[at] = _COMMA
        at += 1
        if is_frame_end[i]:
            out[at] = _F
            at += 1
        if codes[i]:
            at = _write_integer(out, at, codes[i])
        out[at] = _NEWLINE
        at += 1
    return at
