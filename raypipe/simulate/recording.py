"""The Ripple files of a session: `.nev` with the markers, `.ns5` with the raw channels and one analogue input."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.io.nev import NevFilter, NevWaveform
from raypipe.io.nev_writer import write_nev
from raypipe.io.nsx_header import NsxChannel
from raypipe.io.nsx_writer import NsxWriter
from raypipe.simulate.neural import BLOCK, Electrode, voltage_blocks
from raypipe.simulate.settings import SimulateSettings

CHANNELS_PER_ARRAY = 32
ANALOG_ELECTRODE = 10241  # where Ripple's numbers of analogue inputs begin
FULL_SCALE_COUNTS, FULL_SCALE_UV = 32764, 8191


def write_recording(
    stem: Path,
    settings: SimulateSettings,
    electrodes: Sequence[Electrode],
    markers: tuple[list[int], list[int]],
    n_samples: int,
    advance: Callable[[], None],
) -> None:
    """Write `stem.nev` and `stem.ns5`; `advance` is called after every second of samples."""
    numbers = [electrode.channel for electrode in electrodes]
    time_origin = settings.date + timedelta(hours=electrodes[0].session)
    ticks, codes = markers
    write_nev(
        stem.with_suffix(".nev"),
        ticks=ticks,
        codes=codes,
        spec=settings.spec,
        time_origin=time_origin,
        waveforms=[NevWaveform(n, *_plug(n), 250, 0, 0, 0, 0, 2, 52) for n in numbers],
        filters=[NevFilter(n, 300, 1, "Butterworth", 7_500_000, 3, "Butterworth") for n in numbers],
        labels={n: f"elec {n}" for n in numbers},
    )
    analog_at = 0 if settings.analog_first else len(numbers)
    columns = [_raw_channel(number) for number in numbers]
    columns.insert(analog_at, _analog_channel(1 + max(column.connector for column in columns)))
    sources = [voltage_blocks(settings, electrode) for electrode in electrodes]
    rows = np.empty((len(columns), BLOCK), np.int16)
    rows[analog_at] = _analog_second()
    raw_rows = np.delete(np.arange(len(columns)), analog_at).tolist()
    with NsxWriter(stem.with_suffix(".ns5"), columns, spec=settings.spec, time_origin=time_origin) as writer:
        writer.begin_block(0)
        for start in range(0, n_samples, BLOCK):
            for row, source in zip(raw_rows, sources, strict=True):
                rows[row] = next(source)
            writer.append(np.ascontiguousarray(rows[:, : n_samples - start].T))
            advance()


def _plug(channel: int) -> tuple[int, int]:
    """Say where a channel is plugged in: connector from 0, pin from 1."""
    return (channel - 1) // CHANNELS_PER_ARRAY, (channel - 1) % CHANNELS_PER_ARRAY + 1


def _raw_channel(channel: int) -> NsxChannel:
    connector, pin = _plug(channel)
    return NsxChannel(
        electrode_id=channel,
        label=f"raw {channel}",
        units="uV",
        connector=connector,
        pin=pin,
        min_digital=-FULL_SCALE_COUNTS,
        max_digital=FULL_SCALE_COUNTS,
        min_analog=-FULL_SCALE_UV,
        max_analog=FULL_SCALE_UV,
        high_corner_hz=0.3,
        high_order=1,
        high_filter_type="Butterworth",
        low_corner_hz=7500.0,
        low_order=3,
        low_filter_type="Butterworth",
    )


def _analog_channel(connector: int) -> NsxChannel:
    return replace(
        _raw_channel(1),
        electrode_id=ANALOG_ELECTRODE,
        label="analog 1",
        units="mV",
        connector=connector,
        min_digital=-32767,
        max_digital=32767,
        min_analog=-5000,
        max_analog=5000,
        high_corner_hz=0.0,
        high_order=0,
        high_filter_type="None",
    )


def _analog_second() -> npt.NDArray[np.int16]:
    """Make a triangle of one second, 1000 counts high."""
    half = BLOCK // 2
    return (np.abs(np.arange(BLOCK) - half) * 1000 // half).astype(np.int16)
