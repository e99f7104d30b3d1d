"""Numbers as C# writes them, against exact decimal arithmetic; and whole rows."""

import csv
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels.gaze.rows import LEADING, NUMBERS, pack_names, room_for, write_numbers, write_rows

SEVEN = Context(prec=7, rounding=ROUND_HALF_UP)


def as_csharp(value: float) -> str:
    """Write a float32 the way of .NET's G7, in exact decimal arithmetic."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    rounded = SEVEN.create_decimal(Decimal(float(value))).normalize()
    sign, digits, exponent = rounded.as_tuple()
    k = len(digits) - 1 + int(exponent)
    text = "".join(map(str, digits))
    if k < -4 or k >= 7:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        body = f"{mantissa}E{'-' if k < 0 else '+'}{abs(k):02d}"
    else:
        body = format(abs(rounded), "f")
    return "-" * sign + body


def written(values) -> list[str]:
    return write_numbers(np.asarray(values, np.float32)).decode().splitlines()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-0.22, "-0.22"), (0.0001, "0.0001"), (0.00001, "1E-05"), (100.0, "100"),
        (12345678.0, "1.234568E+07"), (1e6, "1000000"), (1e7, "1E+07"), (9999999.5, "1E+07"), (1234566.5, "1234567"),
        (960.1, "960.1"), (1e-45, "1.401298E-45"), (3.4028235e38, "3.402823E+38"), (np.nan, "NaN"), (-np.inf, "-Infinity"),
        (-7.605, "-7.605"), (0.00001234, "1.234E-05"), (0.99999999, "1"), (1e8, "1E+08"), (1.17549435e-38, "1.175494E-38"),
    ],
)  # fmt: skip
def test_numbers_written_out(value: float, text: str) -> None:
    assert written([value]) == [text]


@given(st.integers(0, 2**32 - 1))
@example(0x00000001)
@example(0x807FFFFF)
def test_any_bit_pattern(bits: int) -> None:
    value = np.array([bits], np.uint32).view(np.float32)
    assert written(value) == [as_csharp(value[0])]


def test_a_hundred_thousand_numbers_of_all_sizes_and_ties() -> None:
    random = np.random.default_rng(7)
    some = np.concatenate(
        [
            random.integers(0, 2**32, 40_000, dtype=np.uint32).view(np.float32),
            (random.uniform(-1, 1, 40_000) * 10.0 ** random.uniform(-12, 20, 40_000)).astype(np.float32),
            np.arange(1_000_000, 1_010_000, dtype=np.float32) + np.float32(0.5),
            (2 * np.arange(10_000) + 1).astype(np.float32) * np.float32(2.0**-9),  # as 1.001953125
            (10.0 ** np.arange(-45, 39)).astype(np.float32),
            np.nextafter(np.float32(10.0) ** np.arange(-37, 39, dtype=np.float32), np.float32(0)),
        ]
    )
    assert written(some) == [as_csharp(value) for value in some]


def test_rows_have_18_fields_and_ignored_ones_empty_ones() -> None:
    labels = pack_names(("Ground", "m_wall_20", "Sample Ignored"))
    numbers = np.arange(3 * NUMBERS, dtype=np.float32).reshape(3, NUMBERS) / 4
    out = np.empty(room_for(3, labels), np.uint8)
    length = write_rows(
        np.array([0, 1234, 4294967295]),
        labels,
        np.array([0, -1, 1], np.int32),
        numbers,
        np.array([0, 11, 3112]),
        np.array([False, True, True]),
        out,
    )
    text = out[:length].tobytes().decode()
    assert text.endswith("\n") and "\r" not in text
    first, ignored, last = csv.reader(text.splitlines())
    assert first == ["SAMPLE_TYPE", "0", "Ground", *(f"{each:g}" for each in numbers[0]), ""]
    kept = [f"{each:g}" for each in numbers[1, :LEADING]]
    assert ignored == ["SAMPLE_TYPE", "1234", "Sample Ignored", *kept, *[""] * 8, "F11"]
    assert last == ["SAMPLE_TYPE", "4294967295", "m_wall_20", *(f"{each:g}" for each in numbers[2]), "F3112"]


def test_the_longest_row_fits() -> None:
    labels = pack_names(("Sample Ignored",) * 2)
    numbers = np.full((1, NUMBERS), -1.2345678e-38, np.float32)
    out = np.empty(room_for(1, labels), np.uint8)
    most = np.array([2**63 - 1])
    length = write_rows(most, labels, np.array([0], np.int32), numbers, most, np.array([True]), out)
    assert length <= len(out)


def test_what_does_not_fit_is_refused() -> None:
    labels = pack_names(("Ground", "Sample Ignored"))
    one = (np.zeros((1, NUMBERS), np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    out = np.empty(room_for(1, labels), np.uint8)
    with pytest.raises(ValueError, match="no name"):
        write_rows(np.array([5]), labels, np.array([1], np.int32), *one, out)
    with pytest.raises(ValueError, match="negative"):
        write_rows(np.array([-5]), labels, np.array([0], np.int32), *one, out)
    with pytest.raises(ValueError, match="too few"):
        write_rows(np.array([5]), labels, np.array([0], np.int32), *one, out[:-1])
    with pytest.raises(ValueError, match="do not fit"):
        write_rows(np.array([5, 6]), labels, np.array([0], np.int32), *one, out)
