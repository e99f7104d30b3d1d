"""EyeLink text: every layout edf2asc prints, read exactly; mne as referee; and every way of being damaged."""

import re
import warnings
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.errors import FormatError
from raypipe.io import eyelink_text
from raypipe.io.columns import numbers, tokens_of
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from tests.io.eye_model import Block, Model, asc

KINDS = {"FIX": ("fixation", 3), "SACC": ("saccade", 6), "BLINK": ("blink", 0)}


def block(first_ms: float, n: int, eyes: tuple[str, ...] = ("left",), seed: int = 0, **more) -> Block:
    random = np.random.default_rng(seed)
    gaze = random.integers(-2000, 20000, (len(eyes), n, 2)).tolist()
    seen = random.uniform(size=(len(eyes), n)) > 0.2
    return Block(
        first_ms,
        eyes,
        tuple(
            tuple(tuple(xy) if yes else None for xy, yes in zip(*pair, strict=True))
            for pair in zip(gaze, seen, strict=True)
        ),
        **more,
    )


EVENTS = (
    ("FIX", False, 1000, 1005, (9600, 5400, 12000)),
    ("BLINK", True, 1001, 1003, ()),
    ("SACC", False, 1006, 1008, (9600, 5400, -105, None, 164, 4930)),
    ("FIX", True, 1000, 1009, (None, None, 12000)),
)
PLAIN = Model(
    1000, (block(1000, 10, seed=1, events=EVENTS[:1]),), ((998, "RECCFG CR 1000 2 1 L"), (1004, "Start Trial 11"))
)


def write(folder: Path, text: bytes) -> Path:
    path = folder / "181105.asc"
    path.write_bytes(text)
    return path


def assert_is(recording: EyeRecording, model: Model) -> None:
    """Compare with what the model says, value by value, without any of the reader's arithmetic."""
    eyes = tuple(eye for eye in ("left", "right") if any(eye in each.eyes for each in model.blocks))
    assert (recording.eyes, recording.sampling_rate_hz, recording.source) == (eyes, model.rate_hz, "EyeLink text")
    assert recording.ms.tolist() == [ms for each in model.blocks for ms in model.ms(each)]
    gaze = [
        [
            [np.nan] * 2
            if eye not in each.eyes or not (xy := each.gaze[each.eyes.index(eye)][i])
            else [v / 10 for v in xy]
            for each in model.blocks
            for i in range(each.n)
        ]
        for eye in eyes
    ]
    np.testing.assert_array_equal(recording.gaze_px, np.array(gaze).transpose(0, 2, 1))
    stops = np.cumsum([each.n for each in model.blocks]).tolist()
    assert recording.blocks.tolist() == [list(pair) for pair in zip([0, *stops[:-1]], stops, strict=True)]
    for name, (kind, n_values) in KINDS.items():
        rows = sorted(
            (
                (start, end, right, [np.nan if v is None else v / 10 for v in values])
                for each in model.blocks
                for what, right, start, end, values in each.events
                if what == name
            ),
            key=lambda row: row[:3],
        )
        found = recording.events[kind]
        assert found.start_ms.tolist() == [row[0] for row in rows]
        assert found.end_ms.tolist() == [row[1] for row in rows]
        assert found.is_right.tolist() == [row[2] for row in rows]
        np.testing.assert_array_equal(found.values, np.array([row[3] for row in rows]).reshape(len(rows), n_values))
        assert found.values.dtype == np.float64 and found.is_right.dtype == bool
    messages = sorted(model.messages, key=lambda message: message[0])
    if model.stated == "RECCFG":
        keep = [i for i, text in enumerate(recording.message_texts) if not text.startswith("RECCFG")]
    else:
        keep = list(range(len(recording.message_texts)))
    assert [recording.message_texts[i] for i in keep] == [text for _, text in messages]
    assert recording.message_ms[keep].tolist() == [ms for ms, _ in messages]


def test_a_plain_file(tmp_path: Path) -> None:
    recording = read_eye_file(write(tmp_path, asc(PLAIN)))
    assert_is(recording, PLAIN)
    assert recording.notes == ()
    assert recording.gaze_px.shape == (1, 2, 10) and recording.blocks.dtype == np.int64


