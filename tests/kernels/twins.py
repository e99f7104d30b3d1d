"""What each kernel does, said again in obvious numpy and scipy."""

from typing import Any

import numpy as np
from scipy import signal

HIGH_SOS = signal.butter(4, [500, 7500], "bandpass", fs=30_000, output="sos")
HIGH_BA = signal.butter(4, [500, 7500], "bandpass", fs=30_000)
LFP_SOS = signal.butter(4, [1, 150], "bandpass", fs=1_000, output="sos")
TAPS = signal.firwin(601, 1 / 30, window=("kaiser", 5.0))


def deinterleaved(frames: Any, columns: Any) -> Any:
    return frames[:, columns].T


def microvolts(counts: Any, gain: Any, offset: Any) -> Any:
    return counts.astype(np.float32) * gain[:, None] + offset[:, None]


def band_passed(sos: Any, x: Any, edge: int = 24) -> Any:
    return signal.sosfiltfilt(sos, x, axis=1, padtype="odd", padlen=edge)


def decimated(taps: Any, down: int, x: Any) -> Any:
    """The definition; scipy's resample_poly says the same for down > 1 and does nothing for down = 1."""
    half = len(taps) // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (half, half)))
    return np.array([np.convolve(lane, taps, "valid")[::down] for lane in padded])


def in_pieces(streaming: Any, x: Any, cuts: Any, room: int) -> Any:
    """Push x cut at `cuts` and collect all that comes out."""
    out = np.full((8, room), np.nan, np.float32)
    ready = 0
    for start, stop in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        ready += streaming.push(x[:, start:stop], out[:, ready:])
    ready += streaming.finish(out[:, ready:])
    return out[:, :ready]


def recording(samples: int, seed: int = 0, offset: float = 0.0) -> Any:
    """Eight lanes of microvolts: slow waves, noise, an offset; the values of int16 counts of 0.25 µV."""
    rng = np.random.default_rng(seed)
    waves = 60 * np.sin(np.arange(samples) * rng.uniform(0.001, 0.02, (8, 1)))
    return (np.round(4 * (waves + 40 * rng.standard_normal((8, samples)) + offset)) / 4).astype(np.float32)
