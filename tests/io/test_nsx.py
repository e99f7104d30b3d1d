"""Samples of `.nsX` files on their timeline: round trips, pauses, neo as referee, and every way of being damaged."""

import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neo.rawio import BlackrockRawIO

from raypipe.errors import FormatError, InputMissing, UsageError
from raypipe.io.nev import NevWaveform
from raypipe.io.nev_writer import write_nev
from raypipe.io.nsx import ClockReset, Gap, NsxChannel, NsxHeader, raw_channels, read_frames, read_nsx_header
from raypipe.io.nsx_writer import NsxWriter

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared/golden"))
RAW = NsxChannel(9, "raw 9", "uV", 0, 9, -32764, 32764, -8191, 8191, 0.3, 1, "Butterworth", 7500.0, 3, "Butterworth")
ANALOG = replace(RAW, electrode_id=10241, label="analog 1", units="mV", min_analog=-5000, max_analog=5000)
CHANNELS = (ANALOG, RAW, replace(RAW, electrode_id=40, label="raw 40", connector=1, pin=8))
Frames = npt.NDArray[np.int16]


def frames(n: int, seed: int = 0, n_channels: int = 3) -> Frames:
    return np.random.default_rng(seed).integers(-32764, 32764, (n, n_channels), np.int16)


