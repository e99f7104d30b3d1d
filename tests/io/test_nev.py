"""Events and channel descriptions of `.nev` files: round trips, neo as referee, and every way of being damaged."""

import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neo.rawio import BlackrockRawIO

from raypipe.errors import FormatError, InputMissing, UsageError
from raypipe.io.nev import NevFilter, NevWaveform, read_nev
from raypipe.io.nev_writer import write_nev

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared/golden"))
ORIGIN = datetime(2018, 11, 5, 10, 53, 23, 100_000, tzinfo=UTC)
WAVEFORMS = [NevWaveform(n, (n - 1) // 32, (n - 1) % 32 + 1, 250, 0, 0, -40, 0, 2, 52) for n in (9, 40)]
FILTERS = [NevFilter(9, 300, 1, "Butterworth", 7_500_000, 3, "Butterworth"), NevFilter(40, 0, 0, "None", 1, 2, "None")]
TICKS, CODES = [300, 600, 900, 2**32 - 1], [84, 0, 11, 2**16 - 1]


def write(path: Path, spec: str = "2.3", **options: object) -> Path:
    write_nev(
        path,
        ticks=options.pop("ticks", TICKS),
        codes=options.pop("codes", CODES),
        spec=spec,
        time_origin=ORIGIN,
        waveforms=WAVEFORMS,
        filters=FILTERS,
        labels={9: "elec 9", 40: "elec 40"},
        **options,
    )
    return path


@pytest.mark.parametrize("spec", ["2.2", "2.3"])
def test_everything_written_is_read(tmp_path: Path, spec: str) -> None:
    nev = read_nev(write(tmp_path / "a.nev", spec))
    assert (nev.spec, nev.timestamp_resolution, nev.sample_resolution, nev.time_origin) == (spec, 30000, 30000, ORIGIN)
    assert nev.ticks.tolist() == TICKS and nev.ticks.dtype == np.int64
    assert nev.codes.tolist() == CODES and nev.codes.dtype == np.uint16
    assert nev.waveforms == {9: WAVEFORMS[0], 40: WAVEFORMS[1]}
    assert nev.filters == {9: FILTERS[0], 40: FILTERS[1]}
    assert nev.labels == {9: "elec 9", 40: "elec 40"}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)), max_size=20),
    st.sampled_from([12, 20, 104, 108]),
    st.sampled_from(["2.2", "2.3"]),
)
def test_any_events_in_packets_of_any_width(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, int]], packet_bytes: int, spec: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.nev"
    ticks, codes = [t for t, _ in events], [c for _, c in events]
    nev = read_nev(write(path, spec, ticks=ticks, codes=codes, packet_bytes=packet_bytes))
    assert (nev.ticks.tolist(), nev.codes.tolist()) == (ticks, codes)


@pytest.mark.parametrize(("spec", "kept"), [("2.2", [1]), ("2.3", [1, 3, 65])])
def test_only_insertions_of_the_digital_port_count(tmp_path: Path, spec: str, kept: list[int]) -> None:
    reasons = [0, 1, 2, 3, 64, 65, 128, 129]
    nev = read_nev(write(tmp_path / "a.nev", spec, ticks=range(8), codes=range(8), reasons=reasons))
    assert nev.reasons.tolist() == kept
    assert nev.codes.tolist() == [reasons.index(reason) for reason in kept]


def test_spikes_between_the_events_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nev")
    packets = bytearray(path.read_bytes())
    start = len(packets) - 4 * 104
    packets[start + 104 + 4] = 9  # the second packet becomes a spike of electrode 9
    path.write_bytes(packets)
    assert read_nev(path).codes.tolist() == [84, 11, 2**16 - 1]


@pytest.mark.parametrize("spec", ["2.2", "2.3"])
def test_neo_reads_the_same_events(tmp_path: Path, spec: str) -> None:
    nev = read_nev(write(tmp_path / "a.nev", spec, ticks=[300, 600, 900], codes=[84, 0, 11]))
    reader = BlackrockRawIO(filename=str(tmp_path / "a"))
    reader.parse_header()
    names = [str(name) for name in reader.header["event_channels"]["name"]]
    ticks, _, labels = reader.get_event_timestamps(event_channel_index=names.index("digital_input_port"))
    assert ticks.tolist() == nev.ticks.tolist()
    assert [int(label) for label in labels] == nev.codes.tolist()


