"""The checksum that is made while a file is written is the one that is made when it is read again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from raypipe.io.appender import STAGE_BYTES, WriteBehind
from raypipe.io.checksum import Checksum, checksum_of, checksum_of_file, is_known, made_again
from raypipe.io.growing import GrowingObject
from tests.io.test_growing import fields


def read_again(path: Path, recorded: str) -> tuple[str, int]:
    """Return the checksum as it is now, and how many bytes were read for it."""
    told: list[int] = []
    with path.open("rb") as file:
        return made_again(file.fileno(), recorded, told.append), sum(told)


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@given(content=st.binary(max_size=300), data=st.data())
def test_it_can_be_made_in_pieces_with_the_head_last(
    content: bytes, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (path := tmp_path_factory.mktemp("checksum") / "file").write_bytes(content)
    start = data.draw(st.integers(0, len(content)))
    cut = data.draw(st.integers(start, len(content)))
    made = Checksum(start)
    made.take(content[start:cut])
    made.take(memoryview(content)[cut:])
    with path.open("rb") as file:
        made.read(file.fileno(), 0, start)
    assert is_known(str(made))
    assert read_again(path, str(made)) == (str(made), len(content))
    assert checksum_of(content) == checksum_of_file(path)


def test_what_it_says_can_be_made_without_raypipe() -> None:
    assert checksum_of(b"abc") == f"xxh3-128 {xxh3_128_hexdigest(b'abc')}"
    head_last = Checksum(1)
    head_last.take(b"bca")
    assert str(head_last) == f"xxh3-128 {xxh3_128_hexdigest(b'bca')} from 1"


@pytest.mark.parametrize("text", ["", "xxh3-128", f"xxh4-256 {'0' * 64}", f"xxh3-128 {'0' * 32} to 5"])
def test_one_of_another_kind_is_not_taken_for_ours(text: str) -> None:
    assert not is_known(text)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.sampled_from([1, 9, 2000, 40_000, STAGE_BYTES // 4, STAGE_BYTES // 4 + 1000]))
def test_a_growing_object_has_it_of_all_its_bytes(
    data: st.DataObject, n: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("growing") / "rplhighpass_b59f.hkl"
    samples = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    growing = GrowingObject(path, fields(9), n, token="t", behind=WriteBehind(threads=1))
    cut = data.draw(st.integers(0, n))
    growing.append(samples[:cut])
    growing.append(samples[cut:])
    growing.finish({"analogInfo": {"MinVal": -0.1, "MaxVal": 0.1}})
    growing.sync().rename(path)
    size = path.stat().st_size
    assert read_again(path, growing.checksum) == (growing.checksum, size)
    begin, end = growing._mould.data_offset, growing._mould.data_end
    for start, stop in ((0, begin), (begin, end), (end, size)):
        if start < stop:
            place = data.draw(st.integers(start, stop - 1))
            flip(path, place)
            assert read_again(path, growing.checksum)[0] != growing.checksum, place
            flip(path, place)
    assert read_again(path, growing.checksum)[0] == growing.checksum