def write(path: Path, blocks: list[tuple[int, Frames]], channels: tuple[NsxChannel, ...] = CHANNELS, **options) -> Path:
    with NsxWriter(path, channels, **options) as writer:
        for ticks, block in blocks:
            writer.begin_block(ticks)
            writer.append(block[: len(block) // 2])
            writer.append(block[len(block) // 2 :])
    return path


@pytest.mark.parametrize("spec", ["2.2", "2.3"])
def test_everything_written_is_read(tmp_path: Path, spec: str) -> None:
    data = frames(100)
    header = read_nsx_header(write(tmp_path / "a.ns5", [(0, data)], spec=spec))
    assert (header.spec, header.label, header.period, header.sampling_rate_hz) == (spec, "30 ksamp/sec", 1, 30000.0)
    assert header.channels == CHANNELS
    assert (header.n_samples, header.gaps, header.clock_resets, header.missing_samples) == (100, (), (), 0)
    assert np.array_equal(read_frames(header, 0, 100), data)
    assert RAW.gain == 0.25 and RAW.offset == 0.0
    assert ANALOG.gain == pytest.approx(10000 / 65528)


def test_raw_channels_are_found_by_label_and_units(tmp_path: Path) -> None:
    labels = [("analog 1", "mV"), ("raw 40", "uV"), ("raw 7", "mV"), ("raw 9", "uV"), ("raw x", "uV"), ("lfp 3", "uV")]
    channels = tuple(replace(RAW, label=label, units=units) for label, units in labels)
    header = read_nsx_header(write(tmp_path / "a.ns5", [(0, frames(2, n_channels=6))], channels))
    assert raw_channels(header) == ((40, 1), (9, 3))
    twice = read_nsx_header(write(tmp_path / "b.ns5", [(0, frames(2, n_channels=2))], (RAW, RAW)))
    with pytest.raises(FormatError, match="columns 0 and 1 are both 'raw 9'"):
        raw_channels(twice)


def test_a_file_that_is_cut_after_its_headers_were_read(tmp_path: Path) -> None:
    data = frames(100)
    header = read_nsx_header(write(tmp_path / "a.ns5", [(0, data)]))
    os.truncate(header.path, header.file_bytes - 1)
    np.testing.assert_array_equal(read_frames(header, 0, 99), data[:99])
    with pytest.raises(FormatError, match="shrank"):
        read_frames(header, 90, 100)


def test_a_header_travels_without_the_file(tmp_path: Path) -> None:
    header = read_nsx_header(write(tmp_path / "a.ns5", [(0, frames(10_000))]))
    read_frames(header, 0, 1)
    pickled = pickle.dumps(header)
    assert len(pickled) < 5000
    assert pickle.loads(pickled) == header
    assert np.array_equal(read_frames(pickle.loads(pickled), 0, 10), read_frames(header, 0, 10))


def test_pauses_keep_their_place_and_are_bridged(tmp_path: Path) -> None:
    first, second = np.array([[0, 10, 5], [0, 10, -7]], np.int16), np.array([[8, -30, -7], [1, 2, 3]], np.int16)
    header = read_nsx_header(write(tmp_path / "a.ns5", [(3, first), (8, second)]))
    assert header.n_samples == 10
    assert header.gaps == (Gap(0, 3), Gap(5, 3))
    bridge = [[2, 0, -7], [4, -10, -7], [6, -20, -7]]
    expected = [[0, 10, 5]] * 3 + first.tolist() + bridge + second.tolist()
    assert read_frames(header, 0, 10).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=5), st.data())
def test_any_range_equals_the_whole_timeline(
    tmp_path_factory: pytest.TempPathFactory, layout: list[tuple[int, int]], data: st.DataObject
) -> None:
    blocks, at = [], 0
    for index, (pause, length) in enumerate(layout):
        at += pause
        blocks.append((at, frames(length, seed=index)))
        at += length
    header = read_nsx_header(write(tmp_path_factory.getbasetemp() / "any.ns5", blocks))
    assert header.n_samples == at
    whole = read_frames(header, 0, at)
    for ticks, block in blocks:
        assert np.array_equal(whole[ticks : ticks + len(block)], block)
    start = data.draw(st.integers(0, at))
    stop = data.draw(st.integers(start, at))
    assert np.array_equal(read_frames(header, start, stop), whole[start:stop])


def test_timestamps_count_ticks_and_not_samples(tmp_path: Path) -> None:
    blocks = [(60, frames(2)), (155, frames(2))]
    header = read_nsx_header(write(tmp_path / "a.ns2", blocks, period=30, label="1 ksamp/sec"))
    assert header.sampling_rate_hz == 1000.0
    assert [block.start_sample for block in header.blocks] == [2, 5]
    header = read_nsx_header(write(tmp_path / "a.ns5", blocks, timestamp_resolution=15000))
    assert [block.start_sample for block in header.blocks] == [120, 310]


def test_a_clock_that_starts_anew(tmp_path: Path) -> None:
    blocks = [(0, frames(10, 1)), (5, frames(10, 2)), (2, frames(10, 3)), (15, frames(10, 4))]
    header = read_nsx_header(write(tmp_path / "a.ns5", blocks))
    # The second block overlaps; at the third the clock went back, so the fourth is 13 ticks after the third.
    assert [block.start_sample for block in header.blocks] == [0, 10, 20, 33]
    assert header.clock_resets == (ClockReset(10, 5, 10), ClockReset(20, 2, 20))
    assert header.gaps == (Gap(30, 3),)


def test_a_gap_beyond_belief(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ns5", [(0, frames(10)), (30000 * 3600 + 11, frames(10))])
    with pytest.raises(FormatError, match=r"no data for 3600.0 s from sample 10 on; at most 3600 s"):
        read_nsx_header(path)
    assert read_nsx_header(path, max_gap_seconds=4000).n_samples == 30000 * 3600 + 21


@pytest.mark.parametrize("spec", ["2.2", "2.3"])
def test_neo_reads_the_same_samples(tmp_path: Path, spec: str) -> None:
    data = frames(300)
    header = read_nsx_header(write(tmp_path / "a.ns5", [(0, data)], spec=spec))
    origin = datetime(2018, 11, 5, tzinfo=UTC)  # neo cannot do without
    waveforms = [NevWaveform(9, 0, 9, 250, 0, 0, 0, 0, 2, 52)]
    write_nev(tmp_path / "a.nev", ticks=[30], codes=[84], spec=spec, time_origin=origin, waveforms=waveforms)
    reader = BlackrockRawIO(filename=str(tmp_path / "a"), nsx_to_load=5)
    reader.parse_header()
    signals = reader.header["signal_channels"]
    for stream in range(reader.signal_streams_count()):
        rows = signals[signals["stream_id"] == reader.header["signal_streams"]["id"][stream]]
        samples = reader.get_analogsignal_chunk(stream_index=stream)
        for column, row in enumerate(rows):
            channel = next(c for c in header.channels if c.label == row["name"])
            assert np.array_equal(samples[:, column], data[:, header.channels.index(channel)])
            assert (row["units"], row["sampling_rate"]) == (channel.units, 30000.0)
            assert row["gain"] == pytest.approx(channel.gain) and row["offset"] == pytest.approx(channel.offset)
    assert len(signals) == 3


def test_neo_sees_the_same_pause(tmp_path: Path) -> None:
    blocks = [(0, frames(300, 1)), (60_000, frames(200, 2))]
    channels = tuple(replace(RAW, electrode_id=n, label=f"raw {n}") for n in (1, 2, 3))
    header = read_nsx_header(write(tmp_path / "a.ns5", blocks, channels))
    reader = BlackrockRawIO(filename=str(tmp_path / "a"), nsx_to_load=5)
    reader.parse_header()
    assert reader.segment_count(0) == len(header.blocks) == 2
    for index, block in enumerate(header.blocks):
        ours = read_frames(header, block.start_sample, block.end_sample)
        assert np.array_equal(reader.get_analogsignal_chunk(seg_index=index, stream_index=0), ours)
        start_seconds = reader.get_signal_t_start(block_index=0, seg_index=index, stream_index=0)
        assert start_seconds == pytest.approx(block.start_sample / 30000)


def test_every_cut_is_refused_or_leaves_whole_blocks(tmp_path: Path) -> None:
    blocks = [(0, frames(3, 1)), (5, frames(4, 2))]
    content = write(tmp_path / "a.ns5", blocks).read_bytes()
    whole = read_frames(read_nsx_header(tmp_path / "a.ns5"), 0, 9)
    first_ends = len(content) - (9 + 4 * 6)
    cut = tmp_path / "cut.ns5"
    for size in range(len(content)):
        cut.write_bytes(content[:size])
        if size == first_ends:
            assert np.array_equal(read_frames(read_nsx_header(cut), 0, 3), whole[:3])
            continue
        with pytest.raises(FormatError, match=str(cut)):
            read_nsx_header(cut)
        if size >= first_ends - 2 * 6:
            accepted = read_nsx_header(cut, accept_truncated=True)
            held = (size - first_ends - 9) // 6
            expected = 5 + held if held > 0 else min(3, 3 + (size - first_ends) // 6)
            assert accepted.n_samples == expected
            assert np.array_equal(read_frames(accepted, 0, expected), whole[:expected])


def test_a_cut_block_is_told_in_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ns5", [(0, frames(100))])
    path.write_bytes(path.read_bytes()[: -6 * 25 - 1])
    with pytest.raises(FormatError, match=r"says 100 frames but the file holds 74 \(74.0 %\)") as caught:
        read_nsx_header(path)
    assert "accept" in caught.value.hint
    header = read_nsx_header(path, accept_truncated=True)
    assert (header.n_samples, header.missing_samples) == (74, 26)


def test_a_block_that_was_never_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ns5", [(0, frames(5, 1)), (7, frames(100, 2))])
    content = bytearray(path.read_bytes())
    content[-100 * 6 - 4 : -100 * 6] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="says 0 frames but 100 follow"):
        read_nsx_header(path)
    header = read_nsx_header(path, accept_truncated=True)
    assert (header.n_samples, header.missing_samples) == (107, 0)
    assert np.array_equal(read_frames(header, 7, 107), frames(100, 2))


def test_an_empty_block_between_others_is_no_crash(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ns5", [(0, frames(0)), (0, frames(5, 1)), (6, frames(0)), (7, frames(5, 2))])
    header = read_nsx_header(path)
    assert [(block.start_sample, block.n_samples) for block in header.blocks] == [(0, 5), (7, 5)]


@pytest.mark.parametrize(
    ("offset", "damage", "message"),
    [
        (0, b"NEURALEV", "expected 'NEURALCD'"),
        (0, b"NEURALSG", "file specification 2.1"),
        (0, b"BRSMPGRP", "file specification 3.0"),
        (8, b"\x02\x01", "file specification 2.1, expected 2.2 or 2.3"),
        (10, (511).to_bytes(4, "little"), "headers of 511 bytes, expected 512 for 3 channels"),
        (286, bytes(4), "period 0"),
        (290, bytes(4), "timestamp resolution 0"),
        (310, bytes(4), "0 channels"),
        (310, (2**31).to_bytes(4, "little"), "2147483648 channels"),
        (314 + 66, b"XX", "at byte 380: expected a channel header 'CC', found b'XX'"),
        (314 + 22, b"\x00\x00\x00\x00", "both ranges must rise"),
        (512, b"\x02", "at byte 512: expected a data block"),
        (517, (2**32 - 1).to_bytes(4, "little"), r"says 4294967295 frames but the file holds 21"),
        (517, (9).to_bytes(4, "little"), "at byte 575: expected a data block"),
    ],
)
def test_damage_is_named(tmp_path: Path, offset: int, damage: bytes, message: str) -> None:
    path = write(tmp_path / "a.ns5", [(0, np.zeros((10, 3), np.int16)), (20, np.zeros((10, 3), np.int16))])
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damage)] = damage
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_nsx_header(path)
    assert str(path) in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_no_damage_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, offset: int, damage: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "damaged.ns5", [(0, frames(10))])
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damage)] = damage
    path.write_bytes(content)
    for accept in (False, True):
        try:
            header = read_nsx_header(path, accept_truncated=accept)
            raw_channels(header)
        except FormatError:
            continue
        assert isinstance(header, NsxHeader)
        last = header.n_samples
        assert read_frames(header, last - 1, last).shape == (1, 3)


