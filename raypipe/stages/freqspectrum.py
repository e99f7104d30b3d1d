"""FreqSpectrum: how strong each frequency is in a channel, and in all channels of a day."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError, UsageError
from raypipe.io.objects import base_fields

NOT_OF_A_DAY = ("*eye*", "*mountains*")
"""Folders (patterns for their path from the session downwards) that PyHipp leaves out of the day's spectra."""

_BATCH_WINDOWS = 32  # read and transformed at once; they stay in a core's cache


class Samples(Protocol):
    """A channel's samples, read piece by piece: `raypipe.io.datafield.DataField`, or the like."""

    @property
    def n_samples(self) -> int:
        """Samples there are."""

    @property
    def rate_hz(self) -> float:
        """Samples per second."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples `[start, stop)` as an own float32 (stop - start,) array."""


@dataclass(frozen=True)
class Spectrum:
    """Frequencies (Hz), the mean over all windows of their magnitudes (µV), and its standard error: float64 (F,)."""

    freq: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    magstderr: NDArray[np.float64]


def spectrum_bytes(points_per_window: int) -> int:
    """Bytes that `channel_spectrum` needs at once, however long the channel is (imports aside)."""
    n_fft = transform_length(points_per_window)
    return 1_500_000 + _BATCH_WINDOWS * (16 * points_per_window + 12 * n_fft) + 48 * n_fft


def day_bytes(n_channels: int, points_per_window: int) -> int:
    """Bytes that `day_spectrum` of so many channels needs at once, the file's image included (imports aside)."""
    return 20_000_000 + n_channels * (4 * 3 * 8 * (transform_length(points_per_window) // 2 + 1) + 20_000)


def transform_length(points_per_window: int) -> int:
    """Count the points of the transform: the next power of two. Raises UsageError for a window of fewer than 2."""
    if points_per_window < 2:
        raise UsageError(
            f"pointsPerWindow is {points_per_window}", hint="give at least 2 samples; the lab's are 2000 and 3000"
        )
    return 1 << (points_per_window - 1).bit_length()


def channel_spectrum(
    samples: Samples, arguments: Mapping[str, Any], directory: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the object of a channel, whose folder is `directory` from the subject downwards: fields in PyHipp's order.

    `freq`, `magnitude` and `magstderr` are lists of one float64 (F,) array, see `spectrum`. Raises what `spectrum` does.
    """
    found = spectrum(samples, arguments["pointsPerWindow"], where=directory)
    base = base_fields(arguments, directory, "channel")
    fields = {
        "args": base.pop("args"),
        "freq": [found.freq],
        "magnitude": [found.magnitude],
        "numSets": 1,
        **base,
        "magstderr": [found.magstderr],
        "array_dict": {_array_of(directory): 0},
        "current_plot_type": None,
    }
    notes = () if np.isfinite(found.magnitude).all() else ("the channel holds samples that are no numbers",)
    return fields, notes


def spectrum(samples: Samples, points_per_window: int, *, where: str = "the channel") -> Spectrum:
    """Average the magnitudes of the Fourier transforms of consecutive windows, each without its mean.

    As PyHipp: the last window is filled up with zeros before its mean is taken off; means in float32; a transform as
    long as the next power of two; the error is the population's standard deviation over the root of the windows.
    The samples are read once, a few windows at a time; the result is the same bits every time.

    Raises UsageError for a window of fewer than 2 samples, FormatError if there are no samples.
    """
    n_fft = transform_length(points_per_window)
    if not samples.n_samples:
        raise FormatError(f"{where} has no samples", hint="see that its recording is not empty")
    n_windows = -(-samples.n_samples // points_per_window)
    mean = np.zeros(n_fft // 2 + 1)
    squares = np.zeros(n_fft // 2 + 1)
    for first in range(0, n_windows, _BATCH_WINDOWS):
        last = min(first + _BATCH_WINDOWS, n_windows)
        magnitudes = _magnitudes(samples, first, last, points_per_window, n_fft)
        # Means and squares of what was seen and of what is new are joined as by Chan, Golub and LeVeque (1979).
        batch_mean = magnitudes.mean(axis=0)
        shift = batch_mean - mean
        n_new = last - first
        squares += ((magnitudes - batch_mean) ** 2).sum(axis=0) + shift**2 * (first * n_new / last)
        mean += shift * (n_new / last)
    freq = np.arange(n_fft // 2 + 1) * samples.rate_hz / n_fft
    return Spectrum(freq, mean, np.sqrt(squares / n_windows) / np.sqrt(n_windows))


def is_of_day(directory: str) -> bool:
    """Tell whether a channel's spectrum is part of the day's: not that of the calibration."""
    below_the_day = "/".join(directory.split("/")[2:])
    return not any(fnmatchcase(below_the_day, pattern) for pattern in NOT_OF_A_DAY)


def day_spectrum(spectra: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the objects of a day's channels to that of the day: fields in PyHipp's order, channels in that of folders.

    Those that `is_of_day` leaves out may be among them. `array_dict` gives, for the folder of every array, the place of
    its last channel. Raises UsageError if no object is left, FormatError if one is no such object or has other
    arguments than the first.
    """
    chosen = sorted((each for each in map(_checked, spectra) if is_of_day(each["dirs"][0])), key=_place)
    if not chosen:
        raise UsageError("a day's spectra need at least one channel's", hint="run freqspectrum for a channel first")
    first = chosen[0]
    for other in chosen:
        if other["args"] != first["args"]:
            raise FormatError(
                f"the spectra of {first['dirs'][0]} and {other['dirs'][0]} were made with other arguments",
                hint="remove the older one, and the next run makes it again",
            )
    directories = [each["dirs"][0] for each in chosen]
    base = base_fields(first["args"], "", "channel")
    return {
        "args": base.pop("args"),
        "freq": [each["freq"][0] for each in chosen],
        "magnitude": [each["magnitude"][0] for each in chosen],
        "numSets": len(chosen),
        **base,
        "dirs": directories,
        "magstderr": [each["magstderr"][0] for each in chosen],
        "array_dict": {_array_of(directory): place for place, directory in enumerate(directories)},
        "current_plot_type": None,
    }


def _magnitudes(samples: Samples, first: int, last: int, points_per_window: int, n_fft: int) -> NDArray[np.float64]:
    """Transform the windows [first, last): float64 (windows, F)."""
    start, stop = first * points_per_window, min(last * points_per_window, samples.n_samples)
    windows = np.zeros((last - first, points_per_window), np.float32)
    windows.reshape(-1)[: stop - start] = samples.read(start, stop)
    windows -= windows.mean(axis=1, keepdims=True)
    # numpy's transform treats every row alone, so its bits do not depend on how many there are.
    magnitudes: NDArray[np.float64] = np.abs(np.fft.rfft(windows.astype(np.float64), n_fft, axis=1))
    return magnitudes


def _checked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        (directory,) = fields["dirs"]
        lengths = {len(fields[name][0]) for name in ("freq", "magnitude", "magstderr")}
        fields["args"].keys()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"what should be a channel's FreqSpectrum lacks a field of one: {error!r}",
            hint="remove its file, and the next run makes it again",
        ) from error
    if len(lengths) != 1:
        raise FormatError(f"{directory}: frequencies and magnitudes of a FreqSpectrum differ in number")
    return fields


def _place(fields: Mapping[str, Any]) -> str:
    directory: str = fields["dirs"][0]
    return directory


def _array_of(directory: str) -> str:
    return directory.rpartition("/")[0]
