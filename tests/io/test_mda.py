"""MountainLab's array files: all types and shapes there and back, PyHipp's own, what other programs read, and damage."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raypipe.errors import FormatError, InputMissing
from raypipe.io.mda import mda_bytes, parse_mda, read_mda

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "picasso/20181105"
EXTRACT = np.load(Path(__file__).parents[1] / "data" / "golden_mountains.npz")
TYPES = ("u1", "f4", "i2", "i4", "u2", "f8", "u4")
CODES = (-2, -3, -4, -5, -6, -7, -8)


def test_what_the_bytes_are() -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], np.int16)
    assert mda_bytes(array) == struct.pack("<5i6h", -4, 2, 2, 2, 3, 1, 4, 2, 5, 3, 6)


@pytest.mark.parametrize(("dtype", "code"), zip(TYPES, CODES, strict=True))
def test_types(dtype: str, code: int) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = mda_bytes(array)
    assert struct.unpack_from("<3i", content) == (code, np.dtype(dtype).itemsize, 3)
    back = parse_mda(content, "it")
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back, array)
    back[0] = 0  # one's own


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(name) for name in TYPES]), hnp.array_shapes(min_dims=1, max_dims=5, min_side=0)
    )
)
def test_there_and_back(array: Any) -> None:
    for laid_out in (array, np.asfortranarray(array), array[::-1], array.astype(array.dtype.newbyteorder(">"))):
        back = parse_mda(mda_bytes(laid_out), "it")
        assert back.shape == array.shape and back.dtype == array.dtype
        assert back.tobytes() == np.ascontiguousarray(laid_out).astype(array.dtype).tobytes()


def test_long_dimensions() -> None:
    """A negative number of dimensions: they are int64, as for more than 2**31 - 1 samples."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = struct.pack("<3i2q", -3, 4, -2, 2, 3) + array.tobytes("F")
    np.testing.assert_array_equal(parse_mda(content, "it"), array)
    huge = np.broadcast_to(np.uint8(0), (0, 2**31))
    assert struct.unpack_from("<3i2q", mda_bytes(huge)) == (-2, 1, -2, 0, 2**31)
    assert parse_mda(mda_bytes(huge), "it").shape == (0, 2**31)


@pytest.mark.parametrize(
    "array", [np.int64(1), np.zeros(3, np.int64), np.zeros(3, complex), np.array(["a"]), np.float32(1)]
)
def test_what_it_cannot_hold(array: Any) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        mda_bytes(array)


@pytest.mark.parametrize("name", ["firings_mda", "templates_mda"])
def test_pyhipps_own_files(name: str) -> None:
    content = EXTRACT[name].tobytes()
    array = parse_mda(content, name)
    assert array.shape == {"firings_mda": (3, 713), "templates_mda": (1, 150, 2)}[name]
    assert mda_bytes(array) == content


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
def test_golden_files() -> None:
    paths = sorted(GOLDEN.glob("mountains/*/output/*.mda"))
    assert len(paths) == 4
    for path in paths:
        assert mda_bytes(read_mda(path)) == path.read_bytes()


WHOLE = mda_bytes(np.arange(12, dtype=np.float64).reshape(3, 4))


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_cut_files(length: int) -> None:
    with pytest.raises(FormatError, match=r"cut\.mda") as caught:
        parse_mda(WHOLE[:length], "cut.mda")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE + b"\0", "goes on behind its last value: 117 bytes, where shape"),
        (WHOLE[:-1], "is cut: 115 bytes, where shape"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "type code"),
        (struct.pack("<4i", -1, 8, 1, 0), "type code is -1"),
        (struct.pack("<4i", -7, 4, 1, 0), "4 bytes a value"),
        (struct.pack("<4i", -7, 8, 0, 0), "0 dimensions"),
        (struct.pack("<4i", -7, 8, 1000, 0), "1000 dimensions"),
        (struct.pack("<4i", -7, 8, -(2**31), 0), "dimensions"),
        (struct.pack("<5i", -7, 8, 2, -1, -1), "shape would be"),
        (struct.pack("<3i3q", -7, 8, -3, 2**62, 2**62, 4), "is cut"),
    ],
)
def test_foreign_files(content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_mda(content, "it")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_array_or_a_clear_error(content: bytes) -> None:
    try:
        parse_mda(content, "it")
    except FormatError:
        return


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="is not there"):
        read_mda(tmp_path / "firings.mda")
    with pytest.raises(FormatError, match="cannot be read"):
        read_mda(tmp_path)


def test_spikeinterface_reads_it(tmp_path: Path) -> None:
    extractors = pytest.importorskip("spikeinterface.extractors", exc_type=ImportError)
    firings = np.array([[1, 1, 1, 1], [10, 500, 700, 1900], [2, 1, 2, 3]], np.float64)
    path = tmp_path / "firings.mda"
    path.write_bytes(mda_bytes(firings))
    sorting = extractors.read_mda_sorting(path, sampling_frequency=30000)
    assert sorted(sorting.unit_ids) == [1, 2, 3]
    for label in (1, 2, 3):
        np.testing.assert_array_equal(
            sorting.get_unit_spike_train(label, segment_index=0), firings[1, firings[2] == label]
        )


def test_mountainlabs_own_code_reads_it_and_writes_the_same(tmp_path: Path) -> None:
    """Spikeinterface has a copy of it."""
    mda = pytest.importorskip("spikeinterface.extractors.mdaextractors", exc_type=ImportError)
    for dtype in TYPES:
        array = np.arange(12).reshape(3, 4).astype(dtype)
        path = tmp_path / f"{dtype}.mda"
        path.write_bytes(mda_bytes(array))
        np.testing.assert_array_equal(mda.readmda(str(path)), array)
        mda.writemda(array, str(tmp_path / "theirs.mda"), dtype=np.dtype(dtype).name)
        assert (tmp_path / "theirs.mda").read_bytes() == path.read_bytes()