def test_empty_absent_and_dataless_files(tmp_path: Path) -> None:
    (tmp_path / "a.ns5").touch()
    with pytest.raises(FormatError, match="empty"):
        read_nsx_header(tmp_path / "a.ns5")
    with pytest.raises(InputMissing, match="no such file"):
        read_nsx_header(tmp_path / "b.ns5")
    with pytest.raises(FormatError, match="not one frame"):
        read_nsx_header(write(tmp_path / "c.ns5", [(0, frames(0))]))


def test_a_file_that_shrinks_while_in_use(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ns5", [(0, frames(10))])
    header = read_nsx_header(path)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(FormatError, match="shrank"):
        read_frames(header, 0, 10)


def test_the_writer_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2\.2 or 2\.3"):
        NsxWriter(tmp_path / "a.ns5", CHANNELS, spec="3.0")
    with pytest.raises(UsageError, match="at least one channel"):
        NsxWriter(tmp_path / "a.ns5", ())
    with NsxWriter(tmp_path / "a.ns5", CHANNELS) as writer:
        with pytest.raises(UsageError, match="begin_block"):
            writer.append(frames(1))
        with pytest.raises(UsageError, match="32 bits"):
            writer.begin_block(2**32)
        writer.begin_block(0)
        with pytest.raises(UsageError, match=r"int16 \(n, 3\)"):
            writer.append(frames(1, n_channels=2))


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden day is not beside the repository")
def test_the_golden_day() -> None:
    header = read_nsx_header(GOLDEN / "picasso/20181105/session01/181105_Block1.ns5")
    assert (header.spec, header.n_samples, header.gaps) == ("2.2", 540_000, ())
    assert raw_channels(header) == ((9, 0), (31, 1), (34, 2), (56, 3), (72, 4), (93, 5), (119, 6), (120, 7))
    assert header.channels[0] == RAW
    assert read_frames(header, 0, 2)[:, 0].tolist() == [-118, -160]