def test_every_cut_is_refused_or_leaves_whole_events(tmp_path: Path) -> None:
    content = write(tmp_path / "a.nev", packet_bytes=20).read_bytes()
    first_packet = len(content) - 4 * 20
    cut = tmp_path / "cut.nev"
    for size in range(len(content)):
        cut.write_bytes(content[:size])
        whole, rest = divmod(size - first_packet, 20)
        if size < first_packet or rest:
            with pytest.raises(FormatError, match=str(cut)):
                read_nev(cut)
        else:
            assert read_nev(cut).codes.tolist() == CODES[:whole]


@pytest.mark.parametrize(
    ("offset", "damage", "message"),
    [
        (0, b"NEURALCD", "expected 'NEURALEV', found b'NEURALCD'"),
        (8, b"\x03\x00", "file specification 3.0, expected 2.2 or 2.3"),
        (12, (335).to_bytes(4, "little"), "headers of 335 bytes, expected 528 for 6 extended headers"),
        (16, (8).to_bytes(4, "little"), "data packets of 8 bytes"),
        (16, (2**31).to_bytes(4, "little"), "data packets of 2147483648 bytes"),
        (20, bytes(4), "timestamp resolution 0"),
        (332, (2**31).to_bytes(4, "little"), "2147483648 extended headers"),
    ],
)
def test_damaged_headers_are_named(tmp_path: Path, offset: int, damage: bytes, message: str) -> None:
    path = write(tmp_path / "a.nev")
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damage)] = damage
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_nev(path)
    assert str(path) in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 800), st.binary(min_size=1, max_size=8))
def test_no_damage_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, offset: int, damage: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "damaged.nev")
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damage)] = damage
    path.write_bytes(content)
    with contextlib.suppress(FormatError):
        nev = read_nev(path)
        assert nev.ticks.shape == nev.codes.shape == nev.reasons.shape


def test_filter_types_without_a_name_keep_their_number(tmp_path: Path) -> None:
    odd = replace(FILTERS[0], low_type="type 9")
    write_nev(tmp_path / "a.nev", ticks=[], codes=[], filters=[odd])
    assert read_nev(tmp_path / "a.nev").filters == {9: odd}


def test_a_header_that_promises_more_than_the_file_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nev")
    content = bytearray(path.read_bytes())
    content[12:16] = (336 + 32 * 10_000).to_bytes(4, "little")
    content[332:336] = (10_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(FormatError, match="headers need 320336 bytes"):
        read_nev(path)


def test_empty_and_absent_files(tmp_path: Path) -> None:
    (tmp_path / "a.nev").touch()
    with pytest.raises(FormatError, match="empty"):
        read_nev(tmp_path / "a.nev")
    with pytest.raises(InputMissing, match="no such file"):
        read_nev(tmp_path / "b.nev")


def test_an_unset_clock_has_no_origin(tmp_path: Path) -> None:
    write_nev(tmp_path / "a.nev", ticks=[], codes=[])
    nev = read_nev(tmp_path / "a.nev")
    assert nev.time_origin is None and nev.ticks.size == 0 and nev.waveforms == {}


@pytest.mark.parametrize(
    "options",
    [
        {"spec": "3.0"},
        {"packet_bytes": 10},
        {"packet_bytes": 13},
        {"ticks": [-1]},
        {"codes": [65536]},
        {"codes": [1, 2]},
        {"labels": {9: "x" * 17}},
        {"filters": [replace(FILTERS[0], low_type="Bessel")]},
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        write_nev(tmp_path / "a.nev", **{"ticks": [1], "codes": [1], **options})
    assert not (tmp_path / "a.nev").exists()


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden day is not beside the repository")
def test_the_golden_day() -> None:
    nev = read_nev(GOLDEN / "picasso/20181105/session01/181105_Block1.nev")
    assert nev.ticks[:6].tolist() == [30766, 31066, 40993, 41293, 66055, 66355]
    assert nev.codes[:6].tolist() == [84, 0, 11, 0, 21, 0]
    assert nev.ticks.size == 38
    assert nev.waveforms[120].connector == 3 and nev.waveforms[120].pin == 24
    assert nev.filters[9] == FILTERS[0]
    assert nev.time_origin == ORIGIN