@st.composite
def models(draw: st.DrawFn) -> Model:
    rate = draw(st.sampled_from([250, 500, 1000, 2000]))
    fractions = draw(st.booleans()) if rate == 2000 else False
    value = st.integers(-32767, 99999)
    blocks, ms = [], float(draw(st.integers(1, 10**7)))
    for index in range(draw(st.integers(1, 3))):
        n = draw(st.integers(3 if index == 0 else 1, 6))
        # A half shows only when whole milliseconds follow it.
        ms += 0.5 * draw(st.integers(0, 1)) if rate == 2000 and (fractions or n > 2) else 0
        eyes = draw(st.sampled_from([("left",), ("right",), ("left", "right")]))
        gaze = draw(
            st.lists(
                st.lists(st.none() | st.tuples(value, value), min_size=n, max_size=n),
                min_size=len(eyes),
                max_size=len(eyes),
            )
        )
        events = []
        for name in draw(st.lists(st.sampled_from(list(KINDS)), max_size=3)):
            start = int(ms) + draw(st.integers(0, 5))
            values = draw(st.lists(st.none() | value, min_size=KINDS[name][1], max_size=KINDS[name][1]))
            events.append((name, draw(st.booleans()), start, start + draw(st.integers(0, 9)), tuple(values)))
        blocks.append(Block(ms, eyes, tuple(tuple(each) for each in gaze), tuple(events)))
        ms = float(int(ms + n * 1000 / rate) + draw(st.integers(1, 50_000)))
    text = st.text("aZ09 \t;,.!éü", max_size=12) | st.just(
        "!CAL \n>>>>>>> CALIBRATION (HV9,P-CR) FOR LEFT: <<<<<<<<<\n\t  -27     7"
    )
    times = st.integers(0, 2 * 10**7)
    return Model(
        rate,
        tuple(blocks),
        tuple(draw(st.lists(st.tuples(times, text), max_size=4, unique_by=lambda message: message[0]))),
        stated=draw(st.sampled_from(["SAMPLES", "RECCFG", "nowhere"][: 3 if len(blocks) == 1 else 2])),
        velocity=draw(st.booleans()),
        resolution=draw(st.booleans()),
        inputs=draw(st.booleans()),
        flags=draw(st.booleans()),
        fractions=fractions,
        newline=draw(st.sampled_from(["\n", "\r\n"])),
        encoding=draw(st.sampled_from(["utf-8", "latin-1"])),
    )


@settings(deadline=None, max_examples=150)
@given(models(), st.sampled_from([1, 7, 64, 1 << 20]))
def test_everything_edf2asc_prints_is_read_exactly(
    tmp_path_factory: pytest.TempPathFactory, model: Model, chunk_bytes: int
) -> None:
    path = write(tmp_path_factory.getbasetemp(), asc(model))
    with patch.object(eyelink_text, "CHUNK_BYTES", chunk_bytes):
        assert_is(eyelink_text.read_eyelink_text(path), model)


def test_events_of_both_eyes_and_their_missing_fields(tmp_path: Path) -> None:
    model = Model(1000, (block(1000, 10, ("left", "right"), events=EVENTS),))
    recording = read_eye_file(write(tmp_path, asc(model)))
    assert_is(recording, model)
    assert recording.events["fixation"].is_right.tolist() == [False, True]
    assert np.isnan(recording.events["saccade"].values).tolist() == [[False, False, False, True, False, False]]


@pytest.mark.parametrize("missing", [b"NaN", b"nan", b"-32768.0", b"100000000.0"])
def test_missing_values_by_another_name(tmp_path: Path, missing: bytes) -> None:
    """`edf2asc -miss` writes what one likes."""
    text = asc(replace(PLAIN, blocks=(block(1000, 10, seed=1, events=EVENTS),)))
    other = re.sub(rb"(?<=[\t ])\.(?=[\t\n])", missing, text)
    assert other.count(missing) > 4
    expected, read = (read_eye_file(write(tmp_path, each)) for each in (text, other))
    np.testing.assert_array_equal(read.gaze_px, expected.gaze_px)
    for kind, events in expected.events.items():
        np.testing.assert_array_equal(read.events[kind].values, events.values)


