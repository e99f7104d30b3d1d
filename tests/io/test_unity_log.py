"""Unity's logs: headers of any length, several files, and what a crash or a slip of the hand makes of them."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raypipe.errors import FormatError, InputMissing
from raypipe.io.natural import in_natural_order
from raypipe.io.unity_log import read_unity_logs

HEADER = [f"Setting{i}: {i} 1 2 3 4" for i in range(15)]
FRAMES = ["0 0.0333 0.0000 10.0000 0.0000", "11 0.0334 -0.5 10 359.9999", "0 0.0335 1e-1 -9.5 12"]
VALUES = [[0, 0.0333, 0, 10, 0], [11, 0.0334, -0.5, 10, 359.9999], [0, 0.0335, 0.1, -9.5, 12]]


def log(folder: Path, lines: list[str], name: str = "session_1_5112018105323.txt", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


@pytest.mark.parametrize("n_lines", [0, 1, 14, 15, 23])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_header_of_any_length(tmp_path: Path, n_lines: int, end: str) -> None:
    read = read_unity_logs([log(tmp_path, (2 * HEADER)[:n_lines] + FRAMES, end=end)])
    assert read.frames.tolist() == VALUES
    assert read.frames.dtype == np.float64
    assert (read.n_files, read.notes) == (1, ())


def test_tabs_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = log(tmp_path, [FRAMES[0], "", FRAMES[1].replace(" ", "\t"), "  " + FRAMES[2] + " ", ""])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_unity_logs([path]).frames.tolist() == VALUES


def test_logs_are_joined_in_natural_order(tmp_path: Path) -> None:
    paths = [log(tmp_path, [*HEADER[:k], f"0 0.03 {k} 0 0"], f"session_{k}_5112018.txt") for k in (10, 1, 2, 11, 3)]
    read = read_unity_logs(paths)
    assert read.frames[:, 2].tolist() == [1, 2, 3, 10, 11]
    assert read.n_files == 5


@given(st.lists(st.integers(0, 10**13), min_size=1, unique=True))
def test_numbers_in_names_count_as_numbers(numbers: list[int]) -> None:
    paths = [Path(f"session_{n}_x.txt") for n in numbers]
    assert in_natural_order(paths) == tuple(Path(f"session_{n}_x.txt") for n in sorted(numbers))


@pytest.mark.parametrize("rest", ["1", "0 0.03", "0 0.0335 1 2", "0 0.0335 1 2 -"])
def test_a_last_line_that_was_cut_off(tmp_path: Path, rest: str) -> None:
    path = log(tmp_path, [*HEADER, *FRAMES])
    path.write_text(path.read_text() + rest)
    read = read_unity_logs([path])
    assert read.frames.tolist() == VALUES
    assert read.notes == (f"{path.name}: line 19 was cut off and was left out: {rest!r}",)


def test_a_last_line_without_its_end_is_whole_if_it_is_five_numbers(tmp_path: Path) -> None:
    path = log(tmp_path, [*HEADER, *FRAMES])
    path.write_text(path.read_text().removesuffix("\n"))
    assert read_unity_logs([path]).frames.tolist() == VALUES


def test_zeros_after_a_power_failure(tmp_path: Path) -> None:
    """They are nothing by themselves; what stands before them is a line, whole or cut off."""
    path = log(tmp_path, [*HEADER, *FRAMES])
    whole = path.read_bytes()
    for before, note in ((b"", ()), (b"0 0.03", (f"{path.name}: line 19 was cut off and was left out: '0 0.03'",))):
        path.write_bytes(whole + before + bytes(1000))
        read = read_unity_logs([path])
        assert (read.frames.tolist(), read.notes) == (VALUES, note)
    path.write_bytes(whole.rstrip() + bytes(1000))
    assert read_unity_logs([path]).frames.tolist() == VALUES


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("0 0.03 1 2", "not five numbers"),
        ("0 0.03 1 2 3 4", "not five numbers"),
        ("0 0,03 1 2 3", "not five numbers"),
        ("0 0.03 1 2 north", "not five numbers"),
        ("0 0.0_3 1 2 3", "not five numbers"),
        ("0 NaN 1 2 3", "dt is no finite number"),
        ("0 0.03 1 inf 3", "y is no finite number"),
        ("0 -0.03 1 2 3", "negative"),
        ("11.5 0.03 1 2 3", "the trigger is no word"),
        ("-1 0.03 1 2 3", "the trigger is no word"),
    ],
)
@pytest.mark.parametrize("place", [1, 3])
def test_a_bad_line_is_named(tmp_path: Path, bad: str, complaint: str, place: int) -> None:
    path = log(tmp_path, [*HEADER, *FRAMES[:place], "", bad, *FRAMES[place:]])
    with pytest.raises(FormatError, match=complaint) as caught:
        read_unity_logs([path])
    assert f"{path}, line {15 + place + 2}: " in str(caught.value)
    assert repr(bad) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("bad", ["0 0.03 1 2 3 4", "0 0.03 1 2", "0,0.03,1,2,3", "0 0,03 1,0 2,0 3,0", "0 NaN 1 2 3"])
@pytest.mark.parametrize("others", [True, False])
def test_a_bad_first_frame_is_no_header(tmp_path: Path, bad: str, others: bool) -> None:
    """Nor is a log of another program, in which no line is a frame."""
    path = log(tmp_path, [*HEADER, bad, *(FRAMES if others else [bad, bad])])
    with pytest.raises(FormatError, match=re.escape(f"{path}, line 16: ")):
        read_unity_logs([path])


@pytest.mark.parametrize("content", [b"", b"\n", b"Version: 1\nTrigger: v4\n", b"0 0.03 1", bytes(100), b"\xff\xfe0\0"])
def test_a_log_without_frames(tmp_path: Path, content: bytes) -> None:
    good, empty = log(tmp_path, FRAMES, "session_1.txt"), tmp_path / "session_2.txt"
    empty.write_bytes(content)
    with pytest.raises(FormatError, match="holds no frame") as caught:
        read_unity_logs([good, empty])
    assert str(empty) in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="no Unity log"):
        read_unity_logs([])
    with pytest.raises(InputMissing, match=r"session_9\.txt is not there"):
        read_unity_logs([tmp_path / "session_9.txt"])
    with pytest.raises(FormatError, match="cannot be read"):
        read_unity_logs([tmp_path])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.floats(0, 10), *[st.floats(allow_nan=False, allow_infinity=False)] * 3),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 20),
)
def test_what_is_written_is_read(tmp_path: Path, frames: list[tuple[float, ...]], n_header: int) -> None:
    lines = [" ".join(repr(value) for value in frame) for frame in frames]
    read = read_unity_logs([log(tmp_path, (2 * HEADER)[:n_header] + lines)])
    np.testing.assert_array_equal(read.frames, np.array(frames, np.float64))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_anything_else_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.txt"
    path.write_bytes("\n".join(FRAMES).encode() + b"\n" + content)
    frames = None
    with suppress(FormatError):
        frames = read_unity_logs([path]).frames
    if frames is None:
        with pytest.raises(FormatError, match=re.escape(str(path))):
            read_unity_logs([path])
    else:
        assert np.isfinite(frames).all()
        assert frames[:3].tolist() == VALUES
