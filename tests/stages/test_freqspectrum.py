"""FreqSpectrum: PyHipp's own spectra of channels and of the day, sines of known strength, and any cut of the samples."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raypipe.errors import FormatError, UsageError
from raypipe.io.datafield import open_data
from raypipe.io.nsx import raw_channels, read_frames, read_nsx_header
from raypipe.io.objects import load_object, normalised_dir, object_image, object_name
from raypipe.stages import freqspectrum
from raypipe.stages.freqspectrum import (
    channel_spectrum,
    day_bytes,
    day_spectrum,
    is_of_day,
    spectrum,
    spectrum_bytes,
    transform_length,
)
from tests.compare import arguments, high_pass

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
DAY = GOLDEN / "picasso" / "20181105"
golden_day = pytest.mark.skipif(not DAY.is_dir(), reason="PyHipp's golden day is not beside the repository")
EXTRACT = np.load(Path(__file__).parents[1] / "data" / "golden_spectrum.npz")
WHERE = "picasso/20181105/session01/array01/channel009"
LFP_ARGUMENTS, HIGH_PASS_ARGUMENTS = arguments("freqspectrum"), arguments("freqspectrum_highpass")
ARRAYS = ("freq", "magnitude", "magstderr")


@dataclass(frozen=True)
class InMemory:
    """Samples that are read like those of a file; `reads` notes how many at once."""

    samples: NDArray[np.float32]
    rate_hz: float = 1000.0
    reads: list[int] | None = None

    @property
    def n_samples(self) -> int:
        return len(self.samples)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.reads is not None:
            self.reads.append(stop - start)
        assert 0 <= start <= stop <= len(self.samples)
        return self.samples[start:stop].copy()


def plainly(samples: NDArray[np.float32], points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard error of all magnitudes at once, by another transform."""
    n_fft = 2 ** int(np.ceil(np.log2(points)))
    padded = np.zeros(-(-len(samples) // points) * points, np.float32)
    padded[: len(samples)] = samples
    columns = padded.reshape(-1, points)
    columns = columns - columns.mean(axis=1, keepdims=True)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(points)) / n_fft)
    magnitudes = np.abs(columns.astype(np.float64) @ transform.T)
    return magnitudes.mean(axis=0), magnitudes.std(axis=0) / np.sqrt(len(columns))


# PyHipp's own spectra.


def test_names() -> None:
    names = [object_name("freqspectrum", each) for each in (LFP_ARGUMENTS, HIGH_PASS_ARGUMENTS)]
    assert names == ["freqspectrum_9c80.hkl", "freqspectrum_660e.hkl"]


def test_pyhipps_spectrum_of_the_extract() -> None:
    found = spectrum(InMemory(EXTRACT["lfp"]), 2000)
    np.testing.assert_allclose(found.magnitude, EXTRACT["magnitude"], rtol=1e-12)
    np.testing.assert_allclose(found.magstderr, EXTRACT["magstderr"], rtol=1e-11)
    np.testing.assert_array_equal(found.freq, np.arange(1025) / 2048 * 1000)


@golden_day
@pytest.mark.parametrize(
    ("stage", "arguments", "n_channels"), [("rpllfp", LFP_ARGUMENTS, 8), ("rplhighpass", HIGH_PASS_ARGUMENTS, 1)]
)
def test_golden_channels(stage: str, arguments: dict[str, Any], n_channels: int) -> None:
    paths = sorted(DAY.glob(f"session01/array*/channel*/{stage}_*.hkl"))
    assert len(paths) == n_channels
    for path in paths:
        theirs = load_object(path.parent / object_name("freqspectrum", arguments))
        ours, notes = channel_spectrum(open_data(path), arguments, normalised_dir(path.parent))
        assert_same(ours, theirs, rtol=1e-11)
        assert notes == ()


@golden_day
@pytest.mark.parametrize("arguments", [LFP_ARGUMENTS, HIGH_PASS_ARGUMENTS])
def test_golden_day(arguments: dict[str, Any]) -> None:
    name = object_name("freqspectrum", arguments)
    channels = [load_object(path) for path in sorted(DAY.glob(f"session*/array*/channel*/{name}"), reverse=True)]
    assert len(channels) == 8
    of_the_eye = {**channels[0], "dirs": ["picasso/20181105/sessioneye/array01/channel009"]}
    assert_same(day_spectrum([*channels, of_the_eye]), load_object(DAY / name), rtol=0)