def test_a_pause_within_a_block_begins_another(tmp_path: Path) -> None:
    lines = asc(Model(1000, (block(1000, 30),))).split(b"\n")
    lost = [line for line in lines if not line.startswith((b"1010\t", b"1011\t", b"1025\t"))]
    recording = read_eye_file(write(tmp_path, b"\n".join(lost)))
    assert recording.blocks.tolist() == [[0, 10], [10, 23], [23, 27]]
    assert recording.notes == ("2 pauses within recording blocks, the longest of 2 ms after 1009 ms",)


def test_blocks_that_follow_each_other_at_once_stay_two(tmp_path: Path) -> None:
    model = Model(500, (block(1000, 4), block(1008, 3), block(50_000, 2)))
    recording = read_eye_file(write(tmp_path, asc(model)))
    assert recording.blocks.tolist() == [[0, 4], [4, 7], [7, 9]]
    assert recording.notes == ()


def test_another_eye_in_another_block(tmp_path: Path) -> None:
    model = Model(1000, (block(1000, 4, ("right",)), block(2000, 3, ("left", "right"))))
    recording = read_eye_file(write(tmp_path, asc(model)))
    assert_is(recording, model)
    assert recording.notes == ("not all recording blocks have both eyes",)


def test_whole_milliseconds_at_2000_hz(tmp_path: Path) -> None:
    recording = read_eye_file(write(tmp_path, asc(Model(2000, (block(1000.5, 5), block(1100, 4))))))
    assert recording.ms.tolist() == [1000.5, 1001, 1001.5, 1002, 1002.5, 1100, 1100.5, 1101, 1101.5]
    assert recording.notes == ("times are whole milliseconds: the half ones were put back",)


def test_without_samples_or_events(tmp_path: Path) -> None:
    text = b"MSG\t100 RECCFG CR 1000 2 1 L\nSTART\t101\tLEFT\tEVENTS\nMSG\t105 hello\nEND\t110\tEVENTS\n"
    recording = read_eye_file(write(tmp_path, text))
    assert (recording.ms.size, recording.blocks.shape, recording.sampling_rate_hz) == (0, (0, 2), 1000.0)
    assert recording.message_texts == ("RECCFG CR 1000 2 1 L", "hello")
    assert all(events.start_ms.size == 0 for events in recording.events.values())
    with pytest.raises(FormatError, match="no sampling rate is stated"):
        read_eye_file(write(tmp_path, b"MSG\t100 hello\n"))


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    """Whatever byte the copy ends at, what stands before its last line end is read, and it is said."""
    text = asc(PLAIN)
    whole = read_eye_file(write(tmp_path, text))
    for size in range(text.index(b"1002\t"), text.index(b"END") + 3):
        recording = read_eye_file(write(tmp_path, text[:size]))
        n = text[: text[:size].rfind(b"\n") + 1].count(b"\n10")
        assert recording.ms.tolist() == whole.ms[:n].tolist()
        assert any("has no END" in note for note in recording.notes)
        assert any("is unfinished" in note for note in recording.notes) == (text[size - 1 : size] != b"\n")


