"""The same steps as PyHipp takes them: one process, channel after channel, scipy's filters, hickle's files.

Reads 32 channels of the `.ns5` at a time as PyHipp does; each object is written whole and, for the next step, loaded
again. Nothing is synced to the disk, which is to its advantage.
"""

import sys
from pathlib import Path

import hickle
import numpy as np
from scipy import signal

from raypipe.io.nsx import raw_channels, read_nsx_header

CHANNELS_AT_A_TIME = 32


def split(session: Path, out: Path) -> list[Path]:
    """Write an rplraw object for each channel; return their folders."""
    header = read_nsx_header(next(session.glob("*.ns5")))
    (block,) = header.blocks
    shape = (block.n_samples, len(header.channels))
    frames = np.memmap(header.path, "<i2", "r", block.byte_offset, shape)
    folders = []
    chosen = raw_channels(header)
    for first in range(0, len(chosen), CHANNELS_AT_A_TIME):
        some = chosen[first : first + CHANNELS_AT_A_TIME]
        columns = [column for _, column in some]
        gains = np.array([header.channels[column].gain for column in columns], np.float32)
        microvolts = frames[:, columns].astype(np.float32)
        microvolts *= gains
        for place, (number, _) in enumerate(some):
            folder = out / session.name / f"channel{number:03d}"
            folder.mkdir(parents=True)
            data = np.array(microvolts[:, place])
            info = {"SampleRate": 30000.0, "MaxVal": data.max(), "MinVal": data.min()}
            hickle.dump({"data": data, "analogInfo": info, "numSets": 1}, folder / "rplraw_d41d.hkl", mode="w")
            folders.append(folder)
    return folders


def lfp(folder: Path) -> None:
    """Decimate and band-pass a channel."""
    data = hickle.load(folder / "rplraw_d41d.hkl")["data"]
    data = signal.resample_poly(data, 1000, 30000)
    b, a = signal.butter(4, [1 / 500, 150 / 500], "bandpass")
    data = signal.filtfilt(b, a, data, padlen=24)
    info = {"SampleRate": 1000, "MaxVal": data.max(), "MinVal": data.min()}
    hickle.dump({"data": data.astype(np.float32), "analogInfo": info}, folder / "rpllfp_6eca.hkl", mode="w")


def high_pass(folder: Path) -> None:
    """Band-pass a channel for spikes."""
    data = hickle.load(folder / "rplraw_d41d.hkl")["data"]
    b, a = signal.butter(4, [500 / 15000, 7500 / 15000], "bandpass")
    data = signal.filtfilt(b, a, data, padlen=24)
    info = {"SampleRate": 30000.0, "MaxVal": data.max(), "MinVal": data.min()}
    hickle.dump({"data": data.astype(np.float32), "analogInfo": info}, folder / "rplhighpass_b59f.hkl", mode="w")


def main(day: Path, out: Path) -> None:
    """Process all sessions of a day."""
    for session in sorted(day.glob("session*")):
        folders = split(session, out)
        for folder in folders:
            lfp(folder)
        for folder in folders:
            high_pass(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