@golden_day
def test_the_fingerprint_of_the_day() -> None:
    """The day's LFP spectra from the channels' samples onwards."""
    expected = json.loads((GOLDEN / "fingerprints.json").read_text())["freqspectrum_9c80.hkl"]
    paths = DAY.glob("session*/array*/channel*/rpllfp_*.hkl")
    day = day_spectrum(
        channel_spectrum(open_data(path), LFP_ARGUMENTS, normalised_dir(path.parent))[0] for path in paths
    )
    for name in ARRAYS:
        for array, prints in zip(day.pop(name), expected.pop(name), strict=True):
            assert (str(array.dtype), list(array.shape)) == (prints["dtype"], prints["shape"])
            found = {"head": array[:8], "tail": array[-8:], "sum": array.sum(), "sumsq": array @ array, "nan": 0}
            for key, value in found.items():
                np.testing.assert_allclose(value, prints[key], rtol=1e-11)
    assert {name: str(value)[:200] if isinstance(value, list) else value for name, value in day.items()} == expected


@golden_day
def test_golden_high_passes_that_were_not_kept() -> None:
    """Those of the other channels are filtered again, as PyHipp does; its spectra come out to 1e-5."""
    (path,) = DAY.glob("session01/*.ns5")
    header = read_nsx_header(path)
    counts = read_frames(header, 0, header.n_samples)
    checked = []
    for number, column in raw_channels(header):
        (theirs,) = DAY.glob(f"session01/array*/channel{number:03d}/freqspectrum_660e.hkl")
        microvolts = (counts[:, column] * header.channels[column].gain).astype(np.float32)
        found = spectrum(InMemory(high_pass(microvolts).astype(np.float32), 30000.0), 3000)
        expected = load_object(theirs)
        # The first is only what rounding left of the mean.
        np.testing.assert_allclose(found.magnitude[1:], expected["magnitude"][0][1:], rtol=1e-5)
        np.testing.assert_allclose(found.magstderr[1:], expected["magstderr"][0][1:], rtol=1e-5)
        checked.append(number)
    assert checked == [9, 31, 34, 56, 72, 93, 119, 120]


def assert_same(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, rtol: float) -> None:
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        if name in ARRAYS:
            assert isinstance(value, list) and len(value) == len(theirs[name])
            for array, expected in zip(value, theirs[name], strict=True):
                assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
                np.testing.assert_allclose(array, expected, rtol=rtol)
        else:
            assert value == theirs[name], name


# What a spectrum says.


@pytest.mark.parametrize("points", [512, 1024])
def test_a_sine_is_where_it_belongs(points: int) -> None:
    """Its magnitude is amplitude x points / 2, the same in every window."""
    seconds = np.arange(20 * points) / 1000
    hz = 1000 * 64 / 512
    found = spectrum(InMemory((30 * np.sin(2 * np.pi * hz * seconds)).astype(np.float32)), points)
    peak = int(found.magnitude.argmax())
    assert found.freq[peak] == hz
    assert found.magnitude[peak] == pytest.approx(30 * points / 2, rel=1e-5)
    assert found.magstderr[peak] < 1e-5 * found.magnitude[peak]
    assert np.delete(found.magnitude, peak).max() < 1e-4 * found.magnitude[peak]