COORDINATE = f"{PLAIN.blocks[0].gaze[0][3][0] / 10:.1f}".encode()
DAMAGE = {
    "a number": (b"1003\t", b"10x3\t", "column 1 is no number"),
    "a column": (b"1003\t ", b"1003\t abc\t ", "columns, expected"),
    "a coordinate": (COORDINATE, COORDINATE.replace(b".", b":"), "column 2 is no number"),
    "zeros": (b"1003\t", b"1003\0", "column 1 is no number"),
    "an infinite value": (b"1003\t", b"1e999\t", "column 1 is no number"),
    "a line's end too many": (b"1003\t", b"1003\n1003\t", "1 columns, expected"),
    "a keyword": (b"EFIX L", b"EFLX L", "a line of no known kind"),
    "an event's fields": (b"\t  960.0", b"", "fields missing"),
    "an event's eye": (b"EFIX L", b"EFIX Q", "fields missing"),
    "an event's time": (b"EFIX L   1000", b"EFIX L   1o00", "'1o00' is no number"),
    "a message's time": (b"MSG\t1004", b"MSG\tnow", "'now' is no number"),
    "an empty message": (b"MSG\t1004 Start Trial 11", b"MSG", "a message without a time"),
    "no eye": (b"\tLEFT\tSAMPLES", b"\tSAMPLES", "neither LEFT nor RIGHT"),
    "no start": (b"START\t", b"MSG\t", "outside a recording block"),
    "a blank line's rest": (b"1003\t", b"\t3\t", "a line of no known kind"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_line_is_named(tmp_path: Path, name: str) -> None:
    before, after, complaint = DAMAGE[name]
    text = asc(PLAIN)
    assert text.count(before) == 1
    damaged = text.replace(before, after)
    first_line_that_differs = 1 + next(
        i for i, pair in enumerate(zip(text.split(b"\n"), damaged.split(b"\n"), strict=False)) if pair[0] != pair[1]
    )
    number = text[: text.index(b"1000\t")].count(b"\n") + 1 if name == "no start" else first_line_that_differs
    path = write(tmp_path, damaged)
    for chunk_bytes in (16, 1 << 20):
        with patch.object(eyelink_text, "CHUNK_BYTES", chunk_bytes), pytest.raises(FormatError) as raised:
            read_eye_file(path)
        assert f"{path}: line {number}: " in raised.value.message
        assert complaint in raised.value.message
        assert raised.value.hint


def test_what_cannot_be_meant(tmp_path: Path) -> None:
    text = asc(PLAIN)
    with pytest.raises(FormatError, match="line 10: the samples are HREF, not GAZE"):
        read_eye_file(write(tmp_path, text.replace(b"SAMPLES\tGAZE", b"SAMPLES\tHREF")))
    with pytest.raises(FormatError, match="2 ms apart, but it says 1000 Hz"):
        read_eye_file(write(tmp_path, asc(Model(500, (block(10, 9),))).replace(b"RATE\t500.00", b"RATE\t1000.00")))
    two = asc(Model(1000, (block(10, 9),))) + asc(Model(500, (block(100, 9),)))
    with pytest.raises(FormatError, match=r"the sampling rate changes: 1000 Hz \(line 10\) and 500 Hz"):
        read_eye_file(write(tmp_path, two))
    with pytest.raises(FormatError, match="time goes back: a sample at 1000 ms follows one at 1009 ms"):
        read_eye_file(write(tmp_path, text + text))
    with pytest.raises(FormatError, match="the line does not end"):
        read_eye_file(write(tmp_path, text + b"MSG\t1 " + b"x" * 3_000_000))


def test_events_in_other_units_lose_their_positions_only(tmp_path: Path) -> None:
    model = Model(1000, (block(1000, 10, events=EVENTS[:1] + EVENTS[2:3]),))
    recording = read_eye_file(write(tmp_path, asc(model).replace(b"EVENTS\tGAZE", b"EVENTS\tHREF")))
    np.testing.assert_array_equal(recording.events["fixation"].values, [[np.nan, np.nan, 1200]])
    np.testing.assert_array_equal(recording.events["saccade"].values, [[*[np.nan] * 4, 16.4, 493]])
    assert any("EVENTS HREF" in note for note in recording.notes)


@settings(max_examples=300)
@given(
    st.lists(
        st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{0,5})?|-?\.[0-9]{1,6}|\.", fullmatch=True)
        | st.floats(allow_nan=False, allow_infinity=False).map(repr)
        | st.text("0123456789.-+eE", min_size=1, max_size=18)
        | st.sampled_from(["NaN", "nan", "-nan", "inf", "Infinity"]),
        min_size=1,
        max_size=20,
    )
)
def test_numbers_are_pythons(words: list[str]) -> None:
    values, bad = numbers(tokens_of((" ".join(words) + "\n").encode()), np.arange(len(words)))
    for word, value, is_bad in zip(words, values, bad, strict=True):
        try:
            expected = np.nan if word == "." else float(word)
            expected_bad = np.isinf(expected)
        except ValueError:
            expected, expected_bad = np.nan, True
        assert bool(is_bad) == expected_bad, word
        assert expected_bad or np.array_equal(value, expected, equal_nan=True), word
        assert np.signbit(value) == np.signbit(expected) or np.isnan(expected)


@pytest.mark.parametrize(
    "model",
    [
        Model(1000, (block(1000, 500, seed=1),), ((1010, "Start Trial 11"), (1200, "Cue Offset 21"))),
        Model(500, (block(1000, 200, ("left", "right"), seed=2),), ((1100, "1  0  0  0  0  0  0  0"),)),
        Model(1000, (block(1000, 50, ("right",)), block(3000, 70, ("right",))), ((3010, "a\tb"),), velocity=True),
        Model(1000, (block(1000, 50, ("left", "right")),), resolution=True),
        Model(2000, (block(1000.5, 300),), fractions=True),
    ],
    ids=["monocular", "binocular", "two blocks and velocity", "resolution", "2000 Hz"],
)
def test_mne_reads_the_same(tmp_path: Path, model: Model) -> None:
    """mne counts time from the first sample, fills gaps, and joins the words of a message with one blank."""
    mne = pytest.importorskip("mne")
    pytest.importorskip("pandas")
    path = write(tmp_path, asc(model))
    recording = read_eye_file(path)
    assert_is(recording, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw_eyelink(path, verbose="error")
    assert raw.info["sfreq"] == recording.sampling_rate_hz
    at = np.rint((recording.ms - recording.ms[0]) * recording.sampling_rate_hz / 1000).astype(int)
    for eye, gaze in zip(recording.eyes, recording.gaze_px, strict=True):
        theirs = raw.get_data([f"xpos_{eye}", f"ypos_{eye}"])[:, at]
        np.testing.assert_array_equal(gaze, theirs)
    told = {(round(float(a["onset"]) * 1000, 3), a["description"]) for a in raw.annotations}
    ours = zip(recording.message_ms - recording.ms[0], recording.message_texts, strict=True)
    assert {(float(ms), " ".join(text.split())) for ms, text in ours} <= told


CALIBRATION = (
    "!CAL \n>>>>>>> CALIBRATION (HV9,P-CR) FOR LEFT: <<<<<<<<<",
    "!CAL eye check box: (L,R,T,B)\n\t  -63     7   -44     4",
    "!CAL Cal coeff:(X=a+bx+cy+dxx+eyy,Y=f+gx+goaly+ixx+jyy)\n     -0  187.55  7.0443\n   132.75 -13.023  242.52",
    "!CAL Corner correction:\n\n   1.5948e-05,  3.3821e-06\nX 1",
    "!MODE RECORD CR 1000 2 1 L\n",
    "RECCFG is no number here, really",
)


def test_texts_of_several_lines(tmp_path: Path) -> None:
    """The tracker's own messages hold line ends, which edf2asc prints as they are."""
    model = replace(PLAIN, messages=tuple((990 + i, text) for i, text in enumerate(CALIBRATION)))
    path = write(tmp_path, asc(model))
    for chunk_bytes in (16, 1 << 20):
        with patch.object(eyelink_text, "CHUNK_BYTES", chunk_bytes):
            recording = read_eye_file(path)
        told = [text.replace("\n\n", "\n").rstrip("\n") for text in CALIBRATION]
        assert list(recording.message_texts) == told
        assert recording.ms.size == 10 and recording.sampling_rate_hz == 1000


def test_the_rate_of_a_configuration_is_taken_where_samples_state_none(tmp_path: Path) -> None:
    lines = replace(PLAIN, stated="nowhere")
    assert read_eye_file(write(tmp_path, asc(lines))).sampling_rate_hz == 1000
    text = b"MSG\t1 RECCFG CR 250 2 1 L\nSTART\t4\tLEFT\n4\t1.0\t2.0\t3.0\t...\nEND\t8\n"
    assert read_eye_file(write(tmp_path, text)).sampling_rate_hz == 250