@given(st.integers(1, 700), st.integers(2, 40), st.integers(0, 5), st.sampled_from([0.0, 1.0, 1e4]))
def test_any_length_and_window(n_samples: int, points: int, seed: int, offset: float) -> None:
    samples = (np.random.default_rng(seed).normal(size=n_samples) * 50 + offset).astype(np.float32)
    found = spectrum(InMemory(samples), points)
    magnitude, magstderr = plainly(samples, points)
    scale = np.abs(samples).max() * points
    np.testing.assert_allclose(found.magnitude, magnitude, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(found.magstderr, magstderr, rtol=1e-9, atol=1e-9 * scale)
    assert found.freq[-1] == 500 and len(found.freq) == transform_length(points) // 2 + 1


def test_batches_change_nothing_but_the_last_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = InMemory((np.random.default_rng(0).normal(size=100_000) * 100).astype(np.float32))
    found = spectrum(samples, 300)
    for name in ("magnitude", "magstderr"):
        np.testing.assert_array_equal(getattr(spectrum(samples, 300), name), getattr(found, name))
    for windows in (1, 7, 1000):
        monkeypatch.setattr(freqspectrum, "_BATCH_WINDOWS", windows)
        other = spectrum(samples, 300)
        np.testing.assert_allclose(other.magnitude, found.magnitude, rtol=1e-12)
        np.testing.assert_allclose(other.magstderr, found.magstderr, rtol=1e-9)


def test_lengths_of_the_transform() -> None:
    assert [transform_length(points) for points in (2, 3, 2000, 2048, 2049, 3000)] == [2, 4, 2048, 2048, 4096, 4096]


def test_a_channel_without_samples() -> None:
    with pytest.raises(FormatError, match="channel009 has no samples"):
        channel_spectrum(InMemory(np.empty(0, np.float32)), LFP_ARGUMENTS, WHERE)


@pytest.mark.parametrize("points", [1, 0, -5])
def test_windows_of_no_length(points: int) -> None:
    with pytest.raises(UsageError, match=f"pointsPerWindow is {points}"):
        spectrum(InMemory(np.ones(10, np.float32)), points)


def test_samples_that_are_no_numbers() -> None:
    samples = np.ones(5000, np.float32)
    samples[3000] = np.nan
    fields, notes = channel_spectrum(InMemory(samples), LFP_ARGUMENTS, WHERE)
    assert notes == ("the channel holds samples that are no numbers",)
    assert np.isnan(fields["magnitude"][0]).all()
    object_image(fields)


# Memory.


def test_a_long_channel_takes_no_more_memory_than_stated() -> None:
    import tracemalloc

    reads: list[int] = []
    samples = InMemory(np.zeros(3_000_000, np.float32), 30000.0, reads)
    samples.samples[:] = np.random.default_rng(0).normal(size=3_000_000)
    spectrum(samples, 3000)
    tracemalloc.start()
    spectrum(samples, 3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * spectrum_bytes(3000) < peak < spectrum_bytes(3000) < 5_000_000
    assert max(reads) <= 32 * 3000 and sum(reads) == 2 * 3_000_000


def test_a_day_takes_no_more_memory_than_stated() -> None:
    import tracemalloc

    one = channel_spectrum(InMemory(np.ones(6000, np.float32)), HIGH_PASS_ARGUMENTS, WHERE)[0]
    object_image(day_spectrum([one]))
    tracemalloc.start()
    objects = [
        {**one, "dirs": [f"a/1/session01/array01/channel{k:03d}"], **{name: [one[name][0].copy()] for name in ARRAYS}}
        for k in range(124)
    ]
    image = object_image(day_spectrum(objects))
    peak = tracemalloc.get_traced_memory()[1] + len(image)  # HDF5's own copy is not traced
    tracemalloc.stop()
    assert peak < day_bytes(124, 3000)


# The day.


def of_channel(directory: str, value: float = 1.0) -> dict[str, Any]:
    base = channel_spectrum(InMemory(np.full(10, value, np.float32)), LFP_ARGUMENTS, directory)[0]
    return {**base, "magnitude": [np.full(1025, value)]}


def test_the_order_of_the_day() -> None:
    names = ("session02/array01/channel003", "session01/array02/channel040", "session01/array01/channel010",
             "session01/array01/channel009", "sessioneye/array01/channel009", "mountains/channel009/output")  # fmt: skip
    day = day_spectrum(of_channel(f"eyelid/20181105/{name}", k) for k, name in enumerate(names))
    assert day["dirs"] == [f"eyelid/20181105/{names[k]}" for k in (3, 2, 1, 0)]
    assert [each[0] for each in day["magnitude"]] == [3, 2, 1, 0]
    assert day["numSets"] == 4
    assert day["array_dict"] == {
        "eyelid/20181105/session01/array01": 1,
        "eyelid/20181105/session01/array02": 2,
        "eyelid/20181105/session02/array01": 3,
    }
    assert not is_of_day("picasso/20181105/sessioneye/array01/channel009")


def test_a_day_of_nothing() -> None:
    with pytest.raises(UsageError, match="at least one channel"):
        day_spectrum([of_channel("picasso/20181105/sessioneye/array01/channel009")])


def test_a_day_of_things_that_do_not_belong_together() -> None:
    first = of_channel(WHERE)
    other = {**of_channel("picasso/20181105/session01/array01/channel010"), "args": dict(HIGH_PASS_ARGUMENTS)}
    with pytest.raises(FormatError, match="other arguments"):
        day_spectrum([first, other])
    for wrong in ({}, {**first, "freq": []}, {**first, "args": None}, {**first, "magstderr": 5}):
        with pytest.raises(FormatError, match="lacks a field"):
            day_spectrum([wrong])
    with pytest.raises(FormatError, match="differ in number"):
        day_spectrum([{**first, "freq": [np.zeros(3)]}])


def test_the_fields() -> None:
    fields, _ = channel_spectrum(InMemory(np.ones(10, np.float32)), LFP_ARGUMENTS, WHERE)
    assert list(fields) == [
        *("args", "freq", "magnitude", "numSets", "dirs", "setidx", "plotopts", "current_idx", "magstderr"),
        *("array_dict", "current_plot_type"),
    ]
    assert fields["args"] == LFP_ARGUMENTS and fields["array_dict"] == {"picasso/20181105/session01/array01": 0}
    assert fields["plotopts"] == {"indexer": "channel"} and fields["setidx"] == []
